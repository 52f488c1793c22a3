"""The ELBO with a weight on the total correlation, which an opponent estimates (FactorVAE)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.objective import Opposed


class FactorVAE(Opposed):
    r""":math:`\mathrm{ELBO} - \gamma\, \mathrm{KL}(q(z) \| \prod_d q(z_d))` in nats (Kim & Mnih 2018).

    The density ratio of the total correlation is the logit of a net that tells z from z whose dimensions are shuffled
    over the batch, each by itself. The net is a player of its own.

    Args:
        opponent: a net from z to one logit: ``MLP(10, 1, hidden=(256, 256), activation="leaky_relu")``, say.
        gamma: weight of the total correlation.

    Example:
        >>> from fusevae import MLP
        >>> FactorVAE(MLP(10, 1)).is_bound(0.0)
        False
    """

    batch_level = True

    def __init__(self, opponent: nn.Module, gamma: float = 10.0) -> None:
        if gamma < 0:
            raise InputError(f"gamma is {gamma}, expected at least 0: 10, say")
        super().__init__(opponent)
        self.gamma = gamma

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        term = trace.terms[0]
        if len(trace.terms) > 1 or not term.has_path or term.z.dim() != 2 or trace.x.shape[0] != term.z.shape[0]:
            raise InputError("FactorVAE needs one level of latent vectors with a path (Gaussian): take ELBO(beta=...)")
        return trace.elbo - self.gamma * self.opponent(term.z).squeeze(-1)

    def opponent_loss(self, trace: Trace) -> Tensor:
        """Cross-entropy of the first half of a batch against the second, shuffled."""
        z = trace.terms[0].z
        half = (len(z) + 1) // 2
        other = z[-half:]
        order = noise.uniform(z.shape, z.device)[-half:].argsort(0)
        real, shuffled = self.opponent(z[:half]), self.opponent(other.gather(0, order))
        return 0.5 * (F.softplus(-real) + F.softplus(shuffled)).squeeze(-1)

    def is_bound(self, progress: float) -> bool:
        return False
