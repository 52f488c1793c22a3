"""Vocabularies of molecules as SMILES: atoms and bonds, and pieces of several of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Self

from fusevae.core.vocabulary import FIRST, UNKNOWN
from fusevae.modalities.text.tokens import Pieces, tokenizers

LONGEST = 12  # atoms and bonds of a piece: a longer one is a molecule's, not a language's
DOT, DEEPEST = "·", 5  # before what a token says of itself; the deepest parentheses that are told apart
PRIVATE = 0xE000  # the first of the characters that mean nothing, one for each atom


class SmilesAtoms(Pieces):
    """SMILES (Weininger 1988) by atoms in brackets, Cl and Br, ring closures, and other characters.

    A parenthesis says after a dot how deep it is (5 stands for more), a ring closure whether it opens or closes: what a
    model would have to count is what it reads (O'Boyle & Dalke 2018 change the language for it).

    Example:
        >>> SmilesAtoms.pieces("C[C@H](Cl)c1nc1")
        ['C', '[C@H]', '(·1', 'Cl', ')·1', 'c', '1·<', 'n', 'c', '1·>']
    """

    kind = "smiles"
    modality = "molecules"
    pattern = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)
    told = re.compile(rf"(\[[^\]]*\]|Br|Cl)|(%\d\d|\d|[()]){DOT}[\d<>]|(.)", re.DOTALL)  # a piece, and one of a pair's

    @staticmethod
    def pieces(text: str) -> list[str]:
        depth, opened, found = 0, set[str](), []
        for piece in SmilesAtoms.pattern.findall(text):
            about = ""
            if piece in "()":
                depth += piece == "("
                about = f"{DOT}{min(depth, DEEPEST)}"
                depth = max(0, depth - (piece == ")"))
            elif piece.isdecimal() or re.fullmatch(r"%\d\d", piece):
                opened ^= {piece}
                about = DOT + ("<" if piece in opened else ">")
            found.append(piece + about)
        return found

    @staticmethod
    def said(entry: str) -> str:
        return SmilesAtoms.told.sub(r"\1\2\3", entry)


class Pairs(Pieces):
    """Pairs of the pieces of another vocabulary, joined the most frequent first (Li & Fourches 2021). A molecule takes
    a third of the tokens, so a model reads it in as much less time.

    Args:
        atoms: the pieces that it starts from.
        merges: pairs of entries that are joined, in this order.

    Raises :class:`InputError` where the library ``tokenizers`` is missing.
    """

    told: re.Pattern[str]  # one of the pieces that an entry is made of

    def __init__(self, atoms: list[str], merges: Sequence[Sequence[str]] = ()) -> None:
        self.atoms, self.merges = list(atoms), [list(pair) for pair in merges]
        super().__init__(list(dict.fromkeys([*self.atoms, *("".join(pair) for pair in self.merges)])))
        self.letters = {atom: chr(PRIVATE + i) for i, atom in enumerate(self.atoms, FIRST)}
        numbers = {self._letters(entry): i for entry, i in self.numbers.items()}
        pairs = [(self._letters(a), self._letters(b)) for a, b in self.merges]
        unknown = chr(PRIVATE + UNKNOWN)
        self.model = tokenizers("molecules").models.BPE({unknown: UNKNOWN, **numbers}, pairs, unk_token=unknown)

    def _letters(self, entry: str) -> str:
        """A character for each atom, since the library joins characters."""
        return self._of([found[0] for found in self.told.finditer(entry)])

    def _of(self, pieces: list[str]) -> str:
        return "".join(self.letters.get(atom, chr(PRIVATE)) for atom in pieces)

    def encode(self, text: str) -> list[int]:
        return [token.id for token in self.model.tokenize(self._of(self.pieces(text)))] if text else []

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """Of at most ``size`` tokens, 300 by default: every atom, and pairs that are seen twice or more."""
        library, size, texts = tokenizers("molecules"), 300 if size is None else size, list(texts)
        plain = super().fit(texts)
        made = library.Tokenizer(library.models.BPE())
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - FIRST, min_frequency=2, max_token_length=LONGEST, show_progress=False
        )
        made.train_from_iterator((plain._of(pieces) for pieces in cls.readable(texts)), trainer)
        atoms = {letter: atom for atom, letter in plain.letters.items()}
        pairs = json.loads(made.to_str())["model"]["merges"]
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in pairs]  # as older releases write them
        return cls(plain.atoms, [["".join(atoms[c] for c in part) for part in pair] for pair in pairs])


class SmilesPairs(Pairs, SmilesAtoms):
    """Pieces of SMILES: pairs of the tokens of :class:`SmilesAtoms`, see :class:`Pairs`.

    Example:
        >>> v = SmilesPairs.fit(["CC(=O)O", "CCC(=O)N"] * 2, size=10)
        >>> v.entries, v.decode(v.encode("CC(=O)N")), v.encode("C(=O)S")
        (['(·1', ')·1', '=', 'C', 'N', 'O', 'CC', '(·1='], 'CC(=O)N', [5, 9, 7, 3, 1])
    """

    kind = "smiles-pairs"
    modality = "molecules"
