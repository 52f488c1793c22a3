"""Residual vector quantization: each codebook codes what those before it left."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.core.frames import extent, within
from fusevae.nets.quantizer import Codes, VectorQuantizer

NONE = -1  # in the place of a code, where there is none


class ResidualQuantizer(Described, nn.Module):
    r"""Sequences of vectors h, scaled to the length :math:`\sqrt d`, to a code of each of Q codebooks at each place:

    .. math:: c_i = \arg\min_k |r_i - e_{ik}|^2, \quad r_1 = h, \quad r_{i+1} = r_i - e_{i c_i}, \quad
        z = \sum_{i \le Q} e_{i c_i}

    (Zeghidour et al. 2021, SoundStream), so a place has :math:`Q \log_2 K` bits, and the first codes alone are a
    coarser whole. In training each sequence keeps all codebooks with probability 1 - ``dropout``, else the first of
    them, a number drawn from 1 to Q, so one model serves all rates. The gradient passes straight through, the
    codebooks follow what they are given and revive what has died, as :class:`VectorQuantizer` says.

    Args:
        levels: K, codes of each codebook, a power of two.
        features: d.
        stages: Q, codebooks.
        commitment: what holds features near their codes, for each codebook in use.
        dropout: part of the sequences that keep only some of the codebooks.
        decay: as of :class:`VectorQuantizer`.
        revive: the same.

    Example:
        >>> found = ResidualQuantizer(8, 3, 2)(torch.randn(5, 3, 4))
        >>> found.codes.shape, found.z.shape, found.commitment.shape
        (torch.Size([5, 2, 4]), torch.Size([5, 3, 4]), torch.Size([5]))
    """

    def __init__(
        self,
        levels: int = 1024,
        features: int = 32,
        stages: int = 8,
        commitment: float = 0.25,
        dropout: float = 0.5,
        decay: float = 0.99,
        revive: float = 0.03,
    ) -> None:
        super().__init__()
        if levels < 2 or levels & (levels - 1) or stages < 1 or not 0 <= dropout <= 1:
            raise InputError(
                f"ResidualQuantizer was given levels={levels}, stages={stages}, dropout={dropout}: expected a power of "
                "two, at least 1 and a part: 1024, 8 and 0.5, say"
            )
        self.levels, self.features, self.commitment, self.dropout = levels, features, commitment, dropout
        self.stages = nn.ModuleList(
            VectorQuantizer(levels, features, 0.0, decay, revive, scaled=False) for _ in range(stages)
        )

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.levels.bit_length() - 1

    def forward(self, h: Tensor) -> Codes:
        """Codes ``(n, Q, places)`` of vectors ``(n, d, places)``, :data:`NONE` after the end of a sequence, the vectors
        that stand for them, with zeros there, and the commitment ``(n,)``."""
        there = within(extent(h.detach()), h.shape[-1])[:, 0] > 0
        flat = self._scaled(h).transpose(1, 2)[there]
        row = there.nonzero()[:, 0]
        kept = self._kept(len(h), h.device)[row]
        codes = torch.full((len(self.stages), *there.shape), NONE, device=h.device)
        z, squares, rest = torch.zeros_like(flat), flat.new_zeros(len(flat)), flat
        for i, stage in enumerate(self.stages):
            found = stage(rest.detach().T[:, None])
            chosen = found.z.detach()[:, 0].T
            rest = rest - chosen
            used = (kept > i).to(flat.dtype)
            z = z + used[:, None] * chosen
            squares = squares + used * rest.square().sum(1)
            codes[i][there] = found.codes[0]
        z = z.detach() + (flat - flat.detach())
        commitment = flat.new_zeros(len(h)).index_add(0, row, self.commitment * squares)
        whole = flat.new_zeros(*there.shape, self.features).masked_scatter(there[..., None], z)
        return Codes(codes.transpose(0, 1), whole.transpose(1, 2), commitment)

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors ``(n, d, places)`` that stand for codes ``(n, any of the first, places)``."""
        found = torch.zeros(len(codes), codes.shape[-1], self.features, device=codes.device)
        for stage, one in zip(self.stages, codes.unbind(1), strict=False):
            found = found + stage.codebook[one.clamp(min=0)] * (one != NONE)[..., None]  # type: ignore[index]
        return found.transpose(1, 2)

    @torch.no_grad()
    def start(self, h: Tensor) -> None:
        """Codebooks of k-means on vectors ``(n, d)`` and on what is left of them."""
        rest = self._scaled(h[..., None])[..., 0]
        for stage in self.stages:
            stage.start(rest[..., None, None])  # type: ignore[operator]
            rest = rest - stage.codebook[stage._nearest(rest)]  # type: ignore[operator,index]

    def _scaled(self, h: Tensor) -> Tensor:
        return math.sqrt(self.features) * F.normalize(h.float(), dim=1)

    def _kept(self, n: int, device: torch.device) -> Tensor:
        """Codebooks of each sequence."""
        stages = len(self.stages)
        if not (self.training and self.dropout):
            return torch.full((n,), stages, device=device)
        some = 1 + (noise.uniform((n,), device) * stages).long()
        return torch.where(noise.uniform((n,), device) < self.dropout, some, stages)
