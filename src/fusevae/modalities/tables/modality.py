"""Tables: rows of numbers under named columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError, near
from fusevae.core.spec import DataSpec, Schema
from fusevae.data import npz, parquet
from fusevae.data.delimited import nameless
from fusevae.data.examples import Examples, dataset_parts
from fusevae.data.given import Given, is_frame, is_hugging_face
from fusevae.data.modality import Choice, Modality, array_part
from fusevae.data.parts import Options, Part
from fusevae.data.rows import write_columns
from fusevae.data.sheet import Picture, Rows, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.features import Columns
from fusevae.evaluation.fidelity import reconstruction_quality
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.results import Result
from fusevae.modalities.tables import pictures
from fusevae.modalities.tables.reading import frame_part, parquet_part, table_part


class TableSchema(Schema):
    """The columns of a table by name, in the order in which a model is given them.

    Args:
        columns: their names.
        dtypes: of each, as it came: ``"int64"``, ``"float64"`` ...
    """

    modality = "tables"

    def __init__(self, columns: list[str], dtypes: list[str] | None = None) -> None:
        self.columns = list(columns)
        self.dtypes = list(dtypes or [])

    def check(self, ours: DataSpec, theirs: DataSpec, what: str) -> None:
        other = theirs.schema
        if isinstance(other, TableSchema) and other.columns != self.columns:
            missing = [name for name in self.columns if name not in other.columns]
            if missing:
                raise InputError(
                    f"{what} was made for a column {missing[0]!r}, these have none{near(missing[0], other.columns)}"
                )
            raise InputError(f"{what} was made for columns {', '.join(self.columns)}: give these")
        super().check(ours, theirs, what)

    def about(self, spec: DataSpec) -> str:
        return f"{spec.dims} columns ({', '.join(self.columns[:8])}{' ...' if len(self.columns) > 8 else ''}), {spec.dtype}"


class Tables(Modality):
    """Numbers in columns: ``.csv``, ``.tsv``, parquet, DataFrames, arrays ``(N, columns)``."""

    name = "tables"
    what = "tables of numbers"
    schema = TableSchema
    formats = (".csv", ".parquet", ".npz", ".npy", "")
    shown = 2000
    compared = 500

    def claims(self, given: Given, options: Options) -> bool:
        if options.tokens or options.column or options.stream:
            return False
        if given.arrays:
            return any(len(array.shape) == 2 and array.dtype.kind in "biuf" for array in given.arrays.values())
        if given.is_dataset and not is_hugging_face(given.data):
            return hasattr(given.item, "shape") and len(given.item.shape) == 1
        kinds = [kind for name, kind in given.columns.items() if name not in options.conditions.names]
        return bool(kinds) and not {"text", "image", "audio"} & set(kinds) and not is_hugging_face(given.data)

    def shows(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 1

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        path = given.path
        if path is None:
            if is_frame(given.data):
                return {"train": frame_part(given.data, options, given.name)}
            if given.is_dataset:
                return dataset_parts(given.data, given.name)
            return npz.parts_of(given.data, options, given.name, _rows)
        if given.suffix == ".npz":
            return npz.read_npz(path, options, _rows)
        if given.suffix == ".npy":
            return npz.read_npy(path, options, _rows)
        if given.suffix in (".csv", ".tsv"):
            return {"train": table_part(path, options)}
        if given.suffix == ".parquet" or (path.is_dir() and parquet.parquet_splits(path)):
            return {split: parquet_part(paths, options) for split, paths in parquet.splits(path).items()}
        raise InputError(f"{path} holds no table: expected a .csv, .tsv, .parquet, .npz or .npy")

    def schema_of(self, part: Part, options: Options) -> Schema:
        if options.known is not None and isinstance(options.known.schema, TableSchema) and part.columns is None:
            return options.known.schema
        n = (
            part.x.shape[1]
            if isinstance(part.x, Tensor)
            else len(part.x[0][0] if isinstance(part.x[0], tuple) else part.x[0])
        )
        return TableSchema(part.columns or nameless(n), part.dtypes)

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        suffix = path.suffix.lower()
        if suffix in (".npz", ".npy"):
            write_columns({"x": x.numpy(), **beside}, path)
        elif suffix:
            write_columns({**_named(x, spec), **beside}, path)
        else:
            path.mkdir(parents=True, exist_ok=True)
            write_columns({**_named(x, spec), **beside}, path / "samples.csv")

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        names = list(_named(rows[0][1], spec))
        cells = [[word, *(f"{v:.4g}" for v in row)] for word, x in rows for row in x.tolist()]
        return Rows(["", *names], cells) if any(word for word, _ in rows) else Rows(names, [c[1:] for c in cells])

    def portrait(self, made: Tensor, real: Tensor, spec: DataSpec) -> dict[str, Sheet]:
        return {"samples": Picture.of(pictures.histograms(real, made, list(_named(made, spec))))}

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        return Picture.of(pictures.scatter(x, again, list(_named(x, spec))))

    def reference(self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool) -> Judge:
        if extractor is not None:
            raise InputError(f"{extractor} is for images, these are tables: leave --extractor out")
        return Reference(Columns(data.train), held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return reconstruction_quality(artifact, held, seed=seed)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return []


def _rows(x: Any, name: str) -> Part:
    if len(x.shape) != 2:
        raise InputError(f"{name} has shape {tuple(x.shape)}: expected a table, (N, columns)")
    part = array_part(x, name)
    part.dtypes = [str(x.dtype).removeprefix("torch.")] * x.shape[1]
    return part


def _named(x: Tensor, spec: DataSpec) -> dict[str, np.ndarray]:
    """The columns of rows by name; whole numbers stay whole."""
    names = spec.schema.columns if isinstance(spec.schema, TableSchema) else nameless(x.shape[1])
    return dict(zip(names, x.flatten(1).numpy().T, strict=True))
