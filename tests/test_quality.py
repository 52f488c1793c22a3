"""The distance of samples to data against closed forms, and what it says of samples that are worse."""

import pytest
import torch

import fusevae
from fusevae import MLP, VAE, Bernoulli, Binarize, Flat, Gaussian, Normal, Training, train_extractor
from fusevae.evaluation.distances import frechet_distance
from fusevae.evaluation.features import features, fingerprint
from fusevae.evaluation.quality import sample_quality


def test_the_distance_is_that_of_two_gaussians():
    torch.manual_seed(0)
    a = torch.randn(200_000, 2, dtype=torch.float64) * torch.tensor([1.0, 2.0])
    w = torch.tensor([[1.0, 0.5], [0.0, 1.5]], dtype=torch.float64)
    b = torch.randn(200_000, 2, dtype=torch.float64) @ w + torch.tensor([1.0, -1.0])
    first, second = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)), w.T @ w
    values = torch.linalg.eigvals(first @ second).real.sqrt().sum()
    exact = 2 + first.trace() + second.trace() - 2 * values
    assert frechet_distance(a, b) == pytest.approx(exact.item(), rel=0.01)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    with pytest.raises(fusevae.InputError, match="at least two"):
        frechet_distance(a[:1], b)


def test_an_extractor_learns_the_classes_and_tells_good_samples_from_bad():
    net, accuracy = train_extractor(
        None, (8, 16), 32, Training(epochs=4, batch_size=32, learning_rate=3e-3), quiet=True
    )
    assert accuracy > 0.9
    assert len(fingerprint(net)) == 16
    train = fusevae.read_data(None).train
    x = train.batch(torch.arange(1200))[0]
    real, other = features(net, x[::2]), features(net, x[1::2])
    torch.manual_seed(0)
    noisy = (x[1::2] + 4 * torch.randn(600, 1, 8, 8)).clamp(0, 16)
    shuffled = x[1::2].flatten(1)[:, torch.randperm(64)].view_as(x[1::2])
    near, worse, far = (frechet_distance(real, f) for f in (other, features(net, noisy), features(net, shuffled)))
    assert 2 * near < worse < far
    vae = VAE(Flat(Normal(8), Gaussian(MLP((1, 8, 8), 16))), Bernoulli(MLP(8, (1, 8, 8))))
    artifact = fusevae.fit(vae, None, [Binarize()], training=Training(epochs=40), quiet=True)
    found = sample_quality(artifact, train.subset(torch.arange(1200)), net)
    assert found.n == 600 and found.kind == "mean"
    assert near < found.floor < found.fid


def test_what_is_no_labelled_image_is_refused():
    with pytest.raises(fusevae.InputError, match="expected images"):
        train_extractor(torch.randn(40, 5), quiet=True)
