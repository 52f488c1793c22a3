"""Preprocessed: invertible steps before a distribution, part of the distribution over the raw data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import SlotError
from fusevae.core.levels import BoundOnly, Level, log_bound
from fusevae.core.steps import Step
from fusevae.core.trace import Trace
from fusevae.distributions.normal import Normal


class Preprocessed(Conditional):
    r"""Step 1 of a VAE, with its place in the likelihood: y = f(x) and
    :math:`\log p(x) = \log p(y) + \log|\det f'(x)|`.

    Where the model gives probabilities of discrete values, a change of units changes no probability and no
    log-determinant is added (but for a step by which several values share a probability). Where a step dequantizes, the
    result bounds the probability of the integers.

    Args:
        steps: applied in order on the way in, undone in reverse on the way out.
        model: the distribution of y.
    """

    def __init__(self, steps: list[Step], model: Conditional) -> None:
        super().__init__()
        self.steps, self.model = cast(Sequence[Step], nn.ModuleList(steps)), model
        dequantizes = any(s.dequantizes for s in steps)
        self.discrete = model.discrete or dequantizes  # what is dequantized are integers
        self.level, self.has_mean, self.space, self.mixed = model.level, model.has_mean, model.space, model.mixed
        if steps and model.space == "sphere":
            raise SlotError(
                f"{type(model).__name__} is over a sphere, which the steps would leave: leave the steps out, or take a "
                "density over reals (Gaussian)"
            )
        if any(s.shares for s in steps) and not model.discrete:
            raise SlotError(
                f"{type(model).__name__} gives a density, the steps give places of whole numbers: take a mass "
                "(DiscretizedLogistic, Categorical) as decoder, or leave the UsedLevels out"
            )
        if dequantizes:
            self.level = min(Level.EVIDENCE, model.level)
            if model.discrete:
                raise SlotError(
                    f"{type(model).__name__} gives probabilities of discrete values but a step dequantizes them: leave "
                    "the Dequantize out, or take a density (Gaussian, ContinuousBernoulli) as decoder"
                )

    @property
    def has_latents(self) -> bool:  # type: ignore[override]
        return self.model.has_latents

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        return self.model.deterministic and not any(s.dequantizes for s in self.steps)

    def forward(self, *conditions: Tensor | None) -> Distribution:
        return _Back(self, self.model(*conditions))

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        """The model's trace for raw ``x``, with the log-determinant in its reconstruction. Where a step dequantizes,
        every sample has its own noise: with one for all of them, importance weighting would leave the bound of one."""
        if samples and any(s.dequantizes for s in self.steps):
            draws = [self.into(x) for _ in range(math.prod(samples))]
            y = torch.stack([y for y, _ in draws]).view(*samples, *x.shape)
            each = [torch.as_tensor(log_det, device=x.device).expand(len(x)) for _, log_det in draws]
            log_det: Tensor | float = torch.stack(each).view(*samples, len(x))
            trace = self.model.trace(y, *conditions)
        else:
            y, log_det = self.into(x)
            trace = self.model.trace(y, *conditions, samples=samples)
        trace.log_det = trace.log_det + log_det
        return trace

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Distribution:
        return _Back(self, self.model.generate(shape, *conditions))

    def reconstruct(self, x: Tensor, *conditions: Tensor | None) -> Distribution:
        return _Back(self, self.model.reconstruct(self.into(x)[0], *conditions))

    def encode(self, x: Tensor, *conditions: Tensor | None) -> dict[str, Tensor]:
        return self.model.encode(self.into(x)[0], *conditions)

    def decode(self, z: Tensor, *conditions: Tensor | None) -> Distribution:
        return _Back(self, self.model.decode(z, *conditions))

    def inference(self) -> list[nn.Module]:
        return self.model.inference()

    def into(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """y and the sum of the log-determinants for raw ``x``."""
        total: Tensor | float = 0.0
        for step in self.steps:
            x, log_det = step(x)
            if step.shares or not self.model.discrete:
                total = total + log_det
        return x, total

    def back(self, y: Tensor) -> Tensor:
        """x for ``y`` of shape ``(*sample, *batch, *event)``."""
        for step in reversed(self.steps):
            y = step.inverse(y)
        return y

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Set what the steps take from the training data, each from what the steps before it give; one that was fitted
        before stays as it is. Then the model starts from what the steps give."""
        to_fit = [i for i, step in enumerate(self.steps) if type(step).fit is not Step.fit and not step.fitted]
        if to_fit:
            x = examples()
            for i, step in enumerate(self.steps[: to_fit[-1] + 1]):
                if i in to_fit:
                    step.fit(x)
                    step.fitted = True
                if i < to_fit[-1]:
                    x = torch.cat([step(part)[0] for part in x.split(1000)])  # a step may be a net
        self.model.start_from(lambda: self.into(examples())[0])

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls([], Normal(2)), ())]


def layers(model: Conditional) -> tuple[list[Preprocessed], Conditional]:
    """The preprocessing around a model, the outermost first, and the model inside."""
    around: list[Preprocessed] = []
    while isinstance(model, Preprocessed):
        around.append(model)
        model = model.model
    return around, model


def inside(model: Conditional, x: Tensor) -> tuple[Tensor, Conditional]:
    """``x`` as a model sees it inside its preprocessing, and that model."""
    around, model = layers(model)
    for one in around:
        x = one.into(x)[0]
    return x, model


class _Back(BoundOnly):
    """A distribution of y, as one of x."""

    draws_keyed = True

    def __init__(self, owner: Preprocessed, p: Distribution) -> None:
        self.owner, self.p = owner, p
        event = p.event_shape
        for step in reversed(owner.steps):
            event = step.input_shape(event)
        super().__init__(p.batch_shape, event, validate_args=False)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.owner.back(noise.sample(self.p, sample_shape))

    @property
    def mean(self) -> Tensor:
        """The mean of y, taken back: for a step that isn't affine this is not the mean of x."""
        return self.owner.back(self.p.mean)

    def log_bound(self, value: Tensor) -> Tensor:
        batch = value.shape[: value.dim() - len(self.event_shape)]
        y, log_det = self.owner.into(value.reshape(-1, *value.shape[len(batch) :]))  # steps know one batch dimension
        log_det = log_det.expand(len(y)).view(batch) if isinstance(log_det, Tensor) else log_det
        return log_bound(self.p, y.view(*batch, *y.shape[1:])) + log_det

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_bound(value) if self.owner.level is Level.DENSITY else super().log_prob(value)
