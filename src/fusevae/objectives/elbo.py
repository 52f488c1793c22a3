"""The evidence lower bound, with a weight on its KL and free bits."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective, with_score


class ELBO(Objective):
    r""":math:`E_q[\log p(x|z)] - \beta\, \mathrm{KL}(q(z|x) \| p(z))` in nats per example (Kingma & Welling 2014).

    Args:
        beta: weight of the KL: a number, :class:`Linear` or :class:`Cyclical`. The value is a bound where beta >= 1
            (Higgins et al. 2017 for beta > 1); 1 is the ELBO itself.
        free_bits: nats of KL that cost nothing: each dimension (or the whole) pays
            :math:`\max(\lambda, \mathrm{KL})`, which keeps latents alive (Kingma et al. 2016). It is applied to each
            example,
            so that the value of an example doesn't depend on its batch.
        per: whether ``free_bits`` are for each dimension or for the whole latent.

    Example:
        >>> ELBO(beta=0.5).is_bound(1.0), ELBO(free_bits=0.1).is_bound(1.0)
        (False, True)
    """

    def __init__(
        self, beta: float | Beta = 1.0, free_bits: float = 0.0, per: Literal["dimension", "whole"] = "dimension"
    ) -> None:
        if free_bits < 0:
            raise InputError(f"free_bits is {free_bits}, expected nats of at least 0: 0 switches them off")
        if isinstance(beta, (int, float)) and beta < 0:
            raise InputError(f"beta is {beta}, expected at least 0: 1 is the ELBO")
        self.beta, self.free_bits, self.per = beta, free_bits, per

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        beta = beta_at(self.beta, progress)
        kl = trace.kl
        if self.free_bits:
            if self.per == "whole":
                kl = kl.clamp(min=self.free_bits)
            else:
                each = [kl.clamp(min=self.free_bits).sum(-1) for kl in trace.kl_per_dimension().values()]
                kl = sum(each[1:], each[0])
        # step 5: loss = reconstruction + KL; its negative is the ELBO
        return with_score(trace.reconstruction - (kl if beta == 1 else beta * kl), trace)

    @property
    def plain(self) -> bool:  # type: ignore[override]
        return beta_at(self.beta, 1.0) == 1

    def is_bound(self, progress: float) -> bool:
        return beta_at(self.beta, progress) >= 1
