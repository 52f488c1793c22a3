"""Vocabularies of text: characters, bytes, words, byte pairs. What a text is read into, it is made from again."""

from __future__ import annotations

import functools
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby, takewhile
from typing import Any, Self

from torch import Tensor

from fusevae.core.description import library_classes
from fusevae.core.errors import InputError, near
from fusevae.core.vocabulary import END, FIRST, UNKNOWN, Vocabulary
from fusevae.modalities.text.utf8 import states

FEW = 10  # words that are too little
MARK = "\N{REPLACEMENT CHARACTER}"  # what an unknown token looks like


class Pieces(Vocabulary):
    """A vocabulary whose entries are pieces of the text itself, so that text is its pieces joined.

    Args:
        entries: the pieces that it knows.
    """

    def __init__(self, entries: list[str]) -> None:
        self.entries = list(entries)
        self.numbers = {entry: i for i, entry in enumerate(self.entries, FIRST)}
        if len(self.numbers) < len(self.entries):
            raise InputError(f"{len(self.entries)} entries were given, some of them twice: give each once")

    @staticmethod
    @abstractmethod
    def pieces(text: str) -> list[str]:
        """The pieces of a text; what they say, joined, is the text."""

    def encode(self, text: str) -> list[int]:
        get = self.numbers.get
        return [get(piece, UNKNOWN) for piece in self.pieces(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(MARK if t == UNKNOWN else self.said(self.entries[t - FIRST]) for t in until_end(tokens))

    @staticmethod
    def said(entry: str) -> str:
        """The text of a piece."""
        return entry

    @classmethod
    def readable(cls, texts: Iterable[str]) -> Iterable[list[str]]:
        """The pieces of each text that a vocabulary is fitted on."""
        return map(cls.pieces, texts)

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """The pieces of the texts in their order; of more than ``size`` allows, those that are seen most often."""
        return cls(sorted(most_common(chain.from_iterable(cls.readable(texts)), size)))


class Characters(Pieces):
    """A token a character.

    Example:
        >>> v = Characters.fit(["abba"])
        >>> v.encode("abc"), v.decode([2, 3, 1, 0, 2])
        ([2, 3, 1], 'ab\ufffd')
    """

    kind = "characters"

    @staticmethod
    def pieces(text: str) -> list[str]:
        return list(text)


class Words(Pieces):
    """A token a word or a run of punctuation, with the space before it; any other space is a token of its own.

    Words that are seen once, and the rarest of those beyond the size, are unknown.

    Example:
        >>> v = Words.fit(["a dog, a cat", "a dog and a cow"])
        >>> v.entries, v.decode(v.encode("a dog and a dog"))
        ([' a', ' dog', 'a'], 'a dog\ufffd a dog')
    """

    kind = "words"
    pattern = re.compile(r" ?\w+| ?[^\w\s]+|\s")
    letters = re.compile(r"[^\W\d_]")
    unspaced = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]")

    def misfit(self, texts: Sequence[str]) -> str:
        some = "".join(texts[:: 1 + len(texts) // 1000])[:100_000]
        if 2 * len(self.unspaced.findall(some)) > len(self.letters.findall(some)):
            return f"which has no spaces between words, and {len(self.entries)} are kept"
        return f"of which {len(self.entries)} are kept" if len(self.entries) < FEW else ""

    @staticmethod
    def pieces(text: str) -> list[str]:
        return Words.pattern.findall(text)

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        found = most_common((piece for text in texts for piece in cls.pieces(text)), size, least=2)
        if not found:
            raise InputError("no word is seen twice: give more text, or take tokens='bpe' or 'characters'")
        return cls(sorted(found))


class Bytes(Vocabulary):
    """A token a byte of UTF-8: 256 entries that know every text, whatever it was fitted on.

    Example:
        >>> v = Bytes()
        >>> v.size, v.encode("é"), v.decode(v.encode("é"))
        (258, [197, 171], 'é')
    """

    kind = "bytes"
    entries = [chr(byte) for byte in range(256)]

    @functools.cached_property
    def states(self) -> Tensor:
        return of_bytes(bytes([byte]) for byte in range(256))

    def encode(self, text: str) -> list[int]:
        return [byte + FIRST for byte in text.encode("utf-8")]

    def decode(self, tokens: Sequence[int]) -> str:
        return _runs(tokens, lambda run: bytes(t - FIRST for t in run).decode("utf-8", errors="replace"))

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """Nothing is fitted."""
        return cls()


class BPE(Vocabulary):
    """Byte pairs, joined the most frequent first (Sennrich et al. 2016), starting from bytes: every text is known.

    Args:
        tokenizer: the JSON of a byte-level tokenizer of the library ``tokenizers``.

    Raises :class:`InputError` where the library is missing, or the JSON isn't its.

    Example:
        >>> v = BPE.fit(["the cat, the dog"] * 9, size=265)
        >>> v.size, v.decode(v.encode("the bird")), len(v.encode("the"))
        (265, 'the bird', 1)
    """

    kind = "bpe"

    def __init__(self, tokenizer: str) -> None:
        try:
            self.tokenizer = tokenizers().Tokenizer.from_str(tokenizer)
        except InputError:
            raise
        except Exception as error:  # the library raises nothing more particular
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"the tokenizer can't be read ({reason}): give the JSON of one of tokenizers") from None
        numbers = self.tokenizer.get_vocab()
        self.entries = sorted(numbers, key=numbers.__getitem__)

    @functools.cached_property
    def states(self) -> Tensor | None:
        if type(self.tokenizer.decoder).__name__ != "ByteLevel":
            return None
        return of_bytes(b"".join(shown().get(c, c.encode()) for c in entry) for entry in self.entries)

    def encode(self, text: str) -> list[int]:
        return [i + FIRST for i in self.tokenizer.encode(text, add_special_tokens=False).ids]

    def decode(self, tokens: Sequence[int]) -> str:
        return _runs(tokens, lambda run: self.tokenizer.decode([t - FIRST for t in run]))

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """Of at most ``size`` tokens, 2,000 by default: 256 bytes, and pairs that are seen twice or more."""
        library, size = tokenizers(), 2000 if size is None else size
        if size < 256 + FIRST:
            raise InputError(f"a size of {size} was given: byte pairs need {256 + FIRST} or more")
        made = library.Tokenizer(library.models.BPE())
        made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - FIRST,
            min_frequency=2,
            show_progress=False,
            initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        )
        made.train_from_iterator(texts, trainer)
        return cls(made.to_str())


def vocabularies() -> dict[str, type[Vocabulary]]:
    """Every class of vocabulary by its kind."""
    return {cls.kind: cls for cls in library_classes().values() if issubclass(cls, Vocabulary)}


def vocabulary(kind: str) -> type[Vocabulary]:
    """The class of that kind, or :class:`InputError` with near matches.

    Example:
        >>> vocabulary("words").__name__
        'Words'
    """
    if kind not in (known := vocabularies()):
        raise InputError(f"tokens={kind!r} was given: expected a kind of token{near(kind, known)}")
    return known[kind]


def of_bytes(entries: Iterable[bytes]) -> Tensor:
    """:attr:`Vocabulary.states` of entries that are bytes: no text ends within a character, or has an unknown
    token."""
    found = states([*[b""] * FIRST, *entries])
    found[1:, END] = found[:, UNKNOWN] = -1
    return found


@functools.cache
def shown() -> dict[str, bytes]:
    """The byte of each character that byte-level tokens are spelt with (Radford et al. 2019): that of Latin-1 where it
    is seen, else one from 256 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in seen]
    return {chr(b): bytes([b]) for b in seen} | {chr(256 + i): bytes([b]) for i, b in enumerate(others)}


def until_end(tokens: Iterable[int]) -> Iterable[int]:
    """The tokens before the first end."""
    return takewhile(lambda t: t != END, tokens)


def most_common(pieces: Iterable[str], size: int | None, least: int = 1) -> list[str]:
    """The pieces that are seen at least so many times; of more than ``size`` tokens allow, the most frequent."""
    counts = Counter(pieces)
    known = [piece for piece, n in counts.items() if n >= least]
    if size is None or len(known) + FIRST <= size:
        return known
    return sorted(known, key=lambda piece: (-counts[piece], piece))[: max(0, size - FIRST)]


def tokenizers(extra: str = "text") -> Any:
    """The library ``tokenizers``, which comes with an extra of this one."""
    try:
        import tokenizers as library
    except ImportError:
        raise InputError(f"pairs need the library tokenizers: pip install 'fusevae[{extra}]'") from None
    return library


def _runs(tokens: Sequence[int], decode: Any) -> str:
    """Runs of known tokens decoded, with a mark for each unknown one between."""
    runs = groupby(until_end(tokens), key=lambda t: t == UNKNOWN)
    return "".join(MARK * len(list(run)) if unknown else decode(list(run)) for unknown, run in runs)
