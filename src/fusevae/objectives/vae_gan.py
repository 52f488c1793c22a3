"""A VAE whose reconstruction is measured by the critic of a GAN, and whose decoder is that GAN's generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fusevae.core.errors import InputError
from fusevae.core.processes import mean_over_processes
from fusevae.core.trace import Trace
from fusevae.objectives.adversarial import Adversarial, Loss, Penalty
from fusevae.objectives.objective import Simultaneous

LEAST = 1e-8  # variance of the features' errors


class VAEGAN(Adversarial, Simultaneous):
    r"""Three players move at once from one shared forward (Larsen et al. 2016). With f an inner layer of the critic,
    x'' the reconstruction of x and x' a new example, mean of p(x | z) for z from q and from the prior,

    * the encoder minimises :math:`\beta\, \mathrm{KL}(q(z|x) \| p(z)) - \log \mathcal N(f(x); f(x''), \sigma^2)`;
    * the decoder minimises the same log-density, ``content`` times its mean over the features, and what the critic
      asks of x' and x'';
    * the critic tells x from x' and x''.

    :math:`\sigma^2` is the mean square of the errors of the batch, so that the weight of the reconstruction does not
    depend on how large the critic's features are (as in sigma-VAE, Rybkin et al. 2021).

    A critic's features forget what it doesn't need, and move while it learns, so that reconstructions by them alone are
    far from the data for long. With ``pixels`` encoder and decoder also have the likelihood of the model,
    :math:`-\log p(x|z)`, beside the features' (in the decoder's loss its mean over the dimensions). Until ``start``
    they have it alone, and the critic rests: such a step takes a third of the time.

    The other arguments are those of :class:`Adversarial`.

    Args:
        critic: one with ``judge``, which also gives the features of an inner layer: :class:`ConvCritic`.
        content: the decoder's weight of the reconstruction against the critic.
        beta: the encoder's weight of the KL.
        pixels: weight of :math:`-\log p(x|z)` of the model; 0 for the features alone, as in the paper.
        start: part of the training from which on the critic learns and is heard.

    Example:
        >>> from fusevae import ConvCritic
        >>> VAEGAN(ConvCritic((1, 8, 8), (4, 8))).roles
        ('encoder', 'decoder', 'critic')
    """

    roles = ("encoder", "decoder", "critic")
    batch_level = True
    beta: float

    def __init__(
        self,
        critic: nn.Module,
        content: float = 1.0,
        beta: float = 1.0,
        pixels: float = 0.0,
        start: float = 0.0,
        loss: Loss = "non-saturating",
        penalty: Penalty = "r1",
        weight: float = 1.0,
    ) -> None:
        super().__init__(critic, loss, penalty, weight)
        if not hasattr(critic, "judge"):
            raise InputError(
                f"{type(critic).__name__} doesn't show an inner layer, in which VAEGAN measures reconstructions: take "
                "a ConvCritic, or give it a method judge(x, label) that returns its output and the features"
            )
        if min(content, beta, pixels) < 0:
            raise InputError(
                f"content is {content}, beta {beta} and pixels {pixels}, expected at least 0: 1, 1 and 0, say"
            )
        if not 0 <= start < 1:
            raise InputError(f"start is {start}, expected a part from 0 to below 1: 0.3, say")
        if start and not pixels:
            raise InputError(f"start is {start}, but until then there is nothing to learn: give pixels, 1, say")
        self.content, self.beta, self.pixels, self.start = content, beta, pixels, start

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return -self.losses(trace, progress)["encoder"]

    def losses(self, trace: Trace, progress: float) -> dict[str, Tensor]:
        x, label, n = trace.x, self.label(trace), len(trace.x)
        likelihood = self.pixels * trace.reconstruction if self.pixels else torch.zeros_like(trace.kl)
        if progress < self.start:
            rest = torch.stack([p.sum() for p in self.opponent.parameters()]).sum() * 0.0  # moves nothing
            return {
                "encoder": self.beta * trace.kl - likelihood,
                "decoder": -likelihood / x[0].numel(),
                "critic": rest.expand(n),
            }
        made = trace.likelihood.mean
        both = torch.cat([made, self.fake(trace)])
        real, wanted = self.inspect(x, label)
        fake, found = self.inspect(both, torch.cat([label, label]) if label is not None else None)
        distance = feature_distance(found[:n], wanted)
        asked = self.persuade(fake).view(2, n).mean(0)
        told = self.tell_apart(real, fake[:n]) / 2 + self.tell_apart(real, fake[n:]) / 2
        return {
            "encoder": self.beta * trace.kl + distance - likelihood,
            "decoder": self.content / wanted[0].numel() * distance - likelihood / x[0].numel() + asked,
            "critic": told + self.smooth(x, made, label),
        }

    def chance(self, progress: float) -> float | None:
        return super().chance(progress) if progress > self.start else None  # until then it rests

    def inspect(self, x: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The critic's numbers and its inner features, in float32."""
        out, features = self.opponent.judge(x, label)  # type: ignore[operator]
        return out.float(), features.float()


def feature_distance(found: Tensor, wanted: Tensor) -> Tensor:
    r""":math:`-\log \mathcal N(wanted; found, \sigma^2)` in nats, ``(batch,)``, of features ``(batch, d)``, with
    :math:`\sigma^2` the mean square of the batch's errors, held constant."""
    square = (found - wanted).square()
    variance = square.detach().mean().clamp(min=LEAST)
    if torch.is_grad_enabled():  # in training, where every process has its part of one batch
        variance = mean_over_processes(variance)
    return 0.5 * (square.sum(1) / variance + square.shape[1] * (variance.log() + math.log(2 * math.pi)))
