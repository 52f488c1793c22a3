"""Latents on the sphere against Bessel functions of many digits, closed forms, quadrature and finite differences."""

import math

import mpmath
import pytest
import torch
from conftest import points_of_sphere
from scipy import special
from torch.distributions import kl_divergence

from fusevae import ELBO, IWAE, VAE, Flat, Gaussian, InputError, UniformSphere, VonMisesFisher
from fusevae.core import noise
from fusevae.distributions.angle import angle
from fusevae.distributions.bessel import bessel, log_mean_exp_coordinate
from fusevae.distributions.hypersphere import log_area
from fusevae.nets.mlp import MLP, Constant

DIMS = [2, 3, 4, 5, 10, 31, 41, 42, 43, 64, 128, 256, 511, 512]
KAPPAS = [1e-8, 1e-4, 0.01, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4, 1e5]


def exact(kappa: float, dims: int) -> tuple[float, float, float]:
    """L, A and A' to many digits."""
    with mpmath.workdps(50):
        k, order = mpmath.mpf(kappa), mpmath.mpf(dims) / 2 - 1
        i = mpmath.besseli(order, k)
        mean = mpmath.besseli(order + 1, k) / i
        log_mean = mpmath.log(mpmath.gamma(order + 1) * i / (k / 2) ** order)
        return float(log_mean), float(mean), float(1 - mean**2 - (dims - 1) / k * mean)


def von_mises_fisher(direction, kappa):
    """The distribution with these moments, by way of a net: ``direction`` ``(*batch, d)``, ``kappa`` ``(*batch,)``."""
    direction, kappa = torch.as_tensor(direction), torch.as_tensor(kappa, dtype=torch.float32)
    raw = torch.where(kappa > 15, kappa, torch.expm1(kappa).log())
    part = VonMisesFisher(Constant(direction.shape[-1] + 1))
    part.net = _Given(torch.cat([direction.float(), raw.unsqueeze(-1)], -1))
    return part()


class _Given(torch.nn.Module):
    def __init__(self, out):
        super().__init__()
        self.out = torch.nn.Parameter(out)

    def forward(self):
        return self.out


def random_directions(n, dims):
    return torch.nn.functional.normalize(torch.randn(n, dims), dim=-1)


def z_score(draws, wanted):
    return ((draws.mean(0) - wanted) / (draws.std(0) / math.sqrt(len(draws)))).abs().max().item()


@pytest.mark.parametrize("dims", DIMS)
def test_bessel_functions_to_many_digits(dims):
    kappa = torch.tensor(KAPPAS, dtype=torch.float64, requires_grad=True)
    log_mean, mean = log_mean_exp_coordinate(kappa, dims)
    wanted = torch.tensor([exact(k, dims) for k in KAPPAS], dtype=torch.float64)
    torch.testing.assert_close(log_mean, wanted[:, 0], rtol=1e-11, atol=0)
    torch.testing.assert_close(mean, wanted[:, 1], rtol=1e-14, atol=0)
    (first,) = torch.autograd.grad(log_mean.sum(), kappa, retain_graph=True)
    (second,) = torch.autograd.grad(mean.sum(), kappa)
    torch.testing.assert_close(first, wanted[:, 1], rtol=1e-14, atol=0)
    torch.testing.assert_close(second, wanted[:, 2], rtol=1e-10, atol=0)


def test_bessel_functions_are_those_of_scipy():
    kappa = torch.logspace(-1, 4, 60, dtype=torch.float64)
    for dims in (2, 3, 8, 50):
        order = dims / 2 - 1
        log_mean, mean, _ = bessel(kappa, dims)
        log_i = torch.from_numpy(special.ive(order, kappa.numpy())).log() + kappa
        wanted = log_i + math.lgamma(order + 1) - order * (kappa / 2).log()
        torch.testing.assert_close(log_mean, wanted, rtol=1e-10, atol=1e-10)
        ratio = special.ive(order + 1, kappa.numpy()) / special.ive(order, kappa.numpy())
        torch.testing.assert_close(mean, torch.from_numpy(ratio), rtol=1e-10, atol=0)


@pytest.mark.parametrize("start", [2, 130, 258, 386])
def test_everything_is_finite_at_every_dimension_up_to_512(start):
    raw_kappa = torch.tensor([-1e4, -100.0, -10.0, 0.0, 10.0, 1e3, 1e4, 1e6, 1e8])
    for dims in range(start, min(start + 128, 513)):
        out = torch.cat([torch.randn(len(raw_kappa), dims), raw_kappa[:, None]], -1).requires_grad_()
        part = VonMisesFisher(torch.nn.Identity())
        q, p = part(out), UniformSphere(dims)()
        z = q.rsample((2,))
        assert (z.norm(dim=-1) - 1).abs().max() < 1e-5, dims
        kl = kl_divergence(q, p)
        values = [q.log_prob(z), q.log_prob(-z), q.entropy(), kl, q.mean, q.mode, p.log_prob(z), z**3]
        assert all(v.isfinite().all() and v.dtype == torch.float32 for v in values), dims
        assert (kl >= 0).all(), dims
        (gradient,) = torch.autograd.grad(sum(v.sum() for v in values), out)
        assert gradient.isfinite().all(), dims


@pytest.mark.parametrize("dims", [2, 3, 50, 512])
def test_the_divergence_from_uniform_is_accurate_in_float32(dims):
    kappas = [1e-3, 0.03, 1.0, 20.0, 300.0, 1e4]
    q = von_mises_fisher(random_directions(len(kappas), dims), kappas)
    kappas = q.kappa.tolist()  # as float32 rounded them
    wanted = torch.tensor([k * a - log for k in kappas for log, a, _ in [exact(k, dims)]])
    kl = kl_divergence(q, UniformSphere(dims)())
    torch.testing.assert_close(kl, wanted, rtol=1e-6, atol=0)
    torch.testing.assert_close(q.entropy(), log_area(dims) - wanted, rtol=1e-6, atol=1e-4)
    kappa = q.kappa.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(kl_divergence(type(q)(q.loc.detach(), kappa), UniformSphere(dims)()).sum(), kappa)
    slope = torch.tensor([k * exact(k, dims)[2] for k in kappas], dtype=torch.float64)
    torch.testing.assert_close(gradient, slope, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dims", [2, 3, 50, 512])
@torch.no_grad()
def test_log_prob_is_accurate_in_float32(dims):
    q = von_mises_fisher(random_directions(5, dims), [1e-3, 1.0, 50.0, 1e3, 1e4])
    z = torch.cat([q.sample((50,)), random_directions(50, dims)[:, None].expand(50, 5, dims)])
    constant = torch.tensor([-exact(k, dims)[0] - log_area(dims) for k in q.kappa.tolist()], dtype=torch.float64)
    unit = torch.nn.functional.normalize(z.double(), dim=-1)
    wanted = constant + q.kappa * (unit * q.loc).sum(-1)
    torch.testing.assert_close(q.log_prob(z).double(), wanted, rtol=1e-6, atol=2e-5)


def test_the_surface_of_the_sphere():
    areas = [math.exp(log_area(d)) for d in (2, 3, 4)]
    assert areas == pytest.approx([2 * math.pi, 4 * math.pi, 2 * math.pi**2])
    p = UniformSphere(512)()
    assert p.log_prob(p.sample()).item() == pytest.approx(-p.entropy().item()) == pytest.approx(-log_area(512))


def test_there_is_no_density_off_the_sphere():
    for p in (UniformSphere(3)(), von_mises_fisher([0.0, 0.0, 1.0], 2.0)):
        assert p.log_prob(torch.tensor([[0.0, 0.0, 0.5], [1.0, 1.0, 1.0]])).tolist() == [-math.inf] * 2


@pytest.mark.parametrize("kappa", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("dims", [2, 3])
@torch.no_grad()
def test_divergences_and_the_mean_are_those_of_quadrature(dims, kappa):
    x, weight = points_of_sphere(dims)
    q, r = von_mises_fisher(random_directions(2, dims), [kappa, 2.0]), UniformSphere(dims)()
    log_q = q.log_prob(x[:, None]).double()
    mass = log_q[:, 0].exp() * weight
    assert kl_divergence(q, r)[0].item() == pytest.approx((mass * (log_q[:, 0] - r.log_prob(x))).sum().item(), abs=1e-5)
    one, other = (type(q)(q.loc[i], q.kappa[i]) for i in (0, 1))
    between = (mass * (log_q[:, 0] - log_q[:, 1])).sum().item()
    assert kl_divergence(one, other).item() == pytest.approx(between, abs=1e-5)
    assert one.entropy().item() == pytest.approx(-(mass * log_q[:, 0]).sum().item(), abs=1e-5)
    torch.testing.assert_close(one.mean.double(), (mass[:, None] * x).sum(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dims", "kappa"), [(50, 10.0), (50, 500.0), (512, 100.0), (512, 1e4)])
@torch.no_grad()
def test_divergences_are_the_means_over_samples(dims, kappa):
    q = von_mises_fisher(random_directions(1, dims)[0], kappa)
    near = von_mises_fisher(q.mode + 0.01 * random_directions(1, dims)[0], 1.1 * kappa)
    z = q.sample((4000,))
    for p in (UniformSphere(dims)(), near):
        assert z_score((q.log_prob(z) - p.log_prob(z)).double(), kl_divergence(q, p).double()) < 4.5
    assert z_score(z.double() @ q.loc, q.cosine) < 4.5


# samples and their path


def test_on_the_ordinary_sphere_the_angle_has_a_closed_form():
    u = torch.linspace(1e-6, 1 - 1e-6, 5001, dtype=torch.float64)
    for kappa in (1e-4, 0.5, 5.0, 12.0, 1e3, 1e4):
        k = torch.tensor(kappa, dtype=torch.float64, requires_grad=True)
        w = 1 + torch.log1p(u * torch.expm1(-2 * k)) / k
        theta = angle(u, k, 3)
        found = theta.cos()
        below = torch.expm1(-2 * k * (theta / 2).sin() ** 2) / torch.expm1(-2 * k)
        torch.testing.assert_close(below, u, rtol=0, atol=1e-10)
        for weight in (torch.ones_like(u), u, (u > 0.5).double()):
            (wanted,) = torch.autograd.grad((w * weight).mean(), k, retain_graph=True)
            (got,) = torch.autograd.grad((found * weight).mean(), k, retain_graph=True)
            torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3, 5, 20, 100, 512])
def test_angles_have_the_mean_and_its_derivative_by_finite_differences(dims):
    kappa = torch.tensor([0.0, 0.1, 2.0, 9.0, 15.0, 100.0, 1e3, 1e4], dtype=torch.float64)
    u = ((torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000)[:, None].expand(-1, len(kappa))
    k = kappa.clone().requires_grad_()
    cosine = angle(u, k, dims).cos().mean(0)
    _, mean, _ = bessel(kappa, dims)
    torch.testing.assert_close(1 - cosine, 1 - mean, rtol=1e-4, atol=0)
    (slope,) = torch.autograd.grad(cosine.sum(), k)
    step = 1e-4 * (1 + kappa)
    up, down = bessel(kappa + step, dims)[1], bessel((kappa - step).abs(), dims)[1] * (kappa - step).sign()
    torch.testing.assert_close(slope, (up - down) / (2 * step), rtol=1e-3, atol=0)


@pytest.mark.parametrize(("dims", "kappa"), [(2, 0.5), (2, 20.0), (3, 2.0), (10, 5.0), (50, 300.0)])
def test_the_gradient_of_a_moment_of_samples_is_that_of_the_moment(dims, kappa):
    a, b = torch.randn(2, dims, dtype=torch.float64)
    out = torch.cat([torch.randn(dims), torch.tensor([math.log(math.expm1(kappa)) if kappa < 15 else kappa])])
    out = out.requires_grad_()
    q = VonMisesFisher(torch.nn.Identity())(out)
    r = q.cosine / q.kappa  # E[z z^T] = r (1 - mu mu^T) + (1 - (d - 1) r) mu mu^T
    along_a, along_b = q.loc @ a, q.loc @ b
    moment = r * (a @ b) + (1 - dims * r) * along_a * along_b + q.cosine * along_a
    (wanted,) = torch.autograd.grad(moment, out)
    found = []
    for _ in range(60):
        z = VonMisesFisher(torch.nn.Identity())(out).rsample((400,)).double()
        (gradient,) = torch.autograd.grad(((z @ a) * (z @ b) + z @ a).mean(), out)
        found.append(gradient)
    assert z_score(torch.stack(found).double(), wanted.double()) < 4.5


def test_a_draw_takes_the_same_numbers_whatever_the_others_are():
    direction = random_directions(4, 5)
    draws = []
    for others in (0.01, 1e4):
        with noise.preserved(), noise.keyed("x"):
            draws.append(noise.rsample(von_mises_fisher(direction, [others, others, 3.0, others]), (7,))[:, 2])
    torch.testing.assert_close(*draws)


# in a model


def test_a_net_that_gives_no_direction_gets_one_that_it_can_leave():
    part = VonMisesFisher(Constant(4))
    q = part()
    assert q.mode.tolist() == [1.0, 0.0, 0.0]
    (gradient,) = torch.autograd.grad(q.log_prob(torch.tensor([0.0, 1.0, 0.0])), part.net.value)
    assert gradient.isfinite().all() and gradient[1] > 0.1


@pytest.mark.parametrize(
    "make", [lambda: UniformSphere(1), lambda: VonMisesFisher(MLP(2, 2)), lambda: VonMisesFisher(MLP(2, (3, 3)))]
)
def test_what_is_no_sphere_is_refused(make):
    with pytest.raises(InputError, match="at least 2"):
        make()


def circle_data(n):
    angles = 2 * math.pi * torch.rand(n)
    return torch.stack([angles.cos(), angles.sin(), torch.zeros(n)], -1) + 0.1 * torch.randn(n, 3)


def test_a_vae_on_the_sphere_trains_and_its_bounds_hold():
    x = circle_data(200)
    vae = VAE(
        Flat(UniformSphere(3), VonMisesFisher(MLP(3, 4, hidden=(16,)))),
        Gaussian(MLP(3, 3, hidden=(16,)), scale=0.3),
    )
    optimizer = torch.optim.Adam(vae.parameters(), 0.02)
    values = []
    for _ in range(100):
        value = ELBO()(vae.trace(x), 1.0).mean()
        optimizer.zero_grad()
        (-value).backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] > values[0] + 1
    z, weight = points_of_sphere(3)
    z, weight = z[::7], weight[::7] * 7
    with torch.no_grad():
        x = x[:10]
        log_p = torch.logsumexp(
            vae.decoder(z[:, None]).log_prob(x).double() + (weight / (4 * math.pi)).log()[:, None], 0
        )
        trace = vae.trace(x, samples=(2000,))
        error = trace.elbo.double().std(0) / math.sqrt(2000)
        assert (trace.elbo.double().mean(0) < log_p + 4 * error).all()
        assert z_score(trace.elbo.double() - trace.log_weight.double(), 0.0) < 4.5  # the closed form of the KL
        torch.testing.assert_close(IWAE(2000)(trace, 1.0).double(), log_p, rtol=0, atol=0.1)
        arrays = vae.encode(x)
        assert (arrays["mode"].norm(dim=-1) - 1).abs().max() < 1e-5
        assert (arrays["mean"].norm(dim=-1) < 1).all()
