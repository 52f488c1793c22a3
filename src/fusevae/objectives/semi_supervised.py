"""The bound of examples of which some have a label, and terms that teach the classifier: semi-supervised learning."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.steps import View
from fusevae.core.trace import Trace
from fusevae.models.label_mixture import LabelTrace
from fusevae.objectives.beta import Beta, beta_at
from fusevae.objectives.objective import Objective, with_score


class SemiSupervised(Objective):
    r"""For a :class:`LabelMixture`, in nats per example (M2, Kingma et al. 2014): where the label is known

    .. math:: w\, [\mathcal{L}(x, y) + \log p(y)] + \alpha \log q(y \mid \tilde x)

    and where it isn't

    .. math:: \sum_y q(y \mid x)\, \mathcal{L}(x, y) - \mathrm{KL}(q(y \mid x) \| p(y))
        + \gamma \sum_y t(y \mid x) \log q(y \mid \tilde x), \quad t(y \mid x) \propto q(y \mid x)^{1 / T}

    :math:`\tilde x` is x with small changes that leave its label as it is, anew each time; the target t has
    no gradient (consistency: Sajjadi et al. 2016; sharpened: Berthelot et al. 2019).

    Args:
        alpha: weight of the classification of an example whose label is known. Kingma et al. have
            :math:`0.1 N / N_l` for N examples of which :math:`N_l` are labelled; where these are drawn more often
            (``training.labelled``), as many times less. Above it the label is held to be worth more than its few nats
            beside those of x.
        labelled: w, the weight of the bound of such an example: what undoes that it is drawn more often.
        consistency: :math:`\gamma`; 0 leaves the term out.
        changes: what makes :math:`\tilde x` of x as the model sees it, in training alone: a view, :class:`Affine` say.
        temperature: T; below 1 it draws the classes apart.
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
        changes: View | None = None,
        temperature: float = 0.5,
        beta: float | Beta = 1.0,
    ) -> None:
        weights = {"alpha": alpha, "labelled": labelled, "consistency": consistency}
        weights |= {} if isinstance(beta, Beta) else {"beta": beta}
        for name, weight in weights.items():
            if not weight >= 0:
                raise InputError(f"{name} is {weight}, expected a weight of at least 0")
        self.alpha, self.labelled, self.consistency = alpha, labelled, consistency
        if not temperature > 0:
            raise InputError(f"temperature is {temperature}, expected more than 0: 1 leaves the target as it is")
        self.changes, self.temperature, self.beta = changes, temperature, beta

    def __call__(self, trace: Trace, progress: float) -> Tensor:
        if not isinstance(trace, LabelTrace):
            raise InputError(
                "SemiSupervised is for a model whose label is a latent: take LabelMixture, or another objective"
            )
        known, beta = trace.known, beta_at(self.beta, progress)
        bound = trace.reconstruction - beta * trace.kl
        chosen = trace.chosen
        bound = torch.where(known, self.labelled * (bound + (chosen * trace.log_p).sum(-1)), bound)
        log_q = trace.log_q
        if self.changes is not None and torch.is_grad_enabled():
            log_q = trace.classify(self.changes(trace.x))
        sharp = (trace.log_q.detach() / self.temperature).softmax(-1)
        target = torch.where(known[..., None], self.alpha * chosen, self.consistency * sharp)
        return with_score(bound, trace) + (target * log_q).sum(-1)

    def is_bound(self, progress: float) -> bool:
        return self.labelled == 1 and beta_at(self.beta, progress) >= 1
