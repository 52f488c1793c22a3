"""Sound in folders, in a column of parquet, in arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.data import npz, parquet
from fusevae.data.array_files import load_arrays, load_npy, npz_headers
from fusevae.data.arrays import as_tensor, check_finite
from fusevae.data.conditions import LABELS
from fusevae.data.folders import INDEX, Split, find, roots, usual
from fusevae.data.parts import Options, Part, datasets_of, need_memory, only
from fusevae.modalities.audio import transcripts
from fusevae.modalities.audio.collect import collect, remarks, say
from fusevae.modalities.audio.decode import PEAK, RATES, SUFFIXES, Clip, Encoded

RATE = "rate"  # the array of an .npz that says it, in Hz


def read_file(path: Path, options: Options) -> dict[str, Part]:
    """One file."""
    part = collect([(str(path), path)], 1, options, str(path))
    part.ids = [path.name]
    if options.conditions.pattern:
        part.beside(options.conditions.in_names([path.name]), str(path))
    return {"train": part}


def read_folder(folder: Path, options: Options) -> dict[str, Part]:
    """A folder of files; sub-folders are classes, or splits where they are called train, test, validation. A file
    ``metadata.csv`` says which count, with a column ``file_name`` as Hugging Face has it, or as LJSpeech does."""
    paths = find(folder, SUFFIXES)
    if not paths:
        raise InputError(f"{folder} holds no sound: expected {', '.join(SUFFIXES[:6])} in it or in sub-folders")
    if (listed := transcripts.lj_speech(folder, options)) is not None:
        return {"train": _listed(folder, listed, options)}
    return {name: _read_split(root, options) for name, root in roots(folder, paths, options, "sound").items()}


def _listed(folder: Path, texts: dict[str, str], options: Options) -> Part:
    """The files of LJSpeech's layout, with their texts."""
    root, names = folder / transcripts.WAVS, list(texts)
    part = collect(((str(root / name), root / name) for name in names), len(names), options, str(folder))
    rows = part.kept or []
    part.ids = [names[i] for i in rows]
    if options.conditions.pattern:
        part.beside(options.conditions.in_names(part.ids), str(folder))
    column = transcripts.TEXTS[0]
    options.conditions.among([column, *part.conditions], str(folder))
    if options.conditions.kind(column) == "label":
        part.beside({column: [texts[name] for name in part.ids]}, str(folder))
        return part
    return transcripts.beside(part, column, [texts[name] for name in part.ids], options, str(folder / INDEX))


def _read_split(root: Path, options: Options) -> Part:
    split = Split(root, SUFFIXES, "sound")
    part = collect(((str(path), path) for path in split.paths), len(split.paths), options, str(root))
    rows = part.kept or []
    part.ids = [split.names[i] for i in rows]
    split.beside(part, rows, options)
    index = split.index or {}
    if (column := transcripts.column_of(index, options)) is None:
        return part
    return transcripts.beside(part, column, [index[column][i] for i in rows], options, f"{root}/{INDEX}")


def read_parquet(splits: dict[str, list[Path]], options: Options) -> dict[str, Part]:
    """Every split's sound in the Hugging Face layout, a column of ``{bytes, path}``."""
    parts: dict[str, Part] = {}
    for split, paths in splits.items():
        files = parquet.Files(paths)
        kinds = parquet.column_kinds(paths[0])
        likely = [name for name, kind in kinds.items() if kind == "audio" or name == options.column]
        column = only(likely, options, files.where, "sound")
        part = parts[split] = collect(_encoded(files, column), files.total, options, files.where)
        part.ids = [f"row {i}" for i in part.kept or []]
        files.conditions(part, options.conditions, LABELS)
        if (text := transcripts.column_of(kinds, options)) is not None:
            texts = files.cells(text)
            chosen = [str(texts[i] or "") for i in part.kept or []]
            parts[split] = transcripts.beside(part, text, chosen, options, files.where)
    return parts


def read_datasets(data: Any, options: Options, where: str) -> dict[str, Part]:
    """The sound of a Hugging Face dataset, or of a dictionary of them; it is decoded here, not by datasets."""
    import datasets

    if isinstance(data, Mapping):
        found = datasets_of(data, where)
        return {name: read_datasets(one, options, f"{where}, {name}")["train"] for name, one in found.items()}
    likely = [name for name, kind in data.features.items() if isinstance(kind, datasets.Audio)]
    column = only(likely, options, where, "sound")
    plain = data.with_format(None)
    rows = plain.select_columns([column]).cast_column(column, datasets.Audio(decode=False))
    part = collect((_bytes(row[column], f"{where} row {i}") for i, row in enumerate(rows)), len(rows), options, where)
    part.ids = [f"row {i}" for i in part.kept or []]
    names = options.conditions.among(data.features, where) or usual(data.features, options.conditions)
    part.beside({name: list(plain.select_columns([name])[name]) for name in names}, where, part.kept)
    part.names = {name: list(words) for name in names if (words := getattr(data.features[name], "names", None))}
    if (text := transcripts.column_of(data.features, options)) is not None:
        texts = list(plain.select_columns([text])[text])
        part = transcripts.beside(part, text, [str(texts[i] or "") for i in part.kept or []], options, where)
    return {"train": part}


def read_saved(folder: Path, options: Options) -> dict[str, Part]:
    """What ``datasets.save_to_disk`` wrote."""
    with parquet.saved(folder) as data:
        return read_datasets(data, options, str(folder))


def _encoded(files: parquet.Files, column: str) -> Iterator[tuple[str, Encoded]]:
    for i, value in enumerate(files.cells(column)):
        yield _bytes(value, f"{files.where} row {i}")


def _bytes(value: Any, name: str) -> tuple[str, Encoded]:
    data = value.get("bytes") if isinstance(value, dict) else value
    if data is None and isinstance(value, dict) and value.get("path") and Path(value["path"]).is_file():
        return name, Path(value["path"])
    if not isinstance(data, bytes):
        raise InputError(f"{name} holds no bytes of sound (null, or only a path): store the sound in the file")
    return name, data


def read_npz(path: Path, options: Options) -> dict[str, Part]:
    """Arrays ``(N, samples)`` and their ``rate``; zeros after the last sample of a row are no part of it."""
    headers = npz_headers(path)
    rate = _told(load_arrays(path, [RATE], headers)[RATE], str(path)) if RATE in headers else None
    names = [name for name in headers if name != RATE]
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in (headers[name] for name in names))
    need_memory(size, options, str(path))
    return read_arrays(load_arrays(path, names, headers), options, str(path), rate)


def read_npy(path: Path, options: Options) -> dict[str, Part]:
    """An array ``(N, samples)``."""
    return read_arrays(load_npy(path), options, str(path))


def read_arrays(data: Any, options: Options, name: str, rate: int | None = None) -> dict[str, Part]:
    """Arrays in memory, as of :func:`read_npz`."""
    if isinstance(data, Mapping) and RATE in data:
        rate = _told(data[RATE], name)
        data = {key: value for key, value in data.items() if key != RATE}
    found = _rate(rate, options)
    return npz.parts_of(data, options, name, lambda x, where: _part(x, where, found))


def _told(value: Any, where: str) -> int:
    """The rate that an array says, in Hz."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not (found.is_integer() and RATES[0] <= found <= RATES[1]):
        shown = " ".join(str(value).split())[:40]
        raise InputError(f"{where}: {RATE} is {shown}: expected one whole number in Hz, such as 16000")
    return int(found)


def _rate(rate: int | None, options: Options) -> int:
    known = getattr(options.known.schema, "rate", None) if options.known is not None else None
    found = rate or known or options.rate
    if found is None:
        raise InputError("an array of sound says no rate: give data.rate in Hz (rate=16000), or an array named rate")
    return found


def _part(x: Any, name: str, rate: int) -> Part:
    if not hasattr(x, "shape") or len(x.shape) != 2 or 0 in x.shape:
        held = f"shape {tuple(x.shape)}" if hasattr(x, "shape") else f"type {type(x).__name__}"
        raise InputError(f"{name} has {held}: expected sound, (N, samples)")
    found: Tensor = as_tensor(x, name)
    if not found.is_floating_point():
        depth = {torch.int16: 2.0**15, torch.int32: 2.0**31}.get(found.dtype)
        if depth is None:
            raise InputError(f"{name} holds {found.dtype} values: expected samples as floats, int16 or int32")
        found = (found.double() / depth).float()
    check_finite(found, name)
    if (peak := float(found.abs().max())) > PEAK:
        raise InputError(f"{name} holds samples up to {peak:g}: expected -1 to 1, full scale; divide them")
    rows = found.numpy()
    clips = [Clip(row[: max(1, int(np.flatnonzero(row)[-1]) + 1) if row.any() else len(row)], rate) for row in rows]
    say(Counter(what for clip in clips for what in remarks(clip)), len(clips), name)
    return Part(clips, total=len(clips))
