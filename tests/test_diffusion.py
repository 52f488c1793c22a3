"""Diffusion and flow matching against the one case that is exact: a Gaussian, whose best net is known."""

import copy
import math

import pytest
import torch
from torch import nn

import fusevae
from fusevae import (
    DDIM,
    MLP,
    VAE,
    Ancestral,
    Bernoulli,
    CauchySchedule,
    CosineSchedule,
    DataSpec,
    Diffusion,
    DPMSolver,
    Euler,
    Flat,
    FlowMatching,
    Gaussian,
    Heun,
    LearnedSchedule,
    LinearSchedule,
    Normal,
    Preprocessed,
    SlotError,
    SpatialDecoder,
    SpatialEncoder,
    Standardise,
    TimeMLP,
    Training,
    UNet,
    fit,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.levels import Level, bounds_as, log_bound
from fusevae.distributions.samplers import evaluate
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.collapse import diagnose
from fusevae.nets.marginal_denoiser import MarginalDenoiser
from fusevae.nets.time_mlp import TimeEmbedding
from fusevae.objectives.elbo import ELBO
from fusevae.training.configuration import changed
from fusevae.training.prior import aggregate

LOW, HIGH = -13.0, 10.0
MEAN, STD = 0.7, 0.5
SCHEDULES = [LinearSchedule(), CosineSchedule(), CauchySchedule(), LearnedSchedule()]


class Best(nn.Module):
    """The best net for data from N(mean, std^2 I)."""

    def __init__(self, prediction="v", mean=MEAN, std=STD):
        super().__init__()
        self.prediction, self.mean, self.std = prediction, mean, nn.Parameter(torch.tensor(std))

    def forward(self, z, t):
        level = (LOW + (HIGH - LOW) * t).view(-1, *[1] * (z.dim() - 1))
        a, s = torch.sigmoid(-level).sqrt(), torch.sigmoid(level).sqrt()
        eps = s * (z - a * self.mean) / (a**2 * self.std**2 + s**2)
        x = self.mean + a * self.std**2 * (z - a * self.mean) / (a**2 * self.std**2 + s**2)
        return eps if self.prediction == "epsilon" else a * eps - s * x


def exact(x):
    return torch.distributions.Normal(MEAN, STD).log_prob(x).sum(-1)


def best(prediction="v", schedule=SCHEDULES[0], net=None, **settings):
    return Diffusion(net or Best(prediction), 2, prediction, schedule, **settings).eval()


# the bound


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@torch.no_grad()
def test_the_bound_of_a_gaussian_is_its_density_within_006_nat(prediction):
    x = MEAN + STD * torch.randn(8, 2)
    found = best(prediction, times=500)().summed_bound(x.expand(2000, 8, 2)).mean(0)
    assert (found - exact(x)).abs().max() < 0.06


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@torch.no_grad()
def test_the_bound_is_the_same_whatever_the_schedule(schedule):
    x = torch.tensor([[0.2, 1.0]])
    draws = best(schedule=schedule)().log_bound(x.expand(200_000, 1, 2))[:, 0].double()
    assert (draws.mean() - exact(x)[0]).abs() < 4.5 * draws.std() / math.sqrt(len(draws)) + 0.01


@torch.no_grad()
def test_a_net_that_is_not_the_best_has_a_bound_below():
    x = MEAN + STD * torch.randn(4000, 2)
    for wrong in (Best(std=0.3), Best(mean=0.4), Best(std=1.0)):
        gap = exact(x) - best(net=wrong, times=200)().summed_bound(x)
        assert gap.mean() > 4 * gap.std() / math.sqrt(len(x)) + 0.01
        # and the bound is at most the likelihood of the chain that it is for
        drawn = best(net=wrong, sampler=Ancestral(300))().sample((4000,))
        theirs = torch.distributions.Normal(drawn.mean(), drawn.std()).log_prob(x).sum(-1)
        assert (theirs - exact(x) + gap).mean() > -0.1


@torch.no_grad()
def test_a_net_that_gives_0_is_the_standard_normal():
    prior, x = Diffusion(TimeMLP(2, hidden=8), 2), torch.randn(50, 2)
    for found in (prior().log_bound(x), prior().summed_bound(x)):  # with no noise at all
        torch.testing.assert_close(found, Normal(2)().log_prob(x), rtol=1e-3, atol=2e-3)
    drawn = prior().sample((20_000,))
    assert drawn.mean().abs() < 0.03 and (drawn.std() - 1).abs() < 0.03


@torch.no_grad()
def test_epsilon_and_v_are_the_same_function():
    x, found = torch.randn(50, 2), []
    for prediction in ("epsilon", "v"):
        p = best(prediction, schedule=LinearSchedule(), sampler=DDIM(30))()
        with noise.keyed("same"):
            found.append((p.log_bound(x), p.sample((50,))))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_a_schedule_rises_from_end_to_end_with_the_slope_that_it_says(schedule):
    t = torch.linspace(0.001, 0.999, 4001, dtype=torch.float64)
    level, slope = schedule(t)
    assert (level.diff() > 0).all()
    steps = 0.5 * (slope[1:] + slope[:-1]) * t.diff()
    torch.testing.assert_close(level.diff(), steps, rtol=0.05, atol=1e-6)
    ends, _ = schedule(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(ends, torch.tensor([LOW, HIGH]), rtol=1e-3, atol=1e-2)


def test_a_learned_schedule_has_a_bound_of_less_variance_and_is_saved(tmp_path):
    learned = best(schedule=LearnedSchedule()).train()
    x = MEAN + STD * torch.randn(4000, 2)
    for _ in range(30):
        learned().log_bound(x)
    t = torch.linspace(0, 1, 1001)
    assert (learned.schedule(t)[0].diff() > 0).all()
    learned.eval()
    with torch.no_grad():
        wide = x.repeat(25, 1)
        assert learned().log_bound(wide).std() < 0.8 * best()().log_bound(wide).std()
    model = Diffusion(TimeMLP(2, hidden=8), 2, schedule=learned.schedule)
    again = fusevae.load(Artifact(model, DataSpec((2,))).save(tmp_path))
    torch.testing.assert_close(again.distribution.schedule(t)[0], learned.schedule(t)[0])


# what is reported


def test_an_evaluation_sums_over_time_however_deep_the_distribution_is():
    x = MEAN + STD * torch.randn(300, 2)
    prior = best(times=100)
    alone = Artifact(prior, DataSpec((2,)))
    inside = Artifact(Preprocessed([Standardise((2,))], prior), DataSpec((2,)))
    noisy = prior().log_bound(x)
    for artifact in (alone, inside):
        found = fusevae.evaluate(artifact, x).log_likelihood
        assert found.kind == "bound" and found.importance_samples is None
        assert found.value == pytest.approx(exact(x).mean().item(), abs=0.3)
        assert (fusevae.log_likelihood(artifact, x) - exact(x)).std() < 0.3 * (noisy - exact(x)).std()
    vae = VAE(Flat(prior, Gaussian(MLP(3, 4))), Gaussian(MLP(2, 3), scale=1.0))
    other = VAE(Flat(Gaussian(Given()), vae.latents.posterior), vae.decoder)
    y = torch.randn(300, 3)
    found, wanted = (fusevae.evaluate(Artifact(m, DataSpec((3,))), y, importance_samples=1) for m in (vae, other))
    assert vae.level is Level.BOUND
    assert found.kl == pytest.approx(wanted.kl, abs=0.5)
    assert found.elbo == pytest.approx(wanted.elbo, abs=0.5)


class Given(nn.Module):
    """The moments of the Gaussian, before they are bounded."""

    outputs = (4,)

    def forward(self):
        raw = 6 * math.atanh((math.log(STD) + 1) / 6) - 1
        return torch.tensor([MEAN, MEAN, raw, raw])


# samples


@pytest.mark.parametrize("sampler", [Ancestral(300), DDIM(200), DPMSolver(25)], ids=lambda s: type(s).__name__)
@torch.no_grad()
def test_every_sampler_draws_the_gaussian_of_the_best_net(sampler):
    x = best(sampler=sampler)().sample((20_000,))
    assert x.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert x.std().item() == pytest.approx(STD, rel=0.02)


@torch.no_grad()
def test_the_second_order_sampler_is_of_second_order():
    def error(sampler):
        with noise.keyed("start"):
            start = torch.randn(2000, 2)
        with noise.keyed("start"):
            found = best(sampler=sampler)().sample((2000,))
        signal = 1 / (1 + math.exp(HIGH))
        limit = MEAN + STD * (start - signal**0.5 * MEAN) / (signal * STD**2 + 1 - signal) ** 0.5
        return (found - limit).abs().mean().item()

    assert error(DDIM(80)) / error(DDIM(320)) == pytest.approx(4, abs=0.2)
    assert error(DPMSolver(80)) / error(DPMSolver(320)) > 9
    assert error(DPMSolver(20)) < 0.2 * error(DDIM(20))


def test_guidance_of_0_has_no_label_of_1_is_what_was_learned_and_is_linear():
    net = TimeMLP(2, hidden=8, classes=3)
    nn.init.normal_(net.head.weight)
    nn.init.normal_(net.time.label.weight)
    x, t, label = torch.randn(6, 2), torch.rand(6), torch.arange(6) % 3
    with torch.no_grad():
        known, unknown = net(x, t, label), net(x, t)
        assert torch.equal(evaluate(net, x, t, [label], 1.0), known)
        torch.testing.assert_close(evaluate(net, x, t, [label], 0.0), unknown)
        torch.testing.assert_close(evaluate(net, x, t, [label], 3.0), unknown + 3 * (known - unknown))
        for make in (
            lambda w: Diffusion(net, 2, schedule=LinearSchedule(-6, 4), guidance=w),
            lambda w: FlowMatching(net, 2, guidance=w),
        ):
            drawn = []
            for weight, given in ((0.0, label), (1.0, None), (1.0, label), (2.0, label)):
                with noise.keyed("start"):
                    drawn.append(noise.sample_to(make(weight)(given), (6,)))
            torch.testing.assert_close(drawn[0], drawn[1])
            assert (drawn[1] - drawn[2]).abs().max() > 1e-3 < (drawn[2] - drawn[3]).abs().max()


# training


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_a_surrogate_trains_its_owner_and_passes_the_gradient_of_the_bound_to_others(prediction):
    net = TimeMLP(2, hidden=8, context=3)
    nn.init.normal_(net.head.weight)
    part = Diffusion(net, 2, prediction, CauchySchedule(-6.0, 4.0))
    value, given = torch.randn(4, 5, 2, requires_grad=True), torch.randn(5, 3, requires_grad=True)
    own = list(net.parameters())

    def gradients(way):
        with noise.keyed("draw"):
            p = part(given)
            found = getattr(p, way)(value)
        return found.detach(), torch.autograd.grad(found.sum(), [value, given, *own])

    bound, of_bound = gradients("log_bound")
    surrogate, of_surrogate = gradients("surrogate")
    torch.testing.assert_close(surrogate, bound)  # the same number
    torch.testing.assert_close(of_surrogate[:2], of_bound[:2], rtol=1e-3, atol=1e-4)  # for others the bound
    with noise.keyed("draw"):  # for its own, the squared error
        rows = part(given).rows_of(value)
        error = part(given)._at_random_times(rows, value.detach(), rows.given([given.detach()]), held=False).error
    wanted = torch.autograd.grad(-error.sum(), own)
    for a, b, c in zip(of_surrogate[2:], wanted, of_bound[2:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(a, c, rtol=1e-2)


def test_in_a_vae_only_the_prior_is_trained_by_its_surrogate():
    torch.manual_seed(0)
    net = TimeMLP(2, hidden=8)
    nn.init.normal_(net.head.weight)
    simple = VAE(Flat(Diffusion(net, 2), Gaussian(MLP(3, 4))), Gaussian(MLP(2, 3), scale=1.0))
    whole = copy.deepcopy(simple)
    whole.latents.prior.weighting = "bound"
    x = torch.randn(16, 3)
    for vae in (simple, whole):
        with noise.keyed("step"), bounds_as("surrogate"):
            (-ELBO()(vae.trace(x), 1.0).mean()).backward()
    for (name, a), b in zip(simple.named_parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-5) is not name.startswith("latents.prior"), name


def test_the_draws_of_a_part_of_a_batch_are_those_of_the_whole():
    net = TimeMLP(2, hidden=8)
    nn.init.normal_(net.head.weight)
    x = torch.randn(3, 8, 2)
    for model in (Diffusion(net, 2), FlowMatching(net, 2)):
        with noise.keyed("step"), bounds_as("surrogate"), torch.no_grad():
            whole = log_bound(model(), x)
        for start, stop in ((0, 3), (3, 8)):
            rows = noise.Rows(start, stop, 8)
            with noise.keyed("step", rows=rows), bounds_as("surrogate"), torch.no_grad():
                part = log_bound(model(), x[:, start:stop])
            torch.testing.assert_close(part, whole[:, start:stop])


# nets


@pytest.mark.parametrize("net", [UNet((2, 7, 5), (8, 16), patch=2, classes=3, context=4), TimeMLP(2, 8, 2, 3, 4)])
def test_a_net_keeps_the_contract_and_its_rows_do_not_see_each_other(net):
    for p in net.parameters():
        nn.init.normal_(p, std=0.2)
    x, t = torch.randn(4, *net.outputs), torch.rand(4)
    z, label = torch.randn(4, 4), torch.tensor([0, 1, 2, -1])
    with torch.no_grad():
        whole = net(x, t, z, label)
        assert whole.shape == x.shape
        for i in range(4):
            i = slice(i, i + 1)
            torch.testing.assert_close(net(x[i], t[i], z[i], label[i]), whole[i], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(net(x, t, z)[3], whole[3], rtol=1e-4, atol=1e-4)
        for changed in (net(x, 1 - t, z, label), net(x, t, -z, label), net(x, t, z, (label + 1) % 3)):
            assert (changed - whole).abs().max() > 1e-3


# flow matching


class Straight(nn.Module):
    """The velocity of N(mean, std^2 I): E[noise - x | x_t], in closed form."""

    def forward(self, x, t):
        t = t[:, None]
        per = (t - (1 - t) * STD**2) / ((1 - t) ** 2 * STD**2 + t**2)
        return per * (x - (1 - t) * MEAN) - MEAN


@pytest.mark.parametrize("solver", [Heun(200), Euler(2000)], ids=lambda s: type(s).__name__)
@torch.no_grad()
def test_flow_matching_with_the_exact_velocity_samples_the_gaussian_exactly(solver):
    flow = FlowMatching(Straight(), 2, solver)
    with noise.keyed("start"):
        start = torch.randn(500, 2)
    with noise.keyed("start"):
        found = flow().sample((500,))
    torch.testing.assert_close(found, MEAN + STD * start, rtol=0, atol=5e-3)  # each noise goes to its own quantile


@torch.no_grad()
def test_the_loss_of_flow_matching_is_least_for_the_exact_velocity():
    class Other(Straight):
        def forward(self, x, t):
            return 1.1 * super().forward(x, t)

    x, values = MEAN + STD * torch.randn(20_000, 2), []
    for net in (Straight(), Other()):
        with noise.keyed("draw"):
            values.append(FlowMatching(net, 2)().surrogate(x).mean())
    assert values[0] > values[1]


def test_flow_matching_samples_only_but_trains_by_itself():
    with pytest.raises(SlotError, match="samples only"):
        Flat(FlowMatching(TimeMLP(2), 2), Gaussian(MLP(3, 4)))
    torch.manual_seed(0)
    x = torch.where(torch.arange(1000) % 2 == 0, 2.0, -2.0)[:, None] + 0.2 * torch.randn(1000, 2)
    settings = Training(epochs=30, batch_size=100, learning_rate=5e-3, average=0.98)
    artifact = fit(FlowMatching(TimeMLP(2, 32, 2), 2), x, training=settings, quiet=True)
    drawn = fusevae.sample(artifact, 500)
    near = torch.minimum((drawn - 2).norm(dim=1), (drawn + 2).norm(dim=1))
    assert (near < 1).float().mean() > 0.9
    assert 0.35 < (drawn[:, 0] > 0).float().mean() < 0.65
    with pytest.raises(fusevae.InputError, match="only samples"):
        fusevae.evaluate(artifact, x)


# latent diffusion


def conv_vae(prior, channels=(8, 8)):
    """Images of 8 x 8 pixels with latent images of 2 x 2 and two channels, of quite different scales."""
    encoder = SpatialEncoder((1, 8, 8), 4, channels)
    encoder.head.weight.data[0] *= 30
    encoder.head.bias.data[2:] = -4.0  # hardly any noise
    return VAE(Flat(prior, Gaussian(encoder)), Bernoulli(SpatialDecoder(2, (1, 8, 8), channels)))


def some_images(n=96):
    return (torch.rand(n, 1, 8, 8) < 0.3).to(torch.uint8)


def test_latents_may_be_images():
    torch.manual_seed(0)
    prior = Diffusion(UNet((2, 2, 2), (8, 8)), (2, 2, 2), schedule=LinearSchedule(-10, 8), times=3)
    settings = Training(epochs=2, batch_size=32)
    artifact = fit(conv_vae(prior), some_images(), training=settings, quiet=True)
    assert fusevae.sample(artifact, 3).shape == (3, 1, 8, 8)
    assert fusevae.encode(artifact, some_images())["mean"].shape == (96, 2, 2, 2)
    found = fusevae.evaluate(artifact, some_images())
    assert found.log_likelihood.kind == "bound" and math.isfinite(found.elbo)
    assert diagnose(artifact.distribution, some_images().float())["mutual_information"] is not None


def test_a_diffusion_prior_is_fitted_to_images_of_latents_by_their_measured_scales(tmp_path):
    torch.manual_seed(0)
    parent = Artifact(conv_vae(Normal((2, 2, 2))), DataSpec((1, 8, 8), "uint8", 0, 1)).eval()
    x = some_images(400)
    with pytest.raises(fusevae.InputError, match="take kind diffusion"):
        fusevae.fit_prior(parent, x, "flow")
    child = fusevae.fit_prior(parent, x, "diffusion", training=Training(epochs=3), quiet=True)
    step = child.distribution.latents.prior.steps[0]
    z, _ = aggregate(parent, as_examples(parent, x), 0)
    assert z.std(0)[0].mean() > 3 * z.std(0)[1].mean()
    torch.testing.assert_close(step.std, z.std(0), rtol=0.1, atol=0.05)
    drawn = child.distribution.latents.prior().sample((400,))
    torch.testing.assert_close(drawn.std(0), z.std(0), rtol=0.4, atol=0.3)
    again = fusevae.load(child.save(tmp_path))
    assert torch.equal(fusevae.sample(again, 4), fusevae.sample(child, 4))
    assert fusevae.evaluate(child, x).kl < fusevae.evaluate(parent, x).kl


def test_settings_of_sampling_may_be_changed_where_they_keep_the_weights(tmp_path):
    artifact = Artifact(Preprocessed([], best(net=TimeMLP(2, hidden=8))), DataSpec((2,)))
    other = changed(artifact, ["distribution.model.sampler=DDIM", "distribution.model.sampler.steps=3"])
    assert type(other.distribution.model.sampler) is DDIM
    artifact.save(tmp_path)
    command = ["sample", str(tmp_path), "-n", "3", "--output", str(tmp_path / "x.npy")]
    assert main([*command, "--set", "distribution.model.sampler.steps=2"]) == 0
    with pytest.raises(fusevae.InputError, match="change the weights"):
        changed(artifact, ["distribution.model.net.hidden=16"])


# where a net starts


@torch.no_grad()
def test_a_net_that_says_nothing_starts_as_independent_histograms_of_the_data():
    torch.manual_seed(0)
    values = torch.tensor([-0.8, 0.1, 0.1, 0.9])[torch.randint(0, 4, (4000, 2))] + 0.1 * torch.rand(4000, 2)
    model = best(net=MarginalDenoiser(TimeMLP(2, hidden=8), (2,), LOW, HIGH, bins=5), times=400)
    x = values[:400]
    normal = Normal(2)().log_prob(x).mean().item()
    found = model().summed_bound(x.expand(10, 400, 2)).mean().item()
    assert found == pytest.approx(normal, abs=0.06)  # as it is made

    model.start_from(lambda: values)
    found = model().summed_bound(x.expand(10, 400, 2)).mean().item()
    share = torch.where((x > 0) & (x < 0.5), 0.5, 0.25)
    assert found == pytest.approx(
        (share / 0.1).log().sum(-1).mean().item(), abs=0.12
    )  # of which 0.02 the standard normal's
    assert found > normal + 1
    net = model.net
    kept = net.left.clone()
    assert torch.equal(net.weight.gt(0).sum(0), torch.tensor([3, 3]))  # what more cuts gain is less than they cost
    model.start_from(lambda: 5 + values)  # a training that goes on
    assert torch.equal(net.left, kept)
    far = model().summed_bound(torch.full((1, 2), 3.0))
    assert far.isfinite().all() and far > Normal(2)().log_prob(torch.full((1, 2), 3.0)) - 12


@pytest.mark.parametrize("level", [-13.0, -8.0, -2.0, 0.0, 4.0, 10.0])
def test_what_a_dimension_says_by_itself_is_the_posterior_mean_of_its_histogram(level):
    torch.manual_seed(0)
    net = MarginalDenoiser(TimeMLP(1, hidden=4), (1,), LOW, HIGH, bins=3)
    net.start_from(lambda: torch.cat([0.9 + 2 / 256 * torch.rand(3000), 0.2 * torch.rand(1000) - 0.5])[:, None])
    ends = [torch.stack([net.left, net.right]).double()[..., 0].flatten(), torch.tensor([-8.0, 8.0])]
    grid = torch.linspace(-8, 8, 2_000_001, dtype=torch.float64)
    grid = torch.cat([grid, *(e + 1e-3 * torch.linspace(-1, 1, 200_001) for e in ends[0].split(1))]).sort().values
    density = 0.01 * torch.exp(-grid.square() / 2) / math.sqrt(2 * math.pi)
    for share, left, right in zip(net.weight.double(), net.left.double(), net.right.double(), strict=True):
        density += share / (right - left) * ((grid >= left) & (grid <= right))
    alpha, sigma = (math.sqrt(1 / (1 + math.exp(sign * level))) for sign in (1, -1))
    for z in (alpha * 0.903 + 0.5 * sigma, -0.4 * alpha - sigma, 4.0 * sigma):
        height = -0.5 * ((z - alpha * grid) / sigma).square()
        posterior = density * (height - height.max()).exp()
        x = (torch.trapezoid(posterior * grid, grid) / torch.trapezoid(posterior, grid)).item()
        expected = alpha * (z - alpha * x) / sigma - sigma * x
        found = net.alone(torch.tensor([[z]]), torch.tensor([[level]])).item()
        assert found == pytest.approx(expected, abs=2e-3), z


@pytest.mark.parametrize("z", [-60.0, 9.0, 60.0])
def test_what_lies_far_from_the_data_is_left_to_the_standard_normal(z):
    net = MarginalDenoiser(TimeMLP(1, hidden=4), (1,), LOW, HIGH, bins=2)
    net.start_from(lambda: torch.linspace(-1, 1, 100)[:, None])
    for level in (-13.0, 0.0, 10.0):
        assert net.alone(torch.tensor([[z]]), torch.tensor([[level]])).isfinite().all()


def test_a_label_is_heard_beside_the_time_from_the_start():
    torch.manual_seed(0)
    net = TimeEmbedding(64, classes=10)
    times, labels = torch.linspace(0, 1, 50), torch.arange(10).repeat_interleave(50)
    out = net(times.repeat(10), labels).view(10, 50, 64)
    assert out.std(0).mean() > 0.3 * out.std(1).mean()  # of labels at one time, of times for one label


def test_the_recipe_starts_no_worse_than_a_constant_gaussian():
    x = torch.full((200, 1, 8, 8), 30, dtype=torch.uint8)  # the same ground in all, and a square of any grey
    x[:, :, 2:5, 2:5] = torch.randint(60, 256, (200, 1, 1, 1), dtype=torch.uint8)
    artifact = fit("diffusion", x, training={"epochs": 0.3, "batch_size": 16}, quiet=True)
    start = artifact.history.validation["log_bound"][0]
    each = artifact.view(x.float()).flatten(1)
    deviation = (each.var(0) + 1 / 12).sqrt()
    gaussian = -(deviation.log() + 0.5 * math.log(2 * math.pi * math.e)).sum().item()
    assert start > gaussian - 0.02 * abs(gaussian)


def test_times_of_a_training_are_evenly_spread_over_the_whole_batch_on_each_of_its_parts():
    with noise.keyed(0, "x"):
        whole = noise.even((3, 8), dim=1)
    assert torch.allclose(whole.sort(1).values.diff(dim=1), torch.full((3, 7), 1 / 8), atol=1e-6)
    assert ((whole >= 0) & (whole < 1)).all() and len(whole[:, 0].unique()) == 3
    for rows in (noise.Rows(0, 3, 8), noise.Rows(3, 8, 8)):
        with noise.keyed(0, "x", rows=rows):
            assert torch.equal(noise.even((3, rows.here), dim=1), whole[:, rows.start : rows.stop])

    torch.manual_seed(0)
    model, x = Diffusion(Best(std=0.1), 300, "v", SCHEDULES[0]), MEAN + 0.1 * torch.randn(64, 300)
    drawn = {}
    for mode in (True, False):
        drawn[mode] = torch.stack([model.train(mode)().log_bound(x).mean().detach() for _ in range(200)])
    assert drawn[True].std() < 0.5 * drawn[False].std()
    assert abs(drawn[True].mean() - drawn[False].mean()) < 4 * drawn[False].std() / math.sqrt(200)
