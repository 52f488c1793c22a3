"""Laws of tables of JSON objects, one a line: what is a table, what are texts, and nothing is lost on the way."""

import json

import numpy as np
import pytest
import torch

import fusevae
from fusevae.data.modality import modality_of


def written(path, rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def cells(part):
    return part.batch(torch.arange(len(part)))[0]


@pytest.mark.parametrize(
    ("row", "modality"),
    [
        ({"age": 31, "paid": 0.5}, "tables"),
        ({"sex": "f", "city": "Oslo", "age": 31}, "tables"),
        ({"city": "Oslo", "age": 31}, "tables"),
        ({"text": "ok", "score": 3}, "text"),
        ({"name": "Bo", "label": "x"}, "text"),
        ({"review": "a good long film", "stars": 3}, "text"),
        ({"smiles": "CCO", "logp": 0.2}, "molecules"),
    ],
)
def test_objects_are_a_table_unless_a_column_holds_texts_or_molecules(row, modality, tmp_path):
    vary = ["smiles", "review", "name"]
    rows = [{k: f"{v}{'C' * i}" if k in vary else v for k, v in row.items()} for i in range(60)]
    assert fusevae.read_data(written(tmp_path / "x.jsonl", rows)).spec.modality == modality


def test_a_table_of_objects_is_read_and_written_as_the_same_parquet_is(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [
        {
            "zip": f"0{i % 5}",
            "x": i / 7,
            "ok": bool(i % 2),
            "n": None if i % 9 == 0 else i,
            "day": f"2020-01-{1 + i % 28:02d}",
        }
        for i in range(80)
    ]
    path = tmp_path / "t.parquet"
    pandas.DataFrame(rows).assign(n=pandas.array([row["n"] for row in rows], "Int64")).to_parquet(path)
    here, there = (fusevae.read_data(p) for p in (written(tmp_path / "t.jsonl", rows), str(path)))
    kinds = [[(c.name, c.kind) for c in data.spec.schema.columns] for data in (here, there)]
    assert kinds[0] == kinds[1]
    for a, b in zip((here.train, here.test), (there.train, there.test), strict=True):
        assert torch.equal(cells(a).nan_to_num(-1), cells(b).nan_to_num(-1))
    back = tmp_path / "back.jsonl"
    modality_of(here.spec).write(cells(here.train), here.spec, back, {})
    found = [json.loads(line) for line in back.read_text().splitlines()]
    assert all(row in [{**r, "x": pytest.approx(r["x"], abs=1e-6)} for r in rows] for row in found)


def test_what_is_no_table_of_objects_is_refused_in_a_line(tmp_path):
    good = [{"a": i, "b": i / 3} for i in range(30)]
    for rows, says in [
        ([*good, '{"a": 1,'], "line 31 is no JSON object"),
        ([*good, '{"a": 1, "a": 2}'], "line 31 has the name 'a' twice"),
        ([*good, {"a": 2**60 + 1, "b": 0.5}], "row 31, column a is beyond 2"),
        ([{"a": [1, 2], "b": 0.5}] * 30, "columns a hold neither numbers nor words"),
        (["[1, 2]"] * 30, "holds no JSON objects"),
    ]:
        with pytest.raises(fusevae.InputError) as refused:
            fusevae.read_data(written(tmp_path / "x.jsonl", rows))
        assert says in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_of_objects_has_its_splits(tmp_path):
    for split, n in (("train", 40), ("test", 9)):
        written(tmp_path / f"{split}.jsonl", [{"a": i / 3, "b": "xy"[i % 2]} for i in range(n)])
    data = fusevae.read_data(str(tmp_path))
    assert data.spec.modality == "tables" and len(data.test) == 9
    assert np.isclose(cells(data.test)[:, 0].max(), 8 / 3)
