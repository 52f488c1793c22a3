"""Numbers as conditions: read from every format, given to every net, asked for when sampling."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

import fusevae
from fusevae import (
    LSTM,
    MADE,
    VAE,
    Artifact,
    Conditions,
    DataSpec,
    Diffusion,
    Flat,
    Gaussian,
    Generator,
    ImageTransformer,
    InputError,
    LanguageModel,
    Normal,
    Number,
    PixelCNN,
)
from fusevae.cli import main
from fusevae.core.conditional import Conditional
from fusevae.core.description import build, describe
from fusevae.core.levels import Level, log_bound
from fusevae.data.source import read_data
from fusevae.evaluation.reading import decode, interpolate, read, traverse
from fusevae.evaluation.samples import sample
from fusevae.modalities.molecules.quality import MoleculeReference
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.nets.generator import ConvGenerator
from fusevae.nets.mlp import MLP, Embedding
from fusevae.nets.time_mlp import TimeMLP
from fusevae.nets.unet import UNet
from fusevae.objectives.elbo import ELBO
from fusevae.training.settings import Training

TWO = Conditions([Number("width", 1.0, 2.0), Number("height", 10.0, 5.0)])
GAP = float("nan")
VALUES = torch.tensor([[1.0, 10.0], [3.0, GAP], [GAP, GAP]])


def test_an_embedding_is_linear_in_what_is_known_and_has_a_value_for_what_is_not() -> None:
    net = Embedding(TWO, (3,), std=1.0)
    none = net(None)
    assert torch.allclose(net(VALUES)[2], none)
    w, b = net.weight[:-1], net.weight[-1]
    assert torch.allclose(net(VALUES)[0], b)  # both are at their means
    assert torch.allclose(net(VALUES)[1], b + w[0] + w[3])  # one scale above the mean, the other unknown
    again = build(describe(net))
    assert again.classes.names == ["width", "height"] and again.weight.shape == net.weight.shape


def test_every_family_takes_numbers_row_by_row() -> None:
    z, shape = torch.randn(3, 2), (1, 4, 4)
    families: dict[str, tuple[Conditional, tuple[torch.Tensor, ...]]] = {
        "MLP": (Gaussian(MLP(2, 4, (8,), classes=TWO)), (z,)),
        "ConvDecoder": (Gaussian(ConvDecoder(2, shape, (8, 8), blocks=1, classes=TWO), scale="shared"), (z,)),
        "MADE": (MADE(3, hidden=(8,), classes=TWO), ()),
        "PixelCNN": (PixelCNN(shape, width=8, kernels=(3,), classes=TWO), ()),
        "PixelCNN with a latent": (PixelCNN(shape, width=8, kernels=(3,), context=2, classes=TWO), (z,)),
        "ImageTransformer": (ImageTransformer(shape, width=8, heads=2, layers=1, classes=TWO), ()),
        "LanguageModel": (LanguageModel(LSTM(8, 1), 5, context=2, classes=TWO, longest=6), (z,)),
        "Diffusion": (Diffusion(TimeMLP(3, 8, 1, classes=TWO), 3), ()),
        "UNet": (Diffusion(UNet((1, 8, 8), (8, 16), classes=TWO), (1, 8, 8)), ()),
        "Embedding": (Gaussian(Embedding(TWO, 4)), ()),
        "Generator": (Generator(Normal(2), ConvGenerator(2, shape, (4, 4), classes=TWO, groups=2)), ()),
    }
    for name, (part, given) in families.items():
        part.eval()
        for p in part.parameters():  # what starts at zero would hide the condition
            torch.nn.init.normal_(p, std=0.3)
        p = part(*given, VALUES)
        x = p.sample((2,))
        assert x.shape[:2] == (2, 3), name
        if part.level >= Level.BOUND:
            torch.manual_seed(0)
            both = log_bound(p, x) if part.level == Level.BOUND else p.log_prob(x)
            assert both.shape == (2, 3) and bool(both.isfinite().all()), name
        if part.level > Level.BOUND:
            one = part(*(g[1:2] for g in given), VALUES[1:2]).log_prob(x[:, 1:2])
            assert torch.allclose(one[:, 0], both[:, 1], atol=1e-4), name
            if name != "LanguageModel":  # a condition changes the density
                other = part(*given, VALUES.flip(0)).log_prob(x)
                assert not torch.allclose(other[:, 0], both[:, 0]), name


def test_guidance_moves_away_from_what_is_unknown() -> None:
    part = Diffusion(TimeMLP(3, 8, 1, classes=TWO), 3)
    for p in part.parameters():
        torch.nn.init.normal_(p, std=0.3)
    torch.manual_seed(0)
    zero = part.replaced(guidance=0.0)
    zero.load_state_dict(part.state_dict())
    torch.manual_seed(0)
    a = zero(VALUES).sample()
    torch.manual_seed(0)
    b = part(torch.full_like(VALUES, GAP)).sample()
    assert torch.allclose(a, b, atol=1e-5)


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
    x = np.stack([2 * y[:, 0], y[:, 1] - y[:, 0], rng.normal(size=400)], 1).astype(np.float32)
    return x + 0.05 * rng.normal(size=x.shape).astype(np.float32), y


@pytest.fixture(scope="module")
def trained(rows: tuple[np.ndarray, np.ndarray]) -> Artifact:
    splits = read_data(rows, conditions=["a", "b"])
    condition = splits.spec.condition
    vae = VAE(
        Flat(Normal(2), Gaussian(MLP(3, 4, (32,), classes=condition))),
        Gaussian(MLP(2, 6, (32,), classes=condition), bounds=(-4.0, 1.0)),
    )
    return fusevae.fit(vae, splits, [], ELBO(), Training(epochs=60, batch_size=50, learning_rate=1e-2), quiet=True)


def test_a_trained_model_obeys(trained: Artifact) -> None:
    made = sample(trained, 200, {"a": 0.8, "b": -0.5})
    assert abs(made[:, 0].mean() - 1.6) < 0.2 and abs(made[:, 1].mean() + 1.3) < 0.2
    assert torch.equal(made, sample(trained, 200, "a=0.8, b=-0.5"))
    part = sample(trained, 200, "a=-0.8")
    assert abs(part[:, 0].mean() + 1.6) < 0.35  # b is free
    assert sample(trained, 3).shape == (3, 3)
    each = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
    assert (sample(trained, 2, each)[:, 0] - torch.tensor([1.0, -1.0])).abs().max() < 0.6
    for wrong, words in (
        ("qed=1", "no condition"),
        ("a", "expected values by the names of columns, such as a=0.0,b=0.0"),
        ("a=x", "expected a number such as"),
        (torch.zeros(2), r"expected \(3, 2\)"),
    ):
        with pytest.raises(InputError, match=words):
            sample(trained, 3, wrong)


def test_an_artifact_keeps_its_properties(trained: Artifact, tmp_path) -> None:
    again = Artifact.load(trained.save(tmp_path))
    assert again.data.conditions is not None and again.data.conditions.names == ["a", "b"]
    assert torch.equal(sample(again, 4, "a=1"), sample(trained, 4, "a=1"))


def test_reading_the_latents_with_numbers(trained: Artifact, rows: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = rows
    found = read(trained, x[:6], y[:6])
    assert found.label is not None and torch.equal(found.label, torch.from_numpy(y[:6]))
    assert decode(trained, found.z, y[:6]).shape == (6, 3)
    between = interpolate(trained, x[:3], x[3:6], 5, label="a=0.2,b=0.1")
    assert between.shape == (3, 5, 3)
    assert traverse(trained, x[:6], y[:6], dims=2, steps=3).x.shape == (2, 3, 3)
    same = fusevae.evaluate(trained, (x, y), importance_samples=5).elbo
    unknown = fusevae.evaluate(trained, (x, np.full_like(y, np.nan)), importance_samples=5).elbo
    assert same > unknown + 0.3


def test_interpolation_goes_from_the_numbers_of_one_to_those_of_the_other(trained: Artifact) -> None:
    from fusevae.evaluation.reading import along

    z = torch.zeros(1, 5, 2)
    found = along(trained, z, torch.tensor([[-0.8, 0.0]]), torch.tensor([[0.8, 0.0]]), seed=0)
    assert bool((found[0, 1:, 0] > found[0, :-1, 0]).all())


def test_every_format(rows: tuple[np.ndarray, np.ndarray], tmp_path) -> None:
    x, y = rows
    table = tmp_path / "t.csv"
    lines = [",".join(map(repr, (*map(float, a), *map(float, b)))) for a, b in zip(x, y, strict=True)]
    lines[0] = ",".join([*lines[0].split(",")[:4], ""])  # an empty cell
    table.write_text("x0,x1,x2,a,b\n" + "\n".join(lines))
    splits = read_data(str(table), conditions=["b", "a"], test=0.0, validation=0.25)
    assert splits.spec.shape == (3,) and splits.spec.conditions is not None
    assert splits.spec.conditions.names == ["b", "a"] and splits.spec.classes is None
    got = splits.train.batch(torch.arange(len(splits.train)))[1]
    assert got is not None and got.dtype == torch.float32
    known = got[:, 1][got[:, 1].isfinite()]
    assert math.isclose(splits.spec.conditions.columns[1].mean, float(known.double().mean()), rel_tol=1e-5)
    lines = [json.dumps({"text": "ab", "a": i, "b": None if i else 2}) for i in range(6)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    splits = read_data(str(tmp_path / "t.jsonl"), conditions=["a", "b"], tokens="characters", test=0.0, validation=0.0)
    label = splits.train.batch(torch.arange(6))[1]
    assert label is not None and sorted(label[:, 0].tolist()) == [0, 1, 2, 3, 4, 5]
    assert int(label[:, 1].isfinite().sum()) == 1
    np.savez(tmp_path / "t.npz", x=x, y=y)
    assert read_data(str(tmp_path / "t.npz"), conditions=["a", "b"]).spec.condition


def test_parquet_and_datasets(rows: tuple[np.ndarray, np.ndarray], tmp_path) -> None:
    pytest.importorskip("pyarrow")
    datasets = pytest.importorskip("datasets")
    x, y = rows
    columns = {"x0": x[:, 0], "x1": x[:, 1], "a": y[:, 0], "b": y[:, 1]}
    datasets.Dataset.from_dict(columns).to_parquet(str(tmp_path / "t.parquet"))
    spec = read_data(str(tmp_path / "t.parquet"), conditions=["a", "b"]).spec
    assert spec.shape == (2,) and isinstance(spec.condition, Conditions)
    texts = datasets.Dataset.from_dict({"text": ["ab", "ba"] * 5, "score": [0.5] * 10})
    spec = read_data(texts, conditions=["score"], tokens="characters").spec
    assert spec.conditions is not None and spec.conditions.columns[0].scale == 1.0  # a constant


@pytest.mark.parametrize(
    ("data", "settings", "words"),
    [
        (np.zeros((9, 2)), {"conditions": ["a"]}, "hold none"),
        (["ab", "ba", "aa"] * 3, {"conditions": ["qed"], "tokens": "characters"}, "hold none"),
        ((np.zeros((9, 2)), np.zeros((9, 2))), {"conditions": ["a"]}, "2 columns, conditions name a"),
        ((["ab", "ba"] * 3, np.zeros(7)), {"conditions": ["a"], "tokens": "characters"}, "7 labels for 6"),
        ((np.zeros((9, 2)), np.full(9, np.inf)), {"conditions": ["a"]}, "infinite"),
        ((np.zeros((9, 2)), ["x"] * 9), {"conditions": ["a:number"]}, "asked for as numbers"),
        (None, {"conditions": ["a"]}, "their own labels"),
        (None, {"conditions": []}, "expected names"),
    ],
)
def test_bad_input_is_one_line(data, settings, words) -> None:
    with pytest.raises(InputError, match=words) as error:
        read_data(data, **settings)
    assert "\n" not in str(error.value)


def test_a_column_that_is_not_there(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("x,size\n" + "1,2\n" * 9)
    with pytest.raises(InputError, match="no column 'sise' for the conditions; did you mean 'size'"):
        read_data(str(tmp_path / "t.csv"), conditions=["sise"])


def test_properties_of_molecules_are_computed_and_asked_for(tmp_path, capsys) -> None:
    pytest.importorskip("rdkit")
    smiles = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N", "Cl", "C=O")]
    path = tmp_path / "m.smi"
    path.write_text("\n".join(smiles * 5) + "\n")
    settings = ["recipe.conditional=true", "data.conditions=[weight]", "recipe.width=32", "recipe.heads=2"]
    settings += ["training.epochs=2", "recipe.layers=1", "recipe.latent=4"]
    words = [word for s in settings for word in ("--set", s)]
    run = str(tmp_path / "run")
    assert main(["train", "molecules-vae", "--data", str(path), "--output", run, *words]) == 0
    artifact = fusevae.load(run)
    assert artifact.is_conditional and artifact.data.conditions is not None
    assert artifact.data.conditions.names == ["weight"] and 20 < artifact.data.conditions.columns[0].mean < 120
    capsys.readouterr()
    assert main(["sample", run, "-n", "3", "--label", "weight=60", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] == "weight=60"
    assert main(["sample", run, "--label", "qed=1"]) == 2
    assert "weight" in capsys.readouterr().err
    splits = read_data(str(path), conditions=["weight"])
    reference = MoleculeReference(splits.test, splits.train, 40)
    found = reference.judge(artifact)
    assert found.as_asked is not None and any("as asked" in name for name, _ in found.lines()) == bool(found.as_asked)
    assert fusevae.encode(artifact, ["CCO", "CCN"])["mean"].shape == (2, 4)


def test_a_spec_keeps_its_properties_through_views() -> None:
    spec = DataSpec((1, 4, 4), "uint8", 0, 255, conditions=TWO)
    assert fusevae.Binarize().spec(spec).conditions is TWO
    assert spec.with_shape((1, 2, 2)).conditions is TWO and spec.with_range(0, 1).conditions is TWO
    encoder = ConvEncoder((1, 4, 4), 4, (8,), classes=TWO)
    assert encoder(torch.zeros(3, 1, 4, 4), VALUES).shape == (3, 4)
