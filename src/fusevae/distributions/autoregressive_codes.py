"""Sequences of residual codes one after the other, at each place the coarse ones first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.distributions.stepwise import Stepwise


class AutoregressiveCodes(Stepwise):
    r"""A prior over sequences of Q codes of K at each place, of any length: that of :class:`Stepwise`, with

    .. math:: p(c_t \mid h_t) = \prod_{i \le Q} \mathrm{softmax}_k \big(b_{ik} + v_{ik}^\top
        W_i\, \sigma(A_i h_t + B_i \textstyle\sum_{j<i} v_{j c_{jt}})\big)_{c_{it}}

    so a code is told those of earlier places and the coarser ones of its own (as in Lee et al. 2022, by a recurrent
    net). A vector v stands for each code wherever it is read or foretold. It is a mass: :math:`-\log_2 p` are the bits
    that an arithmetic coder with this prior would write.

    Values are codes counted from 1, and 0 after the end.

    Args:
        stages: Q.
        levels: K.
        longest: places, at most.
        hidden: numbers of the state.
        features: numbers of v.
        inner: numbers of each layer between state and logits.
        classes: number of labels, or :class:`Conditions`, if it is given one.

    Example:
        >>> p = AutoregressiveCodes(2, 8, 5, hidden=8, features=4, inner=4)()
        >>> codes = p.sample((4,))
        >>> codes.shape, p.log_prob(codes).shape
        (torch.Size([4, 2, 5]), torch.Size([4]))
    """

    discrete = True

    def __init__(
        self,
        stages: int,
        levels: int,
        longest: int,
        hidden: int = 256,
        features: int = 64,
        inner: int = 128,
        classes: int | Conditions = 0,
    ) -> None:
        if min(stages, longest, hidden, features, inner) < 1 or levels < 2:
            raise InputError(
                f"stages={stages}, levels={levels}, longest={longest}, hidden={hidden}, features={features} and "
                f"inner={inner} were given: expected at least 2 levels, and 1 of each of the others"
            )
        super().__init__(stages, longest, features, stages * inner, hidden, classes)
        self.levels, self.inner, self.numbers = levels, inner, stages
        self.vectors = nn.Parameter(torch.randn(stages, levels, features))
        self.before = nn.Parameter(torch.randn(stages - 1, features, inner) / features**0.5)
        self.query = nn.Parameter(torch.randn(stages, inner, features) / (inner * features) ** 0.5)
        self.usual = nn.Parameter(torch.zeros(stages, levels))

    def seen(self, z: Tensor) -> Tensor:
        return self._vectors(z).sum(-2)

    def scores(self, out: Tensor, z: Tensor) -> Tensor:
        chosen, state = self._vectors(z), out.unflatten(-1, (self.width, self.inner))
        before, code = chosen.cumsum(1) - chosen, z.long() - 1
        found = [
            -F.cross_entropy(self._logits(i, state[:, i], before[:, i]), code[:, i].clamp(min=0), reduction="none")
            for i in range(self.width)
        ]
        return torch.stack(found).sum(0).masked_fill((code < 0).any(1), -torch.inf)

    def draw(self, out: Tensor, uniform: Tensor) -> Tensor:
        state = out.unflatten(-1, (self.width, self.inner))
        before, found = out.new_zeros(len(out), self.vectors.shape[-1]), []
        for i in range(self.width):
            code = noise.inverse(self._logits(i, state[:, i], before), uniform[:, i])
            before = before + self.vectors[i, code]
            found.append(code + 1)
        return torch.stack(found, 1).to(out.dtype)

    def _logits(self, i: int, state: Tensor, before: Tensor) -> Tensor:
        """Of the codes of a stage, ``(n, K)``."""
        h = F.silu(state + before @ self.before[i - 1] if i else state)
        return (h @ self.query[i] @ self.vectors[i].T + self.usual[i]).float()

    def _vectors(self, z: Tensor) -> Tensor:
        """What stands for each of the codes ``(..., Q)``, ``(..., Q, features)``; 0 for none."""
        code = z.long() - 1
        found = [F.embedding(code[..., i].clamp(min=0), self.vectors[i]) for i in range(self.width)]
        return torch.stack(found, -2) * (code >= 0)[..., None]

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Codes begin as frequent as they are in the examples, with one more of each."""
        code = examples().long().transpose(1, 2).reshape(-1, self.width)
        counts = torch.stack([torch.bincount(one, minlength=self.levels + 1)[1:] for one in code.unbind(1)]) + 1
        self.usual.data.copy_((counts / counts.sum(1, keepdim=True)).log())

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        small: dict[str, int] = {"hidden": 4, "features": 3, "inner": 3}
        return [
            (cls(2, 2, 2, **small), ()),
            (cls(2, 2, 2, **small, classes=2), (torch.tensor([0, 1, 1]),)),
        ]
