"""Artifacts and run folders of each format: each loads, gives the figures that it gave when it was written, and is the
same when it is saved anew. ``figures.json`` in a format's folder says what each was given and what came of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fusevae
from fusevae.core.artifact import FORMAT
from fusevae.core.description import describe
from fusevae.modalities.text.schema import TextSchema

FOLDER = Path(__file__).parent / "fixtures"
FORMATS = sorted(FOLDER.glob("format*"))
FIGURES = {
    f"{folder.name}/{name}": figures
    for folder in FORMATS
    for name, figures in json.loads((folder / "figures.json").read_text(encoding="utf-8")).items()
}
NEAR = {"rtol": 1e-5, "atol": 1e-6}  # other kernels of a CPU come within a sixth of it

every = pytest.mark.parametrize("name", FIGURES)


def old(name):
    """An artifact, and what is to be had of it."""
    found = FIGURES[name]
    for module in found["needs"]:
        pytest.importorskip(module)
    file = FOLDER / f"{name}.safetensors"
    return fusevae.load(file if file.exists() else FOLDER / name), found


def given(found):
    """Examples and their labels as the public functions take them."""
    x, label = found["x"], found["label"]
    if "dtype" in found:
        x = torch.tensor(x, dtype=getattr(torch, found["dtype"]))
    if label is not None:  # a property that isn't known is None, and NaN in the array
        label = np.array(label, dtype=np.float32 if isinstance(label[0], list) else None)
    return x, label


def assert_same(artifact, x, wanted):
    """Texts are equal, numbers near; text may come as tokens or as strings."""
    if isinstance(wanted[0], str):
        assert list(x if isinstance(x[0], str) else artifact.data.text(x)) == wanted
    else:
        np.testing.assert_allclose(np.asarray(x, dtype=np.float64), np.array(wanted, dtype=np.float64), **NEAR)


@pytest.fixture
def as_then(name, monkeypatch):
    if name.startswith("format1/"):  # the unknown token was written like any other, and so were empty texts
        monkeypatch.setattr(TextSchema, "writing", lambda schema, how: how)


def test_the_fixtures_are_there():
    assert [int(folder.name[-1]) for folder in FORMATS] == list(range(1, FORMAT + 1))
    for folder in FORMATS:
        assert {f"{folder.name}/{p.stem}" for p in folder.glob("*.safetensors")} <= FIGURES.keys()
        assert {f"{folder.name}/runs/{p.name}" for p in folder.glob("runs/*")} <= FIGURES.keys()


@every
def test_an_old_artifact_saved_anew_is_the_same(name, tmp_path):
    artifact, _ = old(name)
    again = fusevae.load(artifact.save(tmp_path))
    assert describe(again) == describe(artifact)
    assert again.state_dict().keys() == artifact.state_dict().keys()


@every
def test_an_old_artifact_says_the_same_of_its_support(name):
    artifact, found = old(name)
    assert artifact.support.split()[0].rstrip(":") == found["support"].split()[0].rstrip(":")


@every
def test_an_old_artifact_gives_the_same_likelihoods(name):
    artifact, found = old(name)
    x, label = given(found)
    if "log_likelihood" not in found:
        with pytest.raises(fusevae.InputError, match="likelihood"):
            fusevae.log_likelihood(artifact, x, label, importance_samples=5)
        return
    assert_same(
        artifact, fusevae.log_likelihood(artifact, x, label, importance_samples=5, seed=0), found["log_likelihood"]
    )
    if "log_likelihood_unlabelled" in found:
        value = fusevae.log_likelihood(artifact, x, importance_samples=5, seed=0)
        assert_same(artifact, value, found["log_likelihood_unlabelled"])


@every
def test_an_old_artifact_gives_the_same_samples(name, as_then):
    artifact, found = old(name)
    for one in found["sample"]:
        assert_same(artifact, fusevae.sample(artifact, n=3, label=one["label"], seed=0), one["x"])


@pytest.mark.parametrize("name", [name for name in FIGURES if "encode" in FIGURES[name]])
def test_an_old_artifact_gives_the_same_latents_and_reconstructions(name, as_then):
    artifact, found = old(name)
    x, label = given(found)
    arrays = fusevae.encode(artifact, x, label, seed=0)
    assert arrays.keys() == found["encode"].keys()
    for key, wanted in found["encode"].items():
        assert_same(artifact, arrays[key], wanted)
    assert_same(artifact, fusevae.reconstruct(artifact, x, label, seed=0), found["reconstruct"])
