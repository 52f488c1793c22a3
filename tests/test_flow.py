"""Flows against autograd's Jacobian and against densities that they contain."""

import math

import pytest
import torch
from torch import nn
from zuko.flows.autoregressive import MaskedAutoregressiveTransform

import fusevae
from fusevae import MLP, VAE, DataSpec, Flat, Flow, FullGaussian, Gaussian, LowRankGaussian, Normal
from fusevae.core import noise
from fusevae.training.recipes import fits

STRUCTURES, KINDS = ("autoregressive", "inverse", "coupling"), ("affine", "spline")


def shaken(flow):
    """Away from the identity, near which it starts."""
    for p in flow.parameters():
        p.data.add_(0.2 * torch.randn_like(p))
    return flow


@pytest.mark.parametrize("given", [False, True], ids=["alone", "given"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_log_determinant_is_that_of_autograds_jacobian(structure, kind, given):
    net, context = (MLP(3, Flow.outputs(4, 2)), 2) if given else (None, 0)
    flow = shaken(Flow(4, structure, kind, transforms=3, hidden=(16,), net=net, context=context))
    p = flow(torch.randn(3) if given else None)
    x = p.sample()
    remembered = p.log_prob(x)
    jacobian = torch.autograd.functional.jacobian(lambda v: p.into.call_and_ladj(v)[0], x)
    exact = p.base.log_prob(p.into(x)) + torch.linalg.slogdet(jacobian)[1]
    assert p.log_prob(x.clone()).item() == pytest.approx(exact.item(), abs=1e-4)
    assert remembered.item() == pytest.approx(exact.item(), abs=1e-4)


def test_a_flow_of_one_dimension_is_one_of_its_functions():
    flow = shaken(Flow(1, transforms=2))
    x = torch.linspace(-12, 12, 4001)[:, None]
    assert (flow().log_prob(x).exp().sum() * 24 / 4000).item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("structure", "size"), [("autoregressive", 6), ("coupling", 6)])
def test_transforms_whose_masks_are_copied_are_those_of_zuko(structure, size, monkeypatch):
    made, whole = [], MaskedAutoregressiveTransform.__init__
    monkeypatch.setattr(
        MaskedAutoregressiveTransform, "__init__", lambda self, *a, **k: (made.append(k), whole(self, *a, **k))[1]
    )
    torch.manual_seed(3)
    flow = Flow(size, structure, "spline", transforms=5, hidden=(16, 8))
    assert len(made) == 2
    torch.manual_seed(3)
    for i, part in enumerate(flow.chain.transforms):
        same = MaskedAutoregressiveTransform(size, 0, **made[i % 2])
        same.hyper[-1].weight.data.mul_(0.1)
        same.hyper[-1].bias.data.zero_()
        state = part.state_dict()
        assert state.keys() == same.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in same.state_dict().items())


def test_whether_flows_fit_is_told_without_building_their_nets(monkeypatch):
    data = DataSpec((3, 32, 32), "uint8", 0, 255)
    monkeypatch.setattr(MaskedAutoregressiveTransform, "__init__", lambda *a, **k: pytest.fail("was built"))
    assert [fits(name, data) for name in ("maf", "realnvp", "spline-flow")] == [None] * 3


def test_an_affine_flow_learns_the_banana_that_it_contains():
    torch.manual_seed(0)
    x = torch.randn(4000, 2)
    x[:, 1] = 0.3 * x[:, 1] + x[:, 0] ** 2
    exact = -(math.log(2 * math.pi) + 1 + math.log(0.3))  # minus the entropy, in nats
    training = fusevae.Training(epochs=25, batch_size=200, learning_rate=1e-2, average=0.95)
    flow = Flow(2, "autoregressive", "affine", transforms=1, hidden=(32, 32))
    artifact = fusevae.fit(flow, {"train": x, "validation": x[:50], "test": x[:50]}, training=training, quiet=True)
    fresh = torch.randn(4000, 2)
    fresh[:, 1] = 0.3 * fresh[:, 1] + fresh[:, 0] ** 2
    found = fusevae.log_likelihood(artifact, fresh).mean().item()
    assert exact - 0.08 < found < exact + 0.06  # the sample's own entropy is known to about 0.02


@pytest.mark.parametrize(
    "q",
    [
        lambda: FullGaussian(nn.Linear(2, FullGaussian.outputs(2)), 2),
        lambda: LowRankGaussian(nn.Linear(2, LowRankGaussian.outputs(2, 1)), 2, rank=1),
        lambda: Flow(2, "inverse", "affine", transforms=2, hidden=(16,), net=nn.Linear(2, Flow.outputs(2))),
    ],
    ids=["FullGaussian", "LowRankGaussian", "Flow"],
)
def test_a_posterior_reaches_the_correlated_gaussian_that_it_contains(q):
    """z ~ N(0, I), x = W z + noise: the true posterior is a Gaussian with correlated dimensions, and log p(x) known."""
    torch.manual_seed(0)
    w = torch.tensor([[1.0, 1.0], [0.0, 0.5]])
    decoder = nn.Linear(2, 2, bias=False)
    decoder.weight.data.copy_(w)
    model = VAE(Flat(Normal(2), q()), Gaussian(decoder, scale=0.3, event_dim=1).requires_grad_(False))
    marginal = torch.distributions.MultivariateNormal(torch.zeros(2), w @ w.T + 0.09 * torch.eye(2))
    x = marginal.sample((4000,))
    training = fusevae.Training(epochs=60, batch_size=200, learning_rate=5e-2, average=0.95)
    artifact = fusevae.fit(model, {"train": x, "validation": x[:50], "test": x[:50]}, training=training, quiet=True)
    with torch.no_grad(), noise.keyed(0):
        elbo = artifact.distribution.trace(x, samples=(20,)).log_weight.mean(0)
    assert (marginal.log_prob(x) - elbo).mean().item() == pytest.approx(0, abs=0.03)


def test_a_flow_is_saved_whole(tmp_path):
    q = Flow(2, "inverse", net=MLP(3, Flow.outputs(2, 2)), context=2)
    artifact = fusevae.Artifact(VAE(Flat(Flow(2), q), Gaussian(MLP(2, 6))), fusevae.DataSpec((3,)))
    again = fusevae.load(artifact.save(tmp_path))
    x = torch.randn(4, 3)
    assert torch.equal(
        fusevae.log_likelihood(artifact, x, importance_samples=7),
        fusevae.log_likelihood(again, x, importance_samples=7),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", ["autoregressive", "coupling"])
def test_the_density_of_a_value_far_from_all_others_is_finite(structure, kind):
    p = shaken(Flow(3, structure, kind, transforms=5, hidden=(32, 32)))()
    far = torch.cat([s * 10.0**d * torch.cat([torch.eye(3), torch.ones(1, 3)]) for d in range(10) for s in (-1, 1)])
    with torch.no_grad():
        assert p.log_prob(far).isfinite().all()
        assert not p.log_prob(far * 3e28).isnan().any()


def test_a_density_that_is_none_is_refused_in_a_line_that_names_the_example():
    artifact = fusevae.Artifact(shaken(Flow(2)), fusevae.DataSpec((2,)))
    x = torch.tensor([[0.0, 0.0], [3e38, 1.0]])
    for use in (fusevae.log_likelihood, fusevae.evaluate):
        with pytest.raises(
            fusevae.InputError, match=r"example 1 \(counted from 0\) lies so far .* -inf \(1 such of 2\)"
        ):
            use(artifact, x)


def test_a_flow_over_more_numbers_than_its_masks_allow_is_refused_before_they_are_made():
    with pytest.raises(fusevae.InputError, match=r"given 12,288 numbers: expected at most 4,096.*take glow"):
        Flow((3, 64, 64))
    assert "take glow" in (fits("maf", DataSpec((3, 64, 64), "uint8", 0, 255)) or "")
