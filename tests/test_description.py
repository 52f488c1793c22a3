"""The constructor is the configuration: descriptions round-trip, and an artifact rebuilds itself."""

import copy
import json
import sys

import pytest
import torch
import yaml
from conftest import every, examples_of
from torch import nn

import fusevae
from fusevae import (
    ELBO,
    VAE,
    Artifact,
    Bernoulli,
    Binarize,
    Cyclical,
    DataSpec,
    Dequantize,
    Flat,
    Gaussian,
    InputError,
    Logit,
    Normal,
    Normalise,
    Preprocessed,
    Standardise,
    Training,
    build,
    describe,
    described,
)
from fusevae.core.description import library_classes
from fusevae.models.latents import Latents
from fusevae.nets.conv import ConvDecoder, ConvEncoder
from fusevae.nets.mlp import MLP, Constant, Embedding


def through_text(node):
    return yaml.safe_load(yaml.safe_dump(node, sort_keys=False))


def same_numbers(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


OTHERS = {
    "objective": lambda: ELBO(beta=Cyclical(cycles=3), free_bits=1e-6, per="whole"),
    "training": lambda: Training(epochs=2.5, learning_rate=1e-3, betas=(0.5, 0.9)),
    "data": lambda: DataSpec((3, 5, 7), "uint8", 0, 255, ["cat", "null", "1"]),
    "conv": lambda: VAE(
        Flat(Gaussian(Embedding(3, 4)), Gaussian(ConvEncoder((1, 5, 7), 4, channels=(3, 4), classes=3))),
        Bernoulli(ConvDecoder(2, (1, 5, 7), channels=(4, 3), classes=3)),
    ),
    "steps": lambda: Preprocessed(
        [Dequantize(), Normalise(0, 256), Logit(1e-6), Standardise((2,))], Gaussian(Constant(4))
    ),
    "artifact": lambda: Artifact(Bernoulli(Constant((1, 4, 4))), DataSpec((1, 4, 4), "uint8", 0, 255), [Binarize()]),
}


def assert_round_trips(thing):
    node = describe(thing)
    again = build(node)
    assert type(again) is type(thing)
    assert describe(again) == node
    assert describe(build(through_text(node))) == node
    assert describe(build(json.loads(json.dumps(node)))) == node
    if isinstance(thing, nn.Module):
        again.load_state_dict(thing.state_dict())


@every
def test_every_distribution_round_trips_and_gives_the_same_numbers(part, given):
    assert_round_trips(part)
    again = build(through_text(describe(part))).eval()
    again.load_state_dict(part.state_dict())
    torch.manual_seed(3)
    x = part(*given).sample((4,))
    torch.manual_seed(3)
    assert torch.equal(again(*given).sample((4,)), x)


@pytest.mark.parametrize(("latents", "x"), examples_of(Latents))
def test_every_latents_round_trips(latents, x):
    assert_round_trips(latents)


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_a_configuration_names_round_trips(name):
    assert_round_trips(OTHERS[name]())


def test_no_class_without_a_body_can_be_named():
    assert not {"Conditional", "Latents", "View", "Step", "Beta", "Objective"} & set(library_classes())


def test_an_object_in_two_places_is_one_object_after_building():
    shared = MLP(3, 4)
    vae = VAE(Flat(Gaussian(shared), Gaussian(shared)), Gaussian(MLP(2, 6)))
    node = describe(vae)
    text = yaml.safe_dump(node)
    assert "&id001" in text
    for again in (build(node), build(yaml.safe_load(text)), copy.deepcopy(vae)):
        assert again.latents.prior.net is again.latents.posterior.net
        assert again.latents.prior.net is not shared
        assert sum(p.numel() for p in again.parameters()) == sum(p.numel() for p in vae.parameters())
    assert describe(build(yaml.safe_load(text)))["latents"]["prior"]["net"] == node["latents"]["prior"]["net"]
    apart = build(
        {
            "class": "Flat",
            "prior": {"class": "Gaussian", "net": {"class": "Constant", "outputs": 4}},
            "posterior": {"class": "Gaussian", "net": {"class": "Constant", "outputs": 4}},
        }
    )
    assert apart.prior.net is not apart.posterior.net


# networks of the user's own


@described
class Own(nn.Module):
    def __init__(self, inputs: int, width: int = 8, **more: float) -> None:
        super().__init__()
        self.more, self.outputs = more, (width,)
        self.layer = nn.Linear(inputs, width)

    def forward(self, x, *others):
        return self.layer(x)


class Bare(nn.Module):
    outputs = (4,)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def forward(self, x, *others):
        return self.layer(x)


class Below(Own):
    """Has arguments of its own, which nobody remembers."""

    def __init__(self) -> None:
        super().__init__(3, width=4)


NAME = f"{Own.__module__}.Own"


def test_a_decorated_net_is_described_by_its_arguments():
    node = describe(Gaussian(Own(3, width=4, extra=0.5)))
    assert node["net"] == {"class": NAME, "inputs": 3, "width": 4, "extra": 0.5}
    for trust in ([NAME], [Own.__module__], {NAME: Own}):
        again = build(through_text(node), trust)
        assert type(again.net) is Own
        assert describe(again) == node
    assert again.net.more == {"extra": 0.5}
    assert describe(Own(3))["width"] == 8


def test_what_is_not_trusted_is_refused_with_the_remedy():
    with pytest.raises(InputError, match=f"--trust {NAME}") as error:
        build(describe(Gaussian(Own(3, width=4))))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="net: "):
        build(describe(Gaussian(Own(3, width=4))), trust=[NAME[:-1]])  # a prefix is not the name


def test_an_undecorated_net_is_built_by_what_the_user_gives():
    node = through_text(describe(Gaussian(Bare())))
    name = node["net"]["class"]
    assert node["net"] == {"class": name}
    assert type(build(node, {name: Bare}).net) is Bare
    assert build(node, {name: lambda: Own(3, width=4)}).net.outputs == (4,)


def test_a_class_below_a_decorated_one_is_not_described_by_arguments_it_does_not_have():
    node = describe(Below())
    assert node == {"class": f"{Below.__module__}.Below"}
    assert type(build(node, [Below.__module__])) is Below


def test_a_foreign_class_is_not_imported_unless_it_is_trusted(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath(__file__).with_name('ran').touch()\n"
        "class Net(nn.Module):\n    outputs = (4,)\n    def forward(self, x, *o):\n        return x.repeat(1, 2)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"class": "Gaussian", "net": {"class": "stranger.Net"}}
    for name in ("stranger.Net", "stranger", "os.system", "torch.nn.Linear", "fusevae.core.files.write_text"):
        with pytest.raises(InputError):
            build({"class": "Gaussian", "net": {"class": name}})
    with pytest.raises(InputError):
        build(node, trust=["strange"])
    assert not (tmp_path / "ran").exists()
    assert "stranger" not in sys.modules
    build(node, trust=["stranger"])
    assert (tmp_path / "ran").exists()


# what is wrong is said in a line


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ({"class": "Bernouli", "net": None}, "'Bernoulli'"),
        ({"class": "bernoulli", "net": None}, "'Bernoulli'"),
        ({"class": "MLP", "inputs": 3, "outputs": 2, "hiden": [3]}, "'hidden'"),
        ({"class": "MLP", "inputs": 3}, "needs 'outputs'"),
        ({"class": "MLP", "inputs": "three", "outputs": 2}, "inputs: expected int | tuple[int, ...], got 'three'"),
        ({"class": "MLP", "inputs": 3, "outputs": 2, "activation": "rellu"}, "activation: expected"),
        (
            {"class": "Gaussian", "net": {"class": "MLP", "inputs": 3, "outputs": 2, "hidden": [3.5]}},
            "net.hidden: expected",
        ),
        ({"class": "Gaussian", "net": "a net"}, "net: expected Module, got 'a net'"),
        (
            {"class": "VAE", "latents": {"class": "Normal", "shape": 2}, "decoder": {"class": "Normal", "shape": 2}},
            "latents: expected",
        ),
        (
            {"class": "Flat", "prior": {"class": "Constant", "outputs": 3}, "posterior": None},
            "prior: expected Conditional, got Constant",
        ),
        (
            {"class": "Preprocessed", "steps": [{"class": "Normalize"}], "model": None},
            "steps[0]: unknown part 'Normalize'; did you mean 'Normalise'",
        ),
        ({"class": "ELBO", "beta": "much"}, "beta: expected"),
        (
            {"class": "Flat", "prior": {"class": "Normal", "shape": 1}, "posterior": {"class": "Normal", "shap": 1}},
            "posterior: Normal has no setting 'shap'",
        ),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_wrong_is_said_in_one_line_with_what_was_meant(node, says):
    with pytest.raises(InputError) as error:
        build(node)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_in_the_wrong_place_is_said_in_one_line():
    node = {"class": "Flat", "prior": {"class": "foreign.Net"}, "posterior": None}
    with pytest.raises(InputError, match="prior: expected Conditional") as error:
        build(node, {"foreign.Net": Bare})
    assert "\n" not in str(error.value)


def test_what_a_slot_refuses_is_said_with_its_place():
    flat = {
        "class": "Flat",
        "prior": {"class": "Normal", "shape": 1},
        "posterior": {"class": "Gaussian", "net": {"class": "MLP", "inputs": 2, "outputs": 1}, "scale": "optimal"},
    }
    node = {
        "class": "VAE",
        "latents": flat,
        "decoder": {"class": "Bernoulli", "net": {"class": "MLP", "inputs": 1, "outputs": 2}},
    }
    with pytest.raises(fusevae.SlotError, match=r"^latents: Gaussian can't stand as a posterior"):
        build(node)


def test_what_has_no_plain_form_is_refused():
    with pytest.raises(InputError, match="can't be described"):
        describe({"x": lambda: 0})


# artifacts


def models():
    shared = MLP(3, 4, hidden=(5,))
    yield "vae", VAE(Flat(Normal(2), Gaussian(MLP(3, 4))), Gaussian(MLP(2, 3), scale="optimal")), torch.randn(9, 3)
    yield (
        "tied",
        VAE(Flat(Gaussian(Constant(4)), Gaussian(shared)), Gaussian(nn_chain(shared), scale="shared")),
        torch.randn(9, 3),
    )
    fitted = Preprocessed(
        [Normalise(to_low=-1), Standardise((3,))], VAE(Flat(Normal(2), Gaussian(MLP(3, 4))), Gaussian(MLP(2, 6)))
    )
    x = 100 + 7 * torch.randn(9, 3)
    fitted.start_from(lambda: x)
    yield "fitted", fitted, x
    nested = VAE(
        Flat(VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 4))), Gaussian(MLP(3, 4))), Gaussian(MLP(2, 6))
    )
    yield "nested", nested, torch.randn(9, 3)
    yield (
        "conditional",
        VAE(Flat(Gaussian(Embedding(3, 4)), Gaussian(MLP(3, 4, classes=3))), Gaussian(MLP(2, 6))),
        torch.randn(9, 3),
    )


@described
class Chain(nn.Module):
    """Latents to the inputs of a net that stands elsewhere too."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.outputs = net, (3,)
        self.widen, self.narrow = nn.Linear(2, 3), nn.Linear(4, 3)

    def forward(self, z, *others):
        return self.narrow(self.net(self.widen(z)))


def nn_chain(net):
    return Chain(net)


@pytest.mark.parametrize(("name", "model", "x"), [pytest.param(*m, id=m[0]) for m in models()])
def test_saving_and_loading_gives_the_same_numbers(name, model, x, tmp_path):
    if hasattr(model.modules().__next__(), "decoder") and name == "vae":
        model.train().trace(x).elbo.sum().backward()  # the running scale is no longer what it was built with
        assert model.decoder.variance != 1
    classes = ["0", "1", "2"] if name == "conditional" else None
    artifact = Artifact(model, DataSpec((3,), "float32", -1000, 1000, classes)).eval()
    label = torch.arange(9) % 3 if classes else None
    path = artifact.save(tmp_path)
    trust = [Chain.__module__]
    for where in (path, tmp_path):
        again = Artifact.load(where, trust)
        assert not again.training
        assert describe(again) == describe(artifact)
        assert again.support == artifact.support
        for seed in (0, 1):
            of = [fusevae.sample(a, 5, seed=seed, label="1" if classes else None) for a in (artifact, again)]
            assert torch.equal(*of)
            of = [fusevae.log_likelihood(a, x, label, importance_samples=7, seed=seed) for a in (artifact, again)]
            assert torch.equal(*of)
            assert of[0].isfinite().all()
        assert torch.equal(*(fusevae.reconstruct(a, x, label) for a in (artifact, again)))
        a, b = fusevae.encode(artifact, x, label), fusevae.encode(again, x, label)
        assert all((a[k] == b[k]).all() for k in a)
    if name == "tied":
        d = again.distribution
        assert d.latents.posterior.net is d.decoder.net.net


def test_a_damaged_or_foreign_file_is_refused_in_a_line(tmp_path):
    from safetensors.torch import save_file

    artifact = Artifact(Normal(2), DataSpec((2,)))
    good = artifact.save(tmp_path / "good.safetensors")
    cases = {}
    (tmp_path / "cut.safetensors").write_bytes(
        good.read_bytes()[:-1] if artifact.n_parameters else good.read_bytes()[:20]
    )
    cases["cut"] = "truncated"
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.safetensors")
    cases["pickle"] = "pickle"
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    cases["foreign"] = "not written by fusevae"
    artifact.save(tmp_path / "newer.safetensors", {"format": "99"})
    cases["newer"] = "upgrade"
    artifact.save(tmp_path / "class.safetensors", {"artifact": "class: os.system\ncommand: touch x\n"})
    cases["class"] = "not trusted"
    artifact.save(tmp_path / "other.safetensors", {"artifact": "class: Normal\nshape: 2\n"})
    cases["other"] = "not an artifact"
    cases["missing"] = "no artifact at"
    big = Artifact(Gaussian(Constant(4)), DataSpec((2,)))
    big.save(
        tmp_path / "weights.safetensors",
        {"artifact": yaml.safe_dump(describe(Artifact(Gaussian(Constant(6)), DataSpec((3,)))))},
    )
    cases["weights"] = "don't fit"
    artifact.save(tmp_path / "yaml.safetensors", {"artifact": "class: [unclosed"})
    cases["yaml"] = "yaml.safetensors"
    artifact.save(tmp_path / "list.safetensors", {"artifact": "- 1\n- 2\n"})
    cases["list"] = "list.safetensors"
    for name, says in cases.items():
        with pytest.raises(InputError) as error:
            Artifact.load(tmp_path / f"{name}.safetensors")
        assert says in str(error.value), name
        assert "\n" not in str(error.value), name


def test_an_artifact_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    artifact = Artifact(Gaussian(Constant(4)), DataSpec((2,)))
    path = artifact.save(tmp_path)
    before = path.read_bytes()
    import safetensors.torch

    def full(*_a, **_k):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_model", full)
    with pytest.raises(OSError, match="No space"):
        artifact.save(tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
