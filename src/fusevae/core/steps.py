"""The two kinds of preprocessing: views change what the data are, steps are undone on the way out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from fusevae.core.description import Described
from fusevae.core.spec import DataSpec


class View(Described, nn.Module):
    """Changes what the data are (binarization, resize, crop, flip): the likelihood is over what it returns.

    In ``train()`` mode a view may draw (an augmentation, dynamic binarization); in ``eval()`` mode what it draws
    is keyed by the example, so that every evaluation sees the same data.

    Attributes:
        changes_support: whether likelihoods before and after can't be compared (False for a flip).
    """

    changes_support: bool = True

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The view of raw examples ``(batch, *shape)``."""

    @abstractmethod
    def spec(self, data: DataSpec) -> DataSpec:
        """What the data are after the view; raises :class:`InputError` for data that it can't be applied to."""

    def remark(self, x: Tensor) -> str | None:
        """What of training examples ``x`` is lost that may not be expected, in a line; said once, before training."""
        return None

    def restore(self, x: Tensor) -> Tensor:
        """Values of the view back in the units of the data (the grey value of a probability, say)."""
        return x

    @property
    def label(self) -> str:
        """What a figure's support says of this view."""
        return type(self).__name__.lower()


class Step(Described, nn.Module):
    r"""An invertible step y = f(x), part of the distribution: :math:`\log p(x) = \log p(y) + \log|\det f'(x)|`.

    Attributes:
        dequantizes: whether it turns integers into reals by noise; what follows is then an evidence bound on
            the probability of the integers.
        shares: whether several whole numbers become one, of whose probability each has a share: its logarithm, in the
            place of the log-determinant, counts for a mass too.
        fitted: whether it has what it takes from training data, by :meth:`fit` or from a file; a training then keeps
            it.
    """

    dequantizes: bool = False
    shares: bool = False
    fitted: bool = False

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        """``f(x)`` for ``x`` of shape ``(batch, *shape)``, and the log-determinant ``(batch,)`` (or a number)."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """``x`` for ``y`` of shape ``(*sample, batch, *shape)``."""

    def input_shape(self, outputs: torch.Size) -> torch.Size:
        """The shape of x whose y has the shape ``outputs``: the same, but for a step that changes it."""
        return outputs

    def fit(self, x: Tensor) -> None:
        """Set what the step takes from the training data (means, say), given all or many of them."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.fitted = self.fitted or any(name.startswith(prefix) for name in state_dict)
