"""How SMILES are spelt: what can be told of a string without rdkit, which knows chemistry as well."""

from __future__ import annotations

import re
from collections.abc import Sequence

ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts "
    "Og b c n o p s as se si te *"
).split()
SYMBOL = "|".join(re.escape(each) for each in sorted(ELEMENTS, key=len, reverse=True))
BRACKETS = rf"\[\d*(?:{SYMBOL}|#\d+)(?:@@?(?:(?:TH|AL|SP|TB|OH)\d*)?)?(?:H\d*)?(?:[+-]\d+|\++|-+)?(?::\d+)?\]"
TOKEN = re.compile(
    rf"(?P<atom>{BRACKETS}|Br|Cl|[BCNOPSFIbcnops*])|(?P<bond>->|<-|[-=#$:~/\\])|(?P<ring>\d|%\d\d|%\(\d+\))|(?P<mark>[().])"
)


def is_spelt(text: str) -> bool:
    """Whether a string is spelt as SMILES (Weininger 1988): atoms in brackets or of the organic subset, bonds between
    them, parentheses that match, and rings that are closed. That it is a molecule is not said: valences may be wrong.

    Example:
        >>> [is_spelt(text) for text in ("C[C@H](N)C(=O)O", "c1ccccc1", "C1CC(", "water", "CC OC", "")]
        [True, True, False, False, False, False]
    """
    at, depth, rings, before = 0, 0, set[int](), ""
    while at < len(text):
        found = TOKEN.match(text, at)
        if found is None:
            return False
        at, kind = found.end(), found[0] if found["mark"] else str(found.lastgroup)
        bound = before == "atom"  # what comes may be bound to what was before
        if kind == "ring":
            if not bound and before != "bond":
                return False
            rings ^= {int(found[0].strip("%()"))}
        elif kind == "bond":
            if not bound and before != "(":
                return False
        elif kind != "atom":
            depth += {"(": 1, ")": -1, ".": 0}[kind]
            if not bound or depth < 0:
                return False
        before = kind if kind in ("bond", "(", ".") else "atom"
    return before == "atom" and not depth and not rings


def are_smiles(texts: Sequence[str]) -> bool:
    """Whether strings are spelt as SMILES, some of them as words never are.

    Example:
        >>> are_smiles(["CCO", "C#N"]), are_smiles(["CCO", "COC"])
        (True, False)
    """
    return all(map(is_spelt, texts)) and any(set(text) & set("=#()[]") for text in texts)


def is_selfies(text: str) -> bool:
    """Whether a string is spelt as SELFIES (Krenn et al. 2020): symbols in brackets alone, one at least that SMILES
    have no brackets for.

    Example:
        >>> [is_selfies(text) for text in ("[C][=C][Ring1]", "[C][C][O]", "[Na+].[Cl-]", "[H][H]", "CCO")]
        [True, True, False, False, False]
    """
    own = re.search(r"Branch|Ring|\[[=#]|\[(?:[BCNOPSFI]|Cl|Br)\]", text)
    return own is not None and re.fullmatch(r"(?:\[[^\[\]]+\]){2,}", text) is not None
