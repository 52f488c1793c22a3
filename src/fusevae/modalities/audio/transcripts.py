"""What is said in clips: texts beside them, as LJSpeech has them, or in a column of an index."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import torch

from fusevae.core.columns import Text
from fusevae.core.errors import InputError
from fusevae.data.encodings import decoded
from fusevae.data.folders import INDEX, find
from fusevae.data.parts import Options, Part
from fusevae.modalities.audio.decode import SUFFIXES, Clip

WAVS = "wavs"  # the folder of LJSpeech's layout
TEXTS = ("text", "transcription", "transcript", "normalized_text", "sentence")  # columns of what is said, by name
FASTEST = 200.0  # characters a second beyond which a text is of another clip: fast speech has 25

logger = logging.getLogger("fusevae")


def column_of(names: Collection[str], options: Options) -> str | None:
    """The column that holds what is said: the one asked for as text, that of the model, or one by its name where no
    other columns were asked for."""
    asked, known = options.conditions, options.known.conditions if options.known is not None else None
    own = known.text.name if known is not None and known.text is not None else None
    for name in names:
        said = asked.kind(name)
        usual = name in TEXTS and said is None and (not asked.told or name in asked.names)
        if said == "text" or (name == own if known is not None else usual):
            return name
    return None


def lj_speech(folder: Path, options: Options) -> dict[str, str] | None:
    """The files below ``wavs`` that a ``metadata.csv`` of lines ``name|text`` or ``name|text|normalised`` names, each
    with its last text; None where the folder is of another form."""
    index = folder / INDEX
    if not (index.is_file() and (folder / WAVS).is_dir()):
        return None
    lines = re.split(r"\r\n|\r|\n", decoded(index, "list of clips"))  # a text may have other line separators in it
    rows = [(i, line.split("|")) for i, line in enumerate(lines, 1) if line.strip()]
    if not rows or len(rows[0][1]) == 1:
        return None
    there = {path.relative_to(folder / WAVS).as_posix() for path in find(folder / WAVS, SUFFIXES)}
    found: dict[str, str] = {}
    faults: list[str] = []
    for i, (name, *texts) in rows:
        file = name if name.lower().endswith(SUFFIXES) else f"{name}.wav"
        if not 1 <= len(texts) <= 2:
            faults.append(f"{index}, line {i} has {1 + len(texts)} parts: expected name|text or name|text|normalised")
        elif file not in there:
            faults.append(f"{index}, line {i} names {name!r}, which isn't in {WAVS}/: mend it, or delete the line")
        elif file in found:
            raise InputError(f"{index}, line {i} names {name!r} again: expected a line for each")
        else:
            found[file] = next((text for text in reversed(texts) if text.strip()), "")
    _left_out(faults, len(rows), options, str(index))
    if not found:
        raise InputError(f"{index} names no file of {WAVS}/: expected lines such as LJ001-0001|printing, in the sense")
    if others := there - found.keys():
        said = "%s: left out %d clips of %s/ that have no text in it, such as %s"
        logger.warning(said, index, len(others), WAVS, min(others))
    return found


def beside(part: Part, column: str, texts: Sequence[str], options: Options, where: str) -> Part:
    """A part with a text beside each of its clips. Raises :class:`InputError` for an empty text, one that is too long
    for its clip, and one with characters that a model doesn't know; where damaged ones are skipped they are counted."""
    known = options.known.conditions.text if options.known is not None and options.known.conditions else None
    texts = [text.strip() for text in texts]
    part.conditions.pop(column, None)  # it is no column of classes
    found = [_fault(clip, text, known) for clip, text in zip(part.x, texts, strict=True)]
    faults = [f"{where}: {name}: {fault}" for name, fault in zip(part.ids or [], found, strict=True) if fault]
    good = [i for i, fault in enumerate(found) if not fault]
    _left_out(faults, len(texts), options, where)
    if not good:
        raise InputError(f"{where} has a text for none of its {len(texts)} clips: expected one for each")
    whole = part.at(torch.tensor(good)) if faults else part
    whole.beside({column: [texts[i] for i in good]}, where)
    whole.texts = column
    return whole


def _fault(clip: Clip, text: str, known: Text | None) -> str:
    """What is wrong with a text, in words; empty where nothing is."""
    seconds = len(clip.samples) / clip.rate
    if not text:
        return "its text is empty: write what is said, or leave it out"
    if len(text) > FASTEST * seconds:
        return f"{len(text)} characters are no text of a clip of {seconds:.2f} s: check that the two belong together"
    strange = next((sign for sign in text if known is not None and sign not in known.places), "")
    return f"its text has {strange!r}, which no training text has: mend it, or leave it out" if strange else ""


def _left_out(faults: Sequence[str], total: int, options: Options, where: str) -> None:
    if faults and not options.skip_damaged:
        raise InputError(f"{faults[0]}; or pass --skip-damaged (skip_damaged=True) to use the others")
    if faults:
        logger.warning("%s: left out %d of %d clips; the first: %s", where, len(faults), total, faults[0])
