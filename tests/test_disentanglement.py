"""Disentanglement: scores of latents of which one knows how far they are disentangled; and the generated shapes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fusevae
from fusevae import VAE, Artifact, DataSpec, Flat, Gaussian, InputError, Normal
from fusevae.evaluation.disentanglement import check_factors, dci, disentanglement, factor_vae, mig, mutual_information
from fusevae.modalities.images.shapes import FACTORS, draw_shapes

N = 3000


def factors_and_latents() -> tuple[torch.Tensor, torch.Tensor]:
    """Four independent factors, and a latent that is them in units of their deviation."""
    factors = torch.stack([torch.randint(count, (N,)) for count in (3, 4, 6, 8)], 1)
    z = (factors - factors.float().mean(0)) / factors.float().std(0)
    return factors, z


# each dimension of the result has as much of every factor
EVEN = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2


def test_latents_that_are_the_factors_have_full_marks():
    factors, z = factors_and_latents()
    for latent, scale in (
        (z, None),
        (torch.cat([z, torch.randn(N, 3)], 1), None),  # and dimensions that say nothing
        (z, torch.full_like(z, 0.01)),
        (torch.cat([z, torch.zeros(N, 2)], 1), torch.tensor([0.01] * 4 + [1.0] * 2).expand(N, 6)),  # collapsed ones
    ):
        assert mig(latent, factors, scale).min() > 0.96
        assert min(dci(latent, factors)) > 0.98
        assert factor_vae(latent, factors, scale) > 0.99


def test_latents_that_share_the_factors_evenly_have_none():
    factors, z = factors_and_latents()
    assert mig(z @ EVEN, factors).max() < 0.25
    assert mig(z @ EVEN, factors).mean() < 0.1
    disentangled, complete, _ = dci(z @ EVEN, factors)
    assert max(disentangled, complete) < 0.15


def test_latents_that_say_nothing_are_at_chance():
    factors, z = factors_and_latents()
    noise = torch.randn(N, 6)
    assert mig(noise, factors).max() < 0.02
    assert mig(torch.zeros(N, 6), factors, torch.ones(N, 6)).max() < 1e-6
    disentangled, complete, informative = dci(noise, factors)
    assert max(disentangled, complete) < 0.05
    assert informative == pytest.approx(sum(1 / c for c in (3, 4, 6, 8)) / 4, abs=0.05)
    assert factor_vae(noise, factors) == pytest.approx(1 / 4, abs=0.05)
    assert factor_vae(torch.zeros(N, 6), factors) == 0
    # what has collapsed has no vote, however exactly its means give a factor away
    assert factor_vae(0.01 * z, factors, torch.ones_like(z)) == 0


def test_a_factor_in_two_dimensions_has_no_gap_but_is_disentangled():
    factors, z = factors_and_latents()
    twice = torch.cat([z, z], 1)
    assert mig(twice, factors).max() < 1e-9
    disentangled, complete, _ = dci(twice, factors)
    assert disentangled > 0.98
    assert complete < 0.9


def test_two_dimensions_turned_by_45_degrees_can_not_be_told_apart():
    factors = torch.randint(5, (N, 2))
    z = factors.float() - 2
    turned = z @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    assert mig(z, factors).min() > 0.98
    assert mig(turned, factors).max() < 0.02
    assert factor_vae(z, factors) == 1
    assert factor_vae(turned, factors) == pytest.approx(0.5, abs=0.06)
    assert dci(turned, factors)[0] < 0.05


def test_mutual_information_of_a_gaussian_channel():
    """z = v + noise with v of two values: I = H(z) - H(noise), by quadrature."""
    n, apart, scale = 2000, 1.5, 0.8
    v = torch.arange(n) % 2
    found = mutual_information(apart * v[:, None].float(), v[:, None], torch.full((n, 1), scale)).item()
    grid = torch.linspace(-8, 10, 200_001, dtype=torch.float64)
    p = [torch.distributions.Normal(apart * k, scale, validate_args=False).log_prob(grid).exp() for k in (0, 1)]
    entropy = [torch.trapezoid(torch.special.entr(q), grid).item() for q in ((p[0] + p[1]) / 2, p[0])]
    exact = entropy[0] - entropy[1]
    assert found == pytest.approx(exact, abs=0.005)
    assert found < exact  # bins can only lose


class Pick(nn.Module):
    """An encoder that reads the factors off the examples, with a small scale."""

    outputs = (8,)

    def forward(self, x):
        return torch.cat([x, torch.full_like(x, -4.0)], -1)


def test_the_whole_of_it_on_a_model_and_the_same_again():
    factors, z = factors_and_latents()
    vae = VAE(Flat(Normal(4), Gaussian(Pick())), Gaussian(nn.Linear(4, 8)))
    artifact = Artifact(vae, DataSpec((4,)))
    found = disentanglement(artifact, z, factors, seed=1)
    assert found["n"] == N
    assert len(found["mig_per_factor"]) == 4
    assert all(found[name] > 0.95 for name in found if name not in ("n", "mig_per_factor"))
    assert found == disentanglement(artifact, z, factors, seed=1)
    spread = disentanglement(artifact, z, 7 * factors - 3, seed=1)  # the values are names
    assert spread == found


def test_factors_that_can_not_be_scored_are_refused():
    for factors, words in (
        (torch.zeros(N, 2, dtype=torch.long), "factor 0 has the same value"),
        (torch.rand(N, 2), "expected integers"),
        (torch.zeros(N - 1, 2, dtype=torch.long), "expected integers"),
    ):
        with pytest.raises(InputError, match=words):
            check_factors(factors, N)


def test_an_image_of_shapes_depends_on_the_seed_and_its_index_alone():
    images, factors = fusevae.shapes(40, seed=3)
    for n in (1, 7, 20):
        fewer = fusevae.shapes(n, seed=3)
        assert torch.equal(fewer.factors, factors[:n])
        assert torch.equal(fewer.images, images[:n])
    assert torch.equal(draw_shapes(factors[[5, 30]]), images[[5, 30]])
    assert not torch.equal(fusevae.shapes(40, seed=4).factors, factors)


def test_the_factors_of_shapes_are_uniform_and_independent():
    factors = fusevae.shapes(3000).factors
    for column, count in zip(factors.T, FACTORS.values(), strict=True):
        assert column.bincount(minlength=count).min() > 0.6 * 3000 / count
    information = mutual_information(factors.float(), factors)
    assert (information - information.diag().diag()).max() < 0.06
    assert factor_vae(factors.float(), factors) == 1


def test_each_factor_of_shapes_does_what_it_says():
    at = torch.tensor([0, 4, 4, 8, 8])

    def vary(name: str, shape: int) -> torch.Tensor:
        k = list(FACTORS).index(name)
        rows = at.repeat(FACTORS[name], 1)
        rows[:, 0] = shape
        rows[:, k] = torch.arange(FACTORS[name])
        return draw_shapes(rows, 64)[:, 0].double() / 255

    axis = torch.arange(64) + 0.5
    for shape in range(3):
        area = vary("size", shape).sum((1, 2))
        radius = 0.22 * 64 * (0.6 + 0.1 * torch.arange(5))
        torch.testing.assert_close(area, (4 * 0.64 * radius**2).double(), rtol=0.02, atol=1)  # the same for all shapes
        for name, dim in (("x", 1), ("y", 2)):
            images = vary(name, shape)
            centre = (images.sum(dim) * axis).sum(1) / images.sum((1, 2))
            steps = centre.diff()
            torch.testing.assert_close(steps, torch.full_like(steps, 0.36 * 64 / 15), rtol=0, atol=0.1)
        turned = vary("rotation", shape)
        torch.testing.assert_close(turned.sum((1, 2)), area[-1].expand(9), rtol=0.02, atol=1)
        apart = (turned[:, None] - turned).abs().sum((2, 3))
        assert (apart + torch.eye(9) * 1e9).min() > 20  # no two rotations look the same
    corners = torch.cartesian_prod(torch.arange(3), torch.tensor([4]), torch.arange(9), *[torch.tensor([0, 15])] * 2)
    edge = draw_shapes(corners)[:, 0]
    assert max(edge[:, [0, -1]].max(), edge[:, :, [0, -1]].max()) == 0  # nothing is cut off
