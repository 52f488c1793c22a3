"""Reading the latents: paths, directions, neighbours and maps, beside what they are in closed form."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fusevae
from fusevae import MADE, MLP, VAE, Artifact, Bernoulli, DataSpec, Flat, Gaussian, InputError, Normal
from fusevae.cli import main
from fusevae.evaluation import latent_space, paths
from fusevae.evaluation.latent_pictures import draw_latents
from fusevae.evaluation.reading import read

D, Z = 4, 3


class Line(nn.Linear):
    """A linear layer that a condition may be given to."""

    def forward(self, x, *others):
        return super().forward(x)


def linear(sigma: float = 0.5) -> tuple[Artifact, torch.Tensor, torch.Tensor]:
    """A linear-Gaussian VAE with its true posterior, p(x | z) = N(W z, sigma^2 I); W, and the encoder's matrix."""
    w = torch.linalg.qr(torch.randn(D, Z))[0] * torch.tensor([2.0, 0.5, 1.0])
    covariance = 1 / (1 + (w * w).sum(0) / sigma**2)  # diagonal: the columns of W are orthogonal
    gain = covariance[:, None] * w.T / sigma**2
    encode, decode = Line(D, 2 * Z), Line(Z, D, bias=False)
    raw = -1 + 6 * torch.atanh((covariance.sqrt().log() + 1) / 6)  # through the bound on log sigma
    with torch.no_grad():
        encode.weight.copy_(torch.cat([gain, torch.zeros(Z, D)]))
        encode.bias.copy_(torch.cat([torch.zeros(Z), raw]))
        decode.weight.copy_(w)
    vae = VAE(Flat(Normal(Z), Gaussian(encode)), Gaussian(decode, scale=sigma, event_dim=1))
    return Artifact(vae, DataSpec((D,))), w, gain


def digits(decoder: str = "bernoulli") -> tuple[Artifact, torch.Tensor, np.ndarray]:
    """An untrained conditional model of small binarized images, some images, and their classes."""
    spec = DataSpec((1, 4, 4), "uint8", 0, 255, ["a", "b", "c"])
    nets = {
        "bernoulli": lambda: Bernoulli(MLP(2, (1, 4, 4), hidden=(8,), classes=3)),
        "made": lambda: MADE((1, 4, 4), hidden=(16,), context=2, classes=3),
    }
    vae = VAE(Flat(Normal(2), Gaussian(MLP((1, 4, 4), 4, hidden=(8,), classes=3))), nets[decoder]())
    with torch.no_grad():
        for module in vae.modules():
            if hasattr(module, "classes") and hasattr(module, "weight"):
                module.weight.mul_(50)  # labels that matter
    x = torch.randint(256, (12, 1, 4, 4), dtype=torch.uint8)
    return Artifact(vae, spec, [fusevae.Binarize()]), x, np.array(["a", "b", "c"] * 4)


@pytest.mark.parametrize("decoder", ["bernoulli", "made"])
@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_the_ends_of_an_interpolation_are_the_reconstructions(decoder, path):
    artifact, x, label = digits(decoder)
    a, b = x[:6], x[6:]
    found = fusevae.interpolate(artifact, a, b, steps=5, path=path, label=label[:6], seed=3)
    assert found.shape == (6, 5, 1, 4, 4)
    assert torch.equal(found[:, 0], fusevae.reconstruct(artifact, a, label[:6], seed=3))
    assert torch.equal(found[:, -1], fusevae.reconstruct(artifact, b, label[:6], seed=3))


def test_a_linear_path_of_a_linear_decoder_is_a_line():
    artifact, _, _ = linear()
    x = torch.randn(10, D)
    found = fusevae.interpolate(artifact, x[:5], x[5:], steps=3, path="linear")
    torch.testing.assert_close(found[:, 1], (found[:, 0] + found[:, 2]) / 2)


def test_slerp_keeps_the_norm_and_goes_at_a_constant_speed():
    a, b = (5 * torch.nn.functional.normalize(torch.randn(20, 7), dim=-1) for _ in range(2))
    points = torch.stack([paths.slerp(a, b, t) for t in torch.linspace(0, 1, 9).tolist()])
    torch.testing.assert_close(points.norm(dim=-1), torch.full((9, 20), 5.0))
    steps = (points[1:] - points[:-1]).norm(dim=-1)
    torch.testing.assert_close(steps, steps[:1].expand(8, -1), rtol=1e-3, atol=1e-4)
    assert torch.equal(points[0], a)
    assert torch.equal(points[-1], b)


def test_slerp_of_parallel_opposite_and_zero_latents_is_the_straight_line():
    a = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[2.0, 4.0], [-1.0, -2.0], [3.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(paths.slerp(a, b, 0.25), 0.75 * a + 0.25 * b, rtol=1e-3, atol=1e-4)


def test_decoding_what_was_encoded_is_reconstructing():
    artifact, x, label = digits()
    z = fusevae.encode(artifact, x, label)["mean"]
    assert torch.equal(fusevae.decode(artifact, z.astype(np.float64), label), fusevae.reconstruct(artifact, x, label))
    whole = fusevae.decode(artifact, z, "b")
    assert torch.equal(whole, fusevae.decode(artifact, z, ["b"] * 12))
    assert torch.equal(whole, fusevae.decode(artifact, z, torch.ones(12, dtype=torch.long)))
    assert not torch.equal(whole, fusevae.decode(artifact, z, "c"))


def test_a_traversal_changes_one_dimension_and_begins_with_the_most_active():
    artifact, w, gain = linear()
    x = torch.randn(2000, Z) @ w.T + 0.5 * torch.randn(2000, D)
    found = fusevae.traverse(artifact, x, example=7, steps=5, dims=Z)
    mean = x @ gain.T
    assert found.dims.tolist() == mean.var(0).argsort(descending=True).tolist()
    moved = (found.x - mean[7] @ w.T) @ torch.linalg.pinv(w).T  # back to latents, from those of the example
    for row, d in enumerate(found.dims.tolist()):
        others = [k for k in range(Z) if k != d]
        assert moved[row][:, others].abs().max() < 1e-4
        torch.testing.assert_close(moved[row][:, d], found.values[row] - mean[7, d], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_a_traversal_goes_through_the_quantiles_of_the_aggregate_posterior(own):
    # with the true posterior and data of the model itself, q(z) is the prior
    artifact, w, _ = linear()
    x = None if own else torch.randn(20_000, Z) @ w.T + 0.5 * torch.randn(20_000, D)
    values = fusevae.traverse(artifact, x, dims=[0, 1, 2], steps=3, reach=0.8).values
    expected = math.sqrt(2) * torch.special.erfinv(torch.tensor([-0.8, 0.0, 0.8]))
    tolerance = 0.05 if not own else 0.2
    torch.testing.assert_close(values, expected.expand(Z, -1), rtol=0, atol=tolerance)


def test_the_vector_of_an_attribute_of_a_linear_model_is_known():
    artifact, w, gain = linear()
    x, shift = torch.randn(40, D), torch.tensor([1.0, -2.0, 0.5, 3.0])
    both = torch.cat([x, x + shift])
    has = torch.arange(80) >= 40
    vector = fusevae.attribute_vectors(artifact, both, {"shifted": has})["shifted"]
    torch.testing.assert_close(vector, gain @ shift, rtol=1e-4, atol=1e-5)
    classes = fusevae.attribute_vectors(artifact, both, np.where(has, "new", "old"))
    torch.testing.assert_close(classes["new"], vector)
    torch.testing.assert_close(classes["old"], -vector)
    moved = fusevae.add_attribute(artifact, x, vector, amounts=(0.0, 1.0, -2.0))
    again = fusevae.reconstruct(artifact, x)
    assert torch.equal(moved[:, 0], again)
    for i, amount in ((1, 1.0), (2, -2.0)):
        torch.testing.assert_close(moved[:, i] - again, (amount * w @ gain @ shift).expand(40, D), rtol=1e-3, atol=1e-4)


def test_neighbours_are_those_of_brute_force(monkeypatch):
    artifact, _, _ = linear()
    x, queries = torch.randn(300, D), torch.randn(37, D)
    z = torch.from_numpy(fusevae.encode(artifact, x)["mean"])
    q = torch.from_numpy(fusevae.encode(artifact, queries)["mean"])
    apart = (q[:, None] - z).double().square().sum(-1).sqrt()
    for parts in (latent_space.PARTS, 5000):
        monkeypatch.setattr(latent_space, "PARTS", parts)  # several blocks
        found = fusevae.neighbours(artifact, x, queries, k=9)
        assert torch.equal(found.indices, apart.argsort(1)[:, :9])
        torch.testing.assert_close(found.distances.double(), apart.sort(1).values[:, :9], rtol=1e-4, atol=1e-5)
    own = torch.arange(20)
    found = latent_space.nearest(z, z[:20], 4, own)
    assert not (found.indices == own[:, None]).any()
    assert torch.equal(found.indices, fusevae.neighbours(artifact, x, x[:20], k=5).indices[:, 1:])


def test_a_map_is_the_latent_itself_or_its_principal_components():
    artifact, x, label = digits()
    found = fusevae.latent_map(artifact, x, label)
    assert torch.equal(found.points, read(artifact, x, label).z)
    assert found.classes == ["a", "b", "c"]
    assert found.label.tolist() == [0, 1, 2] * 4
    artifact, w, _ = linear()
    flat = torch.randn(50, 2) @ torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]) @ w.T  # latents in a plane
    found = fusevae.latent_map(artifact, flat)
    z = read(artifact, flat).z
    kept, apart = (torch.cdist(points.double(), points.double()) for points in (found.points, z))
    torch.testing.assert_close(kept, apart, rtol=1e-4, atol=1e-4)
    first, second = found.points.var(0).tolist()
    assert first > second
    percent = [int(axis.split("(")[1].split(" ")[0]) for axis in found.axes]
    assert percent[0] == round(100 * first / (first + second))
    assert fusevae.latent_map(artifact, flat, method="tsne").points.isfinite().all()


def test_nothing_changes_the_callers_random_numbers():
    artifact, x, label = digits("made")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fusevae.traverse(artifact, x, label)
    fusevae.interpolate(artifact, x[:2], x[2:4], label="a")
    assert torch.equal(torch.rand(3), expected)


def test_what_can_not_be_read_is_refused_in_a_line():
    artifact, x, label = digits()
    plain = Artifact(Normal(2), DataSpec((2,)))
    z = torch.zeros(2, 2)
    for call, words in (
        (lambda: fusevae.traverse(plain), "Normal has no latents"),
        (lambda: fusevae.decode(artifact, torch.zeros(2, 3)), r"expected \(n, 2\)"),
        (lambda: fusevae.decode(artifact, z, "d"), "unknown label"),
        (lambda: fusevae.decode(artifact, z, ["a"]), "1 conditions were given for 2"),
        (lambda: fusevae.interpolate(artifact, x[:2], x[:3]), "2 examples to start from"),
        (lambda: fusevae.interpolate(artifact, x[:2], x[2:4], path="bent"), "path='bent'"),
        (lambda: fusevae.interpolate(artifact, x[:2], x[2:4], steps=1), "at least 2"),
        (lambda: fusevae.interpolate(artifact, (x[:1], label[:1]), (x[1:2], label[1:2])), "of different classes"),
        (lambda: fusevae.traverse(artifact, x, example=12), "from 0 to 11"),
        (lambda: fusevae.traverse(artifact, x, dims=[2]), "the latent has 2"),
        (lambda: fusevae.neighbours(artifact, x, x, k=13), "from 1 to 12"),
        (lambda: fusevae.attribute_vectors(artifact, x), "no labels"),
        (lambda: fusevae.attribute_vectors(artifact, x, {"all": np.ones(12, bool)}), "every example has"),
        (lambda: fusevae.attribute_vectors(artifact, x, {"some": np.arange(12)}), "besides 0 and 1"),
        (lambda: fusevae.add_attribute(artifact, x, torch.ones(3)), r"the latents have \(2,\)"),
        (lambda: fusevae.latent_map(artifact, x, method="umap"), "method='umap'"),
    ):
        with pytest.raises(InputError, match=words) as found:
            call()
        assert "\n" not in str(found.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional model of the digits, barely trained."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    tiny = ["training.epochs=1", "training.batch_size=64", "recipe.hidden=[16]", "recipe.latent=4", "data.test=0.05"]
    settings = [word for s in tiny for word in ("--set", s)]
    assert main(["train", "logistic-vae", "--output", str(folder), "--importance-samples", "2", *settings]) == 0
    return folder


def test_the_report_shows_the_latents(run):
    page = (run / "report.html").read_text()
    for name, title in (
        ("traversals.png", "Traversals"),
        ("interpolations.png", "Interpolations"),
        ("map.png", "Map of the latents"),
        ("neighbours.png", "Neighbours"),
    ):
        Image.open(run / name).verify()
        assert f"<h2>{title}</h2>" in page
    assert "{}" not in page


def test_the_latents_of_a_table_are_drawn_as_rows_of_numbers():
    artifact, _, _ = linear()
    sheets = draw_latents(artifact, fusevae.read_data(torch.randn(30, D), test=0).train)
    assert {name: sheet.suffix for name, sheet in sheets.items()} == {
        "traversals": ".csv", "interpolations": ".csv", "map": ".png", "neighbours": ".csv",
    }  # fmt: skip
    assert draw_latents(Artifact(Normal(2), DataSpec((2,))), fusevae.read_data(torch.randn(30, 2)).train) == {}


def test_the_commands_write_what_they_say(run, tmp_path, capsys):
    def go(*arguments: str) -> dict:
        assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    facts = go("interpolate", str(run), "-n", "3", "--steps", "5", "--output", str(tmp_path / "way"))
    assert (facts["n"], facts["path"], len(facts["pairs"])) == (15, "spherical", 3)
    assert len(list((tmp_path / "way").glob("*.png"))) == 16
    pair = ",".join(map(str, facts["pairs"][0]))
    facts = go("interpolate", str(run), "--pairs", pair, "--path", "linear", "--output", str(tmp_path / "way.npz"))
    assert np.load(tmp_path / "way.npz")["x"].shape == (7, 1, 8, 8)
    facts = go("traverse", str(run), "-n", "2", "--steps", "3", "--output", str(tmp_path / "one.png"))
    assert np.shape(facts["values"]) == (2, 3)
    Image.open(tmp_path / "one.png").verify()
    go("neighbours", str(run), "-n", "2", "-k", "3", "--output", str(tmp_path / "near.csv"))
    rows = list(csv.DictReader((tmp_path / "near.csv").read_text().splitlines()))
    held = fusevae.Run.open(run).data.test
    assert [int(row["row"]) for row in rows] == held.rows()[[0, len(held) // 2]].tolist()
    words = ("index", "distance", "near_row", "near_label")
    assert list(rows[0]) == ["row", "label", *(f"{word}_{i}" for word in words for i in range(3))]
    for row in rows:
        found = held.subset(torch.tensor([int(row[f"index_{i}"]) for i in range(3)])).beside()
        assert [row[f"near_row_{i}"] for i in range(3)] == [str(r) for r in found["row"]]
        assert [row[f"near_label_{i}"] for i in range(3)] == found["label"].tolist()
    go("neighbours", str(run), "--output", str(tmp_path / "near.png"))
    go("map", str(run), "--output", str(tmp_path / "map.png"))
    facts = go("map", str(run), "-n", "20", "--method", "pca", "--output", str(tmp_path / "map.csv"))
    assert facts["n"] == len((tmp_path / "map.csv").read_text().splitlines()) - 1 == 20


def test_the_commands_refuse_before_any_work(run, tmp_path, capsys):
    out = str(tmp_path / "out.png")
    for arguments, words in (
        (["interpolate", str(run), "--pairs", "0,x", "--output", out], "two numbers"),
        (["interpolate", str(run), "--pairs", "0,5000", "--output", out], "names example 5000"),
        (["interpolate", str(run), "-n", "1", "--steps", "1", "--output", out], "at least 2"),
        (["traverse", str(run), "--example", "5000", "--output", out], "example 5000"),
        (["neighbours", str(run), "-k", "5000", "--output", out], "k=5000"),
        (["neighbours", str(run), "--output", str(tmp_path / "out.npy")], "give a .png"),
        (["map", str(run), "--output", str(tmp_path / "folder")], "give a .png"),
        (["map", str(run / "nothing"), "--output", out], "no artifact"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
