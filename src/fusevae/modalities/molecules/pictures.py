"""Pictures of molecules: a grid of their structures, and histograms of their properties beside real ones."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.data.sheet import Picture
from fusevae.evaluation.pictures import BLUE, GREY, axes_of
from fusevae.modalities.molecules.chemistry import PROPERTIES, chemistry, parse, properties, quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

CELL = 220  # pixels of the side of a structure
LINE = 18  # of a line of text
GAP = 2
PAPER = (228, 228, 228)
TITLES = {
    "qed": "drug-likeness (QED)",
    "logp": "octanol-water logP",
    "sa": "synthetic accessibility",
    "weight": "weight (g/mol)",
}


def molecule_grid(smiles: Sequence[str], legends: Sequence[str] = (), columns: Count | None = None) -> Image:
    """Structures row by row; what can't be parsed is an empty cell with its string in it.

    Args:
        smiles: at least one.
        legends: a line below each, or none.
        columns: in a row; by default about as many as rows, six at most.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not smiles or (legends and len(legends) != len(smiles)):
        raise InputError(
            f"{len(smiles)} molecules with {len(legends)} legends were given: expected one or more of both"
        )
    columns = columns or min(6, math.ceil(math.sqrt(len(smiles))))
    rows = math.ceil(len(smiles) / columns)
    width, height = CELL + GAP, CELL + GAP + (LINE if legends else 0)
    sheet = Image.new("RGB", (columns * width + GAP, rows * height + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for i, each in enumerate(smiles):
        x, y = i % columns * width + GAP, i // columns * height + GAP
        draw.rectangle((x, y, x + width - GAP - 1, y + height - GAP - 1), fill="white")
        structure = _structure(each)
        if structure is not None:
            sheet.paste(structure, (x, y))
        else:
            fits = int((CELL - 8) / font.getlength("O"))  # a wide letter
            lines = textwrap.wrap(_shown(each), fits, break_on_hyphens=False)[:8]
            text = "\n".join(["can't be parsed:", *lines])
            draw.multiline_text((x + CELL / 2, y + CELL / 2), text, fill=(150, 60, 60), font=font, anchor="mm")
        if legends:
            text = _fitting(legends[i], font)
            draw.text((x + CELL / 2, y + CELL + LINE / 2 - 2), text, fill=(40, 40, 40), font=font, anchor="mm")
    return sheet


class Structures(Picture):
    """Structures, which can be saved as SMILES, too.

    Args:
        smiles: at least one.
    """

    def __init__(self, smiles: Sequence[str]) -> None:
        super().__init__(molecule_grid(smiles, smiles))
        self.smiles = list(smiles)

    def parts(self) -> list[dict[str, Any]]:
        rows = [[text] for text in self.smiles]
        return [*super().parts(), {"names": ["smiles"], "rows": rows, "drawn": True}]


def property_histograms(samples: Sequence[str], reference: Sequence[str]) -> Figure:
    """QED, logP, SA and weight of samples beside those of real molecules; what can't be parsed is left out, and said.

    Args:
        samples: SMILES strings.
        reference: the same.
    """
    made, real = properties(samples), properties(reference)
    figure, axes = axes_of(len(PROPERTIES), width=3.0, height=2.3)
    for axis, name in zip(axes, PROPERTIES, strict=True):
        a, b = (values[name][np.isfinite(values[name])] for values in (made, real))
        both = np.concatenate([a, b])
        low, high = np.quantile(both, [0.005, 0.995]) if len(both) else (0.0, 1.0)
        bins = np.linspace(low, high, 31) if high > low else np.linspace(low - 0.5, low + 0.5, 31)
        for values, label, style in (
            (b, f"data ({len(b):,})", {"color": GREY, "alpha": 0.6}),
            (a, f"samples ({len(a):,} of {len(samples):,})", {"color": BLUE, "histtype": "step", "lw": 1.5}),
        ):
            if len(values):
                axis.hist(values, bins.tolist(), density=True, label=label, **style)  # type: ignore[arg-type]
        axis.set_title(TITLES[name], fontsize=9)
        axis.set_yticks([])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def _structure(smiles: str) -> Image | None:
    from PIL import Image

    molecule = parse(smiles)
    if molecule is None:
        return None
    drawing = chemistry("Chem.Draw.rdMolDraw2D")
    try:
        with quiet():
            canvas = drawing.MolDraw2DCairo(CELL, CELL)
            drawing.PrepareAndDrawMolecule(canvas, molecule)
            canvas.FinishDrawing()
            return Image.open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")
    except Exception:  # rdkit can parse what it can't lay out
        return None


def _shown(text: str) -> str:
    """A string as it can be drawn: Latin letters, the rest escaped."""
    return text.encode("ascii", "backslashreplace").decode() or "(empty)"


def _fitting(text: str, font: object) -> str:
    """As much of a line as a cell is wide."""
    text = _shown(text)
    while text and font.getlength(text) > CELL - 8:  # type: ignore[attr-defined]
        text = text[:-4] + "..." if len(text) > 7 else text[:-1]
    return text
