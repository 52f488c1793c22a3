"""Dropout whose masks are keyed noise: by seed, step and global position in the batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from fusevae.core import noise
from fusevae.core.errors import InputError
from fusevae.core.noise import Rows


def dropout(x: Tensor, rate: float, training: bool = True) -> Tensor:
    r"""``x`` of shape ``(batch, ...)``, each number left out with probability ``rate`` and the others divided by
    :math:`1 - rate` (Srivastava et al. 2014). The batch may stand several times, one copy after the other.

    A row's mask is that of its place in the global batch (:mod:`fusevae.core.noise`), wherever it is computed.

    Example:
        >>> x = torch.ones(6, 2)
        >>> with noise.keyed(0):
        ...     whole = dropout(x, 0.5)
        >>> with noise.keyed(0, rows=noise.Rows(2, 4, 6)):
        ...     torch.equal(dropout(x[2:4], 0.5), whole[2:4])
        True
    """
    return x * noise.kept(x, rate) if training and rate else x


class ForeignDropout(TorchFunctionMode):
    """Inside, what nets of others leave out or draw for a part of a batch is what they do for the whole batch: it is
    computed for as many rows as this has, and this part's are kept."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func not in DRAW or not args or not self._is_of_a_part(args[0]):
            return func(*args, **kwargs)
        whole = func(*map(self._widened, args), **{k: self._widened(v) for k, v in kwargs.items() if k != "inplace"})
        return noise.rows_of(whole, self.rows)

    def _is_of_a_part(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and len(value) % self.rows.here == 0

    def _widened(self, value: Any) -> Any:
        if not self._is_of_a_part(value):
            return value
        rows, value = self.rows, value.reshape(-1, self.rows.here, *value.shape[1:])
        before, after = (
            value[:, :1].detach().expand(-1, n, *value.shape[2:]) for n in (rows.start, rows.total - rows.stop)
        )
        return torch.cat([before, value, after], 1).flatten(0, 1)


#: what draws a number for each number that it is given, and torch's attention with its dropout
DRAW: set[Any] = {
    *(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout),
    *(F.scaled_dot_product_attention, F.gumbel_softmax, torch.rand_like, torch.randn_like, torch.bernoulli),
}


def is_foreign(modules: Iterable[nn.Module]) -> bool:
    """Whether some of the modules may draw by other means than the library's: nets of others, and torch's dropouts."""
    ours = ("fusevae.", "torch.")
    return any(not type(m).__module__.startswith(ours) or isinstance(m, _DropoutNd) for m in modules)


def check_masks(modules: Iterable[nn.Module]) -> None:
    """Refuse nets that would draw the same masks in every part of a batch: those that do it inside a layer."""
    for m in modules:
        if isinstance(m, nn.RNNBase | nn.MultiheadAttention) and m.dropout:
            raise InputError(
                f"nn.{type(m).__name__} has dropout={m.dropout}, whose masks would be the same in every process and "
                "every accumulated part of a batch: set it to 0 and add a layer nn.Dropout, or train in one process "
                "with accumulate=1"
            )
