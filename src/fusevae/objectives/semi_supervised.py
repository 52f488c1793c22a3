"""The bound of examples of which some have a label, and terms that teach the classifier: semi-supervised learning."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.steps import View
from fusevae.core.trace import Trace
from fusevae.models.label_mixture import LabelTrace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective, with_score

PROBE = 0.1  # length of the change by which a direction is found


class SemiSupervised(Objective):
    r"""For a :class:`LabelMixture`, in nats per example (M2, Kingma et al. 2014): where the label is known

    .. math:: w\, [\mathcal{L}(x, y) + \log p(y)] + \alpha \log q(y \mid \tilde x)

    and where it isn't

    .. math:: \sum_y q(y \mid x)\, \mathcal{L}(x, y) - \mathrm{KL}(q(y \mid x) \| p(y))
        - \gamma\, [\mathrm{KL}(q(y \mid x) \| q(y \mid x + r)) + \eta\, \mathrm{H}(q(y \mid \tilde x))]

    :math:`\tilde x` is x with small changes that leave its label as it is, anew each time, and r the change of length
    :math:`\epsilon` that q(y | x), which is held there, follows most (virtual adversarial training, Miyato et al. 2018;
    the entropy: Grandvalet & Bengio 2005). What :math:`\alpha` and :math:`\gamma` weigh is no part of a bound.

    Args:
        alpha: weight of the classification of an example whose label is known. Kingma et al. have
            :math:`0.1 N / N_l` for N examples of which :math:`N_l` are labelled; where these are drawn more often
            (``training.labelled``), as many times less. Above it the label is held to be worth more than its few nats
            beside those of x.
        labelled: w, the weight of the bound of such an example: what undoes that it is drawn more often.
        consistency: :math:`\gamma`; 0 leaves the term out.
        adversarial: :math:`\epsilon`, in the units of x as the model sees it.
        entropy: :math:`\eta`.
        changes: what makes :math:`\tilde x` of x as the model sees it, in training alone: a view, :class:`Affine` say.
        beta: weight of the KL, as of :class:`ELBO`.

    Example:
        >>> SemiSupervised(alpha=0.1).is_bound(1.0), SemiSupervised(labelled=0.5).is_bound(1.0)
        (True, False)
    """

    def __init__(
        self,
        alpha: float = 0.1,
        labelled: float = 1.0,
        consistency: float = 0.0,
        adversarial: float = 1.0,
        entropy: float = 0.3,
        changes: View | None = None,
        beta: float | Beta = 1.0,
    ) -> None:
        weights = {"alpha": alpha, "labelled": labelled, "consistency": consistency, "adversarial": adversarial}
        weights |= {"entropy": entropy} | ({} if isinstance(beta, Beta) else {"beta": beta})
        for name, weight in weights.items():
            if not weight >= 0:
                raise InputError(f"{name} is {weight}, expected at least 0")
        self.alpha, self.labelled, self.consistency = alpha, labelled, consistency
        self.adversarial, self.entropy, self.changes, self.beta = adversarial, entropy, changes, beta

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        if not isinstance(trace, LabelTrace):
            raise InputError(
                "SemiSupervised is for a model whose label is a latent: take LabelMixture, or another objective"
            )
        known, beta = trace.known, beta_at(self.beta, progress)
        bound = trace.reconstruction - beta * trace.kl
        named = bound + (trace.chosen * trace.log_p).sum(-1)
        training = torch.is_grad_enabled()  # held-out examples are not changed
        log_q = trace.classify(self.changes(trace.x)) if self.changes is not None and training else trace.log_q
        taught = self.alpha * (trace.chosen * log_q).sum(-1)
        unknown = bound
        if self.consistency and training:
            moved = self._divergence(trace, self._worst(trace)) - self.entropy * (log_q.exp() * log_q).sum(-1)
            unknown = bound - self.consistency * moved
        return with_score(torch.where(known, self.labelled * named + taught, unknown), trace)

    def is_bound(self, progress: float) -> bool:
        return self.labelled == 1 and beta_at(self.beta, progress) >= 1

    def _divergence(self, trace: LabelTrace, r: Tensor) -> Tensor:
        """KL(q(y | x) || q(y | x + r)), ``(*batch,)``; no gradient reaches the first."""
        log_q = trace.log_q.detach()
        return (log_q.exp() * (log_q - trace.classify(trace.x + r))).sum(-1)

    def _worst(self, trace: LabelTrace) -> Tensor:
        """The change to which q(y | x) gives way most, by one step from a random one."""
        x = trace.x.detach()
        r = (PROBE * _unit(noise.normal(x.shape, x.device), trace)).requires_grad_()
        (slope,) = torch.autograd.grad(self._divergence(trace, r).sum(), r)
        return self.adversarial * _unit(slope, trace)


def _unit(r: Tensor, trace: LabelTrace) -> Tensor:
    """Each example's ``r`` at length 1."""
    flat = r.flatten(trace.known.dim())
    return (flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-12)).view(r.shape)
