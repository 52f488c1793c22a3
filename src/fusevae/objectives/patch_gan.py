"""A VAE's likelihood beside a perceptual distance and a critic of patches: the autoencoder of latent diffusion."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusevae.core.errors import InputError
from fusevae.core.processes import sum_over_processes
from fusevae.core.trace import Trace
from fusevae.objectives.adversarial import Adversarial, Loss, Penalty
from fusevae.objectives.objective import Simultaneous
from fusevae.objectives.vae_gan import feature_distance

LEAST = 1e-8  # norm of the critic's gradient; no bound on the weight is needed, what it multiplies is as small


class PatchGAN(Adversarial, Simultaneous):
    r"""The model minimises :math:`-\log p(x|z) + \beta\, \mathrm{KL} + v\, d(x, x'') + \lambda\, L(C(x''))`, with x''
    the mean of p(x | z), d a distance in the features of a net, and a critic C of patches that tells x from x'' (Esser
    et al. 2021; Rombach et al. 2022). The weight of the critic follows the others,

    .. math:: \lambda = s\, \|\nabla_{x''} (-\log p(x|z) + v d)\| \, / \, \|\nabla_{x''} L(C(x''))\|

    with the gradients at the reconstruction, over the whole batch. Model and critic move at once, from one shared
    forward. No new examples are judged: ``beta`` is small, and the latents get a prior of their own afterwards
    (``fusevae fit-prior``).

    The distance is :func:`feature_distance` in every stage of ``extractor``, a net of the library's own that learns to
    classify the data in the first part of the training, a player of its own; its state lies in the checkpoints of the
    run. Without one (data without labels) it is taken in the inner layer of the critic.

    The other arguments are those of :class:`Adversarial`.

    Args:
        critic: a net from an example to a number for each patch: ``ConvCritic(shape, patches=True)``.
        extractor: ``ConvEncoder(shape, classes)``, or another net from examples to logits with a method ``maps`` that
            gives its inner features as a list.
        perceptual: v.
        strength: s.
        beta: weight of the KL.
        start: part of the training from which on the critic is heard.

    Example:
        >>> from fusevae import ConvCritic, ConvEncoder
        >>> PatchGAN(ConvCritic((1, 8, 8), (4, 8), patches=True), ConvEncoder((1, 8, 8), 10, (4,))).roles
        ('model', 'critic')
    """

    roles = ("model", "critic")
    judged = "reconstructions"
    needs = (0, 0)
    batch_level = True
    beta: float

    def __init__(
        self,
        critic: nn.Module,
        extractor: nn.Module | None = None,
        perceptual: float = 1.0,
        strength: float = 0.5,
        beta: float = 0.1,
        start: float = 0.1,
        loss: Loss = "hinge",
        penalty: Penalty = "r1",
        weight: float = 1.0,
    ) -> None:
        super().__init__(critic, loss, penalty, weight)
        net, method = (critic, "judge") if extractor is None else (extractor, "maps")
        if perceptual and not hasattr(net, method):
            raise InputError(
                f"{type(net).__name__} doesn't show its inner layers (it has no method {method}), in which PatchGAN "
                "measures: take a ConvCritic as critic, a ConvEncoder as extractor, or perceptual=0"
            )
        if min(perceptual, strength, beta) < 0:
            raise InputError(
                f"perceptual is {perceptual}, strength {strength} and beta {beta}, expected at least 0: 1, 0.5 and "
                "0.1, say"
            )
        self.extractor, self.perceptual, self.strength = extractor, perceptual, strength
        self.beta, self.start = beta, start

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return -self.losses(trace, progress)["model"]

    def losses(self, trace: Trace, progress: float) -> dict[str, Tensor]:
        x, label, made = trace.x, self.label(trace), trace.likelihood.mean
        distance: Tensor | float
        if self.extractor is None and self.perceptual:
            (real, wanted), (fake, found) = self.opponent.judge(x, label), self.opponent.judge(made, label)  # type: ignore[operator]
            real, fake = real.float(), fake.float()
            distance = feature_distance(found.float(), wanted.float())
        else:
            real, fake, distance = self.judge(x, label), self.judge(made, label), self.distance(made, x)
        rest = self.perceptual * distance - trace.reconstruction
        asked = self.persuade(fake)
        weight = self.adaptive(rest, asked, made) if progress >= self.start else 0.0
        return {
            "model": rest + self.beta * trace.kl + weight * asked,
            "critic": self.tell_apart(real, fake) + self.smooth(x, made, label),
        }

    def fake(self, trace: Trace) -> Tensor:
        """Reconstructions."""
        return trace.likelihood.mean

    def distance(self, found: Tensor, wanted: Tensor) -> Tensor | float:
        """Between images, over all stages of the extractor, in nats; ``(batch,)``."""
        if self.extractor is None or not self.perceptual:
            return 0.0
        maps = [self.extractor.maps(x) for x in (found, wanted)]  # type: ignore[operator]
        each = [feature_distance(a.float().flatten(1), b.float().flatten(1)) for a, b in zip(*maps, strict=True)]
        return sum(each[1:], each[0])

    def adaptive(self, rest: Tensor, asked: Tensor, made: Tensor) -> Tensor | float:
        """The critic's weight, from the gradients at the reconstruction."""
        if not made.requires_grad:
            return self.strength
        norms = []
        for value in (rest, asked):
            (slope,) = torch.autograd.grad(value.sum(), made, retain_graph=True)
            norms.append(sum_over_processes(slope.float().square().sum()).sqrt())
        return self.strength * norms[0] / (norms[1] + LEAST)
