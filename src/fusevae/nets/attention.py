"""Scaled dot-product attention, in the precision that a device is quick at."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0, causal: bool = False
) -> Tensor:
    r""":math:`\mathrm{softmax}(q k^\top / \sqrt d)\, v` (Vaswani et al. 2017), ``(n, heads, length, d)``, of queries of
    that shape and of keys and values ``(n, heads, places, d)``.

    On a CPU bfloat16 is taken to float32, as the result is then: its gradient would take seven times as long.

    Args:
        query: what is asked.
        key: what it is compared with.
        value: what is given back.
        mask: which places each query attends to, true or false, or None for all.
        dropout: of the weights.
        causal: whether a query attends to the places up to its own alone.

    Example:
        >>> x = torch.randn(1, 2, 5, 4)
        >>> torch.equal(attention(x, x, x, causal=True)[:, :, 0], x[:, :, 0])
        True
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            return attention(query.float(), key.float(), value.float(), mask, dropout, causal)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, is_causal=causal)
