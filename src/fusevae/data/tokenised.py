"""From texts to tokens: the vocabulary of the training part, what is too long or unknown, windows of a long text."""

from __future__ import annotations

import logging
from array import array
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.spec import MOLECULES, DataSpec
from fusevae.core.vocabulary import END, UNKNOWN, Vocabulary
from fusevae.data.arrays import encode_conditions
from fusevae.data.examples import Examples
from fusevae.data.molecules import PROPERTIES, properties
from fusevae.data.parts import Options, Part
from fusevae.data.pretrained_tokens import PretrainedTokens, is_folder
from fusevae.data.sequences import Sequences, Windows
from fusevae.data.text import file_of, place, refuse, say_left_out
from fusevae.data.tokens import vocabulary

USUAL = {"bpe": 2000, "words": 8000}  # tokens of a vocabulary whose size isn't said
OVERLAP = 16  # windows for training start so many times as densely as they are long

logger = logging.getLogger("fusevae")


def part_at(part: Part, rows: Tensor) -> Part:
    """Some texts of a part."""
    chosen = rows.tolist()
    kept = list(range(len(part.x))) if part.kept is None else part.kept
    x, y = [part.x[i] for i in chosen], None if part.y is None else part.y[chosen]
    return replace(part, x=x, y=y, kept=[kept[i] for i in chosen])


def cut_stream(parts: dict[str, Part], validation: float, test: float) -> dict[str, Part]:
    """One long text cut into contiguous pieces: validation and test are from its end, unless they came with it."""
    text = parts["train"].x[0]
    found = dict(parts)
    for name, fraction in (("test", test), ("validation", validation)):
        if name not in parts:
            n = round(fraction * len(parts["train"].x[0]))
            found[name] = replace(parts["train"], x=[text[len(text) - n :]])
            text = text[: len(text) - n]
    return found | {"train": replace(parts["train"], x=[text])}


def tokenised(
    parts: dict[str, Part], options: Options, classes: list[str] | None = None
) -> tuple[dict[str, Examples], DataSpec]:
    """Texts as examples. The vocabulary is the one that ``options`` hold, or is fitted on the training part alone."""
    first = parts.get("train") or next(iter(parts.values()))
    words = options.vocabulary
    if words is None:
        kind = options.tokens or first.tokens or "bpe"
        if is_folder(kind):
            words = PretrainedTokens.read(kind)
        else:
            words = vocabulary(kind).fit(first.x, options.vocabulary_size or USUAL.get(kind))
    encoded = {name: _encode(part, words, options) for name, part in parts.items()}
    if options.properties is not None and words.kind in MOLECULES:
        for part, _, _ in encoded.values():
            part.y = _computed(part, options.properties) if part.y is None else part.y
    for name, (part, tokens, _) in encoded.items():
        unknown = int((tokens == UNKNOWN).sum())
        if unknown and (part is not first or options.vocabulary is not None):
            said = "%s: %d of %d tokens (%s) are unknown to the vocabulary"
            logger.warning(said, f"{file_of(part)} ({name})", unknown, len(tokens), words.kind)
    names = next((part.names for part in parts.values() if part.names), None)
    given = [part.y for part, _, _ in encoded.values()]
    labels, known, numbers = encode_conditions(given, names, classes, options.properties)
    longest = options.stream or max([1, *(int(n.max()) for _, _, n in encoded.values() if len(n))])
    spec = DataSpec((longest,), "int64", 0, words.size - 1, known, words, numbers)
    found: dict[str, Examples] = {}
    for (name, (_, tokens, lengths)), y in zip(encoded.items(), labels, strict=True):
        if options.stream is None:
            found[name] = Sequences(tokens, lengths, y, spec)
            continue
        train = name == "train" and len(parts) > 1
        found[name] = Windows(tokens, longest, max(1, longest // OVERLAP) if train else longest, spec)
        if len(tokens) and not len(found[name]):
            raise InputError(
                f"the {name} part of the text has {len(tokens)} tokens, a window {longest}: give more text, a smaller "
                "stream, or another fraction for it"
            )
    return found, spec


def _computed(part: Part, names: tuple[str, ...]) -> np.ndarray | None:
    """Properties of molecules that none were given with, where they are such that can be computed."""
    if not set(names) <= set(PROPERTIES):
        return None
    return np.stack(list(properties(part.x, names).values()), 1).astype(np.float32)


def _encode(part: Part, words: Vocabulary, options: Options) -> tuple[Part, Tensor, Tensor]:
    """The tokens of all texts of a part one after the other, their lengths, and the part without what is left out."""
    flat, lengths = array("i"), array("i")
    kept, damaged = [], []
    for i, text in enumerate(part.x):
        at = i if part.kept is None else part.kept[i]
        try:
            tokens = words.encode(text)
        except InputError as error:
            refuse(f"{place(part, at)}: {error}", options)
            damaged.append(at)
            continue
        if options.stream is not None:
            flat.extend(tokens)
            continue
        if len(tokens) >= options.longest:
            n = len(tokens) + 1
            refuse(
                f"{place(part, at)} has {n} tokens ({words.kind}) with its end, more than longest={options.longest}: "
                f"raise it (--set data.longest={n})",
                options,
            )
            damaged.append(at)
            continue
        flat.extend(tokens)
        flat.append(END)
        lengths.append(len(tokens) + 1)
        kept.append(i)
    if damaged:
        say_left_out(part, damaged, "texts that are too long or can't be encoded")
        if not kept:
            raise InputError(f"{file_of(part)}: no text is left: raise longest={options.longest}, or take other tokens")
        part = part_at(part, torch.tensor(kept))
    return part, torch.from_numpy(np.array(flat, np.int32)), torch.from_numpy(np.array(lengths, np.int64))
