"""Tables of Excel: the cells of an ``.xlsx``, of which nothing is run, and no link is followed."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fusevae.core.errors import InputError
from fusevae.core.memory import free_memory
from fusevae.core.untrusted import regular
from fusevae.data.delimited import GAPS, LOOKED_AT, check_names, has_header, nameless
from fusevae.data.encodings import check_known
from fusevae.data.objects import Columns

TIMES = {datetime, time, timedelta}
MOST = 10**15  # Excel keeps 15 digits of a number
GROWS = 20  # times as large as its XML, at most, is a workbook in memory
CELL = 100  # bytes that an empty cell takes there


class Workbook:
    """The one sheet of a workbook that holds something: cells that Excel shows as dates are such, of a formula there is
    the value that Excel kept, and a number shown with leading zeros (in a format such as ``00000``) is that word.

    Args:
        path: of an ``.xlsx``.

    Raises:
        InputError: for what can't be read truly: several sheets, merged cells, errors, formulas without values, empty
            rows or columns between others, dates beside other values, whole numbers of more than 15 digits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        filled = [one for one in _sheets(path, values=False) if any(v is not None for row in one.values for v in row)]
        if len(filled) != 1:
            names = ", ".join(one.title for one in filled) or "none"
            self._refuse(f"has {len(filled)} sheets with cells ({names})", "keep the one that is the table alone")
        (sheet,) = filled
        if merged := sheet.merged_cells.ranges:
            self._refuse(f"has merged cells ({min(map(str, merged))})", "split them, and fill each")
        self.row, self.column = sheet.min_row, sheet.min_column
        formulas = np.array([[cell.data_type == "f" for cell in row] for row in sheet.iter_rows()])
        if formulas.any():
            place = sheet.dimensions
            cells = next(one for one in _sheets(path, values=True) if one.title == sheet.title)[place]
        else:
            cells = sheet.iter_rows()
        rows = [[self._value(cell) for cell in row] for row in cells]
        there = np.array([[value is not None for value in row] for row in rows])
        if (lost := formulas.any(0) & ~(formulas & there).any(0)).any():
            where = self._at(formulas[:, lost.argmax()].argmax(), lost.argmax())
            self._refuse(f"keeps no values of formulas such as that in {where}", "let Excel open and save it")
        places = [np.flatnonzero(there.any(axis)) for axis in (1, 0)]
        for used, what, axis in zip(places, ("row", "column"), (0, 1), strict=True):
            if (gap := np.diff(used) > 1).any():
                i = used[gap.argmax()] + 1
                where = self._at(i * (1 - axis), i * axis)
                self._refuse(f"has an empty {what} at {where} before others", "delete it, and what is not of the table")
        self.row, self.column = self.row + int(places[0][0]), self.column + int(places[1][0])
        self.rows = [[rows[i][j] for j in places[1]] for i in places[0]]

    def columns(self, header: bool | None = None, say: bool = True) -> Columns:
        """The columns, under the names in the first row, if it is one: as of a text table (``data.header``)."""
        words = [["" if cell is None else str(cell) for cell in row] for row in self.rows[: LOOKED_AT + 1]]
        header = has_header(words, header, self.path, say)
        names, body = (words[0], self.rows[1:]) if header else (nameless(len(words[0])), self.rows)
        if "" in names[1:] or not body:
            where = self._at(0, names.index("", 1)) if "" in names[1:] else self._at(1, 0)
            self._refuse(f"holds nothing in {where}", "give each column a name, in the first row, and rows below")
        check_names(names, str(self.path))
        columns = zip(*body, strict=True)
        cells = {
            name: self._checked(column, header, j) for j, (name, column) in enumerate(zip(names, columns, strict=True))
        }
        return Columns(cells, self.row + header)

    def _value(self, cell: Any) -> Any:
        value = cell.value
        if cell.data_type == "e" and str(value).lower() not in GAPS:
            self._refuse(f"holds an error, {value} in {cell.coordinate}", "mend it, or empty it if it is not known")
        if isinstance(value, str) and (cell.data_type == "e" or not value.strip()):
            return None
        if type(value) is int and re.fullmatch("00+", cell.number_format):
            return str(value).zfill(len(cell.number_format))
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def _checked(self, cells: Sequence[Any], header: bool, j: int) -> Any:
        """The cells of a column, of one kind; days as such, and times of days as an array."""
        kinds = [type(cell) for cell in cells if cell is not None]
        different = set(kinds)
        if different & TIMES and len(different) > 1:
            usual = max(different, key=kinds.count)
            i = next(i for i, cell in enumerate(cells) if cell is not None and type(cell) is not usual)
            what = f"holds {str(cells[i])[:40]!r} in {self._at(header + i, j)}, dates and other values in one column"
            self._refuse(what, "make them all of one kind")
        if different == {int} and (long := [i for i, cell in enumerate(cells) if abs(cell or 0) >= MOST]):
            what = f"holds a whole number in {self._at(header + long[0], j)} of which Excel keeps 15 digits"
            self._refuse(what, "write such as text")
        if str in different and all(cell.strip().lower() in GAPS for cell in cells if isinstance(cell, str)):
            return [None if isinstance(cell, str) else cell for cell in cells]
        if different != {datetime}:
            return list(cells)
        if all(cell is None or cell.time() == time() for cell in cells):
            return [cell and cell.date() for cell in cells]
        return np.array(cells, "datetime64[us]")

    def _at(self, row: Any, column: Any) -> str:
        """The name of a cell, counted from the first one of the table."""
        from openpyxl.utils import get_column_letter

        return f"{get_column_letter(int(self.column + column))}{self.row + row}"

    def _refuse(self, what: str, mend: str) -> NoReturn:
        raise InputError(f"{self.path} {what}: {mend}, or save the sheet as .csv")


def _sheets(path: Path, values: bool) -> list[Any]:
    """The sheets, with the ``values`` of formulas or with these themselves."""
    try:
        import openpyxl
    except ImportError:
        raise InputError(f"{path} needs openpyxl: pip install 'fusevae[excel]', or save the sheet as .csv") from None
    check_known(path, b"" if zipfile.is_zipfile(regular(path, "workbook")) else path.read_bytes()[:100], "workbook")
    free = free_memory() or 2**34
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings(action="ignore"):
            size = GROWS * sum(part.file_size for part in archive.infolist())
            found = openpyxl.load_workbook(path, data_only=values, keep_links=False).worksheets if size < free else []
    except Exception as error:  # of a stranger's file there is no end of what may be wrong
        raise InputError(f"{path} is no whole .xlsx ({str(error)[:60]}): save the sheet as .csv") from None
    if size >= free or any(CELL * one.max_row * one.max_column > free for one in found):
        raise InputError(f"{path} is larger than memory, or has a cell far away from others: save the sheet as .csv")
    return list(found)
