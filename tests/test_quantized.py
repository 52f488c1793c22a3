"""Discrete codes: the bound against enumeration, the codebook against means by hand, FSQ against its grid."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from test_training import lines, same, stop_at, weights

import fusevae
from fusevae import (
    ELBO,
    IWAE,
    MLP,
    MMD,
    PIWAE,
    VAE,
    Bernoulli,
    BetaTC,
    Categorical,
    Constant,
    DataSpec,
    DReG,
    FactorVAE,
    FiniteScalar,
    Flat,
    Gaussian,
    ImageTransformer,
    InputError,
    Normal,
    PixelCNN,
    Preprocessed,
    Quantized,
    SlotError,
    SpatialDecoder,
    SpatialEncoder,
    Training,
    VectorQuantizer,
    fit_prior,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.levels import Level
from fusevae.core.noise import Rows
from fusevae.core.processes import leave, world
from fusevae.data.preprocessing import Dequantize, Normalise
from fusevae.evaluation.collapse import diagnose, warnings
from fusevae.training.outcome import latents as latents_in_words
from fusevae.training.prepare import prepare, trained
from fusevae.training.recipes import find

GRID = (1, 1, 2)  # a map of two codes


def quantizers():
    return [VectorQuantizer(3, 2), FiniteScalar((3, 2))]


def priors(levels):
    return [
        Categorical(Constant((levels, 1, 2), std=1.0), levels=levels),
        PixelCNN(GRID, "categorical", width=3, kernels=(3, 3), levels=levels),
        ImageTransformer(GRID, levels, width=4, heads=1, layers=1),
    ]


def tiny(quantizer=None, prior=None, inputs=4):
    quantizer = quantizer or VectorQuantizer(3, 2)
    shape = (quantizer.features, 1, 2)
    prior = prior or priors(quantizer.levels)[0]
    return VAE(Quantized(MLP(inputs, shape, hidden=(5,)), quantizer, prior), Bernoulli(MLP(shape, inputs, hidden=(5,))))


def binary(dims):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=dims)))


# the bound


@pytest.mark.parametrize("quantizer", quantizers(), ids=lambda q: type(q).__name__)
@pytest.mark.parametrize("i", range(3), ids=["independent", "pixel-cnn", "transformer"])
@torch.no_grad()
def test_the_bound_is_one_term_of_the_sum_over_all_codes_and_at_most_the_sum(quantizer, i):
    torch.manual_seed(1)
    vae = tiny(quantizer, priors(quantizer.levels)[i]).eval()
    x, k = binary(4), quantizer.levels
    maps = torch.tensor(list(itertools.product(range(k), repeat=2))).view(-1, 1, 2)
    log_prior = vae.latents.prior().log_prob(maps[:, None].float()).double()
    terms = vae.decoder(quantizer.lookup(maps)[:, None]).log_prob(x).double() + log_prior[:, None]
    exact = torch.logsumexp(terms, 0)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-5)
    bound = vae().log_bound(x).double()
    own = [maps.view(-1, 2).tolist().index(c) for c in vae.encode(x)["codes"].flatten(1).tolist()]
    torch.testing.assert_close(bound, terms[own, range(len(x))], rtol=1e-5, atol=1e-5)
    assert (bound <= exact + 1e-6).all() and (bound < exact - 1e-3).any()
    torch.testing.assert_close(vae.trace(x).elbo.double(), bound, rtol=1e-6, atol=1e-6)
    assert vae.level is Level.EVIDENCE and vae.deterministic
    drawn = vae().sample((20_000,))
    seen = torch.stack([(drawn == each).all(-1).double().mean() for each in x])
    assert ((seen - exact.exp()).abs() < 5 * (exact.exp() / 20_000).sqrt() + 1e-3).all()


def test_more_importance_samples_change_nothing_and_cost_nothing():
    vae = tiny().eval()
    artifact, x = Artifact(vae, DataSpec((4,), "uint8", 0, 1)), binary(4).to(torch.uint8)
    one = fusevae.evaluate(artifact, x, importance_samples=1)
    asked = []
    trace = vae.trace
    vae.trace = lambda *a, **k: asked.append(k.get("samples")) or trace(*a, **k)
    many = fusevae.evaluate(artifact, x, importance_samples=1000)
    assert max(math.prod(s or (1,)) for s in asked) == 1
    assert one.log_likelihood.value == many.log_likelihood.value == pytest.approx(one.elbo)
    assert (many.log_likelihood.kind, many.log_likelihood.importance_samples) == ("bound", 1)
    assert one.bits_per_dim is not None
    torch.testing.assert_close(
        fusevae.log_likelihood(artifact, x, importance_samples=50), fusevae.log_likelihood(artifact, x)
    )
    inner = VAE(Flat(Normal(1), Gaussian(MLP((1, 1, 2), 2))), Categorical(MLP(1, (3, 1, 2)), levels=3))
    drawing = tiny(prior=inner)
    assert not drawing.deterministic and drawing.level is Level.EVIDENCE  # its prior is a VAE, which draws
    spatial = Preprocessed([Dequantize(), Normalise(0, 2)], VAE(vae.latents, Gaussian(MLP((2, 1, 2), 8))))
    assert not spatial.deterministic and Preprocessed([], vae).deterministic


# gradients


@pytest.mark.parametrize("quantizer", quantizers(), ids=lambda q: type(q).__name__)
def test_the_gradient_passes_straight_through(quantizer):
    h = torch.randn(5, 2, 1, 4, requires_grad=True)
    found = quantizer.eval()(h)
    assert torch.equal(found.z, quantizer.lookup(found.codes))
    weight = torch.randn_like(h)
    (gradient,) = torch.autograd.grad((found.z * weight).sum(), h)
    scaled = torch.tanh(h) if isinstance(quantizer, FiniteScalar) else unit(h)  # what is quantized
    (wanted,) = torch.autograd.grad((scaled * weight).sum(), h)
    torch.testing.assert_close(gradient, wanted)


def test_log_p_of_the_codes_trains_the_prior_alone_and_the_commitment_the_encoder_alone():
    vae = tiny().eval()
    trace = vae.trace(binary(4))
    parameters = dict(vae.named_parameters())

    def reached(value):
        found = torch.autograd.grad(value.sum(), list(parameters.values()), retain_graph=True, allow_unused=True)
        return {name.rpartition(".net")[0] or name for name, g in zip(parameters, found, strict=True) if g is not None}

    assert {n.split(".")[1] for n in reached(trace.kl)} == {"prior"}
    assert {n.split(".")[1] for n in reached(trace.auxiliary["commitment"])} == {"encoder"}
    assert {n.split(".")[0] for n in reached(trace.reconstruction)} == {"latents", "decoder"}
    h = unit(vae.latents.encoder(binary(4)))
    codes = vae.latents.quantizer.codebook[trace.terms[0].z[:, 0].long()].movedim(-1, 1)
    exact = 0.25 * (h - codes).square().flatten(1).sum(1)
    torch.testing.assert_close(trace.auxiliary["commitment"], exact)


# the codebook


def unit(h):
    """Features ``(n, d, h, w)`` with the length of the square root of d."""
    return h / h.norm(dim=1, keepdim=True).clamp(min=1e-12) * h.shape[1] ** 0.5


def nearest(flat, codebook):
    return (flat[:, None] - codebook).square().sum(-1).argmin(1)


def test_the_codebook_is_the_running_mean_of_the_features_given_to_each_code():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(4, 3, decay=0.8, revive=0.0).train()
    codebook, share = quantizer.codebook.double(), torch.full((4,), 0.25, dtype=torch.float64)
    for t in range(1, 60):
        h = torch.randn(6, 3, 2, 5) + t / 30
        flat = unit(h).movedim(1, -1).reshape(-1, 3).double()
        given = nearest(flat, quantizer.codebook.double())
        assert torch.equal(quantizer(h).codes.flatten(), given)
        decay = min(0.8, t / (t + 9))
        for k in range(4):
            own = flat[given == k]
            before, share[k] = share[k].item(), decay * share[k] + (1 - decay) * len(own) / len(flat)
            if len(own):
                total = decay * before * codebook[k] + (1 - decay) * own.sum(0) / len(flat)
                codebook[k] = total / share[k]
        torch.testing.assert_close(quantizer.codebook.double(), codebook, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(quantizer.share.double(), share, rtol=1e-4, atol=1e-6)


def test_the_codebook_stands_still_but_in_the_players_own_moves():
    quantizer = VectorQuantizer(4, 2)
    before = {n: b.clone() for n, b in quantizer.named_buffers()}
    h = torch.randn(3, 2, 2, 2)

    def moved():
        return [n for n, b in quantizer.named_buffers() if not torch.equal(b, before[n])]

    quantizer.eval()(h)
    assert not moved()
    with torch.no_grad():  # an evaluation, or an opponent's look at the model
        quantizer.train()(h)
    assert not moved()
    quantizer.train()(h)
    assert set(moved()) == {"codebook", "share", "updates"}
    vae = tiny()
    assert vae.latents.quantizer in vae.inference()


def test_dead_codes_start_anew_where_the_codebook_serves_worst():
    torch.manual_seed(0)
    quantizer = VectorQuantizer(8, 2, revive=0.1).train()
    quantizer.codebook.fill_(100.0)  # all but the first are far away, and will never be nearest
    quantizer.codebook[0] = 0.0
    quantizer.codebook += torch.arange(8)[:, None] * torch.tensor([1.0, 0.0])
    centres = torch.tensor([[math.cos(a), math.sin(a)] for a in torch.arange(8) * math.pi / 4]) * math.sqrt(2)

    def features():
        return (centres[torch.randint(8, (64,))] + 0.05 * torch.randn(64, 2)).T.reshape(2, 8, 8)[None]

    first = set(quantizer(features()).codes.flatten().tolist())
    assert len(first) == 1
    for _ in range(100):
        codes = quantizer(features()).codes
    assert len(codes.unique()) == 8
    torch.testing.assert_close(quantizer.codebook[nearest(centres, quantizer.codebook)], centres, atol=0.1, rtol=0)
    stuck = VectorQuantizer(8, 2, revive=0.0).train()
    stuck.codebook.copy_(torch.arange(8)[:, None] * 100.0)
    for _ in range(100):
        codes = stuck(features()).codes
    assert len(codes.unique()) == 1


def test_an_abnormal_batch_leaves_the_codebook_finite():
    for quantizer in (VectorQuantizer(4, 2), FiniteScalar((2, 2))):
        h = torch.randn(3, 2, 2, 2)
        h[0, 0, 0, 0], h[1, 1, 1, 1] = torch.nan, torch.inf
        found = quantizer.train()(h)
        assert all(b.isfinite().all() for b in quantizer.buffers())
        assert found.codes.min() >= 0 and found.codes.max() < 4
        assert not found.z.isfinite().all()  # so that the loss says it and the update is left out


def moved_by_processes(folder: Path) -> None:
    """What each process of the test below runs: steps of a quantizer on its rows of global batches."""
    several = "WORLD_SIZE" in os.environ
    if several:
        torch.distributed.init_process_group("gloo")
    rank, processes = world()
    torch.manual_seed(0)
    quantizer = VectorQuantizer(6, 3, revive=0.2).train()
    for t in range(40):
        h = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(t))
        rows = Rows(rank * 8 // processes, (rank + 1) * 8 // processes, 8)
        with noise.keyed("step", t, rows=rows):
            quantizer(h[rows.start : rows.stop])
    if rank == 0:
        torch.save(dict(quantizer.named_buffers()), folder / f"{processes}.pt")
    leave()


def test_the_codebook_is_of_the_features_of_all_processes(tmp_path):
    moved_by_processes(tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"{n}.pt") for n in (1, 2))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)


def test_the_first_codebook_is_of_k_means():
    torch.manual_seed(0)
    x = torch.randn(400, 3, 2, 2) + 6 * torch.randint(-1, 2, (400, 3, 2, 2))
    flat = unit(x).movedim(1, -1).reshape(-1, 3)
    quantizer = VectorQuantizer(27, 3)
    quantizer.start(x)
    found = (flat - quantizer.codebook[nearest(flat, quantizer.codebook)]).square().sum().item()
    theirs = KMeans(27, n_init=1, random_state=0).fit(flat.double().numpy()).inertia_
    assert found < 1.2 * theirs
    assert quantizer.share.sum().item() == pytest.approx(1) and (quantizer.share > 0).all()
    quantizer.updates += 1
    before = quantizer.codebook.clone()
    quantizer.start(x + 1)  # a trained codebook (of --from, say) stays
    assert torch.equal(quantizer.codebook, before)


def test_training_starts_from_k_means_of_the_encoder_behind_views_and_steps():
    torch.manual_seed(0)
    x = torch.rand(200, 4) * 50
    quantizer = VectorQuantizer(6, 2)
    vae = VAE(Quantized(MLP(4, (2, 1, 2)), quantizer, priors(6)[0]), Gaussian(MLP((2, 1, 2), 4), scale="shared"))
    model = Preprocessed([fusevae.Standardise((4,))], vae)
    prepare(model, fusevae.read_data(x), (), ELBO(), Training(), 0, "cpu")
    h = unit(vae.latents.encoder(model.into(x)[0])).movedim(1, -1).reshape(-1, 2)
    inertia = (h - quantizer.codebook[nearest(h, quantizer.codebook)]).square().sum()
    theirs = KMeans(6, n_init=3, random_state=0).fit(h.detach().double().numpy()).inertia_
    assert inertia < 1.4 * theirs


# FSQ


def test_fsq_codes_are_in_bijection_with_the_grid():
    sides = (4, 3, 5)
    quantizer = FiniteScalar(sides)
    assert (quantizer.levels, quantizer.features) == (60, 3)
    grid = torch.tensor(list(itertools.product(*(torch.linspace(-1, 1, s).tolist() for s in sides))))
    points = quantizer.lookup(torch.arange(60).view(1, 60))  # (3, 1, 60)
    assert {tuple(p) for p in points[:, 0].T.round(decimals=5).tolist()} == {
        tuple(p) for p in grid.round(decimals=5).tolist()
    }
    inside = torch.atanh(grid.clamp(-0.9999, 0.9999)).T.reshape(1, 3, 1, 60)
    found = quantizer(inside)
    assert sorted(found.codes.flatten().tolist()) == list(range(60))
    torch.testing.assert_close(found.z[0, :, 0].T, grid)
    with pytest.raises(InputError, match="at least 2"):
        FiniteScalar((1, 4))


def test_fsq_rounds_to_the_nearest_of_evenly_spaced_values():
    h = torch.randn(20, 2, 3, 3)
    z = FiniteScalar((5, 4))(h).z
    for j, side in enumerate((5, 4)):
        grid = torch.linspace(-1, 1, side)
        wanted = grid[(torch.tanh(h[:, j, ..., None]) - grid).abs().argmin(-1)]
        torch.testing.assert_close(z[:, j], wanted)


# training


def drawn(recipe="vq-vae", folder=None, **settings):
    torch.manual_seed(1)
    x = (torch.arange(16)[:, None] * torch.rand(1, 144)).round().to(torch.uint8).repeat(12, 1).view(-1, 1, 12, 12)
    x = torch.where(torch.rand(x.shape) < 0.2, 0, x)
    splits = fusevae.read_data(x, validation=0.2, test=0.0, seed=0)
    e = find(recipe)(splits.spec, **({"codes": 8} if recipe == "vq-vae" else {"sides": (3, 3)}))
    settings = {"epochs": 2, "batch_size": 16, "log_every": 7, "checkpoint_every": 5, "average": 0.9} | settings
    return prepare(e.model, splits, e.views, e.objective, Training(**settings), 0, "cpu", folder)


def test_a_run_that_is_stopped_goes_on_with_its_codebook_as_if_it_had_not_been(tmp_path):
    whole = drawn(folder=tmp_path / "whole")
    whole.run()
    stop_at(drawn(folder=tmp_path / "part"), 12)
    part = drawn(folder=tmp_path / "part")
    assert part.resume() and part.step == 10
    part.run()
    assert same(weights(whole), weights(part))
    a, b = (run.state().tensors for run in (whole, part))
    assert any("codebook" in n for n in a) and all(torch.equal(a[n], b[n]) for n in a if n.startswith("buffer"))
    assert lines(tmp_path / "whole") == lines(tmp_path / "part")
    first = next(r["train"]["codes"]["z"] for r in whole.records if "train" in r)
    assert first["codes"] == 8 and 1 <= first["perplexity"] <= first["used"] <= 8
    kept = [r for r in whole.records if "validation" in r and r["step"] == whole.values["kept"]]
    held = [r["validation"]["codes"]["z"] for r in kept]
    x = torch.cat([b for b, _ in whole.validation.batches(iter([torch.arange(len(whole.validation))]))]).float()
    artifact = trained(whole)
    counts = artifact.distribution.encode(x)["codes"].flatten().bincount(minlength=8) / (len(x) * 9)
    entropy = -torch.special.xlogy(counts, counts).sum()
    assert held[-1]["perplexity"] == pytest.approx(entropy.exp().item(), rel=1e-4)
    again = fusevae.load(artifact.save(tmp_path / "artifact"))
    held = artifact.state_dict()
    assert all(torch.equal(value, held[name]) for name, value in again.state_dict().items())
    assert torch.equal(fusevae.sample(again, 4), fusevae.sample(artifact, 4))


def test_a_dead_codebook_is_said_with_its_remedy():
    vae = tiny(VectorQuantizer(64, 2), Categorical(Constant((64, 1, 2)), levels=64))
    vae.latents.quantizer.codebook[1:] += 1000.0
    found = diagnose(vae, binary(4).repeat(20, 1))
    assert found["codes"]["z"] == {"perplexity": 1.0, "used": 1, "codes": 64, "places": 640}
    assert found["units"] == {} and found["mutual_information"] is None
    said = warnings(found)
    assert set(said) == {"dead codes"} and "1 of 64" in said["dead codes"] and "revive" in said["dead codes"]
    rows = latents_in_words([{"diagnosis": found}])
    assert rows == {"codes of z in use": "1 of 64, perplexity 1.0"}
    vae.latents.quantizer.codebook.copy_(torch.randn(64, 2))
    few = diagnose(vae, binary(4)[:1])  # two places can't show more than two codes
    assert "dead codes" not in warnings(few)


# what reads, fits and refuses


@pytest.mark.parametrize("kind", ["pixel-cnn", "transformer"])
def test_a_fitted_prior_raises_the_bound_and_leaves_encoder_and_decoder(kind, tmp_path):
    torch.manual_seed(0)
    x = (torch.rand(600, 1) < 0.5).float().expand(-1, 4).clone()  # both codes of an example say the same
    vae = tiny(FiniteScalar((3, 2)))
    vae.latents.encoder.layers[0].weight.data *= 5
    parent = Artifact(vae, DataSpec((4,), "uint8", 0, 1)).eval()
    x = x.to(torch.uint8)
    child = fit_prior(parent, x, kind, training=Training(epochs=40, batch_size=100, learning_rate=5e-3), quiet=True)
    old, new = (fusevae.evaluate(a, x) for a in (parent, child))
    assert new.reconstruction == pytest.approx(old.reconstruction, abs=1e-4)
    codes = fusevae.encode(child, x)["codes"]
    counts = torch.tensor(codes).flatten(1).unique(dim=0, return_counts=True)[1] / len(x)
    entropy = -(counts * counts.log()).sum().item()
    assert entropy - 1e-3 < new.kl < entropy + 0.05 and new.kl < old.kl - 0.3
    again = fusevae.load(child.save(tmp_path))
    assert torch.equal(fusevae.sample(again, 5), fusevae.sample(child, 5))


def test_encode_decode_and_reconstruct_are_of_the_same_codes():
    torch.manual_seed(0)
    shape = (1, 7, 6)
    encoder = SpatialEncoder(shape, 3, (4, 4))
    prior = Categorical(Constant((8, *encoder.outputs[1:])), levels=8)
    vae = VAE(
        Quantized(encoder, VectorQuantizer(8, 3), prior),
        Gaussian(SpatialDecoder(3, shape, (4, 4)), scale="shared"),
    )
    artifact, x = Artifact(vae, DataSpec(shape)), torch.randn(9, *shape)
    found = fusevae.encode(artifact, x)
    assert list(found) == ["codes"] and found["codes"].shape == (9, 2, 2) and found["codes"].dtype.kind == "i"
    assert torch.equal(fusevae.decode(artifact, found["codes"]), fusevae.reconstruct(artifact, x))
    with pytest.raises(InputError, match="expected 0 to 7"):
        fusevae.decode(artifact, found["codes"] + 8)
    with pytest.raises(InputError, match="latents are codes, and there is no way between two"):
        fusevae.interpolate(artifact, x[:2], x[2:4])
    with pytest.raises(InputError, match="latents are codes"):
        fusevae.neighbours(artifact, x, x)
    with pytest.raises(InputError, match="take pixel-cnn or transformer"):
        fit_prior(artifact, x, "flow")
    with pytest.raises(InputError, match="take flow or mixture"):
        fit_prior(
            Artifact(VAE(Flat(Normal(1), Gaussian(MLP(2, 2))), Gaussian(MLP(1, 2))), DataSpec((2,))), x, "pixel-cnn"
        )


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tiny(prior=Normal(2)), "Categorical(Constant((3, h, w))"),
        (lambda: tiny(prior=fusevae.OneHotCategoricals(Constant((2, 3)))), "Categorical(Constant((3, h, w))"),
        (lambda: tiny(prior=priors(5)[0]), "5 levels"),
        (lambda: Quantized(MLP(4, (3, 1, 2)), VectorQuantizer(3, 2), priors(3)[0]), "first output to 2"),
        (lambda: VectorQuantizer(1, 2), "at least 2"),
    ],
)
def test_what_does_not_fit_is_refused(make, says):
    with pytest.raises(InputError) as error:
        make()
    assert says in str(error.value) and "\n" not in str(error.value)
    assert issubclass(SlotError, InputError)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        (BetaTC(), "ELBO"),
        (MMD(), "ELBO"),
        (DReG(2), "IWAE"),
        (PIWAE(2, 2), "IWAE"),
        (FactorVAE(MLP(2, 1)), "ELBO"),
    ],
    ids=lambda o: type(o).__name__ if not isinstance(o, str) else "",
)
def test_an_objective_that_needs_a_posterior_with_a_path_refuses_codes(objective, says):
    with pytest.raises(InputError, match=says):
        prepare(tiny(), fusevae.read_data(binary(4).repeat(4, 1)), (), objective, Training(), 0, "cpu")
    trace = tiny().trace(binary(4), samples=(3,))
    torch.testing.assert_close(IWAE(3)(trace, 1.0), trace.elbo[0])


def test_a_description_builds_the_same_and_commands_know_a_model_of_codes(tmp_path, capsys):
    run, new = tmp_path / "run", tmp_path / "new"
    assert main(["train", "fsq-vae", "--output", str(run), "--set", "training.epochs=0.3"]) == 0
    assert "codes of z in use" in (run / "report.html").read_text()
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("codes" in r.get("validation", {}) for r in records)
    assert main(["info", str(run)]) == 0
    assert "Quantized" in capsys.readouterr().out
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).integers(0, 17, (5, 8, 8)).astype(np.uint8))
    data = ["--data", str(tmp_path / "x.npz")]
    assert main(["encode", str(run), *data, "--output", str(tmp_path / "z.npz")]) == 0
    assert np.load(tmp_path / "z.npz")["codes"].shape == (5, 2, 2)
    assert main(["reconstruct", str(run), *data, "--output", str(tmp_path / "r.png")]) == 0
    assert main(["interpolate", str(run), "--output", str(tmp_path / "i.png")]) == 2
    assert "no way between two" in capsys.readouterr().err
    assert main(["fit-prior", str(run), "pixel-cnn", "--output", str(new), "--epochs", "1"]) == 0
    assert (new / "samples.png").exists()
    capsys.readouterr()
    assert main(["evaluate", str(new), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log_likelihood"]["importance_samples"] == 1


if __name__ == "__main__":
    moved_by_processes(Path(sys.argv[1]))
