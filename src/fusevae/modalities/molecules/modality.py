"""Molecules: SMILES strings, a language of their own."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.vocabulary import Vocabulary
from fusevae.data.examples import Examples
from fusevae.data.given import Given, files_at
from fusevae.data.modality import Choice
from fusevae.data.parts import Options, Part
from fusevae.data.sheet import Picture, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.results import Result
from fusevae.modalities.molecules.chemistry import PROPERTIES, has_rdkit, molecule_table, parsable, properties
from fusevae.modalities.molecules.pictures import Structures, molecule_grid, property_histograms
from fusevae.modalities.molecules.quality import MoleculeReference
from fusevae.modalities.molecules.recommend import choices
from fusevae.modalities.molecules.spelling import is_selfies
from fusevae.modalities.text.modality import Text, is_of
from fusevae.modalities.text.pretrained_tokens import is_folder
from fusevae.modalities.text.quality import text_reconstruction
from fusevae.modalities.text.reading import BLANKS, Looks, file_of, place, say_left_out
from fusevae.modalities.text.schema import TextSchema

OWN = (".smi", ".smiles")
DRAWN = 100  # molecules of a picture
LEAST = 0.1  # part of the different strings that must be molecules
MOSTLY = 0.5  # part of them beyond which they are of another language

logger = logging.getLogger("fusevae")


class MoleculeSchema(TextSchema):
    """Molecules as strings, SMILES or SELFIES by the vocabulary."""

    modality = "molecules"

    def measured(self, x: Tensor, names: Sequence[str]) -> dict[str, np.ndarray]:
        return properties(self.text(x), [name for name in names if name in PROPERTIES]) if has_rdkit() else {}


class Molecules(Text):
    """Molecules: ``.smi``, a column ``smiles``, or any text whose tokens are atoms."""

    name = "molecules"
    what = "molecules"
    schema = MoleculeSchema
    formats = (".smi", ".txt", ".csv", ".jsonl", ".parquet", ".png")
    over = ("text", "tables")
    usual = "smiles"
    looks = Looks("molecules", "smiles", (*OWN, ".txt", ".jsonl"), OWN, PROPERTIES)
    shown = 500
    by_class = False

    def claims(self, given: Given, options: Options) -> bool:
        if options.tokens is not None and not is_folder(options.tokens) and is_of(options.tokens, self.name):
            return super().claims(given, options)
        here = files_at(given.path) if given.path is not None and given.path.is_dir() else []
        if given.suffix in OWN or any(path.suffix.lower() in OWN for path in here):
            return True
        return any(self.looks.is_named(name) for name in given.columns if options.column in (None, name))

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        parts = super().read(given, options)
        for part in parts.values():
            if isinstance(part.x, list):
                part.x = [text.strip(BLANKS) for text in part.x]
        if options.known is None or given.path is None:  # examples in memory keep their places
            return parts
        return {name: known(part, options) for name, part in parts.items()}

    def cut(self, parts: dict[str, Part], validation: float, test: float, options: Options) -> dict[str, Part]:
        return super().cut({name: known(part, options) for name, part in parts.items()}, validation, test, options)

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        if path.suffix.lower() != ".png":
            super().write(x, spec, path, beside)
            return
        if len(x) > DRAWN:
            logger.warning("the picture shows the first %d of %d molecules: .smi or .csv holds all", DRAWN, len(x))
        molecule_grid(spec.text(x[:DRAWN])).save(path, format="PNG")

    def columns(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        return molecule_table(texts)

    def fragment(self, x: Tensor, spec: DataSpec) -> Sheet:
        return Structures(spec.text(x))

    def portrait(self, made: Tensor, real: Tensor, spec: DataSpec) -> dict[str, Sheet]:
        smiles = spec.text(made)
        histograms = property_histograms(smiles, spec.text(real))
        return {"samples": Picture(molecule_grid(smiles[:36])), "properties": Picture.of(histograms)}

    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Judge:
        return MoleculeReference(held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return text_reconstruction(artifact, held, seed=seed, words=False)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return choices(spec, n, seconds)

    def _schema(self, words: Vocabulary) -> TextSchema:
        return MoleculeSchema(words)

    def _compute(self, found: Any, options: Options) -> None:
        names = [name for name in options.conditions.names if name in PROPERTIES]
        for part, _, _ in found.values():
            for name in [name for name in names if name not in part.conditions]:
                part.conditions[name] = np.asarray(properties(part.x, (name,))[name], np.float64)


def known(part: Part, options: Options) -> Part:
    """The strings of a part that are molecules; a header and those that can't be parsed are left out, and said."""
    if not isinstance(part.x, list) or options.stream is not None or not part.x:
        return part
    good, checked = parsable(part.x), has_rdkit()
    at = list(range(len(good))) if part.kept is None else part.kept
    starts = {first for first, _, _ in part.places or ()}
    heads = [i for i, fine in enumerate(good) if not fine and at[i] in starts and "smiles" in part.x[i].lower()]
    for i in heads:
        logger.warning("%s is a header (%s) and left out", place(part, at[i]), part.x[i])
    bad = [i for i, fine in enumerate(good) if not fine and i not in heads]
    n = len(good) - len(heads)
    if not n:
        raise InputError(f"{file_of(part)} holds a header and no molecules: expected SMILES below it")
    different = {text: fine for i, (text, fine) in enumerate(zip(part.x, good, strict=True)) if i not in heads}
    if (n_selfies := sum(map(is_selfies, different))) > MOSTLY * len(different):
        raise InputError(
            f"{file_of(part)}: {n_selfies:,} of {len(different):,} strings are SELFIES by their spelling, such as "
            f"{next(filter(is_selfies, different))[:40]!r}: give SMILES (selfies.decoder makes them); "
            "data.tokens=selfies reads them into SELFIES again"
        )
    if sum(different.values()) < LEAST * len(different):  # a word that comes again and again, as I, may be a molecule
        are = "no molecules" if checked else "no SMILES by their spelling"
        raise InputError(
            f"{file_of(part)}: {len(bad) / n:.0%} of {n} strings are {are}, the first is {part.x[bad[0]][:40]!r}: give "
            "SMILES, first in each line" + ", or say what it is (data.modality=text)" * (options.known is None)
        )
    if not checked:
        logger.warning(
            "%s: rdkit, which would check the molecules, is missing: they are known by their spelling alone "
            "(pip install 'fusevae[molecules]')",
            file_of(part),
        )
    say_left_out(part, [at[i] for i in bad], "strings that are no molecules")
    return part if all(good) else part.at(torch.tensor([i for i, fine in enumerate(good) if fine]))
