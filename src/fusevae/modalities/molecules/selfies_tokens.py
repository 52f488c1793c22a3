"""Vocabularies of molecules as SELFIES, of which every sequence that says an atom is a molecule: symbols, and pieces of
several of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.vocabulary import END, FIRST, UNKNOWN
from fusevae.modalities.molecules.chemistry import chemistry, has_rdkit, parse, quiet
from fusevae.modalities.molecules.smiles_tokens import DEEPEST, DOT, Pairs
from fusevae.modalities.text.tokens import MARK, Pieces, until_end

SYMBOL = re.compile(rf"\[([^A-Z]*)(Branch|Ring|End)(?:[123]|{DOT}(-?\d+))\]")  # what isn't an atom
BRACKETED = re.compile(r"\[[BCNOS](?:H\d*)?\]")  # may say no more than the letter alone


class Selfies(Pieces):
    """SELFIES (Krenn et al. 2020): SMILES are read, and written again; any sequence of these tokens is a molecule.

    What comes back is a SMILES of the same molecule, though not always the same SMILES: brackets that say nothing, as
    of ``C[CH2]O``, are read over, since a symbol for them would be a carbon of its own that has two hydrogens anywhere.
    Nothing but an atom may come first, see :attr:`never_first`, so that there is a molecule.

    Raises :class:`InputError` where the library is missing, and for a molecule that SELFIES can't hold.

    Example:
        >>> v = Selfies.fit(["CCO", "C=C"])
        >>> v.entries, v.decode(v.encode("OC=C"))
        (['[=C]', '[C]', '[O]'], 'OC=C')
    """

    kind = "selfies"
    modality = "molecules"

    @property
    def never_first(self) -> list[int]:
        return [END, *(i for i, entry in enumerate(self.entries, FIRST) if entry[0] == "." or SYMBOL.match(entry))]

    @staticmethod
    def pieces(text: str) -> list[str]:
        return list(symbols(text))

    @staticmethod
    def smiles(entries: Iterable[str]) -> str:
        """The molecule that entries say."""
        molecule: str = selfies().decoder("".join(entries))
        return molecule

    def decode(self, tokens: Sequence[int]) -> str:
        runs = groupby(until_end(tokens), key=lambda t: t == UNKNOWN)
        return "".join(
            MARK * len(list(run)) if unknown else self.smiles(self.entries[t - FIRST] for t in run)
            for unknown, run in runs
        )

    @classmethod
    def readable(cls, texts: Iterable[str]) -> Iterable[list[str]]:
        """The pieces of the molecules; one that SELFIES can't hold is passed over, :meth:`encode` says so."""
        for text in texts:
            try:
                yield cls.pieces(text)
            except InputError:
                selfies()  # if that is missing, nothing is


class SelfiesPairs(Pairs, Selfies):
    """Pieces of SELFIES: pairs of symbols, see :class:`Pairs`, after what would have to be counted is told. A branch
    ends with a symbol in place of beginning with its length, and a ring says how many atoms are on the way back in
    place of how many were written since (after O'Boyle & Dalke 2018). Any sequence is a molecule as before, since what
    it says is written as SELFIES again.

    Example:
        >>> SelfiesPairs.pieces("C1C(O)C1")
        ['[C]', '[C]', '[Branch·1]', '[O]', '[End·1]', '[C]', '[Ring·2]']
        >>> v = SelfiesPairs.fit(["CCO", "CCOC"] * 2, size=6)
        >>> v.entries, v.decode(v.encode("OCC"))
        (['[C]', '[O]', '[C][C]', '[C][C][O]'], 'OCC')
    """

    kind = "selfies-pairs"
    modality = "molecules"
    told = re.compile(r"\[[^\]]*\]|.", re.DOTALL)

    @staticmethod
    def pieces(text: str) -> list[str]:
        return list(nested(symbols(text)))

    @staticmethod
    def smiles(entries: Iterable[str]) -> str:
        return Selfies.smiles(flat(SelfiesPairs.told.findall("".join(entries))))


@lru_cache(maxsize=1 << 18)  # a set of molecules is gone through to fit and again to encode, half a millisecond each
def symbols(smiles: str) -> tuple[str, ...]:
    """The SELFIES of a SMILES, symbol by symbol."""
    library = selfies()
    if re.search(r":\d+\]", smiles):
        raise InputError(f"SELFIES can't hold the numbers of atoms in {smiles!r} (:1): leave them out, or take SMILES")
    try:
        return tuple(library.split_selfies(library.encoder(bare(smiles))))
    except library.EncoderError as error:
        reason = " ".join(str(error).split()).removeprefix("failed to parse input ")[:120]
        raise InputError(f"SELFIES can't hold the molecule {smiles!r} ({reason}): leave it out") from None


def bare(smiles: str) -> str:
    """The same SMILES, atom by atom, without brackets that say nothing; where rdkit is missing, as it is.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> bare("C[CH2]O"), bare("C[CH]O"), bare("C[NH3+]")
        ('CCO', 'C[CH]O', 'C[NH3+]')
    """
    if not BRACKETED.search(smiles) or not has_rdkit() or (molecule := parse(smiles)) is None:
        return smiles
    with quiet():
        written: str = chemistry("Chem").MolToSmiles(molecule, canonical=False)
    return written


def nested(symbols: Sequence[str]) -> Iterator[str]:
    """SELFIES of a molecule with ends of branches in place of their lengths, and rings by the way back.

    The way is that over the bonds written so far, in atoms: 5 for a ring of six, whatever hangs on it. Where it doesn't
    lead to the ring's other atom, which no usual order of atoms brings about, a number under 0 counts as SELFIES do.
    """
    way, at = Way(), 0
    open_branches: list[int] = []  # where each ends
    while at < len(symbols):
        found = SYMBOL.fullmatch(symbols[at])
        if not found:
            yield symbols[at]
            way.add(symbols[at])
            at += 1
        else:
            digits = symbols[at + 1 : at + 1 + int(symbols[at][-2])]
            number, at = selfies().grammar_rules.get_index_from_selfies(*digits), at + 1 + len(digits)
            if found[2] == "Branch":
                open_branches.append(at + number + 1)
                way.open()
                yield f"[{found[1]}Branch{DOT}{min(len(open_branches), DEEPEST)}]"
            else:
                yield f"[{found[1]}Ring{DOT}{way.back(number + 1)}]"
        while open_branches and at >= open_branches[-1]:
            yield f"[End{DOT}{min(len(open_branches), DEEPEST)}]"
            open_branches.pop()
            way.close()


def flat(pieces: Iterable[str]) -> list[str]:
    """SELFIES of the symbols of :func:`nested`, in any order: an end of nothing, or a branch or ring of no atom is
    passed over, an open branch ends at last, and a ring goes back no further than to the first atom."""
    way, written = Way(), [list[str]()]
    prefixes: list[str] = []

    def end() -> None:
        inside, bond = written.pop(), prefixes.pop()
        way.close()
        if inside:
            written[-1] += _numbered(bond, "Branch", len(inside) - 1) + inside

    for piece in pieces:
        found = SYMBOL.fullmatch(piece)
        if not found:
            while piece == "." and prefixes:
                end()
            written[-1].append(piece)
            way.add(piece)
        elif found[2] == "End":
            if prefixes:
                end()
        elif way.atom is not None:
            if found[2] == "Branch":
                written.append([])
                prefixes.append(found[1])
                way.open()
            elif number := way.since(int(found[3])):
                written[-1] += _numbered(found[1], "Ring", number - 1)
    while prefixes:
        end()
    return written[0]


class Way:
    """The atoms written so far, each with the one that it was bound to: the way back from the newest."""

    def __init__(self) -> None:
        self.before: list[int | None] = []
        self.atom: int | None = None
        self.opened: list[int | None] = []

    def add(self, symbol: str) -> None:
        """An atom bound to the newest, or the dot, after which nothing is bound to what was before."""
        if symbol == ".":
            self.atom = None
        else:
            self.before.append(self.atom)
            self.atom = len(self.before) - 1

    def open(self) -> None:
        self.opened.append(self.atom)

    def close(self) -> None:
        self.atom = self.opened.pop()

    def back(self, since: int) -> int:
        """How many atoms are on the way to the one written ``since`` atoms before; under 0 where it isn't on it."""
        assert self.atom is not None
        atom, steps, wanted = self.atom, 0, max(0, self.atom - since)
        while atom > wanted and (before := self.before[atom]) is not None:
            atom, steps = before, steps + 1
        return steps if atom == wanted else -since

    def since(self, steps: int) -> int:
        """The opposite of :meth:`back`, at most to the first atom; 0 where the way ends at once."""
        if steps < 0:
            return -steps
        assert self.atom is not None
        atom = self.atom
        for _ in range(steps):
            atom = atom if (before := self.before[atom]) is None else before
        return self.atom - atom


def _numbered(bond: str, kind: str, number: int) -> list[str]:
    digits = selfies().grammar_rules.get_selfies_from_index(number)
    return [f"[{bond}{kind}{len(digits)}]", *digits]


def selfies() -> Any:
    """The library ``selfies``."""
    try:
        import selfies as library
    except ImportError:
        raise InputError("SELFIES need the library selfies: pip install 'fusevae[molecules]'") from None
    return library
