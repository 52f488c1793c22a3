"""A critic of latents in the place of a KL: the adversarial autoencoder."""

from __future__ import annotations

from torch import Tensor, nn

from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.adversarial import Adversarial, Loss, Penalty


class AdversarialAutoencoder(Adversarial):
    r""":math:`\log p(x|z) - w \, L(C(z))`, with a critic C that tells the latents of data from draws of the prior
    (Makhzani et al. 2016). It leads the aggregate of the latents to the prior without a density of z given x, so the
    encoder may be ``Deterministic(net, penalty=0, prior=Normal(d))``; a Gaussian posterior works as well.

    The other arguments are those of :class:`Adversarial`.

    Args:
        critic: a net from a latent (and a label) to a number: ``MLP(d, 1, (256, 256), "leaky_relu")``.
        strength: w, in nats.

    Example:
        >>> from fusevae import MLP
        >>> AdversarialAutoencoder(MLP(8, 1)).is_bound(0.0)
        False
    """

    judged = "latents"
    needs = (0, 0)

    def __init__(
        self,
        critic: nn.Module,
        strength: float = 100.0,
        loss: Loss = "non-saturating",
        penalty: Penalty = "r1",
        weight: float = 0.1,
        critic_steps: int = 1,
    ) -> None:
        super().__init__(critic, loss, penalty, weight, critic_steps)
        if strength < 0:
            raise InputError(f"strength is {strength}, expected at least 0: 100, say")
        self.strength = strength

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return trace.reconstruction + self.strength * super().__call__(trace, progress)

    def real(self, trace: Trace) -> Tensor:
        """Draws of the prior."""
        if trace.draw is None:
            raise InputError("AdversarialAutoencoder needs a model with latents: take a VAE or an RAE")
        return trace.draw()

    def fake(self, trace: Trace) -> Tensor:
        """The latents of the data."""
        if trace.latent is None:
            raise InputError("AdversarialAutoencoder needs a model with latents: take a VAE or an RAE")
        return trace.latent
