"""Defensive mixture: a density from nets, and a little of a simple one where the nets know nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from fusevae.core import noise
from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.levels import Level, require
from fusevae.distributions.flow import Flow
from fusevae.distributions.normal import Normal
from fusevae.nets.mlp import MLP


class Defensive(Conditional):
    r""":math:`p(x \mid given) = (1 - s)\, p_{model}(x \mid given) + s\, p_{wide}(x)` with a fixed s (Hesterberg 1995).

    .. math:: \log p(x) \ge \log p_{wide}(x) + \log s

    A density from nets that saw few examples gives one that is unlike them thousands of nats less than a constant model
    does; here it has at most :math:`-\log s` nats less than ``wide``, and costs the others :math:`-\log(1 - s)`. In
    training an example that only ``wide`` explains doesn't pull at the nets.

    Args:
        model: a density over reals (a flow, an autoregressive model).
        wide: one of the same shape that needs no condition: ``Normal(shape)`` behind the step ``Standardise`` is the
            constant model of the data.
        share: s, of samples that come from ``wide``.

    Raises :class:`SlotError` where the parts are no densities.

    Example:
        >>> import torch
        >>> p = Defensive(Flow(3), Normal(3))()
        >>> far = torch.full((3,), 50.0)
        >>> bool(p.log_prob(far) >= Normal(3)().log_prob(far) - 4.61)
        True
    """

    def __init__(self, model: Conditional, wide: Conditional, share: float = 0.01) -> None:
        super().__init__()
        for part in (model, wide):
            require("a part of a mixture", part, Level.DENSITY, "a Gaussian, a Flow or a MADE")
        if not 0 < share < 1:
            raise InputError(f"share is {share}, expected a part between 0 and 1: 0.01, say")
        self.model, self.wide, self.share = model, wide, share
        self.discrete, self.space = model.discrete, model.space
        self.has_mean = model.has_mean and wide.has_mean

    def forward(self, *given: Tensor | None) -> Distribution:
        return _Defensive(self, self.model(*given), self.wide())

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        self.model.start_from(examples)
        self.wide.start_from(examples)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        net = MLP(2, Flow.outputs(2), (4,))
        flow = Flow(2, "coupling", "affine", transforms=2, hidden=(4,), net=net)
        image = Flow((1, 1, 2), "autoregressive", "affine", transforms=2, hidden=(4,))
        return [(cls(flow, Normal(2), 0.3), (torch.randn(3, 2),)), (cls(image, Normal((1, 1, 2)), 0.3), ())]


class _Defensive(Distribution):
    arg_constraints = {}
    draws_keyed = True

    def __init__(self, owner: Defensive, model: Distribution, wide: Distribution) -> None:
        self.share, self.model, self.wide = owner.share, model, wide
        super().__init__(model.batch_shape, model.event_shape, validate_args=False)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        found = self.model.support
        assert found is not None
        return found

    @property
    def mean(self) -> Tensor:
        return (1 - self.share) * self.model.mean + self.share * self.wide.mean

    def log_prob(self, value: Tensor) -> Tensor:
        each = self.model.log_prob(value) + math.log(1 - self.share), self.wide.log_prob(value) + math.log(self.share)
        return torch.logaddexp(*each)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            x = noise.sample(self.model, sample_shape)
            lead = x.shape[: x.dim() - len(self.event_shape)]
            wide = noise.sample_to(self.wide, lead)
            chosen = noise.uniform(lead, x.device, max(0, len(lead) - 1)) < self.share
            return torch.where(chosen.view(*lead, *(1 for _ in self.event_shape)), wide, x)
