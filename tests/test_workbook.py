"""Laws of tables of Excel and of JSON: what would fool a reader is read truly, or refused in a line."""

import json
import logging
import sys
import zipfile
from datetime import datetime, time, timedelta

import pytest
import torch

import fusevae

DAY = datetime(2024, 1, 31)
PLAIN = [["x", "city"], *([i / 7, "Oslo" if i % 2 else "Lima"] for i in range(40))]


def book(path, rows, change=None):
    openpyxl = pytest.importorskip("openpyxl")
    made = openpyxl.Workbook()
    for row in rows:
        made.active.append(row)
    if change is not None:
        change(made, made.active)
    made.save(path)
    return str(path)


def column(values):
    """A sheet of some values again and again, beside numbers."""
    return [["a", "x"], *([values[i % len(values)], i / 3] for i in range(40))]


def read(path, **settings):
    data = fusevae.read_data(path, test=0, validation=0, **settings)
    found = fusevae.table_columns(data.train.batch(torch.arange(len(data.train)))[0], data.spec)
    return data.spec.schema, {name: list(cells) for name, cells in found.items()}


@pytest.mark.parametrize(
    ("values", "kind", "dtype", "back"),
    [
        (["007", "12", "0345"], "categorical", "str", None),  # codes as text
        ([True, False, False], "binary", "bool", None),
        ([3, 5, None, 40], "count", "int64", None),
        ([3.0, 5.0, 40.0], "integer", "int64", [3, 5, 40]),  # whole numbers, however they were computed
        ([0.5, " ", 1.25, "NA", 7.5], "continuous", "float64", [0.5, None, 1.25, None, 7.5]),  # cells that look empty
        ([DAY, DAY + timedelta(1.5)], "date", "datetime64[us]", None),
        ([DAY, None, DAY + timedelta(3)], "date", "str", ["2024-01-31", None, "2024-02-03"]),
        ([DAY + timedelta(seconds=i * i + 45_296) for i in range(9)], "date", "datetime64[us]", None),
        ([time(8, 30), time(17, 5, 9)], "date", "str", ["08:30:00", "17:05:09"]),
        (["=1+1", "a b", "'x"], "categorical", "str", None),
        (["12", "34", "56"], "categorical", "str", None),  # numbers that are kept as text
    ],
)
def test_a_cell_is_read_as_it_is(values, kind, dtype, back, tmp_path):
    def as_text(_, sheet):
        for row in sheet.iter_rows(min_row=2, max_col=1):
            if isinstance(row[0].value, str):
                row[0].data_type = "s"

    schema, found = read(book(tmp_path / "a.xlsx", column(values), as_text))
    assert (schema.columns[0].name, schema.columns[0].dtype) == ("a", dtype)
    assert schema.columns[0].kind in (kind, "integer" if kind == "count" else kind)
    wanted = values if back is None else back
    for i, cell in enumerate(found["a"]):
        there = wanted[i % len(values)]
        known = cell if isinstance(cell, str | None) or cell == cell else None
        assert (known.item() if hasattr(known, "item") else known) == there, (i, cell)


def test_a_sheet_is_the_csv_of_it(tmp_path):
    rows = [["n", "real", "word"], *([i % 9, i / 8, "ab"[i % 2]] for i in range(60))]
    (tmp_path / "a.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    above = [[], []]  # and a column of nothing before it
    here = read(book(tmp_path / "a.xlsx", above + [[None, *row] for row in rows]))
    there = read(str(tmp_path / "a.csv"))
    assert here[1] == there[1]
    assert [(c.name, c.kind, c.dtype) for c in here[0].columns] == [(c.name, c.kind, c.dtype) for c in there[0].columns]


def test_a_format_that_shows_zeros_makes_codes(tmp_path):
    def zeros(_, sheet):
        for row in sheet.iter_rows(min_row=2, max_col=1):
            row[0].number_format = "00000"

    assert read(book(tmp_path / "a.xlsx", column([2134, 90210]), zeros))[1]["a"][:2] == ["02134", "90210"]


def test_dates_from_1904_on_are_no_other_days(tmp_path):
    def old(made, _):
        made.epoch = datetime(1904, 1, 1)

    schema, found = read(book(tmp_path / "a.xlsx", column([DAY, DAY + timedelta(1)]), old))
    assert schema.columns[0].kind in ("date", "binary") and found["a"][0] == "2024-01-31"


def test_a_formula_is_the_value_that_excel_kept(tmp_path):
    """openpyxl writes none, so that they are put where Excel puts them."""
    path = book(tmp_path / "a.xlsx", column([f"=2*{i}" for i in range(5)]))
    with pytest.raises(fusevae.InputError, match=r"keeps no values of formulas such as that in A2: let Excel"):
        read(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("sheet1.xml"):
                for i in range(5):
                    kept = f"<f>2*{i}</f><v>{2 * i if i else ''}</v>"
                    text = text.replace(f"<f>2*{i}</f><v/>".encode(), kept.encode())
                    text = text.replace(f"<f>2*{i}</f><v></v>".encode(), kept.encode())
            new.writestr(name, text)
    found = read(str(tmp_path / "b.xlsx"))[1]["a"]
    assert found[1:5] == [2, 4, 6, 8] and found[0] is None  # of 0 a formula gave an empty word


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (column([10**16, 10**16 + 7]), r"whole number in A2 of which Excel keeps 15 digits"),
        (column([DAY, DAY, "31/12/2023"]), r"'31/12/2023' in A4, dates and other values in one column"),
        (column([DAY, DAY, 45_000]), r"'45000' in A4, dates and other values"),
        (column([timedelta(hours=30), timedelta(hours=2)]), r"durations"),
        (column([1, 2, 3, "#DIV/0!"]), r"an error, #DIV/0! in A5"),
        (column([1, 2, 3, "four"]), r"column a holds numbers, such as 1, and words, such as 'four'"),
        ([["Sales"], *PLAIN], r"holds nothing in B1: give each column a name"),
        ([["Sales"], [], *PLAIN], r"an empty row at A2"),
        ([*PLAIN, [], ["a note below"]], r"an empty row at A42"),
        ([[x, None, city] for x, city in PLAIN], r"an empty column at B1"),
        ([["a", "a"], *PLAIN[1:]], r"two columns of the name 'a'"),
        ([["a", "b"]], r"holds nothing in A2"),
        ([], r"0 sheets with cells \(none\)"),
    ],
)
def test_a_sheet_that_can_not_be_read_truly_is_refused(rows, says, tmp_path):
    with pytest.raises(fusevae.InputError, match=says) as refused:
        read(book(tmp_path / "a.xlsx", rows))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _, sheet: sheet.merge_cells("A2:A4"), r"merged cells \(A2:A4\): split them"),
        (lambda made, _: made.create_sheet("other").append([1, 2]), r"2 sheets with cells \(Sheet, other\)"),
        (lambda _, sheet: sheet.cell(1_048_576, 16_384, 1), r"larger than memory, or has a cell far away"),
    ],
)
def test_a_workbook_that_is_no_one_table_is_refused(change, says, tmp_path):
    with pytest.raises(fusevae.InputError, match=says):
        read(book(tmp_path / "a.xlsx", PLAIN, change))


def test_a_bomb_a_torn_file_and_a_locked_one_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.xlsx"
    book(path, PLAIN)
    whole = path.read_bytes()
    for bytes_, says in [
        (whole[: len(whole) // 2], "a zip, or of Excel or Word"),
        (whole.replace(b"xl/workbook.xml", b"xl/workbonk.xml"), "no whole .xlsx"),
        (b"\xd0\xcf\x11\xe0" + bytes(99), "of an old Excel"),
        (b"a,b\n1,2\n", "no whole .xlsx"),
    ]:
        path.write_bytes(bytes_)
        with pytest.raises(fusevae.InputError, match=says):
            read(str(path))
    path.write_bytes(whole)
    monkeypatch.setattr("fusevae.data.workbook.free_memory", lambda: 100_000)
    with pytest.raises(fusevae.InputError, match="larger than memory"):
        read(str(path))


def test_without_openpyxl_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    (tmp_path / "a.xlsx").write_bytes(b"PK\3\4")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(fusevae.InputError, match=r"pip install 'fusevae\[excel\]', or save the sheet as .csv"):
        read(str(tmp_path / "a.xlsx"))


def test_a_first_row_of_data_and_a_first_column_of_numbers_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "fusevae"):
        assert list(read(book(tmp_path / "a.xlsx", PLAIN[1:]))[1]) == ["x_0", "x_1"]
        assert "was taken for data (data.header=true" in caplog.text
        assert list(read(book(tmp_path / "a.xlsx", PLAIN[1:]), header=True)[1]) == ["0", "Lima"]
        rows = [[None if i == 0 else i, *row] for i, row in enumerate(PLAIN)]
        assert list(read(book(tmp_path / "a.xlsx", rows))[1]) == ["x", "city"] and "numbers the rows" in caplog.text


def test_texts_in_a_sheet_or_a_list_of_objects_are_texts(tmp_path):
    rows = [{"review": f"a long film, the {i}th of them", "stars": i % 5} for i in range(40)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    sheet = book(tmp_path / "a.xlsx", [[*rows[0]], *(list(row.values()) for row in rows)])
    for path in (str(tmp_path / "a.json"), sheet):
        data = fusevae.read_data(path, test=0, validation=0)
        assert data.spec.modality == "text" and len(data.train) == 40


def test_a_list_of_objects_is_the_lines_of_them(tmp_path):
    rows = [{"zip": f"0{i % 5}", "x": i / 7, "ok": bool(i % 2), "n": None if i % 9 == 0 else i} for i in range(60)]
    for name, text in [
        ("a.json", json.dumps(rows, indent=1)),
        ("b.json", "".join(json.dumps(row) + "\n" for row in rows)),
        ("c.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
    ]:
        (tmp_path / name).write_text(text)
    one, other, lines = (read(str(tmp_path / name)) for name in ("a.json", "b.json", "c.jsonl"))
    assert str(one[1]) == str(other[1]) == str(lines[1]) and one[1]["zip"][:2] == ["00", "01"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"a": 1}, 3]', "item 2 is no JSON object: expected one object a line, or a list of them"),
        ('[{"a": 1, "a": 2}]', "has the name 'a' twice"),
        ('[{"a": 1}, {"a": 2', "no JSON object"),
        ('{"a": [1, 2], "b": [3, 4]}', "columns a, b hold neither numbers nor words"),
        (json.dumps([{"a": {"b": 1}, "c": i} for i in range(9)]), "columns a hold neither"),
        (json.dumps([{"a": 2**60 + i % 3, "b": 0.5} for i in range(30)]), "column a is beyond 2"),
        ("[]", "holds no JSON objects"),
        ('{\n "a": 1\n}', "line 1 is no JSON object"),
    ],
)
def test_what_is_no_list_of_flat_objects_is_refused(text, says, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(fusevae.InputError) as refused:
        read(str(tmp_path / "a.json"))
    assert says in str(refused.value) and "\n" not in str(refused.value)
