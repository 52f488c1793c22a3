"""Scaled dot-product attention, in the precision that a device is quick at."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.nets.dropout import dropout as leave_out


def attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0, causal: bool = False
) -> Tensor:
    r""":math:`\mathrm{softmax}(q k^\top / \sqrt d)\, v` (Vaswani et al. 2017), ``(n, heads, length, d)``, of queries of
    that shape and of keys and values ``(n, heads, places, d)``.

    With dropout it is computed step by step, since torch's own draws by another order in each of its kernels.

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
    if not dropout:
        return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
    weights = query @ (key / math.sqrt(query.shape[-1])).transpose(-1, -2)
    if causal:
        mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).tril()
    if mask is not None:
        weights = weights.masked_fill(~mask, -torch.inf)
    return leave_out(weights.softmax(-1), dropout).to(value.dtype) @ value
