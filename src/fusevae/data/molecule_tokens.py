"""Vocabularies of molecules: the atoms and bonds of SMILES, and SELFIES, of which every sequence is a molecule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, Self

from fusevae.core.errors import InputError
from fusevae.core.vocabulary import FIRST, UNKNOWN
from fusevae.data.tokens import MARK, Pieces, most_common, until_end


class SmilesAtoms(Pieces):
    """SMILES (Weininger 1988) by atoms in brackets, Cl and Br, ring closures of two digits, and other characters.

    Example:
        >>> SmilesAtoms.pieces("C[C@H](Cl)Br%12")
        ['C', '[C@H]', '(', 'Cl', ')', 'Br', '%12']
    """

    kind = "smiles"
    pattern = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)

    @staticmethod
    def pieces(text: str) -> list[str]:
        return SmilesAtoms.pattern.findall(text)


class Selfies(Pieces):
    """SELFIES (Krenn et al. 2020): SMILES are read, and written again; any sequence of these tokens is a molecule.

    What comes back is a SMILES of the same molecule, though not always the same SMILES.

    Raises :class:`InputError` where the library is missing, and for a molecule that SELFIES can't hold.

    Example:
        >>> v = Selfies.fit(["CCO", "C=C"])
        >>> v.entries, v.decode(v.encode("OC=C"))
        (['[=C]', '[C]', '[O]'], 'OC=C')
    """

    kind = "selfies"

    @staticmethod
    def pieces(text: str) -> list[str]:
        return list(symbols(text))

    def decode(self, tokens: Sequence[int]) -> str:
        library = selfies()
        runs = groupby(until_end(tokens), key=lambda t: t == UNKNOWN)
        return "".join(
            MARK * len(list(run)) if unknown else library.decoder("".join(self.entries[t - FIRST] for t in run))
            for unknown, run in runs
        )

    @classmethod
    def fit(cls, texts: Iterable[str], size: int | None = None) -> Self:
        """The symbols of the molecules; one that SELFIES can't hold is passed over, :meth:`encode` says so."""
        return cls(sorted(most_common((s for text in texts for s in _known(text)), size)))


@lru_cache(maxsize=1 << 18)  # a set of molecules is gone through to fit and again to encode, half a millisecond each
def symbols(smiles: str) -> tuple[str, ...]:
    """The SELFIES of a SMILES, symbol by symbol."""
    library = selfies()
    try:
        return tuple(library.split_selfies(library.encoder(smiles)))
    except library.EncoderError as error:
        reason = " ".join(str(error).split()).removeprefix("failed to parse input ")[:120]
        raise InputError(f"SELFIES can't hold the molecule {smiles!r} ({reason}): leave it out") from None


def selfies() -> Any:
    """The library ``selfies``."""
    try:
        import selfies as library
    except ImportError:
        raise InputError("SELFIES need the library selfies: pip install 'fusevae[molecules]'") from None
    return library


def _known(smiles: str) -> tuple[str, ...]:
    try:
        return symbols(smiles)
    except InputError:
        selfies()  # if that is missing, nothing is
        return ()
