"""Tables: rows under named columns, each of numbers, categories or dates, where cells may be missing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec, Measure, Schema
from fusevae.data import npz, parquet
from fusevae.data.arrays import as_tensor, check_finite, check_whole, finite_tensor
from fusevae.data.delimited import nameless
from fusevae.data.examples import Examples, dataset_parts, kind_of
from fusevae.data.given import Given, is_frame, is_hugging_face
from fusevae.data.kinds import is_text
from fusevae.data.modality import Baseline, Choice, Modality
from fusevae.data.parts import Options, Part, datasets_of, pick
from fusevae.data.rows import beside_others, write_columns
from fusevae.data.sheet import Picture, Rows, Sheet
from fusevae.data.splits import Splits
from fusevae.distributions.mixed import Mixed
from fusevae.evaluation.features import Columns
from fusevae.evaluation.fidelity import reconstruction_quality
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.results import Result
from fusevae.modalities.tables import pictures, suspicions
from fusevae.modalities.tables.column import of_python
from fusevae.modalities.tables.constraints import check_rows
from fusevae.modalities.tables.families import cells_of
from fusevae.modalities.tables.h5ad import anndata_part, h5ad_part, is_anndata
from fusevae.modalities.tables.infer import check_known, code, inferred
from fusevae.modalities.tables.laws import say_laws
from fusevae.modalities.tables.quality import TableReference
from fusevae.modalities.tables.reading import (
    frame_part,
    objects_part,
    parquet_part,
    table_part,
    takes_gaps,
)
from fusevae.modalities.tables.recommend import choices
from fusevae.modalities.tables.reconstruction import table_reconstruction
from fusevae.modalities.tables.schema import TableSchema, columns_of, table_columns, words
from fusevae.modalities.tables.sparse import MARKS, is_sparse, npz_part, sparse_part
from fusevae.modalities.tables.writing import plain
from fusevae.nets.mlp import Constant

logger = logging.getLogger("fusevae")


class Tables(Modality):
    """Columns: text tables, JSON, Excel, parquet, DataFrames, arrays ``(N, columns)``; ``.h5ad``, sparse ``.npz``."""

    name = "tables"
    what = "tables"
    schema = TableSchema
    formats = (".csv", ".parquet", ".jsonl", ".npz", ".npy", "")
    shown = 2000
    compared = 500

    def claims(self, given: Given, options: Options) -> bool:
        if options.tokens or options.stream or (options.column and not given.arrays):
            return False
        if given.suffix == ".h5ad" or is_anndata(given.data) or is_sparse(given.data) or _is_sparse(given):
            return True
        if given.arrays:
            return any(len(array.shape) == 2 and array.dtype.kind in "biuf" for array in given.arrays.values())
        if given.is_dataset and not is_hugging_face(given.some):
            return hasattr(given.item, "shape") and len(given.item.shape) == 1
        kinds = {name: kind for name, kind in given.columns.items() if name not in options.conditions.names}
        alone = (is_hugging_face(given.some) or given.are_objects) and is_text(kinds)
        return bool(kinds) and not {"text", "image", "audio"} & set(kinds.values()) and not alone

    def shows(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 1

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        path, rows = given.path, partial(_rows, gaps=takes_gaps(options))
        if path is None:
            if is_anndata(given.data):
                return {"train": anndata_part(given.data, options, given.name)}
            if is_sparse(given.data):
                return {"train": sparse_part(given.data, options, given.name)}
            if is_hugging_face(given.some):
                by_split = isinstance(given.data, Mapping)
                found = datasets_of(given.data, given.name) if by_split else {"train": given.data}
                return {split: frame_part(_frame_of(one), options, given.name) for split, one in found.items()}
            if is_frame(given.data):
                return {"train": frame_part(given.data, options, given.name)}
            if given.is_dataset:
                return dataset_parts(given.data, given.name)
            return npz.parts_of(given.data, options, given.name, rows)
        if given.suffix == ".h5ad":
            return {"train": h5ad_part(path, options)}
        if _is_sparse(given):
            return {"train": npz_part(path, options)}
        if given.workbook is not None:
            columns = given.workbook.columns(options.header, say=options.known is None)
            return {"train": frame_part(columns, options, str(path), columns.start)}
        if given.suffix == ".npz":
            return npz.read_npz(path, options, rows)
        if given.suffix == ".npy":
            return npz.read_npy(path, options, rows)
        if several := [paths for paths in given.tables.values() if len(paths) > 1]:
            raise InputError(f"{path} holds several tables of one split, such as {several[0][1].name}: give one file")
        if given.tables:
            read = objects_part if given.are_objects else table_part
            return {split: read(paths[0], options) for split, paths in given.tables.items()}
        if given.suffix == ".parquet" or (path.is_dir() and parquet.parquet_splits(path)):
            return {split: parquet_part(paths, options) for split, paths in parquet.splits(path).items()}
        raise InputError(
            f"{path} holds no table: expected a .csv, .tsv, .json, .jsonl, .xlsx, .parquet, .npz, .npy or .h5ad"
        )

    def schema_of(self, part: Part, options: Options) -> Schema:
        if part.schema is not None:
            return part.schema
        if options.known is not None and isinstance(options.known.schema, TableSchema):
            return options.known.schema
        return inferred([part], options)

    def examples(
        self, parts: dict[str, Part], rows: Mapping[str, Tensor] | None, options: Options
    ) -> dict[str, Examples]:
        first = next(iter(parts.values()))
        for name, part in parts.items():
            shape = kind_of(part.x)[0]
            if len(shape) != 1:
                raise InputError(
                    f"the {name} part holds examples of shape {shape}: expected rows of numbers, (columns,)"
                )
            _align(part, first, name)
        floats = [part.x for part in parts.values() if isinstance(part.x, Tensor) and part.x.is_floating_point()]
        if len(floats) == len(parts) and isinstance(schema := self._columns(parts, options), TableSchema):
            for name, part in parts.items():
                code(part, schema, name if len(parts) > 1 else "data")
                if options.known is not None:
                    check_known(part, schema, "data", options.gaps)
            train = first.x if rows is None else first.x[rows["train"]]
            if options.known is None:
                for name, part in parts.items() if schema.constrained else ():
                    check_rows([one.fitted(part.x) for one in schema.constraints], part.x, f"{name} part")
                schema = schema.fitted(train.numpy(), first.columns is not None)
                if first.columns is not None:
                    suspicions.say_columns(schema.columns, first.x.numpy())
                    if not schema.constrained:
                        say_laws(schema.columns, first.x.numpy())
            exact = options.known is not None and options.known.dtype == "float64"
            double = exact or any(_double(schema, part) for part in parts.values())
            ends = schema.into(train).float()
            ends = ends[~ends.isnan()]
            for part in parts.values():
                part.schema = schema
                part.x = part.x.double() if double else part.x.float()
                part.range = (float(ends.min()), float(ends.max())) if len(ends) else (0.0, 1.0)
        for name, part in parts.items():
            if isinstance(part.x, Tensor):
                check_whole(part.x, f"the {name} part")
        return super().examples(parts, rows, options)

    def _columns(self, parts: Mapping[str, Part], options: Options) -> Schema:
        """What is known of the columns before the training rows are looked at."""
        first = next(iter(parts.values()))
        if options.known is None and first.schema is None:
            return inferred(list(parts.values()), options)
        found, n = self.schema_of(first, options), kind_of(first.x)[0][0]
        if isinstance(found, TableSchema) and len(found.columns) != n:
            raise InputError(f"these are rows of {n} columns: expected {', '.join(found.names)}, of the model")
        return found

    def check_output(self, path: Path | None, spec: DataSpec) -> None:
        super().check_output(path, spec)
        worded = [c.name for c in getattr(spec.schema, "columns", ()) if c.worded]
        if worded and path is not None and path.suffix.lower() in (".npz", ".npy"):
            raise InputError(f"{path} would lose the words of the column {worded[0]!r}: give a .csv or .parquet")

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        suffix = path.suffix.lower()
        if suffix in (".npz", ".npy"):
            columns: dict[str, Any] = {"x": x.numpy()}
        else:
            beside = dict(beside)
            columns = {**table_columns(x, spec)}
            own = [c.name for c in getattr(spec.schema, "columns", ()) if c.kind == "identifier" and c.dtype == "str"]
            if own and "file" in beside:
                columns[own[0]] = beside.pop("file")
            columns |= {name: beside.pop(name) for name in own if name in beside}  # as they were
            if lost := [name for name in own if len(x) and not any(columns[name])]:
                logger.warning("column %s, an identifier, is written empty: take it from the data", ", ".join(lost))
        columns |= beside_others(beside, columns)
        if suffix == ".jsonl":
            columns = {name: of_python(np.asarray(values)) for name, values in columns.items()}
        if suffix in (".csv", ""):
            columns = {name: plain(values) for name, values in columns.items()}
        if not suffix:
            path.mkdir(parents=True, exist_ok=True)
        orders = {c.name: c.order for c in getattr(spec.schema, "columns", ()) if c.order}
        write_columns(columns, path if suffix else path / "samples.csv", orders)

    def baseline(self, x: Tensor, spec: DataSpec, measure: Measure) -> Baseline:
        schema = spec.schema  # of numbers alone some come again and again, and have a mass in some models
        if not isinstance(schema, TableSchema) or measure == "density" or (measure == "mass" and not schema.mixed):
            return super().baseline(x, spec, measure)
        cells = cells_of(schema)
        constant = Mixed(Constant(Mixed.outputs(cells, 1)), cells, components=1).to(x.device)
        constant.start_from(lambda: x)
        return constant.requires_grad_(False)()

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        names = ["", *words(rows[0][1], spec)[0]]
        cells = [[word, *row] for word, x in rows for row in words(x, spec)[1]]
        return Rows(names, cells) if any(word for word, _ in rows) else Rows(names[1:], [c[1:] for c in cells])

    def paintable(self, x: Tensor, spec: DataSpec) -> tuple[Sheet, tuple[int, ...]]:
        return self.draw([("", x)], spec), (spec.dims,)

    def portrait(self, made: Tensor, real: Tensor, spec: DataSpec) -> dict[str, Sheet]:
        return {"samples": Picture.of(pictures.histograms(real, made, columns_of(spec)))}

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        return Picture.of(pictures.scatter(x, again, columns_of(spec)))

    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Judge:
        if extractor is not None:
            raise InputError(f"{extractor} is for images, these are tables: leave --extractor out")
        if isinstance(held.spec.schema, TableSchema) and held.spec.schema.mixed:
            return TableReference(held, data.train, n)
        return Reference(Columns(data.train), held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        if isinstance(held.spec.schema, TableSchema) and held.spec.schema.mixed:
            return table_reconstruction(artifact, held, seed=seed)
        return reconstruction_quality(artifact, held, seed=seed)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return choices(spec, n, seconds)


def _frame_of(data: Any) -> Any:
    """A dataset of Hugging Face as a DataFrame, its classes by their names."""
    frame = data.with_format("arrow")[:].to_pandas(integer_object_nulls=True)
    for name, kind in data.features.items():
        if words := getattr(kind, "names", None):
            frame[name] = [words[int(i)] if i is not None and i >= 0 else None for i in frame[name]]
    return frame


def _is_sparse(given: Given) -> bool:
    """Whether it is a file of scipy.sparse.save_npz."""
    return given.suffix == ".npz" and given.arrays.keys() >= MARKS


def _rows(x: Any, name: str, gaps: bool = False) -> Part:
    """An array as rows of numbers; floats keep their digits until it is known what float32 would lose."""
    if not hasattr(x, "shape") or len(x.shape) != 2:
        what = f"shape {tuple(x.shape)}" if hasattr(x, "shape") else f"type {type(x).__name__}"
        raise InputError(f"{name} has {what}: expected a table, (N, columns)")
    if 0 in x.shape:
        finite_tensor(x, name)  # which refuses it
    part = Part(as_tensor(x, name, double=True), total=len(x))
    if part.x.is_floating_point() and (not gaps or bool(part.x.float().isinf().any())):
        check_finite(part.x.float(), name)
    dtype = str(x.dtype).removeprefix("torch.") if isinstance(x, Tensor) else x.dtype.newbyteorder("=").name
    part.dtypes = [dtype] * x.shape[1]
    if part.x.dtype == torch.uint8:
        suspicions.say_pixels(x.shape[1], name)
    return part


def _align(part: Part, first: Part, name: str) -> None:
    """The columns of a part in the order of the first's, by their names."""
    if part.columns is None or first.columns is None or part.columns == first.columns:
        return
    if nameless(len(part.columns)) in (part.columns, first.columns) and len(part.columns) == len(first.columns):
        return
    for one in part.columns:
        pick(one, first.columns, "the training part", f"the {name} part")
    order = [part.columns.index(pick(one, part.columns, f"the {name} part", "the training")) for one in first.columns]
    part.x = part.x[:, order] if isinstance(part.x, Tensor) else part.x.picked(order)
    part.columns = list(first.columns)
    part.dtypes = None if part.dtypes is None else [part.dtypes[i] for i in order]


def _double(schema: TableSchema, part: Part) -> bool:
    """Whether float32 would not give the values of a part back as they are written."""
    if part.x.dtype != torch.float64:
        return False
    if part.columns is None:
        return bool(schema.offset.any())
    return not all(column.kept(values) for column, values in zip(schema.columns, part.x.numpy().T, strict=True))
