"""From texts to tokens: the vocabulary of the training part, what is too long or unknown, windows of a long text."""

from __future__ import annotations

import logging
from array import array
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.vocabulary import END, FIRST, UNKNOWN, Vocabulary
from fusevae.data.conditions import encode
from fusevae.data.examples import Examples
from fusevae.data.modality import conditions_of
from fusevae.data.parts import Options, Part
from fusevae.data.sequences import Sequences, Windows
from fusevae.modalities.text.pretrained_tokens import PretrainedTokens, is_folder
from fusevae.modalities.text.reading import file_of, place, refuse, say_left_out
from fusevae.modalities.text.schema import TextSchema
from fusevae.modalities.text.tokens import vocabulary

USUAL = {"bpe": 2000, "words": 8000}  # tokens of a vocabulary whose size isn't said
MANY = 0.2  # part of the tokens that may be unknown, unsaid
BYTES = 256 + FIRST  # tokens of pairs without any
LOOKED, HELD = 5000, 10  # texts by which it is seen whether pairs are worth it; one of so many is held out
OVERLAP = 16  # windows for training start so many times as densely as they are long

logger = logging.getLogger("fusevae")

#: a part without what is left out, its tokens one text after the other, and the length of each
Encoded = tuple[Part, Tensor, Tensor]


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


def vocabulary_for(texts: list[str], kind: str, options: Options) -> Vocabulary:
    """The vocabulary that is asked for, fitted on texts."""
    if is_folder(kind):
        return PretrainedTokens.read(kind)
    size = options.vocabulary_size or USUAL.get(kind)
    if kind == "bpe" and options.vocabulary_size is None and not pairs_pay(texts):
        size = BYTES
    return vocabulary(kind).fit(texts, size)


def pairs_pay(texts: list[str]) -> bool:
    """Whether held-out texts are likelier as pairs than as bytes, each token by itself; of few texts they are said to
    be. Words come again, and so do pairs of their letters. In peptides or codes no run of letters does, and what a net
    is told of pairs there is chance."""
    some = texts[:: 1 + len(texts) // LOOKED]
    held = some[::HELD]
    rest = [text for i, text in enumerate(some) if i % HELD]

    def nats(size: int) -> float:
        words = vocabulary("bpe").fit(rest, size)
        seen, others = (
            torch.bincount(torch.tensor([t for text in part for t in (*words.encode(text), END)]), minlength=words.size)
            for part in (rest, held)
        )
        share = (seen + 0.5) / (seen + 0.5).sum()
        return (others * share.log()).sum().item()

    return len(held) < HELD or nats(USUAL["bpe"]) > nats(BYTES)


def encoded(parts: dict[str, Part], words: Vocabulary, options: Options, fitted: bool) -> dict[str, Encoded]:
    """The tokens of each part. Unknown ones are said; in the part that the vocabulary is ``fitted`` on where they are
    many, or the texts are not made of such tokens."""
    long: list[tuple[int, str]] = []
    found = {name: _encode(part, words, options, long) for name, part in parts.items()}
    if long:
        n, where = max(long, key=lambda one: one[0])
        refuse(
            f"{where} has {n} tokens ({words.kind}) with its end, more than longest={options.longest}"
            + f" ({len(long)} texts have)" * (len(long) > 1)
            + f": raise it (--set data.longest={n})",
            options,
        )
    for name, (part, tokens, _) in found.items():
        unknown, where = int((tokens == UNKNOWN).sum()), file_of(part) + f" ({name})" * fitted
        if unknown and not (fitted and name == "train"):
            said = "%s: %d of %d tokens (%s) are unknown to the vocabulary"
            logger.warning(said, where, unknown, len(tokens), words.kind)
        elif fitted and name == "train":
            many = f"{unknown} of {len(tokens)} are unknown" if unknown > MANY * len(tokens) else ""
            if why := words.misfit(list(part.x)) or many:
                said = "%s: tokens=%s don't fit this text, %s: take data.tokens=characters or bpe"
                logger.warning(said, where, words.kind, why)
    return found


def sequences(
    found: dict[str, Encoded], schema: TextSchema, options: Options, train: Tensor | None = None
) -> dict[str, Examples]:
    """Examples of encoded parts: texts of their own length, or windows of a long one."""
    parts = {name: part for name, (part, _, _) in found.items()}
    conditions = conditions_of(parts, options, train)
    longest = options.stream or max([1, *(int(n.max()) for _, _, n in found.values() if len(n))])
    spec = schema.spec(longest, conditions)
    made: dict[str, Examples] = {}
    for name, (part, tokens, lengths) in found.items():
        if options.stream is None:
            texts = made[name] = Sequences(tokens, lengths, encode(conditions, part.conditions, part.names), spec)
            texts.kept = part.kept
            continue
        overlapping = name == "train" and len(found) > 1
        made[name] = Windows(tokens, longest, max(1, longest // OVERLAP) if overlapping else longest, spec)
        if len(tokens) and not len(made[name]):
            raise InputError(
                f"the {name} part of the text has {len(tokens)} tokens, a window {longest}: give more text, a smaller "
                "stream, or another fraction for it"
            )
    return made


def _encode(part: Part, words: Vocabulary, options: Options, long: list[tuple[int, str]]) -> Encoded:
    """The tokens of all texts of a part one after the other, their lengths, and the part without what is left out. The
    lengths of those that are too ``long``, and where they stand, are noted there."""
    flat, lengths = array("i"), array("i")
    kept, damaged = [], []
    for i, text in enumerate(part.x):
        at = i if part.kept is None else part.kept[i]
        try:
            tokens = words.encode(text)
            if not tokens and options.stream is None:
                raise InputError(f"{text[:40]!r} has no token ({words.kind}): leave it out")
        except InputError as error:
            refuse(f"{place(part, at)}: {error}", options)
            damaged.append(at)
            continue
        if options.stream is not None:
            flat.extend(tokens)
            continue
        if len(tokens) >= options.longest:
            long.append((len(tokens) + 1, place(part, at)))
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
        part = part.at(torch.tensor(kept))
    return part, torch.from_numpy(np.array(flat, np.int32)), torch.from_numpy(np.array(lengths, np.int64))
