"""The mixture of a posterior at learned inputs (VampPrior)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of
from fusevae.core.errors import SlotError
from fusevae.core.levels import Level, require
from fusevae.distributions.gaussian import Gaussian
from fusevae.nets.mlp import MLP, as_shape

EDGE = 0.05  # how near to its bounds a pseudo-input starts, as a part of the range
WIDTH = 0.4  # of a kernel where it starts


class Vamp(Conditional):
    r""":math:`p(z) = \frac1K \sum_k q(z \mid u_k)` with learned pseudo-inputs :math:`u_k` (Tomczak & Welling 2018).

    The best prior for the ELBO is the aggregate posterior; this is the part of it that K inputs can give. ``posterior``
    is the same object as the one in the q slot::

        q = Gaussian(MLP((1, 28, 28), 80))
        VAE(Flat(prior=Vamp(q, (1, 28, 28)), posterior=q), decoder=...)

    Args:
        posterior: q, a density.
        inputs: shape of one example, as the posterior sees it.
        components: K.
        bounds: the pseudo-inputs lie between these (the range of the data); None leaves them free.
        start: where they start, within the bounds, apart from noise, where no training gives them examples to start
            from.
        kernel: dimensions of z where the mixture is smoothed, 0 for not.

    A label makes it p(z | label), the mixture of q(z | u_k, label).

    Posteriors of single inputs are narrow, and where K is small the latents of new examples lie between them. With a
    ``kernel`` each component has a learned width h in each dimension beside its own, as the kernels of Parzen (1962):

    .. math:: p(z) = \frac1K \sum_k \int q(z' \mid u_k)\, \mathcal N(z; z', \mathrm{diag}(h^2))\, dz'
        = \frac1K \sum_k \mathcal N(z; \mu(u_k), \sigma^2(u_k) + h^2)

    which is in closed form of a :class:`Gaussian` over vectors.

    Example:
        >>> import torch
        >>> prior = Vamp(Gaussian(MLP(4, 2 * 3)), 4, components=10)
        >>> prior().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    def __init__(
        self,
        posterior: Conditional,
        inputs: int | tuple[int, ...],
        components: int = 500,
        bounds: tuple[float, float] | None = (0.0, 1.0),
        start: float = 0.2,
        kernel: int = 0,
    ) -> None:
        super().__init__()
        require("the posterior of a VampPrior", posterior, Level.DENSITY, "a density (Gaussian)")
        if kernel and not isinstance(posterior, Gaussian):
            raise SlotError(
                f"kernel is {kernel} but the posterior is {type(posterior).__name__}: a Gaussian alone is smoothed in "
                "closed form; leave kernel at 0"
            )
        self.posterior, self.bounds, self.started = posterior, bounds, False
        self.discrete, self.space = posterior.discrete, posterior.space
        middle = start
        if bounds is not None:
            part = min(max((start - bounds[0]) / (bounds[1] - bounds[0]), 0.01), 0.99)
            middle = math.log(part / (1 - part))
        self.raw = nn.Parameter(middle + torch.randn(components, *as_shape(inputs)))
        self.log_width = nn.Parameter(torch.full((kernel,), math.log(WIDTH))) if kernel else None

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, ``(K, *inputs)``."""
        if self.bounds is None:
            return self.raw
        low, high = self.bounds
        return low + (high - low) * torch.sigmoid(self.raw)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Start from examples of the training data, as Tomczak & Welling do where the data are not binary: from noise
        all components are one, and where the data are few or many-sided the latent collapses before they part."""
        if self.started or not self.raw.requires_grad:
            return
        x = examples()
        x = x[torch.randperm(len(x))[: len(self.raw)]].to(self.raw)
        if self.bounds is not None:
            low, high = self.bounds
            x = torch.logit(((x - low) / (high - low)).clamp(EDGE, 1 - EDGE))
        self.raw[: len(x)] = x
        self.started = True

    def _load_from_state_dict(self, *given: Any) -> None:
        super()._load_from_state_dict(*given)
        self.started = True

    def at(self, inputs: Tensor, *conditions: Tensor | None) -> Distribution:
        """The components of inputs: q(z | u), smoothed where there is a kernel."""
        q = self.posterior(inputs, *conditions)
        if self.log_width is None:
            return q
        scale = (q.variance + (2 * self.log_width).exp()).sqrt()
        return Independent(TorchNormal(q.mean, scale, validate_args=False), 1, validate_args=False)

    def forward(self, *conditions: Tensor | None) -> Distribution:
        return _Vamp(self, conditions)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        return [
            (cls(Gaussian(MLP(2, 2, hidden=(4,))), 2, components=3), ()),
            (cls(Gaussian(MLP((1, 2), 4, hidden=(4,))), (1, 2), components=4, bounds=None, kernel=2), ()),
        ]


class _Vamp(Distribution):
    arg_constraints = {}

    def __init__(self, owner: Vamp, conditions: Sequence[Tensor | None]) -> None:
        self.owner, self.conditions = owner, conditions
        batch = batch_of(conditions)
        inputs = owner.pseudo_inputs
        # pseudo-inputs (K, 1, ..., *inputs) and conditions (*batch) give components (K, *batch)
        self.components = owner.at(inputs.view(len(inputs), *[1] * len(batch), *inputs.shape[1:]), *conditions)
        super().__init__(batch, self.components.event_shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        q, dims = self.components, len(self.batch_shape)
        same = q.batch_shape.numel() == q.batch_shape[0]  # whatever the conditions are: the posterior doesn't see them
        if same and isinstance(q, Independent) and isinstance(q.base_dist, TorchNormal) and len(q.event_shape) == 1:
            each = log_normals(value, *(t.flatten(0, -2) for t in (q.base_dist.loc, q.base_dist.scale)))
        else:
            each = q.log_prob(value.unsqueeze(-1 - dims - len(self.event_shape))).movedim(-1 - dims, -1)
        return torch.logsumexp(each, -1) - math.log(each.shape[-1])

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            inputs = self.owner.pseudo_inputs
            chosen = noise.choose(inputs.new_zeros(*self.batch_shape, len(inputs)), sample_shape)
            return self.owner.at(inputs[chosen], *self.conditions).sample()

    @property
    def mean(self) -> Tensor:
        return self.components.mean.mean(0)


def log_normals(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    r""":math:`\log \mathcal N(z; \mu_k, \sigma_k)` for each k: ``(*batch, K)`` from ``z`` of shape ``(*batch, D)`` and
    ``mean`` and ``scale`` of shape ``(K, D)``.

    As one product of matrices with :math:`[z^2, z]`, which is many times as fast as differences ``(*batch, K, D)``; in
    float64, because the squares that cancel may be large.
    """
    z, mean, precision = z.double(), mean.double(), scale.double() ** -2
    weight = torch.cat([-0.5 * precision, mean * precision], -1)
    constant = (0.5 * mean**2 * precision + scale.double().log()).sum(-1) + 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    return F.linear(torch.cat([z**2, z], -1), weight, -constant).float()
