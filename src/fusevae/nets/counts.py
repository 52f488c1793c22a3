"""Nets of counts: how deep an example was counted apart from what it is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusevae.core.conditions import Conditions
from fusevae.core.description import Described
from fusevae.core.errors import InputError
from fusevae.nets.mlp import Embedding


class Depth(Described, nn.Module):
    r"""The depth of an example of counts, :math:`\log \sum_d x_d`, standardised by that of the training examples: about
    standard normal, and so one dimension of a latent.

    Args:
        classes: number of labels, or :class:`Conditions`, that depths may depend on.

    Example:
        >>> depth = Depth()
        >>> depth.start_from(lambda: torch.tensor([[1.0, 0.0], [3.0, 97.0]]))
        >>> depth(torch.tensor([[50.0, 50.0], [4.0, 6.0]]))
        tensor([1., 0.])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, classes: int | Conditions = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))
        self.fitted = False
        self.label = Embedding(classes, 1, std=0.0) if classes else None

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """The standardised depth ``(*batch,)`` of counts ``(*batch, d)``."""
        return (x.sum(-1).clamp(min=1.0).log() - self.mean) / self.scale - self._of(label)

    def log_total(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        r"""The reverse: :math:`\log \sum_d x_d`."""
        return self.mean + self.scale * (z + self._of(label))

    def _of(self, label: Tensor | None) -> Tensor | float:
        return 0.0 if self.label is None else self.label(label)[..., 0]

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take mean and scale from training examples, each of which has to hold a count."""
        if self.fitted:
            return
        total = examples().double().sum(-1)
        if bool((total <= 0).any()):
            raise InputError(
                f"{int((total <= 0).sum()):,} of {len(total):,} rows hold no counts at all: leave empty cells out"
            )
        self.mean.copy_(total.log().mean())
        self.scale.copy_(total.log().std(correction=0).clamp(min=0.05))
        self.fitted = True

    def _load_from_state_dict(self, *arguments: object) -> None:
        super()._load_from_state_dict(*arguments)
        self.fitted = True


class CountEncoder(Described, nn.Module):
    r"""A net of :math:`\log(1 + x)`; the depth is added to the first of its outputs, which stands for it.

    Args:
        depth: of the counts.
        net: takes as many numbers as an example has.
    """

    def __init__(self, depth: Depth, net: nn.Module) -> None:
        super().__init__()
        self.depth, self.net = depth, net

    @property
    def outputs(self) -> tuple[int, ...]:
        """As of the net."""
        found: tuple[int, ...] = self.net.outputs  # type: ignore[assignment]
        return found

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        out = self.net(torch.log1p(x), label)
        return torch.cat([out[..., :1] + self.depth(x, label)[..., None], out[..., 1:]], -1)


class CountDecoder(Described, nn.Module):
    r"""Logarithms of means, :math:`\log \mu_d = \log l(z_0) + \log \mathrm{softmax}_d\, f(z_1, \ldots)`: the depth
    :math:`l` by the first number of a latent, and by the others how it is shared out (Lopez et al. 2018).

    Args:
        depth: of the counts, that of the encoder.
        net: takes the latent without its first number; what it gives beyond ``dims`` numbers is left as it is.
        dims: of an example.
    """

    def __init__(self, depth: Depth, net: nn.Module, dims: int) -> None:
        super().__init__()
        self.depth, self.net, self.dims = depth, net, dims

    @property
    def outputs(self) -> tuple[int, ...]:
        """As of the net."""
        found: tuple[int, ...] = self.net.outputs  # type: ignore[assignment]
        return found

    @property
    def last(self) -> nn.Module:
        """The layer whose outputs are the net's."""
        found: nn.Module = self.net.last  # type: ignore[assignment]
        return found

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        out = self.net(z[..., 1:], label)
        shares = out[..., : self.dims].log_softmax(-1)
        return torch.cat([shares + self.depth.log_total(z[..., 0], label)[..., None], out[..., self.dims :]], -1)

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take the depths of training examples."""
        self.depth.start_from(examples)
