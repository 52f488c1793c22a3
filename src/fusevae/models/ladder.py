"""Ladder: a hierarchy of latents with one top-down pass for inference and generation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.distributions import Normal as TorchNormal

from fusevae.core import noise
from fusevae.core.levels import Level
from fusevae.core.trace import Term
from fusevae.distributions.gaussian import Gaussian, smooth_bound
from fusevae.distributions.normal import Normal
from fusevae.models.flat import Flat
from fusevae.models.latents import Latents
from fusevae.nets.ladder import ConvLadder, DenseLadder, LadderNet
from fusevae.nets.mlp import MLP

Choose = Callable[[int, Distribution, Distribution], Tensor]  # a level's number, its p and its q: its z


class Ladder(Latents):
    r""":math:`p(z) = \prod_l p(z_l \mid z_{<l})` and :math:`q(z \mid x) = \prod_l q(z_l \mid z_{<l}, x)`, from the
    top down (Sønderby et al. 2016).

    One deterministic state passes from level to level; each adds its latent to it, and the decoder is given the state
    at the end. The posterior sees the state and what a bottom-up encoder makes of x, and moves away from the prior:

    .. math:: q(z_l) = \mathcal N(\mu_p + \sigma_p\, \Delta\mu,\; (\sigma_p\, \Delta\sigma)^2)

    (Vahdat & Kautz 2020). Priors start at the standard normal and the levels' sum keeps its scale, so that any number
    of levels trains (Child 2021).

    Args:
        net: :class:`fusevae.DenseLadder` or :class:`fusevae.ConvLadder`.
        top: a latent above the levels, with whatever prior and posterior, for example a VampPrior's; ``net`` is made
            with its size as ``top``.

    Example:
        >>> import torch
        >>> ladder = Ladder(DenseLadder(4, latents=(2, 3), width=8))
        >>> z, terms, _ = ladder.infer(torch.zeros(5, 4))
        >>> z.shape, [t.z.shape[-1] for t in terms]
        (torch.Size([5, 8]), [2, 3])
    """

    def __init__(self, net: LadderNet, top: Latents | None = None) -> None:
        super().__init__()
        self.net, self.top = net, top

    @property
    def level(self) -> Level:  # type: ignore[override]
        return Level.DENSITY if self.top is None else self.top.level

    def infer(
        self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()
    ) -> tuple[Tensor, list[Term], dict[str, Tensor]]:
        above: Tensor | None = None
        terms: list[Term] = []
        auxiliary: dict[str, Tensor] = {}
        if self.top is not None:
            above, terms, auxiliary = self.top.infer(x, *conditions, samples=samples)
            for i, term in enumerate(terms):
                term.name = f"top{i + 1}" if len(terms) > 1 else "top"
            samples = ()
        h, found = self._down(x, above, conditions, lambda i, _, q: noise.rsample(q, () if i else samples))
        return h, terms + found, auxiliary

    @property
    def depth(self) -> int:
        """The number of levels, that at the top included."""
        return len(self.net.levels) + (self.top is not None)

    def partly(self, x: Tensor, kept: int, *conditions: Tensor | None) -> Tensor:
        """What the decoder is given where the first ``kept`` levels are the most typical ones of ``x``, and those below
        are drawn from the prior: what the levels below are left to decide."""
        above = None
        if self.top is not None:
            above = self.top.encode(x, *conditions)[0] if kept else self.top.generate((len(x),), *conditions)
            kept -= 1
        return self._down(x, above, conditions, lambda i, p, q: q.mean if i < kept else noise.sample(p))[0]

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Tensor:
        above = self.top.generate(shape, *conditions) if self.top is not None else None
        h = self.net.start(above, _label(conditions))
        h = h.expand(*shape, *h.shape[-len(self.net.state) :])
        for i in range(len(self.net.levels)):
            h = self.net.resize(i, h)
            h = self.net.down(i, h, noise.sample(self._normal(*self.net.prior(i, h))))
        return h

    def encode(self, x: Tensor, *conditions: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        above: Tensor | None = None
        arrays: dict[str, Tensor] = {}
        if self.top is not None:
            above, arrays = self.top.encode(x, *conditions)
        h, terms = self._down(x, above, conditions, lambda i, p, q: q.mean)
        for term in terms:
            assert term.q is not None
            arrays |= {f"{term.name}_mean": term.q.mean, f"{term.name}_scale": term.q.stddev}
        return h, arrays

    def complete(self, z: Tensor, *conditions: Tensor | None) -> Tensor:
        h, rest = self.net.start(None, _label(conditions)), range(len(self.net.levels))
        if self.top is not None:
            h = self.net.start(self.top.complete(z, *conditions), _label(conditions))
        else:
            h, rest = self.net.down(0, h.expand(*z.shape[: z.dim() - len(self.net.state)], *h.shape), z), rest[1:]
        for i in rest:
            h = self.net.resize(i, h)
            h = self.net.down(i, h, self.net.prior(i, h)[0])
        return h

    def inference(self) -> list[nn.Module]:
        return [*self.net.inference(), *(self.top.inference() if self.top is not None else [])]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        if self.top is not None:
            self.top.start_from(examples)

    def _down(
        self,
        x: Tensor,
        above: Tensor | None,
        conditions: Sequence[Tensor | None],
        choose: Choose,
    ) -> tuple[Tensor, list[Term]]:
        """The pass of inference: the state at its end, and the levels."""
        label = _label(conditions)
        seen = self.net.up(x, label)
        h = self.net.start(above, label)
        terms: list[Term] = []
        for i, features in enumerate(seen):
            h = self.net.resize(i, h)
            p = self._normal(*self.net.prior(i, h))
            mean, scale = p.base_dist.loc, p.base_dist.scale
            shift, widen = self.net.posterior(i, h, features)
            q = self._gaussian(mean + scale * shift, scale * smooth_bound(widen, -5.0, 3.0).exp())
            z = choose(i, p, q)
            terms.append(Term(f"z{i + 1}", z, p, q))
            h = self.net.down(i, h, z)
        return h, terms

    def _normal(self, mean: Tensor, raw: Tensor) -> Independent:  # type: ignore[type-arg]
        return self._gaussian(mean, smooth_bound(raw, -7.0, 5.0).exp())

    def _gaussian(self, mean: Tensor, scale: Tensor) -> Independent:  # type: ignore[type-arg]
        return Independent(TorchNormal(mean, scale, validate_args=False), len(self.net.state), validate_args=False)

    @classmethod
    def examples(cls) -> list[tuple[Self, Any]]:
        q = Gaussian(MLP(3, 4, hidden=(4,)))
        return [
            (cls(DenseLadder(3, (2, 1), width=6)), torch.randn(5, 3)),
            (cls(DenseLadder(3, (2,), width=6, top=2), Flat(Normal(2), q)), torch.randn(5, 3)),
            (cls(ConvLadder((1, 5, 6), (1, 2), latent=2, width=4)), torch.randn(5, 1, 5, 6)),
        ]


def _label(conditions: Sequence[Tensor | None]) -> Tensor | None:
    return conditions[0] if conditions else None
