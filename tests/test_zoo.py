"""The zoo of data: its declarations, one cell of each kind, and the page that is made of cells."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fusevae import Source

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import minutes  # noqa: E402
import zoo  # noqa: E402
import zoo_table  # noqa: E402
from zoo_cell import OWN, arms  # noqa: E402
from zoo_sets import SETS  # noqa: E402


def keys(examples):
    return {each if isinstance(each, str) else np.asarray(each).tobytes() for each in examples}


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_a_set_is_what_it_says(one, tmp_path):
    if one.absent:
        pytest.skip(one.absent)
    if one.modality == "molecules":
        pytest.importorskip("rdkit")
    parts, again = one.parts(), one.parts()
    assert [len(x) for x, _ in parts.values()] == list(one.sizes)
    for split, (x, beside) in parts.items():
        assert np.array_equal(x, again[split][0])  # the same each time
        assert all(len(column) == len(x) for column in beside.values())
    train, validation, test = (keys(x) for x, _ in parts.values())
    assert not train & validation and not train & test and not validation & test
    path = one.write(tmp_path / "data", most=40)
    conditions = list(one.conditions) or None
    found = Source(str(path), conditions=conditions, **one.reading).read()  # which nobody tells what they are
    assert found.spec.modality == one.modality
    assert (found.spec.conditions.names if conditions else []) == list(one.conditions)
    if not one.joined:
        assert [len(found.train), len(found.validation), len(found.test)] == [20, 10, 10]


def test_there_are_enough_of_every_kind():
    kinds = [one.modality for one in SETS]
    assert len({one.name for one in SETS}) == len(SETS) >= 16
    assert all(kinds.count(kind) >= 2 for kind in ("images", "text", "molecules", "tables"))


def test_pairs_are_of_recipes_that_there_are_on_one_set():
    there = {one.name: arms(one).keys() for one in SETS}
    for child, (parent, _) in zoo_table.PAIRS.items():
        assert any({child, parent} <= names for names in there.values()), child
    assert OWN.keys() <= there["omniglot"]


def record(**more):
    scored = {"value": -3.0, "gain": 1.0, "each": [-3.0, -3.5, -2.5, -3.0], "information": 4.0}
    return {"whole": True, "support": "s", "likelihood": scored, "quality": {}} | more


def scored(each, gain=1.0):
    return {"value": float(np.mean(each)), "gain": gain, "each": each, "information": 4.0}


def test_marks_say_what_is_wrong():
    assert zoo_table.marks(record()) == ""
    assert zoo_table.marks(record(crash="E: x")) == "X"
    assert zoo_table.marks(record(likelihood=scored([0.0], -0.1))) == "W"
    assert zoo_table.marks(record(likelihood=scored([0.0], None))) == "W"  # not finite
    assert zoo_table.marks(record(overfitting={"percent": 0.6})) == "O"
    assert zoo_table.marks(record(latents={"wrong": {"collapsed": "..."}})) == "C"
    made = {"fid": 5.0, "constant": {"fid": 4.0}, "real": {"fid": 1.0}}
    assert zoo_table.marks(record(likelihood=None, quality=made)) == "W"
    near = made | {"intervals": {"fid": [2.0, 8.0]}, "constant": {"fid": 4.0, "intervals": {"fid": [3.0, 5.0]}}}
    assert zoo_table.marks(record(likelihood=None, quality=near)) == ""
    assert zoo_table.marks(record(likelihood=None, quality=near | {"intervals": {"fid": [5.0, 8.0]}})) == "W"
    assert zoo_table.marks(record(likelihood=None, quality=near | {"fid": None})) == "W"


def test_a_pair_has_the_interval_of_student(tmp_path):
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t of 2 degrees 4.303: 2 - 2.484 to 2 + 2.484."""
    child, parent = record(likelihood=scored([1.0, 2.0, 3.0])), record(likelihood=scored([0.0, 0.0, 0.0]))
    assert zoo_table.apart(child, parent, "likelihood") == ("+2.00 (-0.48 to +4.48)", "undecided")
    assert zoo_table.apart(record(likelihood=scored([2.0, 2.1, 2.2])), parent, "likelihood")[1] == "better"
    assert zoo_table.apart(parent, record(likelihood=scored([2.0, 2.1, 2.2])), "likelihood")[1] == "worse"
    assert zoo_table.apart(child, None, "likelihood") == ("not measured", "not measured")
    cells = [zoo.Cell("omniglot", "flow-vae", 1.0), zoo.Cell("omniglot", "binary-vae", 1.0)]
    for cell, one in zip(cells, (child, parent), strict=True):
        cell.record(tmp_path).parent.mkdir(exist_ok=True)
        cell.record(tmp_path).write_text(json.dumps(one))
    assert "| `flow-vae`, `binary-vae` | 0 | 0 | 1 | 0 |" in zoo_table.page(tmp_path, cells)


def test_what_is_not_there_is_not_measured(tmp_path):
    found = zoo_table.page(tmp_path, zoo.cells(["iris"], [], 180.0))
    assert "0 of " in found and "not measured" in found


# samples after a few minutes


def drew(fid, **more):
    quality = {"fid": fid, "real": {"fid": 4.0}, "constant": {"fid": 104.0}}
    return {"quality": quality, "steps": 1200, "finished": True, "said": [], "whole": True} | more


def test_the_words_of_a_cell_say_no_more_than_its_figures(tmp_path):
    assert minutes.words(drew(14.0)) == "near the data (0.10; 1,200 steps)"
    assert minutes.words(drew(54.0)) == "on the way (0.50; 1,200 steps)"
    assert minutes.words(drew(94.0)).startswith("little to look at (0.90")
    assert minutes.words(drew(204.0, finished=False)) == "noise (2.00; 1,200 steps), cut off by the time"
    lacks = drew(204.0, said=["Adversarial needs some 2,000 steps until ..."])
    assert minutes.words(lacks).endswith("and said so at its start")
    assert minutes.words({"crash": "E: x"}) == "**crashed**" and "not take" in minutes.words({"refused": "x"})
    assert minutes.words(drew(None)) == "no figure" and "prior" in minutes.words({"quality": {"none": "..."}})
    chosen = minutes.cells(["mnist"], ["gan"], [5.0, 1.0])
    assert [(cell.recipe, cell.minutes) for cell in chosen] == [("gan", 1.0), ("gan", 5.0)]
    path = chosen[0].record(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(drew(14.0)))
    found = minutes.page(tmp_path, chosen)
    assert "1 of 2 cells are measured" in found and "| `gan` | near the data (0.10; 1,200 steps) | · |" in found
    assert minutes.drawn(tmp_path, chosen) is None  # no strip of samples yet


def test_a_minute_of_two_cores_is_two_of_one():
    assert minutes.Cell("mnist", "gan", 5.0).arguments(Path("r"), None)[2] == "600.0"
