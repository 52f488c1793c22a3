"""Variance-preserving diffusion in continuous time, with a bound on its likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from fusevae.core.conditional import Conditional, batch_of
from fusevae.core.errors import InputError
from fusevae.core.levels import BoundOnly, Level
from fusevae.distributions.samplers import DPMSolver, Rows, Sampler, alpha, evaluate, sigma
from fusevae.distributions.schedules import CauchySchedule, CosineSchedule, LinearSchedule, Schedule
from fusevae.nets.mlp import as_shape
from fusevae.nets.time_mlp import TimeMLP

FEW = 4  # times of each value in the figures that a training validates by


class Diffusion(Conditional):
    r"""Data are noised, :math:`q(z_t \mid x) = \mathcal N(\alpha_t x, \sigma_t^2 I)`, and a net learns the way back (Ho
    et al. 2020). Its bound in nats (Kingma et al. 2021), with :math:`\gamma = \log \sigma^2 / \alpha^2` and
    :math:`\hat\epsilon` the net's estimate of the noise in :math:`z_t = \alpha_t x + \sigma_t \epsilon`, is

    .. math::
        \log p(x) \ge E_{q(z_0 \mid x)}[\log p(x \mid z_0)] - \mathrm{KL}(q(z_1 \mid x) \| \mathcal N(0, I))
        - \tfrac12 E_{t, \epsilon}\big[\gamma'(t)\, \|\epsilon - \hat\epsilon(z_t, t)\|^2\big]

    for the ancestral chain of infinitely many steps, with
    :math:`p(x \mid z_0) = \mathcal N(z_0 / \alpha_0, \sigma_0^2 / \alpha_0^2 I)`: data are reals of about unit scale
    (integers are dequantized first), whose finest detail is that last noise, exp(low / 2) of the schedule.

    A draw of ``log_bound`` takes one random time for each value, as a difference from the standard normal, whose bound
    is known: that takes most of the noise away. What an evaluation reports takes ``times``, one in each of as many
    equal parts of the noise levels: of the same expectation, with less noise. DDIM and DPMSolver sample another law of
    the same net than the one that is bounded. As a posterior it is refused, as prior and as decoder it keeps the ELBO a
    bound.

    Args:
        net: ``net(x_t, t, *conditions)``, see :mod:`fusevae.nets.time_mlp`; ``t`` is the noise level, scaled to [0, 1].
        shape: of one event.
        prediction: what the net gives: ``"epsilon"``, the noise, or ``"v"``, :math:`\alpha \epsilon - \sigma x`
            (Salimans & Ho 2022). A net that gives 0 under ``"v"`` is the standard normal, exactly.
        schedule: of the noise: :class:`CauchySchedule` or :class:`CosineSchedule` for images; for latents, and where
            the bound itself is trained, :class:`LinearSchedule` or :class:`LearnedSchedule`.
        sampler: :class:`DPMSolver`, :class:`DDIM` or :class:`Ancestral`, with its steps.
        weighting: what trains the net: ``"simple"``, the squared error of what it gives at the schedule's times (better
            pictures), or ``"bound"``. Nets beside it in a model, an encoder say, are trained by the bound in any case.
        guidance: samples with a label are those without, moved so many times the difference that the label makes: 1
            samples what was learned, 0 without the label, 2 is more typical of it (Ho & Salimans 2022).
        times: of each value in a bound that is reported.

    Example:
        >>> prior = Diffusion(TimeMLP(2, hidden=16), 2)
        >>> prior().sample((5,)).shape, prior().log_bound(torch.zeros(5, 2)).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    level = Level.BOUND
    has_mean = False
    needs = (2000, 0)

    def __init__(
        self,
        net: nn.Module,
        shape: int | tuple[int, ...],
        prediction: Literal["epsilon", "v"] = "v",
        schedule: Schedule = CauchySchedule(),
        sampler: Sampler = DPMSolver(),
        weighting: Literal["simple", "bound"] = "simple",
        guidance: float = 1.0,
        times: int = 32,
    ) -> None:
        super().__init__()
        if prediction not in ("epsilon", "v") or weighting not in ("simple", "bound"):
            raise InputError(
                f"Diffusion was given prediction={prediction!r} and weighting={weighting!r}: expected 'epsilon' or "
                "'v', and 'simple' or 'bound'"
            )
        if times < 1:
            raise InputError(f"times is {times}, expected at least 1: 32, say")
        self.net, self.shape, self.prediction, self.weighting = net, as_shape(shape), prediction, weighting
        self.schedule, self.sampler, self.guidance, self.times = schedule, sampler, guidance, times

    def forward(self, *given: Tensor | None) -> Distribution:
        return DiffusionBound(self, given)

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        start = getattr(self.net, "start_from", None)  # of a net that takes something from examples itself
        if start is not None:
            start(examples)

    def time(self, level: Tensor) -> Tensor:
        """A noise level as the net is told it, in [0, 1]."""
        return (level - self.schedule.low) / (self.schedule.high - self.schedule.low)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        def net(shape: int | tuple[int, ...], context: int = 0) -> TimeMLP:
            found = TimeMLP(shape, hidden=4, blocks=1, context=context)
            nn.init.normal_(found.head.weight, std=0.3)  # at zero nothing before it would learn at once
            return found

        few: dict[str, Any] = {"sampler": DPMSolver(4), "times": 4}
        tame = CauchySchedule(-8.0, 3.0)  # an untrained net's estimate of the data is divided by the least alpha
        z = torch.randn(3, 2)
        return [
            (cls(net(1), 1, schedule=LinearSchedule(-8.0, 3.0), weighting="bound", **few), ()),
            (cls(net((1, 1, 2)), (1, 1, 2), "epsilon", tame, **few), ()),
            (cls(net(2, context=2), 2, schedule=tame, **few), (z,)),
        ]


class OfGiven(BoundOnly):
    """Reals that a conditional without a density, ``owner``, makes of what it is given."""

    draws_keyed = True

    def __init__(self, owner: Any, given: tuple[Tensor | None, ...]) -> None:
        self.owner, self.given = owner, given
        super().__init__(batch_of(given), torch.Size(owner.shape), validate_args=False)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))


class DiffusionBound(OfGiven):
    """What :class:`Diffusion` is given its conditions."""

    owner: Diffusion

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner, lead = self.owner, torch.Size(sample_shape) + self.batch_shape
        rows = self.rows_to_draw(lead)
        given = rows.given(self.given)

        def denoise(z: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
            out = evaluate(owner.net, z, owner.time(level).expand(len(z)), given, owner.guidance)
            a, s = alpha(level), sigma(level)
            if owner.prediction == "v":
                return a * z - s * out, s * z + a * out
            return (z - s * out) / a, out

        with torch.no_grad():
            # whatever the times of training: they are for the variance of the bound, not for the error of a step
            spacing = CosineSchedule(owner.schedule.low, owner.schedule.high)
            levels, _ = spacing(torch.linspace(1, 0, owner.sampler.steps + 1, device=rows.device))
            x = owner.sampler(denoise, rows.normal(), levels, rows.normal)
        return x.view(*lead, *rows.event)

    def log_bound(self, value: Tensor) -> Tensor:
        rows = self.rows_of(value)
        draw = self._at_random_times(rows, value, rows.given(self.given), held=False)
        return self.of_normal(value) + (draw.normal - draw.weight * draw.error).view(rows.lead)

    def surrogate(self, value: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._summed(value, FEW)  # figures while training, of little noise for their price
        if self.owner.weighting == "bound":
            return self.log_bound(value)
        rows = self.rows_of(value)
        draw = self._at_random_times(rows, value, rows.given(self.given), held=True)
        # the number is the bound's, the gradient that of the squared error alone
        error = (draw.weight * draw.error).detach() + draw.error - draw.error.detach()
        return self.of_normal(value) + (draw.normal - error).view(rows.lead)

    def summed_bound(self, value: Tensor) -> Tensor:
        return self._summed(value, self.owner.times)

    def _summed(self, value: Tensor, times: int) -> Tensor:
        """One time of each value in each of so many equal parts of the noise levels."""
        schedule, rows = self.owner.schedule, self.rows_of(value)
        span = schedule.high - schedule.low
        x = value.expand(*rows.lead, *rows.event).reshape(-1, *rows.event)
        given, offset, gain = rows.given(self.given), rows.uniform(), torch.zeros((), device=value.device)
        for i in range(times):
            draw = self._draw(x, x, given, schedule.low + span * (i + offset) / times, span, rows.normal())
            gain = gain + (draw.normal - draw.weight * draw.error) / times
        return self.of_normal(value) + gain.view(rows.lead)

    def rows_of(self, value: Tensor) -> Rows:
        lead = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        return Rows(lead, self.owner.shape, value.device)

    def rows_to_draw(self, lead: torch.Size) -> Rows:
        return Rows(lead, self.owner.shape, next(self.owner.parameters(), torch.zeros(())).device)

    def numbers(self, value: Tensor) -> Tensor | int:
        """How many numbers each value has."""
        return math.prod(self.event_shape)

    def _at_random_times(self, rows: Rows, value: Tensor, given: list[Tensor | None], held: bool) -> _Draw:
        """Each row at its own time; ``held``: the gradient of the error is multiplied by its weight where it passes to
        the value and to what is given."""
        schedule = self.owner.schedule
        learns = self.owner.training and torch.is_grad_enabled()
        level, slope = schedule(rows.even() if learns and rows.lead else rows.uniform())
        x = value.expand(*rows.lead, *rows.event).reshape(-1, *rows.event)
        inside: Tensor | None = x
        if held:  # rows don't see each other, so each passes on its own part alone
            weight = self._weight(level, slope)
            inside, *given = (_times_gradient(v, weight) for v in (x, *given))
        draw = self._draw(cast(Tensor, inside), x, given, level, slope, rows.normal())
        if learns:
            schedule.update(level, (2 / slope * (draw.weight * draw.error - draw.normal)).detach())
        return draw

    def _draw(
        self, inside: Tensor, x: Tensor, given: list[Tensor | None], level: Tensor, slope: Tensor | float, eps: Tensor
    ) -> _Draw:
        """The net's error on ``inside``, and that of the standard normal on ``x``, which has the same numbers."""
        a, s = (f(level).view(-1, *[1] * len(self.owner.shape)) for f in (alpha, sigma))
        error = self._error(inside, a, s, level, eps, given)
        velocity = (a * eps - s * x).square().flatten(1).sum(1)
        return _Draw(error, self._weight(level, slope), 0.5 * slope * torch.sigmoid(-level) * velocity)

    def _error(self, x: Tensor, a: Tensor, s: Tensor, level: Tensor, eps: Tensor, given: list[Tensor | None]) -> Tensor:
        """The squared error of what the net gives, ``(n,)``."""
        owner = self.owner
        out = evaluate(owner.net, a * x + s * eps, owner.time(level), given)
        target = a * eps - s * x if owner.prediction == "v" else eps
        return (target - out).square().flatten(1).sum(1)

    def _weight(self, level: Tensor, slope: Tensor | float) -> Tensor:
        """What the squared error counts in the bound."""
        if self.owner.prediction == "v":  # epsilon - epsilon^ = alpha (v - v^)
            return 0.5 * slope * torch.sigmoid(-level)
        return torch.full_like(level, 0.5) * slope

    def of_normal(self, value: Tensor) -> Tensor:
        r"""The bound of a net that gives v = 0, the standard normal, in closed form.

        A draw adds to it what the net's error is below that net's, :math:`\|\alpha \epsilon - \sigma x\|^2`: of the
        same expectation as the bound, with a small part of its variance.
        """
        schedule, n = self.owner.schedule, self.numbers(value)
        square = value.float().square().sum(tuple(range(-len(self.event_shape), 0)))
        low, high = (1 / (1 + math.exp(-level)) for level in (schedule.low, schedule.high))  # sigma^2 at the ends
        divergence = 0.5 * ((1 - high) * (square - n) - n * math.log(high))  # of z_1
        decoder = -0.5 * n * (math.log(2 * math.pi) + 1 + schedule.low)  # log p(x | z_0) in expectation
        of_data = 0.5 * (high - low)  # the integrals of alpha^2 sigma^2 / 2 and of alpha^4 / 2 over the levels
        of_noise = 0.5 * (schedule.high + math.log1p(-high) - schedule.low - math.log1p(-low))
        return decoder - divergence - (of_noise - of_data) * n - of_data * square


class _Draw(NamedTuple):
    """Rows at random times: the net's squared errors, their weights in the bound, and the standard normal's error with
    that weight."""

    error: Tensor
    weight: Tensor
    normal: Tensor


def _times_gradient(x: Tensor | None, weight: Tensor) -> Tensor | None:
    """``x`` of shape ``(n, ...)``; the gradient that passes through it is multiplied by ``weight`` ``(n,)``."""
    if x is None or not x.requires_grad:
        return x
    x = x.view_as(x)
    x.register_hook(lambda gradient: gradient * weight.view(-1, *[1] * (gradient.dim() - 1)))
    return x
