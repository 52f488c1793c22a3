"""Invertible steps: dequantization, normalisation, standardisation, logit; each owns its log-determinant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError, SlotError
from fusevae.core.levels import Level, require
from fusevae.core.spec import DataSpec
from fusevae.core.steps import Step
from fusevae.core.tails import Tails
from fusevae.data.defaults import few
from fusevae.data.gaussianise import Gaussianise

TABLE = 2**22  # numbers of a table of each place's distribution, at most


class Dequantize(Step):
    r"""Uniform dequantization :math:`y = x + u,\ u \sim U[0, 1)^D`, for integers in their raw units (as floats).

    The probability of the integers is the average density of the unit cube above them,
    :math:`P(x) = \int_{[0,1)^D} p(x + u)\,du = \mathbb E_u[p(x + u)]`. So ``log p(x + u)`` is an evidence bound on
    ``log P(x)``: its expectation is below (Jensen), and the average of its exponential is exact (Theis et al. 2016,
    https://arxiv.org/abs/1511.01844). Values 0..255 fill [0, 256): ``Normalise(0, 256)`` brings them to [0, 1).

    Example:
        >>> step = Dequantize()
        >>> y, logdet = step(torch.tensor([[0.0, 255.0]]))
        >>> step.inverse(y), logdet
        (tensor([[  0., 255.]]), 0.0)
    """

    dequantizes = True

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        return below_next(x, noise.uniform(x.shape, x.device).to(x.dtype)), 0.0

    def inverse(self, y: Tensor) -> Tensor:
        return y.floor()


class VariationalDequantize(Step):
    r"""Dequantization by learned noise (Ho et al. 2019, https://arxiv.org/abs/1902.00275): :math:`y = x + u` with
    :math:`u = \Phi(v),\ v \sim q(v \mid x)` (the normal's distribution function), so that

    .. math:: \log P(x) \ge E_q[\log p(x + u) - \log q(u \mid x)], \quad
        \log q(u \mid x) = \log q(v \mid x) - \sum_d \log \mathcal N(v_d; 0, 1)

    The step's log-determinant is :math:`-\log q(u \mid x)`. The average of the exponential is exact here too. A
    standard normal q is uniform noise, so a net that gives zeros at its start begins there.

    Args:
        noise: q(v | x) over reals of the shape of x: a density with reparameterised samples (a Gaussian, a flow), which
            is given x scaled to [-1, 1].
        low: smallest value of x.
        high: largest value of x.

    Raises :class:`SlotError` where the noise can't stand here.

    Example:
        >>> from fusevae import MLP, Gaussian
        >>> step = VariationalDequantize(Gaussian(MLP(2, 4)))
        >>> y, logdet = step(torch.tensor([[0.0, 255.0]]))
        >>> step.inverse(y).tolist(), logdet.shape
        ([[0.0, 255.0]], torch.Size([1]))
    """

    dequantizes = True

    def __init__(self, noise: Conditional, low: float = 0.0, high: float = 255.0) -> None:
        super().__init__()
        fits = "a density over reals (Gaussian, Flow, Glow)"
        require("the noise of a dequantization", noise, Level.DENSITY, fits)
        if noise.discrete or noise.space != "reals":
            raise SlotError(f"{type(noise).__name__} can't be the noise of a dequantization: {fits} would fit")
        if not low < high:
            raise InputError(f"VariationalDequantize was given [{low}, {high}]: expected the low end first")
        self.noise, self.low, self.high = noise, float(low), float(high)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        q = self.noise(2 * (x - self.low) / (self.high - self.low) - 1)
        if not q.has_rsample:
            raise SlotError(
                f"{type(self.noise).__name__} has no reparameterised samples to train a dequantization by: take a "
                "Gaussian, a Flow or a Glow"
            )
        v = noise.rsample(q, x.shape[: x.dim() - len(q.event_shape) - len(q.batch_shape)])  # q may not look at x
        change = (0.5 * v**2 + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)
        return below_next(x, torch.special.ndtr(v)), -q.log_prob(v) - change

    def inverse(self, y: Tensor) -> Tensor:
        return y.floor()


def below_next(x: Tensor, u: Tensor) -> Tensor:
    """x + u for u in [0, 1]: 255 + 0.9999999 rounds to 256 in float32, a pixel in every 130,000; this stays below the
    next integer."""
    return torch.minimum(x + u, torch.nextafter(x + 1, x))


class Normalise(Step):
    r"""Affine map of the range [low, high] to [to_low, to_high].

    .. math:: y = a + (x - l)\frac{b - a}{h - l}, \qquad \log|\det f'(x)| = D \log\frac{b - a}{h - l}

    Args:
        low: value that becomes ``to_low``; None takes the smallest of the training data (0 until :meth:`fit`).
        high: value that becomes ``to_high``; None takes the largest of the training data (1 until :meth:`fit`).
        to_low: where the range starts afterwards.
        to_high: where it ends.

    Example:
        >>> y, logdet = Normalise(0, 256, -1, 1)(torch.tensor([[0.0, 128.0]]))
        >>> y, logdet  # 2 log(2 / 256)
        (tensor([[-1.,  0.]]), tensor([-9.7041]))
    """

    low: Tensor
    high: Tensor

    def __init__(
        self, low: float | None = None, high: float | None = None, to_low: float = 0.0, to_high: float = 1.0
    ) -> None:
        super().__init__()
        given = [v for v in (low, high, to_low, to_high) if v is not None]
        if (
            not all(map(math.isfinite, given))
            or (low is not None and high is not None and low >= high)
            or to_low >= to_high
        ):
            raise InputError(
                f"Normalise was given [{low}, {high}] to [{to_low}, {to_high}]: expected finite ranges, the "
                "low end first"
            )
        self.fits_low, self.fits_high = low is None, high is None
        self.to_low, self.to_high = float(to_low), float(to_high)
        start = low if low is not None else min(0.0, high - 1) if high is not None else 0.0
        self.register_buffer("low", torch.tensor(float(start)))
        self.register_buffer("high", torch.tensor(float(high if high is not None else max(1.0, start + 1))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        scale = self._scale
        logdet = scale.log() * math.prod(x.shape[1:])
        return self.to_low + (x - self.low) * scale, logdet.expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return self.low + (y - self.to_low) / self._scale

    def fit(self, x: Tensor) -> None:
        _need_examples(x, "Normalise")
        low = x.min().to(self.low) if self.fits_low else self.low
        high = x.max().to(self.high) if self.fits_high else self.high
        if not high > low:  # constant data keep their unit, where a range that was given doesn't forbid it
            if not self.fits_high:
                raise InputError(f"Normalise has high={high:g}, but the data start at {low:g}: give a larger high")
            if not self.fits_low and high < low:
                raise InputError(f"Normalise has low={low:g}, but the data end at {high:g}: give a smaller low")
            high = low + 1
        self.low.copy_(low)
        self.high.copy_(high)
        self.fitted = True

    @property
    def _scale(self) -> Tensor:
        return (self.to_high - self.to_low) / (self.high - self.low)


class Standardise(Step):
    r"""Each feature to mean 0 and standard deviation 1 over the training data, :math:`y = (x - \mu) / \sigma`.

    The log-determinant is :math:`-\sum_d \log \sigma_d`. Until :meth:`fit`, mean 0 and deviation 1. A feature that is
    constant in the training data is only shifted; a few values that dwarf all others are left out of its deviation.

    Args:
        shape: of one example.

    Example:
        >>> step = Standardise((2,))
        >>> step.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
        >>> step.mean, step.std
        (tensor([2., 5.]), tensor([1., 1.]))
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        return (x - self.mean) / self.std, -self.std.log().sum().expand(len(x))

    def inverse(self, y: Tensor) -> Tensor:
        return y * self.std + self.mean

    def fit(self, x: Tensor) -> None:
        _need_examples(x, "Standardise")
        if x.shape[1:] != self.mean.shape:
            raise InputError(
                f"Standardise is for examples of shape {tuple(self.mean.shape)}, the data have {tuple(x.shape[1:])}: "
                "set its shape to theirs"
            )
        # two passes in float64, in chunks: no copy of all data, and a large mean costs no digits
        chunks = x.split(4096)
        mean = sum((c.double().sum(0) for c in chunks), torch.zeros((), dtype=torch.float64, device=x.device)) / len(x)
        squares = sum(((c.double() - mean).square().sum(0) for c in chunks), torch.zeros_like(mean))
        std = (squares / len(x)).sqrt()
        mean, std = without_errors(x, mean, std)
        constant = torch.stack([(c == x[0]).all(0) for c in chunks]).all(0)  # std may be 1e-17 for them
        self.mean.copy_(mean)
        self.std.copy_(torch.where(constant | (std < torch.finfo(self.std.dtype).tiny), 1.0, std))
        self.fitted = True


def without_errors(x: Tensor, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation ``(*shape)`` of examples ``(n, *shape)``; of a feature whose deviation is a thousand times
    that of its middle 99 %, those of the middle: one cell of 1e12 doesn't take the scale from all the others."""
    flat, mean, std = x.flatten(1), mean.clone(), std.clone()
    away = torch.stack([(c.double() - mean.flatten()).abs().amax(0) for c in flat.split(4096)]).amax(0)
    for i in (away > 10 * std.flatten()).nonzero()[:, 0].tolist():  # where it is so, the largest is as far at least
        few = flat[:: max(1, len(flat) // 10_000), i].double()
        if std.flatten()[i] > 1000 * _middle(few).std(correction=0) > 0:
            middle = _middle(flat[:, i].double())
            mean.view(-1)[i], std.view(-1)[i] = middle.mean(), middle.std(correction=0)
    return mean, std


def _middle(x: Tensor) -> Tensor:
    cut = max(1, len(x) // 200)
    return x.sort().values[cut : max(cut + 1, len(x) - cut)]


class Reshape(Step):
    """Another shape of the same numbers in the same order: a model of images stands in a slot of vectors by it.

    Args:
        inputs: shape of x.
        outputs: shape of y, as many numbers.

    Example:
        >>> step = Reshape((4,), (1, 2, 2))
        >>> y, _ = step(torch.zeros(3, 4))
        >>> y.shape, step.inverse(y).shape
        (torch.Size([3, 1, 2, 2]), torch.Size([3, 4]))
    """

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        super().__init__()
        if math.prod(inputs) != math.prod(outputs):
            raise InputError(
                f"Reshape was given {tuple(inputs)} and {tuple(outputs)}: expected shapes of as many numbers"
            )
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        return x.reshape(*x.shape[: x.dim() - len(self.inputs)], *self.outputs), 0.0

    def inverse(self, y: Tensor) -> Tensor:
        return y.reshape(*y.shape[: y.dim() - len(self.outputs)], *self.inputs)

    def input_shape(self, outputs: torch.Size) -> torch.Size:
        return torch.Size(self.inputs)


class Logit(Step):
    r"""Values in [0, 1] to the real line, a little inside the ends (Papamakarios et al. 2017, Dinh et al. 2017).

    .. math::
        s = \alpha + (1 - 2\alpha) x, \quad y = \log\frac{s}{1 - s}, \quad
        \log|\det f'(x)| = \sum_d \log(1 - 2\alpha) - \log s_d - \log(1 - s_d)

    The inverse maps all reals, so what a model samples may lie up to :math:`\alpha / (1 - 2\alpha)` outside [0, 1].

    Args:
        alpha: distance from the ends, above 0 so that 0 and 1 stay finite, below 1/2.

    Example:
        >>> y, logdet = Logit(0.05)(torch.tensor([[0.0, 0.5]]))
        >>> y, logdet
        (tensor([[-2.9444,  0.0000]]), tensor([4.2226]))
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        if not 0 < alpha < 0.5:
            raise InputError(f"Logit was given alpha={alpha}: expected a number above 0 and below 0.5, such as 1e-6")
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        scale = 1 - 2 * self.alpha
        # 1 - s from 1 - x, which is exact near 1 where 1 - s would lose all digits of alpha
        log_s, log_rest = torch.log(self.alpha + scale * x), torch.log(self.alpha + scale * (1 - x))
        logdet = math.log(scale) - log_s - log_rest
        return log_s - log_rest, logdet.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        return (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha)


def into_reals(data: DataSpec, alpha: float = 1e-6, dequantize: Step | None = None) -> list[Step]:
    """What stands before a density over the real line: dequantization of integers (uniform, or another step for it),
    and unit scale; for data of several dimensions, which have one range, before it the range to [0, 1] and its logit.
    Of few such integers each place has its own distribution taken out: 784 pixels of 200 digits are 1,404 nats under a
    standard normal of logits, and under one of :class:`Gaussianise` 1,175, a constant model's.

    Example:
        >>> [type(step).__name__ for step in into_reals(DataSpec((1, 8, 8), "uint8", 0, 16))]
        ['Dequantize', 'Normalise', 'Logit', 'Standardise']
        >>> [type(step).__name__ for step in into_reals(DataSpec((3,)))]
        ['Standardise', 'Tails']
    """
    steps = [dequantize or Dequantize()] if data.is_discrete else []
    if len(data.shape) == 1:  # columns, each with a range of its own
        return [*steps, Standardise(data.shape), Tails()]
    if few(data) and steps and data.dims * (data.high - data.low) < TABLE:
        return [*steps, Gaussianise(data.shape, data.low, data.high)]
    return [*steps, Normalise(data.low, data.high + len(steps)), Logit(alpha), Standardise(data.shape)]


def _need_examples(x: Tensor, who: str) -> None:
    if not x.numel():
        raise InputError(f"{who} was fitted on no examples (shape {tuple(x.shape)}): give it training data")
