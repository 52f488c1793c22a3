"""Folders of files that are an example each: which files count, their splits, and what is known beside them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any

from fusevae.core.errors import InputError
from fusevae.core.untrusted import from_json, text_of
from fusevae.data import delimited
from fusevae.data.conditions import LABELS, USUAL, Asked, parsed
from fusevae.data.given import LISTED, SHEET, TABLES, files_in
from fusevae.data.npz import by_names, read_condition_file
from fusevae.data.parts import SPLITS, Options, Part

INDEX, NAME = "metadata.csv", "file_name"  # what says more of the files of a folder, as Hugging Face has it
SYSTEM = ("thumbs.db", "desktop.ini")  # what Windows leaves in a folder

logger = logging.getLogger("fusevae")


class UnfitError(InputError):
    """Not damaged, so not to be skipped."""


def find(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a kind below a folder, sorted by path; hidden ones are left out."""
    return [path for path in files_in(folder) if path.suffix.lower() in suffixes]


def roots(folder: Path, paths: Sequence[Path], options: Options, what: str) -> dict[str, Path]:
    """Where the files of each split lie: in sub-folders that are called train, test, validation; else all in one. What
    is no file of the kind is counted in a warning.

    Args:
        folder: that was given.
        paths: of the files of the kind.
        options: how it is read.
        what: they are, in words.
    """
    say_others(folder, paths, options, f"are no {what}", each=True)
    if not options.conditions.pattern:
        folder = _unpacked(folder, paths, what)
    tops = _tops(folder, paths)
    splits = {top: SPLITS.get(top.lower()) for top in tops}
    told = {split for split in splits.values() if split}
    if told and len(tops) > 1 and (("train" in told) == (None in splits.values())):
        raise InputError(
            f"{folder} has sub-folders {', '.join(sorted(tops))}: are they splits or classes? Expected train, and test "
            "or validation; or classes alone: move or rename the others"
        )
    if "train" not in splits.values() or None in splits.values() or any(path.parent == folder for path in paths):
        return {"train": folder}
    found = {split: folder / top for top, split in sorted(splits.items()) if split}
    if len(found) < len(tops):
        raise InputError(f"{folder} has sub-folders {', '.join(sorted(tops))}, two for one split: leave one of them")
    return found


def say_others(folder: Path, paths: Sequence[Path], options: Options, why: str, each: bool = False) -> None:
    """Count in a warning the files below a folder that are not among those that are read; where ``each`` of these is an
    example, a table may say more of it."""
    ours = {*paths, Path(options.conditions.file or ""), folder / (options.conditions.file or "")}
    ours |= set() if (table := table_of(folder, options.conditions)) is None else {table}
    if others := [p for p in files_in(folder) if p not in ours and p.name.lower() not in (INDEX, LISTED, *SYSTEM)]:
        kinds = ", ".join(sorted({path.suffix.lower() or "no type" for path in others}))
        text = "%s: left out %d files that %s (%s), such as %s%s"
        table = next((path for path in others if path.suffix.lower() in (".csv", ".tsv")), None)
        asked = options.conditions.columns or options.conditions.file
        use = f"; data.conditions={table} takes what it says of each file" if each and table and not asked else ""
        logger.warning(text, folder, len(others), why, kinds, others[0].relative_to(folder), use)


def _tops(folder: Path, paths: Sequence[Path]) -> set[str]:
    return {path.relative_to(folder).parts[0] for path in paths if path.parent != folder}


def _unpacked(folder: Path, paths: Sequence[Path], what: str) -> Path:
    """The folder in which the classes or splits lie, where a folder holds nothing but that, as an archive leaves it."""
    found = folder
    while not index_of(found).is_file() and len(tops := _tops(found, paths)) == 1:
        (top,) = tops
        deep = all(len(path.relative_to(found).parts) > 2 for path in paths)
        if not deep or SPLITS.get(top.lower()) == "train":
            break
        found = found / top
    if found != folder:
        logger.warning("%s: all %s lie in %s, which was read in its place", folder, what, found.relative_to(folder))
    return found


class Split:
    """The files of one split, and what is known beside them: a ``metadata.csv`` says which count (``file_name``) and
    has a column for each thing; else sub-folders are classes.

    Args:
        root: of the split.
        suffixes: of the files of the kind.
        what: they are, in words.

    Attributes:
        paths: of those that count.
        names: of these, below the root.
    """

    def __init__(self, root: Path, suffixes: Sequence[str], what: str) -> None:
        self.root, self.what, paths = root, what, find(root, suffixes)
        self.index = read_index(root)
        sheet = root / SHEET  # of samples, as they are written
        if self.index is None and sheet in paths and any(path.stem == "00000" for path in paths if path.parent == root):
            paths.remove(sheet)
            logger.warning("%s is a sheet of the %s beside it, and is left out", sheet, what)
        self.paths = paths if self.index is None else self._listed(paths, list(self.index.pop(NAME)))
        self.names = [path.relative_to(root).as_posix() for path in self.paths]
        self.inside = [path for path in self.paths if path.parent != root]
        if self.inside and len(self.inside) < len(self.paths) and self.index is None:
            loose = next(path for path in self.paths if path.parent == root)
            raise InputError(
                f"{loose} lies beside sub-folders with {what}: expected all {what} in sub-folders (the classes) or none"
            )

    def beside(self, part: Part, rows: list[int], options: Options) -> None:
        """Put beside a part what is known of its examples, which are of the files ``rows``."""
        asked, root, names, index = options.conditions, self.root, self.names, self.index
        if asked.pattern:
            depth = asked.pattern.count("/") + 1
            part.beside(asked.in_names(["/".join(names[i].split("/")[-depth:]) for i in rows]), str(root))
        elif index and (chosen := asked.among(index, str(index_of(root))) or usual(index, asked)):
            part.beside({name: parsed(index[name]) for name in chosen}, str(index_of(root)), rows)
        elif index is None and (table := table_of(root, asked)) is not None:
            columns = by_names(next(iter(read_condition_file(table, options).values())), part, str(table))
            if not columns:
                raise InputError(
                    f"{table} has a column {asked.names[0]!r} and none that names the files of {root}: data.conditions="
                    f"{table} takes its rows in the order of these, or add such a column"
                )
            part.beside({name: columns[name] for name in asked.among(columns, str(table))}, str(table))
        elif self.inside and len(self.inside) == len(self.paths) and not asked.file:
            name, tables = asked.names[0] if asked.names else USUAL, tables_in(root)
            if asked.names and not asked.optional and tables and len({file.split("/")[0] for file in names}) == 1:
                asked.among({column for columns in tables.values() for column in columns}, str(root))
            part.beside({name: [names[i].split("/")[0] for i in rows]}, str(root))
            if below := next((file for file in names if file.count("/") > 1), None):
                text = "%s: the classes are its folders; those below, as of %s, are not told apart: a %s may list them"
                logger.warning(text, root, below, INDEX)
        elif index is None:
            asked.among((), f"{root}, a folder of {self.what},")

    def _listed(self, paths: Sequence[Path], names: list[str]) -> list[Path]:
        """The files that an index names, in its order; others are counted in a warning."""
        root, known = self.root, {path.relative_to(self.root).as_posix(): path for path in paths}
        if missing := [name for name in names if name not in known]:
            raise InputError(f"{index_of(root)} names {missing[0]!r}, which isn't there: mend it, or delete the row")
        if others := [name for name in known.keys() - set(names) if name != SHEET]:
            said = "%s: left out %d %s that %s doesn't name, such as %s"
            logger.warning(said, root, len(others), self.what, index_of(root).name, min(others))
        return [known[name] for name in names]


def table_of(root: Path, asked: Asked) -> Path | None:
    """The table in a folder of files that has all columns that are asked for by name, where just one has."""
    if asked.pattern or not asked.names:
        return None
    found = [path for path, names in tables_in(root).items() if names.issuperset(asked.names)]
    return found[0] if len(found) == 1 else None


def tables_in(root: Path) -> dict[Path, set[str]]:
    """The text tables in a folder of files, and the names of their columns."""
    found = {}
    for path in sorted(root.iterdir()):
        if path.suffix.lower() in TABLES[0] and path.name != INDEX:
            with contextlib.suppress(InputError):  # another kind of file, which is none of ours to refuse
                found[path] = {name.strip() for name in delimited.read_rows(path, 1)[0][0]}
    return found


def usual(names: Iterable[str], asked: Asked) -> list[str]:
    """The column beside files that is taken unasked."""
    known = set(names)
    return [] if asked.file or asked.names else [name for name in LABELS if name in known][:1]


def index_of(root: Path) -> Path:
    """The file that says more of those of a folder, where there is one."""
    return root / (INDEX if (root / INDEX).is_file() else LISTED)


def is_indexed(root: Path) -> bool:
    """Whether a file in a folder names the others, one a row."""
    path = index_of(root)
    if path.name == LISTED or not path.is_file():
        return path.is_file()
    with contextlib.suppress(InputError):  # a list of another form
        return NAME in [cell.strip() for cell in delimited.read_rows(path, 1)[0][0]]
    return False


def read_index(root: Path) -> dict[str, list[str]] | None:
    """The columns of a folder's ``metadata.csv`` or ``metadata.jsonl``, if there is one with a ``file_name``; in the
    order of those names."""
    path = index_of(root)
    if not path.is_file():
        return None
    names, body = _objects(path) if path.name == LISTED else delimited.read_table(path, True)[:2]
    if NAME not in names:
        said = "%s has no column %s but %s, so that nothing in it is used: call that of the files' names %s"
        logger.warning(said, path, NAME, ", ".join(names)[:100], NAME)
        return None
    at = names.index(NAME)
    body = sorted(([*row[:at], normpath(row[at]), *row[at + 1 :]] for row in body), key=lambda row: row[at])
    columns = {name: [row[i] for row in body] for i, name in enumerate(names)}
    if len(set(columns[NAME])) < len(body):
        raise InputError(f"{path} names a file twice: expected a row for each")
    return columns


def _objects(path: Path) -> tuple[list[str], list[list[str]]]:
    """The names and the values of JSON objects, one a line."""
    lines = [line for line in text_of(path, "JSON objects").split("\n") if line.strip()]
    rows: list[Any] = []
    for line in lines:
        try:
            rows.append(from_json(line, str(path)))
        except InputError:
            rows.append(None)
    if bad := [i for i, row in enumerate(rows, 1) if not isinstance(row, dict) or not isinstance(row.get(NAME), str)]:
        raise InputError(f"{path}: line {bad[0]} is no object with a {NAME}: mend it")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return names, [["" if row.get(name) is None else str(row[name]) for name in names] for row in rows]
