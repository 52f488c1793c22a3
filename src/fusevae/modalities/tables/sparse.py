"""Matrices of counts, mostly zeros: kept as they are, and made dense a row at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data.array_files import load_arrays, npz_headers
from fusevae.data.delimited import check_names, nameless
from fusevae.data.parts import Options, Part, need_memory
from fusevae.modalities.tables.column import Column
from fusevae.modalities.tables.reading import chosen
from fusevae.modalities.tables.schema import TableSchema

MARKS = {"data", "shape", "format"}  # what each .npz by scipy.sparse.save_npz has
ARRAYS = MARKS | {"indices", "indptr"}
CELLS = 4_000_000  # of a matrix that are looked at at once
SHOWN = 5

logger = logging.getLogger("fusevae")


class Matrix:
    """Rows ``(n, columns)`` of a matrix, dense where they are asked for: compressed by rows (three arrays), or whole.

    Args:
        shape: of the matrix.
        values: those that are stored: ``(stored,)``, or of a dense matrix all, ``(n, columns)``. An array, or what a
            file gives slices of.
        indices: the column of each.
        starts: where each row starts, ``(n + 1,)``.
    """

    def __init__(self, shape: tuple[int, int], values: Any, indices: Any = None, starts: Any = None) -> None:
        self.shape, self.values, self.indices, self.starts = shape, values, indices, starts

    def rows(self, first: int, last: int) -> np.ndarray:
        """Rows ``first`` to ``last``, float64."""
        if self.starts is None:
            return np.asarray(self.values[first:last], dtype=np.float64)
        a, b = int(self.starts[first]), int(self.starts[last])
        found = np.zeros((last - first, self.shape[1]))
        row = np.repeat(np.arange(last - first), np.diff(self.starts[first : last + 1]))
        np.add.at(found, (row, self.indices[a:b]), self.values[a:b])  # a place may be stored twice: their sum
        return found


class Rows:
    """Some rows and columns of a matrix as a map-style dataset of float32."""

    workers = 0

    def __init__(self, matrix: Matrix, rows: np.ndarray, columns: np.ndarray | None) -> None:
        self.matrix, self.kept, self.columns = matrix, rows, columns

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, i: int) -> Tensor:
        at = int(self.kept[i])
        row = self.matrix.rows(at, at + 1)[0]
        return torch.from_numpy((row if self.columns is None else row[self.columns]).astype(np.float32))

    def picked(self, columns: Sequence[int]) -> Rows:
        """Some columns of these."""
        return Rows(
            self.matrix, self.kept, (np.arange(self.matrix.shape[1]) if self.columns is None else self.columns)[columns]
        )

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows of the matrix, some at a time, each with the number of its first."""
        size = max(1, CELLS // max(1, self.matrix.shape[1]))
        for first in range(0, self.matrix.shape[0], size):
            block = self.matrix.rows(first, min(first + size, self.matrix.shape[0]))
            yield first, block if self.columns is None else block[:, self.columns]


def matrix_part(
    matrix: Matrix,
    names: Sequence[str] | None,
    options: Options,
    where: str,
    beside: Mapping[str, Any] | None = None,
    ids: Sequence[str] | None = None,
) -> Part:
    """A matrix as rows of a table that is read when it is wanted, looked through once.

    Args:
        matrix: cells by genes, say.
        names: of its columns.
        options: how to read.
        where: what to call it.
        beside: conditions by name, a value a row.
        ids: a name for each row.
    """
    n, width = matrix.shape
    if not n or not width:
        raise InputError(f"{where} has shape {matrix.shape}: expected at least one row and one column")
    if told := ["a kind of column"] * bool(options.kinds) or list(options.constraints):
        raise InputError(
            f"{where} is a matrix of numbers alone, for which {told[0]!r} is not looked at: leave it out, or give a "
            "table (.csv, a DataFrame)"
        )
    said = list(names) if names is not None else nameless(width)
    check_names(said, where)
    wanted = chosen(said, (), options, where)
    places = None if wanted == said else np.array([{name: i for i, name in enumerate(said)}[one] for one in wanted])
    rows = Rows(matrix, np.arange(n), places)
    low, high, sums, whole = np.full(len(wanted), np.inf), np.full(len(wanted), -np.inf), [], True
    for first, block in rows.blocks():
        wrong = ~np.isfinite(block.astype(np.float32))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise InputError(
                f"{where}: row {first + i}, column {wanted[j]} is {block[i, j]:g}: expected finite numbers; mend it"
            )
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
        whole = whole and bool((block == np.round(block)).all())
        sums.append(block.sum(1))
    part = Part(rows, columns=wanted, total=n, ids=None if ids is None else list(ids))
    if whole and low.min() >= 0:
        _without_empty(part, rows, np.concatenate(sums) == 0, options, where)
    kind = "continuous" if not whole else "count" if low.min() >= 0 else "integer"
    dtype = "int64" if whole else "float32"
    part.dtypes = [dtype] * len(wanted)
    known = options.known.schema if options.known is not None else None
    part.schema = (
        known
        if isinstance(known, TableSchema)
        else TableSchema([Column(name, dtype, decimals=0 if whole else None, kind=kind) for name in wanted])
    )
    part.range = (float(low.min()), float(high.max()))
    part.beside(beside or {}, where, part.kept)
    return part


def _without_empty(part: Part, rows: Rows, empty: np.ndarray, options: Options, where: str) -> None:
    """Refuse rows without a count, or leave them out."""
    if not empty.any():
        return
    at = np.flatnonzero(empty).tolist()
    named = ", ".join(str(i if part.ids is None else part.ids[i]) for i in at[:SHOWN])
    shown = named + (", ..." if len(at) > SHOWN else "")
    if not options.skip_damaged or empty.all():
        raise InputError(
            f"{where}: {len(at):,} of {len(empty):,} rows hold no counts at all ({shown}): filter empty cells, or "
            "leave them out (data.skip_damaged=true)"
        )
    logger.warning("%s: %d of %d rows were left out, which hold no counts: %s", where, len(at), len(empty), shown)
    kept = np.flatnonzero(~empty)
    rows.kept, part.kept = kept, kept.tolist()
    part.ids = None if part.ids is None else [part.ids[i] for i in part.kept]


def is_sparse(data: Any) -> bool:
    """Whether something in memory is a sparse matrix of scipy."""
    return hasattr(data, "tocsr") and hasattr(data, "nnz")


def in_memory(x: Any) -> Matrix:
    """A matrix in memory, sparse or dense; nothing of it is copied but to compress it by rows."""
    if not is_sparse(x):
        return Matrix(np.shape(x), x)
    x = x.tocsr()
    return Matrix(x.shape, x.data, x.indices, x.indptr.astype(np.int64))


def sparse_part(data: Any, options: Options, where: str) -> Part:
    """A sparse matrix of scipy in memory: its columns have no names."""
    if data.ndim != 2 or data.dtype.kind not in "biuf":
        raise InputError(f"{where} holds {data.dtype} of shape {data.shape}: expected numbers, (rows, columns)")
    return matrix_part(in_memory(data), None, options, where)


def npz_part(path: Path, options: Options) -> Part:
    """A matrix of ``scipy.sparse.save_npz``: its rows have no names."""
    headers = npz_headers(path)
    need_memory(sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in headers.values()), options, str(path))
    arrays = load_arrays(path, sorted(ARRAYS & headers.keys()), headers)
    kind = bytes(np.asarray(arrays["format"]).item() or b"") if arrays["format"].dtype.kind == "S" else b"?"
    shape = tuple(int(v) for v in np.asarray(arrays["shape"]).reshape(-1))
    indices, starts = arrays.get("indices"), arrays.get("indptr")  # other formats have others
    found = compressed(arrays["data"], indices, starts, shape, kind.decode(), str(path))
    return matrix_part(found, None, options, str(path))


def compressed(data: Any, indices: Any, starts: Any, shape: tuple[int, ...], kind: str, where: str) -> Matrix:
    """A matrix compressed by rows (``"csr"``) or, in memory, by columns (``"csc"``), its arrays checked."""
    if kind not in ("csr", "csc"):
        raise InputError(f"{where} holds a sparse matrix of the format {kind!r}: expected csr; convert it (.tocsr())")
    starts, by_row = np.asarray(starts[:]).astype(np.int64), kind == "csr"
    if len(shape) != 2 or min(shape) < 0:
        raise InputError(f"{where} holds a sparse matrix of shape {shape}: expected (rows, columns)")
    lines, width = shape if by_row else shape[::-1]
    stored = len(data)
    fine = len(starts) == lines + 1 and starts[0] == 0 and starts[-1] == stored == len(indices)
    fine = fine and bool((np.diff(starts) >= 0).all()) and data.dtype.kind in "biuf" and indices.dtype.kind in "iu"
    for first in range(0, stored if fine else 0, CELLS):
        some = np.asarray(indices[first : first + CELLS])
        fine = fine and bool((some >= 0).all() and (some < width).all())
    if not fine:
        raise InputError(f"{where} holds no whole sparse matrix of {shape[0]} x {shape[1]} numbers: write it again")
    if by_row:
        return Matrix((lines, width), data, indices, starts)
    from scipy.sparse import csc_matrix

    turned = csc_matrix((np.asarray(data[:]), np.asarray(indices[:]), starts), shape=shape).tocsr()
    return Matrix((shape[0], shape[1]), turned.data, turned.indices, turned.indptr.astype(np.int64))
