"""Inputs as users have them: read truly, with a word where something is assumed, or refused in a line that helps."""

from __future__ import annotations

import datetime
import gzip
import json
import re
from decimal import Decimal

import numpy as np
import pandas
import pyarrow
import pytest
import soundfile
import torch
from datasets import ClassLabel, Features, Value
from datasets import Dataset as HuggingFace
from PIL import Image

from fusevae import InputError, read_data
from fusevae.cli import main
from fusevae.data.modality import modality_of
from fusevae.data.source import read_examples
from fusevae.modalities.tables.dates import numbers_of, words_of
from fusevae.modalities.tables.schema import table_columns

N = 40
rng = np.random.default_rng(0)
X = (rng.normal(size=N) * 3 + 20).round(2)
COLOURS = [("red", "green", "blue")[i % 3] for i in range(N)]
ROWS = "".join(f"{x},{i % 7},{c}\n" for i, (x, c) in enumerate(zip(X, COLOURS, strict=True)))
TABLE = "x,count,colour\n" + ROWS
SEMI = TABLE.replace(",", ";")
DAYS = [f"2024-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(N)]


def column(name, values):
    """A text table of X and a column."""
    return f"x,{name}\n" + "".join(f"{x},{v}\n" for x, v in zip(X, values, strict=True))


def every(values, fill, step=6):
    return [fill if i % step == 0 else v for i, v in enumerate(values)]


def table(path, **settings):
    """The columns of a table as they are written back, in its order."""
    found = read_data(path, validation=0, test=0, modality="tables", **settings)
    return table_columns(found.train.batch(torch.arange(len(found.train)))[0], found.spec)


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode("utf-16-le"),
        TABLE.encode("utf-16-be"),
        TABLE.encode("utf-32"),
        ("\ufeff\ufeff" + TABLE).encode(),
        ("sep=;\n" + SEMI).encode(),
        ('"sep=;"\r\n' + SEMI.replace("\n", "\r\n")).encode(),
        ("# sensor 3\n# of 2024\n" + TABLE).encode(),
        ("x,count,colour\n" + ROWS.replace("\n", ",\n")).encode(),
        ("x,count,colour,\n" + ROWS).encode(),
        TABLE.replace("\n", "\r").encode(),
        (",x,count,colour\n" + "".join(f"{i},{row}\n" for i, row in enumerate(ROWS.split()))).encode(),
        TABLE.replace("count", "\u00a0count ").encode(),
        ("Unnamed: 0.1,Unnamed: 0,x,count,colour\n"
         + "".join(f"{i},{i},{row}\n" for i, row in enumerate(ROWS.split()))).encode(),
    ],
    ids="utf-16-le utf-16-be utf-32 bom sep sep-quoted comments ends-of-rows endings cr index blank indices".split(),
)  # fmt: skip
def test_the_same_table_is_read(content, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    found = table(tmp_path / "t.csv")
    assert list(found) == ["x", "count", "colour"]
    assert found["x"].tolist() == X.tolist() and found["colour"].tolist() == COLOURS
    assert found["count"].tolist() == [i % 7 for i in range(N)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("Export of 2024\nby hand\n" + TABLE, r"row 3 has 3 cells \(the first is 'x'\), row 1 has 1.*first 2 rows"),
        ("Report,,\n" + TABLE, "2 columns without a name.*delete what stands above"),
        (TABLE.replace("\n", "\n[m],[1],[-]\n", 1), r"row 2, column x is '\[m\]'.*a row of units"),
        (TABLE + "Total,99,\n", r"row 42, column x is 'Total'.*\(is the last row"),
        (TABLE + "# end\n", r"row 42 has 1 cells \(the first is '# end'"),
        (TABLE.replace(",red", ',"red', 1), "line 2 has a cell that begins with a quote"),
        (TABLE.replace(",red", ',"r"ed', 1), "line 2 has a cell that begins with a quote"),
        (TABLE.replace("red", "r\0d", 1), "column colour holds .*with a zero byte: mend it"),
        (TABLE.replace("red", "röd", 1).encode("latin-1"), r"line 2 is no UTF-8 \(byte 0xf6\): save it as UTF-8"),
        (gzip.compress(TABLE.encode()), "compressed by gzip: unpack it"),
        (b"PK\x03\x04" + bytes(99), "of Excel.*save the sheet as .csv"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
        ("<!DOCTYPE html>\n<html></html>\n", "a web page"),
        (json.dumps([{"x": 1}, {"x": 2}]), "holds JSON"),
        (column("day", every(DAYS, "0000-00-00")), r"row 2, column day is '0000-00-00', no date of the form %Y-%m-%d"),
        (column("pay", [f"1'{i:03}" for i in range(N)]), "column pay holds no numbers.*marks"),
        (column("pay", [f"1.000.{i:03}" for i in range(N)]), "points between thousands"),
        (column("pay", [f"{i}.5-" for i in range(N)]), "a minus as - before it"),
        (column("v", [f"1.{i}D-3" for i in range(N)]), "write e for its D"),
        (column("v", [2**53 + i % 9 for i in range(N)]), r"row 2, column v is beyond 2\^53"),
        (column("v", [f"\u2013{i}.5" if i % 2 else f"{i}.5" for i in range(N)]), "a minus as - before it"),
        (column("v", [f"{i}.5{'*' * (1 + i % 3)}" for i in range(N)]), "currency, brackets or marks"),
        (TABLE.replace(",", "^"), r"one column, of 3 values with '\^' between them, such as .*: put commas there"),
        (TABLE.replace(",", "   "), "one column, of 3 values with blanks between them"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) and value.isprintable() else "",
)
def test_a_table_that_is_refused(content, says, tmp_path):
    (tmp_path / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=says) as error:
        table(tmp_path / "t.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (column("y", every(X, -999)), "column y holds -999.* in 7 cells"),
        (column("y", every(-X, -999.9)), "column y holds -999.9.* in 7 cells"),
        (column("age", every(range(20, 20 + N), 9999)), "column age holds 9999 in 7 cells"),
        (column("age", every(range(20, 20 + N), -1)), "column age holds -1 in 7 cells"),
        (column("y", every(X, 1e20)), "column y holds 1e.20|column y holds 1000"),
        (column("day", every(DAYS, "9999-12-31")), "column day holds 9999-12-31 in 7 cells"),
        (column("c", every(COLOURS, "Unknown")), "holds 'Unknown' in 7 cells, taken for a class"),
        (column("c", every(COLOURS, "None")), "holds 'None' in 7 cells, which were taken for missing"),
        (column("c", every(COLOURS, "RED")), "'RED', 'red' differ in case"),
        (column("c", [("caf\u00e9", "cafe\u0301")[i % 2] for i in range(N)]), "code points"),
        ("name;pay\n" + "".join(f"{c};{1 + i}.{i:03}\n" for i, c in enumerate(COLOURS)), "pay has three digits after"),
        (column("day", [day.replace("-", "") for day in DAYS]), "column day holds whole numbers such as 20240101"),
        (column("m", [f"20{i % 24:02}{1 + i % 12:02}" for i in range(N)]), "'%Y%m': months"),
        (column("c", every(COLOURS, "red\u200b")), r"'red', 'red.u200b' differ in case, spaces or code points"),
        (column("date", range(45292, 45292 + N)), "as a sheet counts them"),
        (column("code", [f"{i + 10}e{i % 5}" for i in range(N)]), "column code is written like 12e3"),
        (column("tel", [f"+4790{i % 9:06}" for i in range(N)]), r"leading zeros or a \+"),
        (column("id", [2**60 + i for i in range(N)]), r"column id holds numbers beyond 2\^53, all different"),
        (column("for", [f"PT{i}M" for i in range(N)]), "column for holds words such as 'PT0M'"),
        (column("week", [f"2024-W{i:02}-1" for i in range(N)]), "column week holds words such as '2024-W00-1'"),
        (column("day", [f"2024-{i:03}" for i in range(N)]), "column day holds words such as '2024-000'"),
        (column("v", [f"{('Apr', 'Mar')[i % 2]}-{i:02}" for i in range(N)]), "column v holds words such as 'Apr-00'"),
        (column("day", [f"{i}. Mai 2024" for i in range(N)]), "column day holds words such as '0. Mai 2024'"),
        (column("v", [f"{i}.5±0.1" for i in range(N)]), "column v holds words such as '0.5±0.1'"),
        (column("v", [f"{i}+2j" for i in range(N)]), "column v holds words such as '0[+]2j'"),
        (column("ok", every(["True", "False"] * 20, "partly")), "holds flags and 'partly', taken for classes"),
        (column("drug", ["C#N", "CCO", "CC=O", "CC"] * 10), "drug holds SMILES such as 'C#N'.*data.column=drug"),
        (column("red", COLOURS), "first row, x, red, was taken for names"),
        ("name,v\n" + "".join(f"p{i},{x}\n" for i, x in enumerate(X)) + "Total,800\n", "last row has 'Total'"),
        ("1,2,3\n" + "".join(f"{x},{i},{x}\n" for i, x in enumerate(X)), "first row, 1, 2, 3, was taken for data"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) and value.isprintable() else "",
)  # fmt: skip
def test_what_may_not_be_meant_so_is_said(content, says, tmp_path, caplog):
    (tmp_path / "t.csv").write_text(content)
    table(tmp_path / "t.csv")
    said = [r.message for r in caplog.records if r.name == "fusevae"]
    assert any(re.search(says, line) for line in said), said


def test_a_name_that_comes_again_in_its_column_is_a_name_above_numbers(tmp_path):
    (tmp_path / "t.csv").write_text(column("red", COLOURS))
    assert list(table(tmp_path / "t.csv")) == ["x", "red"]


@pytest.mark.parametrize("digits", [18, 26])
def test_identifiers_of_any_number_of_digits_are_made_anew(digits, tmp_path):
    (tmp_path / "t.csv").write_text(column("key", [10 ** (digits - 1) + i for i in range(N)]))
    found = read_data(tmp_path / "t.csv", validation=0, test=0)
    new = found.spec.schema.columns[1].typed(np.full(3, np.nan)).tolist()
    assert len({*new}) == 3 and {*map(len, new)} == {digits} and min(map(int, new)) >= 10 ** (digits - 1) + N


@pytest.mark.parametrize("name", ["petal.width", "a.class"])
def test_columns_of_any_name_are_set_on_the_command_line(name, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(column(name, np.arange(N) % 3))
    setting = ["--set", f"data.columns.{name}=categorical"]
    assert main(["recipes", "--data", str(tmp_path / "t.csv"), *setting, "--json"]) == 0
    arguments = ["--set", "recipe.hidden=[4]", "--set", "training.epochs=1", "--output", str(tmp_path / "run")]
    assert main(["train", "table-vae", "--data", str(tmp_path / "t.csv"), *setting, *arguments]) == 0
    assert f"{name}  3 categories" in capsys.readouterr().err
    assert main(["recipes", "--data", str(tmp_path / "t.csv"), "--set", "data.columns.class=categorical"]) == 2
    assert "another use for: rename it" in capsys.readouterr().err


def test_stars_and_addresses_are_words(tmp_path):
    for values in ([f"{1 + i % 5}*" for i in range(N)], [f"{i % 9} Main" for i in range(N)]):
        (tmp_path / "t.csv").write_text("The hotel\n" + "".join(f"{v}\n" for v in values))
        found = read_data(tmp_path / "t.csv", modality="tables").spec.schema.columns[0]
        assert found.dtype == "str" and found.name == "The hotel"


def test_addresses_are_no_files(tmp_path, caplog):
    (tmp_path / "t.csv").write_text(column("mail", [f"u{i % 9}@a.org" for i in range(N)]))
    assert len(set(table(tmp_path / "t.csv")["mail"])) == 9 and not caplog.records


def test_a_flag_may_be_asked_for_as_json_spells_it():
    flag = read_data(pandas.DataFrame({"x": X, "ok": [i % 3 > 0 for i in range(N)]})).spec.schema.columns[1]
    assert [flag.cell(word) for word in ("true", "False", "1", "0.0")] == [1, 0, 1, 0]
    with pytest.raises(InputError, match=r"ok=yes was given: expected True or False$"):
        flag.cell("yes")


def test_what_parquet_has_of_pandas_own_is_refused(tmp_path):
    frame = pandas.DataFrame({"x": X, "month": pandas.period_range("2024-01", periods=N, freq="M")})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column month holds values of pandas.period.*to_timestamp"):
        read_data(tmp_path / "t.parquet")


def test_layers_are_named_where_the_matrix_holds_no_counts(tmp_path, caplog):
    anndata = pytest.importorskip("anndata")
    counts = rng.poisson(2, (N, 5)).astype("float32") + 1
    for x, said in ((np.log(counts), True), (counts, False)):
        caplog.clear()
        read_data(anndata.AnnData(x, layers={"counts": counts}), validation=0, test=0)
        assert ("data.layer=counts reads one" in caplog.text) is said


def test_nothing_is_said_of_a_plain_table(tmp_path, caplog):
    (tmp_path / "t.csv").write_text(TABLE)
    table(tmp_path / "t.csv")
    assert [r.message for r in caplog.records if r.name == "fusevae"] == []


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%dT%H:%M:%S+02:00",
        "%Y-%m-%d %H:%M:%S-0330",
        "%Y-%m-%dT%H:%M:%S%.3fZ",
        "%Y-%m-%d %H:%M:%S%.f",
        "%d-%b-%Y",
        "%b %-d, %Y",
        "%-m/%-d/%Y %-I:%M %p",
        "%m/%d/%y",
        "%Y-%m",
        "%-H:%M",
        "%a, %d %b %Y %H:%M:%S GMT",
    ],
)
def test_times_are_written_back_as_they_were(form, tmp_path):
    seconds = np.arange(N) * (5000 if "%M" in form else 86400 * 31 if form == "%Y-%m" else 86400)
    seconds = seconds + ("." in form) * 0.125 * (np.arange(N) % 2) + ("%Y" in form or "%y" in form) * 86400 * 19000
    words = words_of(seconds, form)
    (tmp_path / "t.tsv").write_text("x\twhen\n" + "".join(f"{x}\t{w}\n" for x, w in zip(X, words, strict=True)))
    found = table(tmp_path / "t.tsv")
    assert found["when"].tolist() == words


def test_times_of_several_zones_are_instants(tmp_path, caplog):
    words = [f"{day}T12:00:00+0{1 + i % 2}:00" for i, day in enumerate(DAYS)]
    (tmp_path / "t.csv").write_text(column("when", words))
    found = table(tmp_path / "t.csv")["when"].tolist()
    assert [datetime.datetime.fromisoformat(w) for w in found] == [datetime.datetime.fromisoformat(w) for w in words]
    assert "several zones" in caplog.text
    assert np.isnan(numbers_of(["x"], "%Y-%m-%dT%H:%M:%S%z")).all()


def test_frames_are_read_truly(tmp_path, caplog):
    frame = pandas.DataFrame(
        {"x": X, "v": pandas.date_range("2024-03-30", periods=N, freq="h").astype("datetime64[ns]")}
    )
    found = read_data(frame, validation=0, test=0)
    assert "2024-03-30 00:00:00 to 2024-03-31" in found.spec.schema.columns[1].about
    modality_of(found.spec).write(found.train.batch(torch.arange(3))[0], found.spec, tmp_path / "s.csv", {})
    assert (tmp_path / "s.csv").read_text().splitlines()[2].endswith(",2024-03-30 01:00:00")
    scalars = pandas.Series([np.int64(i % 5) for i in range(N)], dtype=object)
    assert read_data(frame.assign(v=scalars)).spec.schema.columns[1].kind == "count"
    ids = read_data(frame.assign(v=np.arange(N) + 2**60), validation=0, test=0)
    assert ids.spec.schema.columns[1].kind == "identifier"
    read_data(frame.assign(v=[str(i / 2) for i in range(N)]))
    assert "column v holds words that are numbers" in caplog.text
    fine = pandas.Series(pandas.date_range("2024-03-30", periods=N, freq="7ns"))
    for data, says in (
        (frame.assign(v=fine), "finer than a microsecond"),
        (frame.x, "the DataFrame of its to_frame"),
        (pyarrow.table({"x": X}), "to_pandas"),
    ):
        with pytest.raises(InputError, match=says):
            read_data(data)


BIG = 2**40 + 1
FRAMES = [
    (lambda: pandas.array([BIG, None, BIG + 1, BIG + 2] * 10, dtype="Int64"), [BIG, None, BIG + 1], None),
    (lambda: pandas.Series([5, None, 6, 7] * 10, dtype="int64[pyarrow]"), [5, None, 6], None),
    (lambda: X.astype("float32"), X[:3].tolist(), None),
    (lambda: (np.arange(N) % 7).astype(">i4"), [0, 1, 2], None),
    (lambda: pandas.Categorical([3, 10, 2, 10] * 10), [3, 10, 2], None),
    (lambda: ["None", "mild", "severe", "None"] * 10, [None, "mild", "severe"], "'None' in 20 cells"),
    (lambda: ["1,5", "2,5", "3,7", "1,5"] * 10, ["1,5", "2,5", "3,7"], "words such as '1,5'"),
    (lambda: pandas.date_range("2024-03-30", periods=N, freq="h", tz="Asia/Tokyo"), None, "zone Asia/Tokyo"),
    (lambda: pandas.to_timedelta(np.arange(N), unit="s"), "convert them", None),
    (lambda: pandas.array([2**53 + 1, None] * 20, dtype="Int64"), "beyond 2\\^53", None),
    (lambda: [Decimal(f"12345678901234567.{i % 2}") for i in range(N)], "more digits than float64", None),
]


@pytest.mark.parametrize(("values", "back", "said"), FRAMES, ids=range(len(FRAMES)))
def test_columns_of_frames_come_back_in_kind(values, back, said, tmp_path, caplog):
    frame = pandas.DataFrame({"x": X, "v": values()})
    if isinstance(back, str):
        with pytest.raises(InputError, match=back):
            read_data(frame)
        return
    found = read_data(frame, validation=0, test=0)
    rows = found.train.batch(torch.arange(3))[0]
    modality_of(found.spec).write(rows, found.spec, tmp_path / "s.csv", {})
    cells = (tmp_path / "s.csv").read_text().splitlines()[1:]
    if back is not None:
        given = table_columns(rows, found.spec)["v"].tolist()
        assert [round(v, 2) if isinstance(v, float) else v for v in given] == back
        assert [cell.split(",", 1)[1].strip('"') for cell in cells] == ["" if v is None else str(v) for v in back]
    assert (said or "") in caplog.text and (said is not None or not caplog.records)


def test_a_table_unlike_that_of_the_model_is_refused_or_said(caplog):
    frame = pandas.DataFrame({"x": X, "n": np.arange(N) % 5, "flag": np.arange(N) % 2, "day": DAYS})
    known = read_data(frame, validation=0, test=0).spec
    assert not caplog.records
    with pytest.raises(InputError, match=r"column n of the data holds 1.5, the first in row 1 .*whole numbers"):
        read_examples(frame.assign(n=np.arange(N) % 5 * 1.5), known)
    for change, says in (
        ({"x": X * 1000}, "column x of the data holds .* in 40 of 40 rows, and .* in training: is it in another unit"),
        ({"flag": 2}, "column flag of the data holds 2 in 40 of 40 rows, .*: taken for missing"),
        ({"day": "1.5.2024"}, r"that the model does not know \(its dates are of the form %Y-%m-%d\), in 40 of 40"),
        (dict.fromkeys(frame), "40 of 40 rows of the data hold no value that the model knows"),
    ):
        read_examples(frame.assign(**change), known)
        assert re.search(says, caplog.text), caplog.text


def test_a_table_of_hugging_face_is_a_table():
    features = {"age": Value("int64"), "city": Value("string"), "who": ClassLabel(names=["he", "she"])}
    one = HuggingFace.from_dict(
        {"age": [30, None, 31, 45] * 10, "city": ["Oslo", "Lima"] * 20, "who": [0, 1] * 20}, features=Features(features)
    )
    found = read_data({"train": one, "test": one}, validation=0)
    assert [c.about.split(",")[0] for c in found.spec.schema.columns] == ["integer", "binary", "binary"]
    columns = table_columns(found.train.batch(torch.arange(2))[0], found.spec)
    assert {k: v.tolist() for k, v in columns.items()} == {
        "age": [30, None], "city": ["Oslo", "Lima"], "who": ["he", "she"]
    }  # fmt: skip
    with pytest.raises(InputError, match=r"can only be iterated|to_pandas"):
        read_data(one.to_iterable_dataset())


@pytest.mark.parametrize("kind", ["coo", "dia", "bsr"])
def test_other_sparse_formats_say_what_is_expected(kind, tmp_path):
    from scipy import sparse

    matrix = sparse.random(30, 6, 0.4, random_state=0)
    sparse.save_npz(tmp_path / "x.npz", matrix.asformat(kind))
    with pytest.raises(InputError, match=f"of the format '{kind}': expected csr; convert it"):
        read_data(tmp_path / "x.npz")
    assert read_data(matrix.todok()).spec.shape == (6,)


LINES = ["the cat sat down", "a dog ran far off", "some birds sing well"] * 8


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("\n".join(LINES).encode("utf-16-le"), None),
        ("\n".join(LINES).encode("utf-32"), None),
        ("\ufeff\ufeff" + "\n".join(LINES), None),
        ("\n".join(json.dumps({"text": line}) for line in LINES), "is a JSON object.*name it .jsonl"),
        ("\n".join(f"{i}\t{line}" for i, line in enumerate(LINES)), "has 1 tabs.*name it .tsv"),
        ("\n".join(f"{line},1" for line in LINES), "has 1 commas.*name it .csv"),
        ("\n".join(f"{i} {i + 1}" for i in range(30)), "holds numbers alone"),
    ],
)
def test_lines_of_text(content, says, tmp_path, caplog):
    (tmp_path / "t.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_data(tmp_path / "t.txt", tokens="characters", validation=0, test=0)
    if says is None:
        assert len(found.train) == len(LINES) and found.spec.high < 40 and "each line" not in caplog.text
    else:
        assert re.search(says, caplog.text)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("caf\xe9 here\n".encode("latin-1") * 9, "line 1 is no UTF-8.*save it as UTF-8"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"%PDF-1.4\n" + bytes(range(1, 256)), "PDF"),
    ],
)
def test_text_that_is_refused(content, says, tmp_path):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_examples(tmp_path / "t.txt")


def test_folders_as_others_write_them(tmp_path, caplog):
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / f"{i}.png")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "0.png").write_bytes(b"x")
    listed = [{"file_name": f"./{i}.png", "label": "ab"[i % 2]} for i in range(8)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, listed)))
    found = read_data(tmp_path, validation=0, test=0)
    assert found.spec.classes == ["a", "b"] and found.train.batch(torch.arange(8))[1].tolist() == [0, 1] * 4
    assert not caplog.records
    (tmp_path / "metadata.jsonl").unlink()
    for content, says in ((b"<html>404</html>", "it is a web page"), (b"", "it is empty"), (None, "a link to nothing")):
        (tmp_path / "9.png").unlink(missing_ok=True)
        if content is None:
            (tmp_path / "9.png").symlink_to(tmp_path / "nowhere.png")
        else:
            (tmp_path / "9.png").write_bytes(content)
        with pytest.raises(InputError, match=says):
            read_data(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"but files of \.heic"):
        read_data(tmp_path / "other")


def test_an_offset_of_sound_is_said(tmp_path, caplog):
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", 0.3 + 0.1 * np.sin(np.arange(800) / 5), 8000)
    read_data(tmp_path)
    assert "6 of 6 clips have a constant offset" in caplog.text


def test_a_file_of_labels_goes_by_the_names_of_files(tmp_path, caplog):
    (tmp_path / "i").mkdir()
    for i in range(12):
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(tmp_path / "i" / f"{i}.png")
    order = [*range(11, -1, -1)]  # neither theirs, 0, 1, 10, 11, 2, nor that of numbers
    for form in ("{}.png", "pictures/{}.png", "{}"):
        rows = "".join(f"{form.format(i)},{'low' if i < 6 else 'high'}\n" for i in order)
        (tmp_path / "labels.csv").write_text("file,label\n" + rows)
        found = read_data(tmp_path / "i", conditions=str(tmp_path / "labels.csv"), validation=0, test=0)
        x, y = found.train.batch(torch.arange(12))
        assert found.spec.classes == ["high", "low"]
        assert (y == (x[:, 0, 0, 0] < 120)).all() and "belong to the files" in caplog.text
    (tmp_path / "labels.csv").write_text("file,label\n" + rows.replace("\n7,", "\n77,"))
    with pytest.raises(InputError, match="names files, and not '7'"):
        read_data(tmp_path / "i", conditions=str(tmp_path / "labels.csv"))
