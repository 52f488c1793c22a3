"""Kullback-Leibler divergence: analytic by torch's registry where it exists, otherwise Monte Carlo."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, kl_divergence

from fusevae.core.levels import log_bound


class KL(NamedTuple):
    """A divergence in nats: ``per_dim`` of shape ``(*sample, *batch, *dims)``, ``dims`` trailing ones (0 where it
    doesn't split), ``analytic`` whether it is a closed form (it then has no sample dimensions)."""

    per_dim: Tensor
    dims: int
    analytic: bool

    @property
    def total(self) -> Tensor:
        """Summed over the event: ``(*sample, *batch)``."""
        return self.per_dim.sum(tuple(range(-self.dims, 0))) if self.dims else self.per_dim


def kl(q: Distribution, p: Distribution, z: Tensor) -> KL:
    r"""KL(q || p) in nats, kept per dimension where both factorise.

    .. math:: \mathrm{KL}(q \| p) = E_q[\log q(z) - \log p(z)]

    Where no closed form is registered (``torch.distributions.register_kl`` adds one), the estimate is
    log q(z) - log p(z) on the same sample ``z ~ q`` that the decoder sees; where ``p`` has only a bound on
    log p, this is an upper estimate of the KL, so that the ELBO stays a bound.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.ones(2), torch.ones(2)), 1)
        >>> p = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        >>> kl(q, p, q.sample()).per_dim
        tensor([0.5000, 0.5000])
    """
    try:
        if isinstance(q, Independent) and isinstance(p, Independent):
            if (dims := q.reinterpreted_batch_ndims) == p.reinterpreted_batch_ndims:
                return KL(kl_divergence(*_alike(q.base_dist, p.base_dist)), dims, True)
        return KL(kl_divergence(q, p), 0, True)
    except NotImplementedError:
        return KL(q.log_prob(z) - log_bound(p, z), 0, False)


def _alike(q: Distribution, p: Distribution) -> tuple[Distribution, Distribution]:
    """Bernoullis with the same batch shape: torch's KL of these does not broadcast (expanding costs 80 us)."""
    if q.batch_shape == p.batch_shape or not isinstance(p, Bernoulli):
        return q, p
    shape = torch.broadcast_shapes(q.batch_shape, p.batch_shape)
    return q.expand(shape), p.expand(shape)
