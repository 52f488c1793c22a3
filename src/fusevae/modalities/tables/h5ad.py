"""AnnData: cells by genes in an ``.h5ad`` file, of which nothing is run, or in memory."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError, near
from fusevae.data.parts import Options, Part
from fusevae.modalities.tables.sparse import Matrix, compressed, in_memory, matrix_part

logger = logging.getLogger("fusevae")


def is_anndata(data: Any) -> bool:
    """Whether something in memory is cells by genes as anndata holds them."""
    return all(hasattr(data, name) for name in ("obs", "var", "X", "obs_names", "var_names", "layers"))


def anndata_part(data: Any, options: Options, where: str) -> Part:
    """Cells in memory."""
    if options.layer is not None and options.layer not in data.layers:
        raise InputError(f"{where} has no layer {options.layer!r}{near(options.layer, data.layers)}")
    x = data.X if options.layer is None else data.layers[options.layer]
    beside = options.conditions.among([str(c) for c in data.obs.columns], f"{where}: obs")
    columns = {name: np.asarray(data.obs[name]) for name in beside}
    genes, cells = ([str(v) for v in names] for names in (data.var_names, data.obs_names))
    return _told(matrix_part(in_memory(x), genes, options, where, columns, cells), data.layers, options, where)


def h5ad_part(path: Path, options: Options) -> Part:
    """Cells of a file: what memory holds is read once, a larger matrix row by row when it is wanted."""
    try:
        import h5py
    except ImportError:
        raise InputError(f"{path} needs h5py to be read: pip install 'fusevae[counts]'") from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no whole .h5ad file ({str(error)[:60]}): write it again (write_h5ad)") from None
    where = str(path)
    try:
        if options.layer is None:
            x, name = _inside(file, "X", where), "X"
        else:
            layers = _inside(file, "layers", where)
            if options.layer not in layers:
                raise InputError(f"{where} has no layer {options.layer!r}{near(options.layer, list(layers))}")
            x, name = _inside(layers, options.layer, where), f"layers/{options.layer}"
        obs, var = _inside(file, "obs", where), _inside(file, "var", where)
        beside = options.conditions.among([k for k in obs if k != _index_of(obs)], f"{where}: obs")
        columns = {column: _column(_inside(obs, column, where), where) for column in beside}
        genes, cells = (_column(_inside(part, _index_of(part), where), where) for part in (var, obs))
        matrix = _matrix(x, options, f"{where}: {name}")
        if matrix.shape != (len(cells), len(genes)):
            raise InputError(
                f"{where}: {name} has shape {matrix.shape} for {len(cells)} cells, {len(genes)} genes: write it again"
            )
        part = matrix_part(matrix, genes.tolist(), options, where, columns, cells.tolist())
        return _told(part, file.get("layers", ()), options, where)
    except (OSError, KeyError, TypeError, UnicodeDecodeError, AttributeError) as error:
        raise InputError(f"{path} is no .h5ad file as anndata writes it ({error}): write it again") from None


def _told(part: Part, layers: Any, options: Options, where: str) -> Part:
    """The same; where it holds no counts, and layers may, that is said."""
    if options.layer is None and options.known is None and len(layers) and "int64" not in (part.dtypes or ()):
        text = "%s: X is read, which holds no counts; there are layers, too: data.layer=%s reads one (%s)"
        logger.warning(text, where, next(iter(layers)), ", ".join(layers))
    return part


def _inside(group: Any, name: str, where: str) -> Any:
    """What a group holds under a name, where it lies in the file itself and not, by a link, in another one."""
    import h5py

    if not isinstance(group, h5py.Group) or name not in group:
        raise InputError(f"{where} holds no {name!r}: expected X, obs and var, as anndata writes them")
    if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
        raise InputError(f"{where}: {name!r} is a link to another file: write the data into one")
    found = group[name]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise InputError(f"{where}: {name!r} lies in another file: write the data into one")
    return found


def _matrix(x: Any, options: Options, where: str) -> Matrix:
    import h5py

    if isinstance(x, h5py.Dataset):
        if x.ndim != 2 or x.dtype.kind not in "biuf":
            raise InputError(f"{where} holds {x.dtype} of shape {x.shape}: expected numbers, cells by genes")
        return Matrix(x.shape, x[:] if x.size * x.dtype.itemsize <= options.memory else x)
    kind = str(x.attrs.get("encoding-type", x.attrs.get("h5sparse_format", "?"))).removesuffix("_matrix")
    shape = tuple(int(v) for v in x.attrs.get("shape", x.attrs.get("h5sparse_shape", ())))
    data, indices, starts = (_inside(x, name, where) for name in ("data", "indices", "indptr"))
    fits = data.size * (data.dtype.itemsize + indices.dtype.itemsize) <= options.memory
    if not fits and kind == "csc":
        raise InputError(f"{where} is compressed by columns and larger than memory_gb: write it by rows (.tocsr())")
    return compressed(*((data[:], indices[:]) if fits else (data, indices)), starts, shape, kind, where)


def _index_of(group: Any) -> str:
    """The column of a table that names its rows."""
    return str(group.attrs.get("_index", "_index"))


def _column(x: Any, where: str) -> np.ndarray:
    """A column of ``obs`` or ``var``: words, numbers with NaN for a missing one, flags."""
    import h5py

    if isinstance(x, h5py.Dataset):
        values = x.asstr()[:] if h5py.check_string_dtype(x.dtype) else x[:]
        if values.ndim == 1 and values.dtype.kind in "biufOU" and "categories" not in x.attrs:
            return np.asarray(values)
    elif "codes" in x and "categories" in x:
        codes, words = _inside(x, "codes", where)[:], _column(_inside(x, "categories", where), where)
        if len(codes) and not -1 <= codes.min() <= codes.max() < len(words):
            raise InputError(f"{where}: {x.name} has codes without a category: write it again")
        missing = "" if words.dtype.kind in "OU" else np.nan
        return np.append(words, np.array([missing], dtype=object if missing == "" else float))[codes]
    elif "values" in x and "mask" in x:
        values, mask = _column(_inside(x, "values", where), where), _inside(x, "mask", where)[:]
        if values.dtype.kind in "OU":
            return np.where(mask, "", values)
        return np.where(mask, np.nan, values.astype(float)) if mask.any() else values
    raise InputError(f"{where}: {x.name} is no column that can be read: take others, or write it with a newer anndata")
