"""Masked autoencoder for distribution estimation (MADE): one net gives every conditional at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.distributions.gaussian import smooth_bound, smooth_unbound
from fusevae.nets.masked import MaskedMLP
from fusevae.nets.mlp import ActivationName, as_shape
from fusevae.nets.outset import thinned, untouched

BOUNDS = (-7.0, 5.0)  # of the logarithm of a scale


class MADE(Conditional):
    r""":math:`p(x \mid given) = \prod_d p(x_d \mid x_{<d}, given)`, exact, in the order of the flattened event (Germain
    et al. 2015).

    A prior over vectors, or a decoder that models by itself what the latent leaves open. A strong one: it may ignore
    the latent. Sampling takes a pass for each dimension.

    Args:
        shape: of one event.
        hidden: widths of the net's hidden layers.
        kind: ``"bernoulli"`` for x in {0, 1}; ``"gaussian"`` for reals, each conditional a mixture of Gaussians.
        components: of each mixture.
        context: width of the latent that it is given, as a decoder; 0 as a prior.
        classes: number of labels, or :class:`Conditions`, if it is conditioned on one.
        activation: between the net's layers.

    Example:
        >>> import torch
        >>> MADE(3)().log_prob(torch.ones(5, 3)).shape
        torch.Size([5])
    """

    has_mean = False

    def __init__(
        self,
        shape: int | tuple[int, ...],
        hidden: tuple[int, ...] = (200,),
        kind: Literal["bernoulli", "gaussian"] = "bernoulli",
        components: int = 1,
        context: int = 0,
        classes: int | Conditions = 0,
        activation: ActivationName = "relu",
    ) -> None:
        super().__init__()
        if kind not in ("bernoulli", "gaussian"):
            raise InputError(f"MADE was given kind={kind!r}: expected 'bernoulli' or 'gaussian'")
        self.shape, self.kind, self.components = as_shape(shape), kind, components
        self.discrete = kind == "bernoulli"
        each = 1 if self.discrete else 3 * components
        self.net = MaskedMLP(math.prod(self.shape), each, hidden, context, classes, activation)

    def forward(self, *given: Tensor | None) -> Distribution:
        return _MADE(self, given)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Each dimension starts at what it has on the whole, whatever is before it: a constant model. A decoder, whose
        latent would be ignored from the start, stays as it is."""
        last = cast(nn.Linear, self.net.layers[-1])
        if self.net.context or not untouched(last.bias):
            return
        x, k = thinned(examples().float()).flatten(1), self.components
        if self.discrete:
            start = torch.logit((x.sum(0) + 0.5) / (len(x) + 1))[:, None]
        else:
            parts = torch.linspace(0.5 / k, 1 - 0.5 / k, k, device=x.device)
            scale = x.std(0, correction=0)
            scale = torch.where(scale > 0, scale, 1.0)[:, None].expand(-1, k) / k  # of a constant one, as Standardise
            mean = x.mean(0)[:, None] if k == 1 else x.quantile(parts, 0).T
            start = torch.cat([torch.zeros_like(scale), mean, smooth_unbound(scale.log(), *BOUNDS)], 1)
        last.weight.mul_(0.03)
        last.bias.copy_(start.flatten())

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        z = torch.randn(3, 2)
        smooth: dict[str, Any] = {"activation": "tanh"}  # some of a few units with relu may be dead
        return [
            (cls(3, hidden=(5,), context=2, **smooth), (z,)),
            (cls((1, 1, 2), hidden=(4, 4), context=2, **smooth), (z,)),
            (cls(2, hidden=(4,), kind="gaussian", components=2, **smooth), ()),
            (cls(2, hidden=(4,), kind="gaussian", context=2, **smooth), (z,)),
        ]


class _MADE(Distribution):
    arg_constraints = {}

    def __init__(self, owner: MADE, given: Sequence[Tensor | None]) -> None:
        self.owner, self.given = owner, given
        batch = torch.Size()
        if owner.net.context or owner.net.classes:
            batch = batch_of(given[:1])
        super().__init__(batch, torch.Size(owner.shape), validate_args=False)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        inside = constraints.boolean if self.owner.discrete else constraints.real
        return constraints.independent(inside, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        x = value.to(torch.float32).flatten(value.dim() - len(self.event_shape))
        out = self.owner.net(x, *self.given).float()
        if self.owner.discrete:
            logits = out.squeeze(-1)
            return (x * logits - F.softplus(logits)).sum(-1)
        weights, mean, scale = self._mixture(out)
        each = -0.5 * ((x.unsqueeze(-1) - mean) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(each + weights.log_softmax(-1), -1).sum(-1)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        owner, lead = self.owner, torch.Size(sample_shape) + self.batch_shape
        with torch.no_grad():
            x = torch.zeros(*lead, owner.net.dims, device=next(owner.parameters()).device)
            for d in range(owner.net.dims):
                out = owner.net(x, *self.given).float()[..., d, :]
                if owner.discrete:
                    draw = (torch.rand(lead, device=x.device) < out.squeeze(-1).sigmoid()).float()
                else:
                    weights, mean, scale = self._mixture(out)
                    chosen = noise.choose(weights).unsqueeze(-1)
                    draw = mean.gather(-1, chosen).squeeze(-1)
                    draw = draw + scale.gather(-1, chosen).squeeze(-1) * torch.randn(lead, device=x.device)
                x[..., d] = draw
        return x.view(*lead, *self.event_shape)

    def _mixture(self, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, mean, raw = out.chunk(3, -1)
        return weights, mean, smooth_bound(raw, *BOUNDS).exp()
