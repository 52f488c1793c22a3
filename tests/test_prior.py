"""Priors fitted after training, and the autoencoders that need one."""

import json

import pytest
import torch
from sklearn.mixture import GaussianMixture as EM
from torch import nn

import fusevae
from fusevae import (
    MLP,
    RAE,
    VAE,
    DataSpec,
    Deterministic,
    Flat,
    Gaussian,
    GaussianMixture,
    Ladder,
    Normal,
    SlotError,
    Training,
    fit_prior,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.levels import Level
from fusevae.training.prior import KINDS

QUICK = Training(epochs=8, batch_size=100, learning_rate=1e-2, average=0.9)


def clusters(n):
    centres = torch.tensor([[-2.0, 0.0, 1.0], [2.0, 1.0, -1.0], [0.0, -2.0, 0.5]])
    label = torch.arange(n) % 3
    return centres[label] + 0.2 * torch.randn(n, 3), label


def wide_vae(classes=0):
    """A VAE whose encoder copies x into z, so that its aggregate posterior is far from its prior."""
    net = MLP(3, 6, hidden=())
    net.layers[0].weight.data = torch.cat([torch.eye(3), torch.zeros(3, 3)])
    net.layers[0].bias.data = torch.tensor([0.0] * 3 + [-2.0] * 3)
    decoder = Gaussian(MLP(3, 3, hidden=(8,), classes=classes), scale=0.3)
    return Artifact(
        VAE(Flat(Normal(3), Gaussian(net)), decoder),
        DataSpec((3,), conditions=["a", "b", "c"] if classes else None),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_fitted_prior_raises_the_elbo_and_leaves_the_parent_as_it_was(kind, tmp_path):
    torch.manual_seed(0)
    parent, (x, _) = wide_vae(), clusters(900)
    before = {n: p.clone() for n, p in parent.state_dict().items()}
    child = fit_prior(parent, x, kind, components=3, training=QUICK, quiet=True)
    assert all(torch.equal(p, before[n]) for n, p in parent.state_dict().items())
    fresh, _ = clusters(600)
    old, new = (fusevae.evaluate(a, fresh, importance_samples=20) for a in (parent, child))
    assert new.kl < old.kl - 1
    assert new.reconstruction == pytest.approx(old.reconstruction, abs=0.05)
    assert child.distribution.level is (Level.BOUND if kind == "diffusion" else Level.EVIDENCE)
    again = fusevae.load(child.save(tmp_path))
    assert torch.equal(fusevae.sample(again, 5), fusevae.sample(child, 5))
    z = fusevae.encode(child, fresh)["mean"]
    drawn = noise.sample_to(child.distribution.latents.prior(), (600,))
    assert drawn.mean(0).numpy() == pytest.approx(z.mean(0), abs=0.35)
    assert drawn.std(0).numpy() == pytest.approx(z.std(0), rel=0.3)


def test_the_mixture_is_the_one_that_expectation_maximisation_finds():
    x, _ = clusters(600)
    ours = GaussianMixture.fitted(x, 3, seed=0)
    theirs = EM(3, random_state=0, reg_covar=1e-5).fit(x.double().numpy())
    assert ours().log_prob(x).mean().item() == pytest.approx(theirs.score(x.double().numpy()), abs=1e-3)
    with pytest.raises(fusevae.InputError, match="fewer components"):
        GaussianMixture.fitted(x[:5], 10)


def test_a_conditional_model_gets_a_prior_for_each_label():
    torch.manual_seed(0)
    x, label = clusters(900)
    parent = wide_vae(classes=3)
    child = fit_prior(parent, x, "flow", [("a", "b", "c")[i] for i in label], training=QUICK, quiet=True)
    prior = child.distribution.latents.prior
    with torch.no_grad():
        means = torch.stack([prior(torch.full((400,), i)).sample().mean(0) for i in range(3)])
    exact = torch.stack([x[label == i].mean(0) for i in range(3)])
    assert (means - exact).abs().max() < 0.5


def rae(regulariser="l2", weight=1e-4):
    return RAE(
        Deterministic(MLP(3, 2, hidden=(8,))), Gaussian(MLP(2, 3, hidden=(8,)), scale="shared"), regulariser, weight
    )


def test_an_autoencoder_claims_no_bound_and_samples_only_after_a_prior_is_fitted():
    x, _ = clusters(300)
    artifact = fusevae.fit(rae(), x, training=QUICK, quiet=True)
    with pytest.raises(fusevae.InputError, match="only samples"):
        fusevae.evaluate(artifact, x)
    with pytest.raises(SlotError, match="fit-prior"):
        fusevae.sample(artifact, 3)
    assert fusevae.reconstruct(artifact, x).shape == x.shape
    better = fit_prior(artifact, x, "mixture", components=3)
    drawn = fusevae.sample(better, 900)
    assert drawn.mean(0).tolist() == pytest.approx(x.mean(0).tolist(), abs=0.4)
    assert better.distribution.level is Level.SAMPLES


def test_the_regularisers_are_what_they_say():
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    l2 = rae("l2", 0.5)
    squares = sum(p.square().sum() for p in l2.decoder.parameters())
    torch.testing.assert_close(l2.trace(x).auxiliary["decoder_penalty"], (0.5 * squares).expand(6))
    gradient = rae("gradient", 2.0)
    z = gradient.latents.encode(x)[0]
    exact = torch.stack(
        [torch.autograd.functional.jacobian(lambda v: gradient.decoder(v).mean, one).square().sum() for one in z]
    )
    found = gradient.trace(x.repeat(2000, 1)).auxiliary["decoder_penalty"].detach().view(2000, 6)
    assert ((found.mean(0) - 2 * exact).abs() < 5 * found.std(0) / 2000**0.5).all()
    spectral = rae("spectral").train()
    for _ in range(30):  # the power iteration converges over the forward passes
        spectral.trace(x)
    layers = [m for m in spectral.decoder.modules() if isinstance(m, nn.Linear)]
    assert all(torch.linalg.matrix_norm(m.weight, 2).item() == pytest.approx(1, abs=1e-3) for m in layers)
    penalty = spectral.trace(x).auxiliary["latent_penalty"]
    torch.testing.assert_close(penalty, 0.5 * spectral.latents.encode(x)[0].square().sum(1))
    with pytest.raises(fusevae.InputError, match="no mean"):
        RAE(Deterministic(MLP(3, 2)), fusevae.MADE(3, context=2), "gradient")


def test_a_spectral_autoencoder_is_saved_whole_and_takes_a_prior(tmp_path):
    x, _ = clusters(200)
    artifact = fusevae.fit(rae("spectral"), x, training=QUICK, quiet=True)
    again = fusevae.load(artifact.save(tmp_path))
    torch.testing.assert_close(fusevae.reconstruct(again, x), fusevae.reconstruct(artifact, x))
    child = fit_prior(artifact, x, "mixture", components=3)
    torch.testing.assert_close(fusevae.reconstruct(child, x), fusevae.reconstruct(artifact, x))


def test_what_has_no_prior_of_its_own_is_refused():
    ladder = Ladder(fusevae.DenseLadder(3, (2,), width=4))
    artifact = Artifact(VAE(ladder, Gaussian(MLP(4, 6))), DataSpec((3,)))
    with pytest.raises(fusevae.InputError, match="Ladder with such a top"):
        fit_prior(artifact, torch.randn(9, 3), "mixture")
    with pytest.raises(fusevae.InputError, match=r"kind='gan': expected 'flow', 'mixture', .* or 'normal'"):
        fit_prior(wide_vae(), torch.randn(9, 3), "gan")


def test_the_command_makes_a_run_that_evaluates_and_samples_like_any_other(tmp_path, capsys):
    run, new = tmp_path / "run", tmp_path / "new"
    assert main(["train", "logistic-vae", "--output", str(run), "--set", "training.epochs=1"]) == 0
    held = (run / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert main(["fit-prior", str(run), "mixture", "--output", str(new), "--components", "4", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["prior"] == "mixture" and facts["n"] > 1000
    assert (run / "model.safetensors").read_bytes() == held
    assert (new / "samples.png").exists()
    assert main(["evaluate", str(new), "--importance-samples", "5", "--json"]) == 0  # on the parent's data
    assert json.loads(capsys.readouterr().out)["log_likelihood"]["kind"] == "bound"
    assert main(["sample", str(new), "-n", "3", "--output", str(tmp_path / "s.npz")]) == 0
    assert main(["fit-prior", str(run), "mixture", "--output", str(new)]) == 2
    assert "holds a training already" in capsys.readouterr().err
