"""A mixture over labels of what is given one: with a classifier beside it, the model of semi-supervised learning."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Distribution, kl_divergence
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, batch_of
from fusevae.core.errors import SlotError
from fusevae.core.levels import BoundOnly, Level, require
from fusevae.core.trace import Term, Trace
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP


class LabelMixture(Conditional):
    r"""The label is a latent where it isn't known: :math:`p(x) = \sum_y p(y)\, p(x \mid y)` (M2, Kingma et al. 2014).

    Given a label it is :math:`p(x \mid y)`. Without one every label is tried, nothing is drawn, and the bound is

    .. math:: \log p(x) \ge \sum_y q(y \mid x)\, \mathcal{L}(x, y) - \mathrm{KL}(q(y \mid x) \| p(y))

    with :math:`\mathcal{L}` the bound of the model given y; importance weights are
    :math:`w(x) = \sum_y p(y)\, w(x, y)`, which need no q(y | x).

    Args:
        model: p(x | y) with its latents, an evidence bound: a VAE whose nets are given the label.
        classifier: a net from x to the logits of q(y | x).
        classes: how many labels there are. p(y) is learned from those that are known, and begins with all
            of them alike.

    Example:
        >>> import torch
        >>> vae = VAE(Flat(Normal(2), Gaussian(MLP(4, 4, classes=3))), Bernoulli(MLP(2, 4, classes=3)))
        >>> model = LabelMixture(vae, MLP(4, 3), 3)
        >>> model.trace(torch.ones(5, 4), torch.tensor([0, 1, 2, -1, -1])).elbo.shape
        torch.Size([5])
        >>> model.classify(torch.ones(5, 4)).shape, model().sample((2,)).shape
        (torch.Size([5, 3]), torch.Size([2, 4]))
    """

    has_latents = True

    def __init__(self, model: Conditional, classifier: nn.Module, classes: int) -> None:
        super().__init__()
        require("the model of a label", model, Level.EVIDENCE, "a VAE whose nets are given a label")
        if not model.has_latents:
            raise SlotError(f"{type(model).__name__} has no latents: give a VAE whose nets are given a label")
        if classes < 2:
            raise SlotError(f"classes is {classes}: expected at least two, or the model alone")
        self.model, self.classifier, self.classes = model, classifier, classes
        self.frequencies = nn.Parameter(torch.zeros(classes))
        self.level, self.deterministic = Level.EVIDENCE, model.deterministic
        self.discrete, self.space, self.has_mean = model.discrete, model.space, model.has_mean

    def classify(self, x: Tensor) -> Tensor:
        """log q(y | x), ``(*batch, classes)``."""
        logits: Tensor = self.classifier(x)
        return logits.float().log_softmax(-1)

    def forward(self, *conditions: Tensor | None) -> Distribution:
        label, batch = label_of(conditions), batch_of(conditions)
        if label is None and batch:
            label = torch.full(batch, -1, device=self.frequencies.device)
        return _Mixture(self, label)

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> LabelTrace:
        return LabelTrace(self, x, label_of(conditions), samples)

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Distribution:
        return self.model.generate(shape, self._drawn(shape, label_of(conditions)))

    def reconstruct(self, x: Tensor, *conditions: Tensor | None) -> Distribution:
        return self.model.reconstruct(x, self.likeliest(x, label_of(conditions)))

    def encode(self, x: Tensor, *conditions: Tensor | None) -> dict[str, Tensor]:
        """The latents given the label, or the likeliest one, and the probabilities ``label`` of all."""
        return self.model.encode(x, self.likeliest(x, label_of(conditions))) | {"label": self.classify(x).exp()}

    def decode(self, z: Tensor, *conditions: Tensor | None) -> Distribution:
        """Without a label, given the most frequent one: latents don't hold it."""
        label, most = label_of(conditions), self.frequencies.argmax()
        return self.model.decode(z, most if label is None else torch.where(label < 0, most, label))

    def likeliest(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The label of each x, ``(*batch,)``: as it is given, else the likeliest by q(y | x)."""
        if label is not None and bool((label >= 0).all()):
            return label
        guess = self.classify(x).argmax(-1)
        return guess if label is None else torch.where(label < 0, guess, label)

    def inference(self) -> list[nn.Module]:
        return [*self.model.inference(), self.classifier]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        self.model.start_from(examples)

    def _drawn(self, shape: Sequence[int], label: Tensor | None) -> Tensor:
        batch = max(0, len(shape) - 1)  # the dimension of the examples, by whose places noise is keyed
        u = noise.uniform((*shape, self.classes), self.frequencies.device, batch).clamp(1e-20, 1 - 1e-7)
        drawn = (self.frequencies.detach() - (-u.log()).log()).argmax(-1)  # Gumbel's trick
        return drawn if label is None else torch.where(label < 0, drawn, label)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        latents = Flat(Normal(1), Gaussian(MLP(2, 2, (3,), classes=2), bounds=(0.0, 1.0)))
        return [(cls(VAE(latents, Bernoulli(MLP(1, 2, (3,), classes=2))), MLP(2, 2, (3,)), 2), ())]


def label_of(conditions: Sequence[Tensor | None]) -> Tensor | None:
    """The label among what is given; a latent, which is of floats, tells none."""
    return next((c for c in conditions if c is not None and not c.is_floating_point()), None)


class LabelTrace(Trace):
    """The trace of examples of which some have a label: what isn't known is a mean over all labels by q(y | x).

    Its terms and its likelihood are those given the label, or the likeliest one; they are made when they are looked at.

    Attributes:
        label: the labels, -1 where they aren't known; ``known`` says where they are.
        log_q: log q(y | x), ``(*batch, classes)``.
        log_p: log p(y), ``(classes,)``.
        classify: gives log q(y | x) of other examples.
    """

    def __init__(self, owner: LabelMixture, x: Tensor, label: Tensor | None, samples: Sequence[int]) -> None:
        log_q = owner.classify(x)
        own = log_q.shape[:-1]
        batch = own if label is None else torch.broadcast_shapes(own, label.shape)
        self.x, self.conditions, self.log_det = x.expand(*batch, *x.shape[len(own) :]), (label,), 0.0
        self.owner, self.samples, self.classify = owner, samples, owner.classify
        self.log_q, self.log_p = log_q.expand(*batch, -1), owner.frequencies.log_softmax(0)
        self.label = torch.full(batch, -1, device=x.device) if label is None else label.expand(batch)
        self.known = self.label >= 0

    @functools.cached_property
    def whole(self) -> bool:
        """Whether every label is known, so that no other has to be tried."""
        return bool(self.known.all())

    @functools.cached_property
    def given(self) -> Trace:
        """The trace given the label of each example, or its likeliest one."""
        label = torch.where(self.known, self.label, self.log_q.argmax(-1))
        return self.owner.model.trace(self.x, label, samples=self.samples)

    @functools.cached_property
    def each(self) -> Trace:
        """The trace of every label with every example, all with the noise of the example: with batch shape
        ``(classes, *batch)``."""
        k, batch = self.owner.classes, self.label.shape
        labels = torch.arange(k, device=self.x.device).view(k, *[1] * len(batch)).expand(k, *batch)
        with noise.alike():
            return self.owner.model.trace(self.x.expand(k, *self.x.shape), labels, samples=self.samples)

    @functools.cached_property
    def chosen(self) -> Tensor:
        """1 for a label that is known, else 0; ``(*batch, classes)``."""
        return F.one_hot(self.label.clamp(min=0), self.owner.classes).to(self.log_q) * self.known[..., None]

    def mean(self, values: Tensor, event: int = 0) -> Tensor:
        """Of values ``(*sample, classes, *batch, *event)``: those of the label where it is known, else their mean by
        q(y | x)."""
        weights = torch.where(self.known[..., None], self.chosen, self.log_q.exp()).movedim(-1, 0)
        return (weights.view(*weights.shape, *[1] * event) * values).sum(-weights.dim() - event)

    @functools.cached_property
    def reconstruction(self) -> Tensor:
        inner = self.given.reconstruction if self.whole else self.mean(self.each.reconstruction)
        return inner + self.log_det

    @functools.cached_property
    def kl_label(self) -> Tensor:
        """KL(q(y | x) || p(y)) where the label isn't known, else 0; ``(*batch,)``. p(y) learns from known labels alone:
        from its own guesses it would follow whatever class is ahead."""
        q = TorchCategorical(logits=self.log_q, validate_args=False)
        return kl_divergence(q, TorchCategorical(logits=self.log_p.detach(), validate_args=False)) * ~self.known

    @functools.cached_property
    def kl(self) -> Tensor:
        return (self.given.kl if self.whole else self.mean(self.each.kl)) + self.kl_label

    @property
    def log_weight(self) -> Tensor:
        return self._weight(lambda trace: trace.log_weight)

    @property
    def held_log_weight(self) -> Tensor:
        return self._weight(lambda trace: trace.held_log_weight)

    def _weight(self, of: Callable[[Trace], Tensor]) -> Tensor:
        if self.whole:
            return of(self.given) + self.log_det
        log_p = torch.where(self.known[..., None], self.chosen.log(), self.log_p).movedim(-1, 0)
        return torch.logsumexp(of(self.each) + log_p, -log_p.dim()) + self.log_det

    @property
    def score(self) -> Tensor | None:
        if (self.given if self.whole else self.each).score is not None:
            raise SlotError("a posterior without a path can't be trained for every label at once: take a Gaussian")
        return None

    def kl_per_dimension(self) -> dict[str, Tensor]:
        if self.whole:
            found = self.given.kl_per_dimension()
        else:
            found = {name: self.mean(kl, 1) for name, kl in self.each.kl_per_dimension().items()}
        return found | {"label": self.kl_label[..., None]}

    @property
    def auxiliary(self) -> dict[str, Tensor]:  # type: ignore[override]
        if self.whole:
            return self.given.auxiliary
        return {name: self.mean(value) for name, value in self.each.auxiliary.items()}

    @property
    def terms(self) -> list[Term]:  # type: ignore[override]
        return self.given.terms

    @property
    def likelihood(self) -> Distribution:  # type: ignore[override]
        return self.given.likelihood

    @property
    def latent(self) -> Tensor | None:  # type: ignore[override]
        return self.given.latent

    @property
    def draw(self) -> Callable[[], Tensor] | None:  # type: ignore[override]
        return self.given.draw

    @property
    def generate(self) -> Callable[[], Tensor] | None:  # type: ignore[override]
        return self.given.generate


class _Mixture(BoundOnly):
    """p(x | label), or p(x) where there is none."""

    draws_keyed = True

    def __init__(self, owner: LabelMixture, label: Tensor | None) -> None:
        self.owner, self.label = owner, label
        super().__init__(torch.Size() if label is None else label.shape, validate_args=False)

    @property
    def event_shape(self) -> torch.Size:
        return self.owner.model(self.owner.frequencies.argmax()).event_shape

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            return noise.sample_to(self.owner.generate(shape, self.label), shape)

    def log_bound(self, value: Tensor) -> Tensor:
        return self.owner.trace(value, self.label).log_weight

    def surrogate(self, value: Tensor) -> Tensor:
        """Trains the classifier too, which the bound itself doesn't need, by what it has in the ELBO."""
        trace = self.owner.trace(value, self.label)
        if trace.whole:
            return trace.log_weight
        each = (trace.each.log_weight.movedim(0, -1) + trace.log_p).detach()
        log_q = self.owner.classify(value.detach())
        of_q = (log_q.exp() * (each - log_q)).sum(-1) * ~trace.known
        return trace.log_weight + of_q - of_q.detach()
