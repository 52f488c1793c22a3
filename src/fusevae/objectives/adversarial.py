"""What a critic asks of samples (GAN): non-saturating, hinge and Wasserstein losses, and penalties of its gradient."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import parameters
from fusevae.core.errors import InputError
from fusevae.core.trace import Trace
from fusevae.objectives.objective import Opposed

Loss = Literal["non-saturating", "hinge", "wasserstein"]
Penalty = Literal["r1", "interpolates", "none"]

WINS = 0.999  # share of pairs that the critic orders rightly, from which on it has won
NARROW = 0.05  # variance of the samples, as a part of the data's, below which they are all alike


class Adversarial(Opposed):
    r"""New examples against data, told apart by a critic C (Goodfellow et al. 2014). Of a real x and a generated x'


    ==================  =============================================  ====================
    ``loss``            the critic minimises                           the model maximises
    ==================  =============================================  ====================
    ``non-saturating``  softplus(-C(x)) + softplus(C(x'))              -softplus(-C(x'))
    ``hinge``           max(0, 1 - C(x)) + max(0, 1 + C(x'))           C(x')
    ``wasserstein``     C(x') - C(x)                                   C(x')
    ==================  =============================================  ====================

    (Goodfellow et al. 2014; Lim & Ye 2017; Arjovsky et al. 2017), averaged over the patches where the critic judges
    these. Beside it the critic pays a penalty: ``"r1"``, :math:`\frac{w}{2} \|\nabla C(x)\|^2` on data, with which the
    game converges (Mescheder et al. 2018); ``"interpolates"``, :math:`w (\|\nabla C(\hat x)\| - 1)^2` at random points
    between x and x', which the Wasserstein loss needs (Gulrajani et al. 2017).

    The examples are compared as the model sees them, inside its preprocessing. Any model can be the generator: of a
    VAE, the means of p(x | z) for z from the prior are judged.

    Args:
        critic: a net from an example (and a label) to a number, or one for each patch: ``ConvCritic(shape)``, or
            ``MLP(dims, 1, activation="leaky_relu")``.
        loss: of both.
        penalty: of the critic's gradient.
        weight: of the penalty, w; ``r1`` may need more on larger images.
        critic_steps: the critic's moves to one of the model; each takes a batch of its own.

    Example:
        >>> from fusevae import MLP
        >>> Adversarial(MLP(2, 1), "hinge").is_bound(0.0)
        False
    """

    role = "critic"
    judged = "samples"
    needs = (2000, 200)

    def __init__(
        self,
        critic: nn.Module,
        loss: Loss = "non-saturating",
        penalty: Penalty = "r1",
        weight: float = 1.0,
        critic_steps: int = 1,
    ) -> None:
        if weight < 0:
            raise InputError(f"weight is {weight}, expected at least 0: 1 for r1 and 10 for interpolates, say")
        if critic_steps < 1:
            raise InputError(f"critic_steps is {critic_steps}, expected at least 1: 1, or 5 for wasserstein, say")
        super().__init__(critic)
        self.loss, self.penalty, self.weight, self.opponent_steps = loss, penalty, weight, critic_steps

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        fake, label = self.fake(trace), self.label(trace)
        return -self.persuade(self.judge(fake, label))

    def opponent_loss(self, trace: Trace) -> Tensor:
        """The critic's, with its penalty."""
        real, fake, label = self.real(trace), self.fake(trace), self.label(trace)
        return self.tell_apart(self.judge(real, label), self.judge(fake, label)) + self.smooth(real, fake, label)

    def is_bound(self, progress: float) -> bool:
        return False

    # what is compared

    def real(self, trace: Trace) -> Tensor:
        """The data."""
        return trace.x

    def fake(self, trace: Trace) -> Tensor:
        """What the model makes."""
        if trace.generate is None:
            raise InputError(f"{type(self).__name__} needs a model that generates: take a Generator or a VAE")
        return trace.generate()

    def label(self, trace: Trace) -> Tensor | None:
        """The label that both were given, if there is one."""
        return trace.conditions[0] if trace.conditions else None

    # the critic's view of them

    def judge(self, x: Tensor, label: Tensor | None) -> Tensor:
        """The critic's numbers ``(batch, ...)``, in float32."""
        return parameters(self.opponent, (x, label))

    def persuade(self, fake: Tensor) -> Tensor:
        """What the model minimises, ``(batch,)``, given the critic's numbers."""
        return (F.softplus(-fake) if self.loss == "non-saturating" else -fake).flatten(1).mean(1)

    def tell_apart(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critic minimises, ``(batch,)``, given its numbers."""
        if self.loss == "non-saturating":
            value = F.softplus(-real) + F.softplus(fake)
        elif self.loss == "hinge":
            value = F.relu(1 - real) + F.relu(1 + fake)
        else:
            value = fake - real
        return value.flatten(1).mean(1)

    def smooth(self, real: Tensor, fake: Tensor, label: Tensor | None) -> Tensor | float:
        """The penalty of the critic's gradient, ``(batch,)``; none where no gradients are taken."""
        if self.penalty == "none" or not self.weight or not torch.is_grad_enabled():
            return 0.0
        x = real.detach()
        if self.penalty == "interpolates":
            part = noise.uniform((len(x), *[1] * (x.dim() - 1)), x.device)
            x = torch.lerp(x, fake.detach(), part)
        x = x.requires_grad_()
        out = self.judge(x, label)
        (slope,) = torch.autograd.grad(out.flatten(1).mean(1).sum(), x, create_graph=True)
        square = slope.float().flatten(1).square().sum(1)
        return (
            self.weight * ((square + 1e-12).sqrt() - 1).square()
            if self.penalty == "interpolates"
            else self.weight / 2 * square
        )

    # how the game stands

    def chance(self, progress: float) -> float | None:
        """2 log 2 or 2; a Wasserstein critic teaches the more the better it is."""
        return {"non-saturating": 2 * math.log(2), "hinge": 2.0}.get(self.loss)

    def diagnose(self, trace: Trace) -> dict[str, Any]:
        """``ordered``: the share of pairs of a real and a generated example that the critic orders rightly (1/2 where
        it can't tell); ``variance``: of the generated, summed over dimensions, as a part of the data's."""
        real, fake, label = self.real(trace), self.fake(trace), self.label(trace)
        ours, theirs = (self.judge(x, label).flatten(1).mean(1) for x in (real, fake))
        spread = [x.float().flatten(1).var(0).sum().item() for x in (real, fake)]
        return {
            "ordered": (ours[:, None] > theirs).float().mean().item(),
            "variance": spread[1] / spread[0] if len(real) > 1 and spread[0] else None,
        }

    def warnings(self, diagnosis: dict[str, Any]) -> dict[str, str]:
        found = {}
        if diagnosis["ordered"] > WINS:
            found["critic wins"] = (
                "the critic tells everything generated from everything real, so it teaches the model little. Any of "
                "these mends it: a larger objective.weight of its penalty (r1), a smaller critic, "
                "objective.critic_steps=1, a smaller training.learning_rate"
            )
        if diagnosis["variance"] is not None and diagnosis["variance"] < NARROW:
            found["mode collapse"] = (
                f"the {self.judged} are all alike: their variance is {diagnosis['variance']:.3f} of what it should be. "
                "Any of these mends it: a larger objective.weight of the critic's penalty, objective.loss=wasserstein "
                "with objective.penalty=interpolates, a smaller training.learning_rate, a larger training.batch_size"
            )
        return found
