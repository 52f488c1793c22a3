"""Values far outside of all others, drawn in so that one of them can't outweigh the rest of the data."""

from __future__ import annotations

from torch import Tensor

from fusevae.core.steps import Step

MOST = 80.0  # of an exponent that float32 holds


def drawn_in(x: Tensor, edge: float) -> tuple[Tensor, Tensor]:
    """``x`` up to ``edge`` as it is, and beyond as a logarithm; with the slope there.

    Example:
        >>> import torch
        >>> drawn_in(torch.tensor([-3.0, 1e12]), 8.0)[0]
        tensor([-3.0000, 35.6310])
    """
    beyond = (x.abs() - edge).clamp(min=0.0)
    return x.clamp(-edge, edge) + x.sign() * beyond.log1p(), 1 / (1 + beyond)


def let_out(y: Tensor, edge: float) -> Tensor:
    """The reverse of :func:`drawn_in`.

    Example:
        >>> import torch
        >>> let_out(torch.tensor([-3.0, 9.0]), 8.0)
        tensor([-3.0000,  9.7183])
    """
    return y.clamp(-edge, edge) + y.sign() * (y.abs() - edge).clamp(0.0, MOST).expm1()


class Tails(Step):
    r"""Standardised features whose absolute value is beyond an edge as a logarithm, others as they are:

    .. math:: y = \operatorname{sign}(x) (e + \log(1 + |x| - e)), \quad
        \log|\det f'(x)| = -\sum_d \log(1 + |x_d| - e) \qquad |x| > e

    so that a cell of 1e12 costs a Gaussian thousands of nats and not 1e24, in training as held out.

    Args:
        edge: in deviations, so many that few data have any beyond it.

    Example:
        >>> import torch
        >>> y, logdet = Tails()(torch.tensor([[1.0, 1e12]]))
        >>> y, logdet
        (tensor([[ 1.0000, 47.6310]]), tensor([-27.6310]))
    """

    def __init__(self, edge: float = 20.0) -> None:
        super().__init__()
        self.edge = float(edge)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | float]:
        y, slope = drawn_in(x, self.edge)
        return y, slope.log().flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        return let_out(y, self.edge)
