"""Molecules as SMILES strings: what can be parsed, their properties, and how alike two of them are."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusevae.core.errors import InputError
from fusevae.modalities.molecules.spelling import is_spelt

PROPERTIES = ("qed", "logp", "sa", "weight")
LONGEST = 2000  # characters; a chain of 20,000 atoms overflows rdkit's stack
CHECKED, SOME = 100_000, 20_000  # strings of a file that are all checked; of more, so many at first
PRINTED = re.compile("[!-~]+")  # characters of ASCII that leave a mark
BITS = 4096  # of a fingerprint, as GuacaMol has it


def chemistry(module: str, package: str = "rdkit") -> Any:
    """A module of rdkit by its name in that (``"Chem.QED"``), or of another package of the extra, imported now."""
    try:
        return importlib.import_module(f"{package}.{module}" if module else package)
    except ImportError:
        raise InputError(f"molecules need {package}, which is missing: pip install 'fusevae[molecules]'") from None


def quiet() -> Any:
    """Inside, rdkit says nothing of strings that it can't parse; before and after, it is as the caller has it."""
    return chemistry("rdBase").BlockLogs()


def parse(smiles: str) -> Any | None:
    """The molecule (rdkit's ``Mol``) of a SMILES string, or None where there is none: an empty string, one with white
    space, control characters or anything that isn't ASCII in it (rdkit reads over some, and takes what follows a space
    for a name), one of more than 2,000 characters, one that rdkit refuses.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> parse("CCO").GetNumAtoms(), parse("CC("), parse("")
        (3, None, None)
    """
    chem = chemistry("Chem")
    if not isinstance(smiles, str) or len(smiles) > LONGEST or not PRINTED.fullmatch(smiles):
        return None
    try:
        with quiet():
            found = chem.MolFromSmiles(smiles)
    except Exception:  # rdkit has errors of several kinds
        return None
    return found if found is not None and found.GetNumAtoms() else None


def has_rdkit() -> bool:
    """Whether rdkit is installed."""
    return importlib.util.find_spec("rdkit") is not None


def parsable(smiles: Sequence[str]) -> list[bool]:
    """Which strings are molecules; where rdkit is missing, which are spelt as such (:func:`is_spelt`). 100,000 take
    some 20 seconds: of more, 20,000 evenly over all are looked at, and the others only where one of these is none.

    Example:
        >>> parsable(["CCO", "C(", "c1ccccc1"])
        [True, False, True]
    """
    fine = (lambda text: parse(text) is not None) if has_rdkit() else is_spelt
    n = len(smiles)
    if n > CHECKED and all(fine(smiles[i * n // SOME]) for i in range(SOME)):
        return [True] * n
    return [fine(each) for each in smiles]


def canonical(molecule: Any, stereo: bool = False) -> str:
    """The one SMILES that stands for a molecule, however it was written.

    Args:
        molecule: of :func:`parse`.
        stereo: keep what tells mirror images (and isotopes) apart; GuacaMol does not.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> canonical(parse("OCC")), canonical(parse("C(O)C"))
        ('CCO', 'CCO')
    """
    with quiet():
        return chemistry("Chem").MolToSmiles(molecule, isomericSmiles=stereo)


def properties(smiles: Sequence[str], names: Sequence[str] = PROPERTIES) -> dict[str, np.ndarray]:
    """Properties of molecules, each ``(n,)`` float64; NaN for what can't be parsed.

    * ``qed``: quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012).
    * ``logp``: octanol-water partition, by atoms' contributions (Wildman & Crippen 1999).
    * ``sa``: synthetic accessibility, 1 (easy) to 10 (Ertl & Schuffenhauer 2009).
    * ``weight``: average molecular weight in g/mol.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> properties(["CC(=O)Oc1ccccc1C(=O)O", "C("])["weight"].round(2)
        array([180.16,    nan])
    """
    return measures([parse(each) for each in smiles], names)


def measures(molecules: Sequence[Any | None], names: Sequence[str] = PROPERTIES) -> dict[str, np.ndarray]:
    """:func:`properties` of molecules that are parsed already."""
    found = {}
    with quiet():
        for name in names:
            found[name] = np.array([measure(m, name) for m in molecules], dtype=np.float64)
    return found


def measure(molecule: Any | None, name: str) -> float:
    """One property of one molecule; NaN where it is None, or rdkit can't tell."""
    compute = _property(name)
    if molecule is None:
        return math.nan
    try:
        found = compute(molecule)
    except Exception:  # whatever rdkit finds odd in a molecule that it parsed
        return math.nan
    return math.nan if found is None else float(found)


def molecule_table(smiles: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table with a row a string: ``smiles``, ``valid``, and the :func:`properties`."""
    molecules = [parse(each) for each in smiles]
    valid = np.array([m is not None for m in molecules], dtype=bool)
    return {"smiles": np.array(list(smiles), dtype=np.str_), "valid": valid, **measures(molecules)}


def fingerprints(molecules: Sequence[Any]) -> list[Any]:
    """Morgan fingerprints of radius 2 in 4,096 bits (Rogers & Hahn 2010; like ECFP4)."""
    with quiet():
        return [_morgan().GetFingerprint(m) for m in molecules]


def kinds_of(molecule: Any) -> set[str]:
    """What kinds a molecule is of: the elements that it has or lacks, its rings, charges.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> sorted(kinds_of(parse("c1ccccc1F")))
        ['with F', 'with an aromatic ring', 'without N', 'without O']
    """
    elements = {atom.GetSymbol() for atom in molecule.GetAtoms()}
    found = {f"with {symbol}" for symbol in elements - {"C"}} | {
        f"without {symbol}" for symbol in {"N", "O"} - elements
    }
    rings = [[molecule.GetAtomWithIdx(i).GetIsAromatic() for i in ring] for ring in molecule.GetRingInfo().AtomRings()]
    found |= {"with an aromatic ring" if all(ring) else "with another ring" for ring in rings} or {"without rings"}
    return found | {"with a charge" for atom in molecule.GetAtoms() if atom.GetFormalCharge()}


def tanimoto(molecule: Any, others: Sequence[Any]) -> np.ndarray:
    r""":math:`|a \cap b| / |a \cup b|` of the fingerprint of one molecule and those of others, ``(len(others),)``; both
    as :func:`fingerprints` gives them."""
    return np.array(chemistry("DataStructs").BulkTanimotoSimilarity(molecule, list(others)))


def similarity(a: str, b: str) -> float:
    """The Tanimoto similarity of two SMILES strings, 0 to 1; 0 where one can't be parsed.

    Example:
        >>> import pytest; _ = pytest.importorskip("rdkit")
        >>> similarity("CCO", "OCC"), similarity("CCO", "C(")
        (1.0, 0.0)
    """
    first, second = parse(a), parse(b)
    if first is None or second is None:
        return 0.0
    return float(tanimoto(fingerprints([first])[0], fingerprints([second]))[0])


@functools.cache
def _morgan() -> Any:
    return chemistry("Chem.rdFingerprintGenerator").GetMorganGenerator(radius=2, fpSize=BITS)


@functools.cache
def _property(name: str) -> Any:
    if name == "qed":
        return chemistry("Chem.QED").qed
    if name == "logp":
        return chemistry("Chem.Crippen").MolLogP
    if name == "weight":
        return chemistry("Chem.Descriptors").MolWt
    if name == "sa":
        return _scorer().calculateScore
    raise InputError(f"unknown property {name!r}: expected one of {', '.join(PROPERTIES)}")


def _scorer() -> Any:
    """rdkit's own module for synthetic accessibility, which lies outside its package."""
    path = Path(chemistry("RDConfig").RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("sascorer", path)
    if spec is None or spec.loader is None or not path.exists():
        raise InputError(f"this rdkit has no {path}: install rdkit with its Contrib folder, as pip does")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
