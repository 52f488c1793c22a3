"""A VAE of sound beside critics of it, whose inner features are matched: RAVE, HiFi-GAN and codecs."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.frames import extent
from fusevae.core.trace import Trace
from fusevae.nets.spectral_distance import aligned
from fusevae.nets.wave_critic import WaveCritic, mean_where
from fusevae.objectives.adversarial import Adversarial, Loss
from fusevae.objectives.objective import Simultaneous


class WaveGAN(Adversarial, Simultaneous):
    r"""With x'' the reconstruction of x, d what the model has in the place of :math:`-\log p(x|z)`, and critics
    :math:`C_j` with inner layers :math:`f_{ij}`, the model minimises

    .. math:: d(x, x'') + \beta\, \mathrm{KL} + \frac{n}{f} \Big( \frac{a}{J} \sum_j L(C_j(x''))
        + b\, \overline{|f_{ij}(x) - f_{ij}(x'')| / \overline{|f_{ij}(x)|}} \Big)

    and auxiliary terms (a commitment), and the critics tell x from x'' (Larsen et al. 2016; Kumar et al. 2019; Kong et
    al. 2020), all at once from one shared forward. n / f is the length of a clip in seconds. All means are over what
    there is of a clip. Until ``start`` the critics rest, which such a step doesn't pay for.

    Args:
        critic: a :class:`fusevae.WaveCritic`.
        rate: of the sound in Hz.
        beta: of the KL.
        strength: a.
        features: b.
        start: part of the training from which on the critics are heard.
        loss: of the critics, as of :class:`Adversarial`.

    Example:
        >>> WaveGAN(WaveCritic((2,), (64,), (4,)), 8000).roles
        ('model', 'critic')
    """

    roles = ("model", "critic")
    judged = "reconstructions"
    needs = (0, 0)
    beta: float

    def __init__(
        self,
        critic: WaveCritic,
        rate: int,
        beta: float = 1.0,
        strength: float = 15.0,
        features: float = 30.0,
        start: float = 0.3,
        loss: Loss = "hinge",
    ) -> None:
        super().__init__(critic, loss, "none", 0.0)
        if min(beta, strength, features) < 0 or not 0 <= start <= 1:
            raise InputError(
                f"beta is {beta}, strength {strength}, features {features} and start {start}, expected at least 0, and "
                "a part of the training: 1, 15, 30 and 0.3, say"
            )
        self.rate, self.beta, self.strength, self.features, self.start = rate, beta, strength, features, start

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        return -self.losses(trace, progress)["model"]

    def losses(self, trace: Trace, progress: float) -> dict[str, Tensor]:
        rest = sum(trace.auxiliary.values(), self.beta * trace.kl - trace.reconstruction)
        if progress < self.start:
            still = torch.stack([p.sum() for p in self.opponent.parameters()]).sum() * 0.0  # moves nothing
            return {"model": rest, "critic": still.expand(len(trace.x))}
        x, made = trace.x, self.fake(trace)
        real, fake = (list(self.opponent.judge(clip)) for clip in (x, made))  # type: ignore[operator]
        asked, told, matched = [], [], []
        for a, b in zip(real, fake, strict=True):
            there = a.there[-1]
            asked.append(mean_where(self.each_asked(b.scores), there))
            told.append(mean_where(self.each_told(a.scores, b.scores), there))
            for wanted, found, mask in zip(a.features, b.features, a.there, strict=True):
                wanted, numbers = wanted.detach(), mask.flatten(1).sum(1) * wanted.shape[1]
                apart, size = (each.abs().flatten(1).sum(1) for each in (wanted - found, wanted))  # 0 after the end
                matched.append(apart / (size + 1e-6 * numbers))
        seconds = trace.times * extent(x[:, None]) / self.rate
        pull = self.strength * torch.stack(asked).mean(0) + self.features * torch.stack(matched).mean(0)
        return {"model": rest + seconds * pull, "critic": torch.stack(told).mean(0)}

    def fake(self, trace: Trace) -> Tensor:
        """Reconstructions, each as long as its clip."""
        return aligned(trace.likelihood.mean, trace.x)

    def chance(self, progress: float) -> float | None:
        return super().chance(progress) if progress > self.start else None  # until then they rest

    def each_asked(self, fake: Tensor) -> Tensor:
        """What the model minimises, of every score."""
        return self.persuade(fake.reshape(-1, 1)).view_as(fake)

    def each_told(self, real: Tensor, fake: Tensor) -> Tensor:
        """What the critics minimise, of every pair of scores."""
        return self.tell_apart(real.reshape(-1, 1), fake.reshape(-1, 1)).view_as(real)
