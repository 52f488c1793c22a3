"""The generator of a GAN: a distribution that can be sampled, and of which nothing else is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of, parameters
from fusevae.core.errors import InputError, SlotError
from fusevae.core.levels import BoundOnly, Level
from fusevae.core.trace import Trace
from fusevae.distributions.normal import Normal
from fusevae.nets.mlp import MLP


class Generator(Conditional):
    r"""x = net(z, label) with z from a prior (Goodfellow et al. 2014).

    It promises samples, no likelihood and no bound, so it is trained by a critic:
    ``Experiment(Generator(Normal(64), net), objective=Adversarial(critic))``; see :class:`fusevae.Adversarial`.

    Args:
        prior: of the latents; samples have a path (``rsample``) to the net's parameters whatever it is.
        net: from a latent, and a label if it takes one, to an example.

    Example:
        >>> import torch
        >>> generator = Generator(Normal(2), MLP(2, (1, 4, 4)))
        >>> generator().sample((3,)).shape
        torch.Size([3, 1, 4, 4])
    """

    level = Level.SAMPLES
    has_mean = False

    def __init__(self, prior: Conditional, net: nn.Module) -> None:
        super().__init__()
        self.prior, self.net = prior, net

    def forward(self, *conditions: Tensor | None) -> Distribution:
        return _Pushed(self, conditions)

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        """Nothing is inferred: ``x``, and what makes as many new examples."""
        p = self(*conditions)
        return Trace(
            x, [], p, conditions=conditions, generate=lambda: noise.rsample(p, x.shape[: 1 - len(p.batch_shape)])
        )

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [(cls(Normal(2), MLP(2, 2, hidden=(4,))), ())]


class _Pushed(BoundOnly):
    """What the net makes of latents."""

    draws_keyed = True
    has_rsample = True

    def __init__(self, owner: Generator, conditions: tuple[Tensor | None, ...]) -> None:
        self.owner, self.conditions = owner, conditions
        super().__init__(batch_of(conditions), validate_args=False)

    @property
    def event_shape(self) -> torch.Size:
        """As the net gives it, found without a trace in the caller's random numbers."""
        device = next(self.owner.parameters(), torch.zeros(())).device
        with noise.preserved(device), noise.keyed("event", device=device):
            return self.sample((1,)).shape[1 + len(self.batch_shape) :]

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        z = noise.sample_to(self.owner.prior(*self.conditions), shape)
        x = parameters(self.owner.net, (z, *self.conditions))
        if x.shape[: len(shape)] != shape:
            raise InputError(
                f"the generator's net made {tuple(x.shape)} of latents {tuple(z.shape)}: expected the leading "
                f"dimensions {tuple(shape)} kept; mend the net"
            )
        return x

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_bound(self, value: Tensor) -> Tensor:
        raise SlotError(
            f"{type(self.owner).__name__} only samples, no bound on its likelihood is known: train it by a critic "
            "(the objective Adversarial), or take a model with a likelihood (a VAE, a flow)"
        )

    def log_prob(self, value: Tensor) -> Tensor:
        raise SlotError(
            f"{type(self.owner).__name__} only samples, it has neither log_prob nor log_bound: take a model with a "
            "likelihood (a VAE, a flow)"
        )
