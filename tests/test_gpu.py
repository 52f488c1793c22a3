"""A GPU gives what the processor gives: the laws that are worth their time on both."""

from __future__ import annotations

import pytest
import torch

from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Normal, Training, fit, load, log_likelihood, resume, sample

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
X = (torch.rand(256, 12, generator=torch.Generator().manual_seed(0)) < 0.3).float()
TRAINING = Training(epochs=2, batch_size=16, learning_rate=1e-2, validate_every=5)


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(Flat(Normal(3), Gaussian(MLP(12, 6, (16,)))), Bernoulli(MLP(3, 12, (16,))))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:step")
def test_what_was_trained_there_is_the_same_on_the_processor(tmp_path, device):
    trained = fit(vae(), X, training=TRAINING, device=device, quiet=True)
    trained.save(tmp_path / "model")
    again = load(tmp_path / "model")
    bounds = [log_likelihood(a, X[:64], importance_samples=200).mean() for a in (trained, again)]
    torch.testing.assert_close(*bounds, atol=0.1, rtol=0)  # other noise, of 12,800 samples
    assert sample(trained.to(device), 8).shape == (8, 12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:step")
def test_a_stopped_training_ends_there_as_an_unbroken_one(device):
    whole = fit(vae(), X, training=TRAINING, device=device, quiet=True)
    part = fit(vae(), X, training=TRAINING, device=device, quiet=True, callbacks=[lambda record: record["step"] < 10])
    assert not part.history.finished
    again = resume(part, device=device, quiet=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name].cpu(), value.cpu(), atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:step")
def test_a_recipe_with_preprocessing_is_trained_there(device):
    """Every look at the data: the start, the scale, early validations, conditions at the end."""
    x = (torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).byte()
    settings = {"training": {"epochs": 2, "batch_size": 16}, "device": device, "quiet": True}
    for recipe in ("conv-vae", "diffusion"):
        trained = fit(recipe, x, **settings).to(device)
        assert sample(trained, 2).shape == (2, 1, 8, 8)
