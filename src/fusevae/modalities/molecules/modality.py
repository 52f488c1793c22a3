"""Molecules: SMILES strings, a language of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.spec import DataSpec
from fusevae.core.vocabulary import Vocabulary
from fusevae.data.examples import Examples
from fusevae.data.modality import Choice
from fusevae.data.parts import Options
from fusevae.data.rows import write_columns
from fusevae.data.sheet import Picture, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.results import Result
from fusevae.modalities.molecules.chemistry import PROPERTIES, molecule_table, properties
from fusevae.modalities.molecules.pictures import molecule_grid, property_histograms
from fusevae.modalities.molecules.quality import MoleculeReference
from fusevae.modalities.text.modality import Text
from fusevae.modalities.text.quality import text_reconstruction
from fusevae.modalities.text.schema import TextSchema


class MoleculeSchema(TextSchema):
    """Molecules as strings, SMILES or SELFIES by the vocabulary."""

    modality = "molecules"


class Molecules(Text):
    """Molecules: ``.smi``, or any text whose tokens are atoms."""

    name = "molecules"
    what = "molecules"
    schema = MoleculeSchema
    formats = (".smi", ".txt", ".csv", ".jsonl", ".parquet", ".png")
    usual = "smiles"
    lines = (".smi", ".smiles")
    shown = 500
    by_class = False

    def claims(self, given: Any, options: Options) -> bool:
        if options.tokens is not None:
            return self._mine(options.tokens) and (super().claims(given, options) or given.suffix in (".txt", ".jsonl"))
        if given.columns:
            return "smiles" in {name.lower() for name in given.columns}
        return not given.are_texts and not given.is_saved and super().claims(given, options)

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        smiles, suffix = spec.text(x), path.suffix.lower()
        if suffix == ".png":
            molecule_grid(smiles[:100]).save(path, format="PNG")
        elif suffix == ".smi":
            path.write_text("".join(text + "\n" for text in smiles), encoding="utf-8")
        elif suffix in (".csv", ".parquet"):
            write_columns({**molecule_table(smiles), **beside}, path)
        else:
            super().write(x, spec, path, beside)

    def portrait(self, made: Tensor, real: Tensor, spec: DataSpec) -> dict[str, Sheet]:
        smiles = spec.text(made)
        histograms = property_histograms(smiles, spec.text(real))
        return {"samples": Picture(molecule_grid(smiles[:36])), "properties": Picture.of(histograms)}

    def reference(self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool) -> Judge:
        return MoleculeReference(held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return text_reconstruction(artifact, held, seed=seed, words=False)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return []

    def _schema(self, words: Vocabulary) -> TextSchema:
        return MoleculeSchema(words)

    def _compute(self, found: Any, options: Options) -> None:
        names = [name for name in options.conditions.names if name in PROPERTIES]
        for part, _, _ in found.values():
            for name in [name for name in names if name not in part.conditions]:
                part.conditions[name] = np.asarray(properties(part.x, (name,))[name], np.float64)
