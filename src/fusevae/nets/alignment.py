"""Which position of a text each frame belongs to: monotone paths, the best of them, and their durations."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def monotonic_search(scores: Tensor, positions: Tensor, frames: Tensor) -> Tensor:
    r"""The monotone path of the highest score, of each of a batch (Kim et al. 2020).

    Frame t belongs to position :math:`a_t`; a path begins at the first position, ends at the last, and goes on by 0 or
    1 from one frame to the next, so that every position has a frame. With the scores :math:`s_{it}` of position i at
    frame t

    .. math:: V_{it} = s_{it} + \max(V_{i,t-1}, V_{i-1,t-1}), \quad V_{00} = s_{00}

    is the highest sum of a path that is at i in frame t, and the path is found backwards from the end. Of equal paths
    the one that stays longest at a later position is taken.

    Args:
        scores: ``(batch, positions, frames)``.
        positions: how many count in each, ``(batch,)``.
        frames: how many count in each, ``(batch,)``, at least as many as positions; else there is no path.

    Returns:
        The position of each frame, ``(batch, frames)``; after the end the last position.

    Example:
        >>> monotonic_search(torch.tensor([[[1.0, 0, 0, 0], [0, 0, 2.0, 2.0]]]), torch.tensor([2]), torch.tensor([4]))
        tensor([[0, 1, 1, 1]])
    """
    n, most, longest = scores.shape
    columns = scores.float().permute(2, 0, 1).contiguous()  # (frames, batch, positions)
    place = torch.arange(most, device=scores.device)
    below = columns.new_full((n, 1), -torch.inf)
    best = columns[0].masked_fill(place > 0, -torch.inf)
    steps = torch.empty(longest, n, most, dtype=torch.bool, device=scores.device)  # whether a path came from below
    for t in range(1, longest):
        from_below = torch.cat([below, best[:, :-1]], 1)
        steps[t] = from_below > best
        best = columns[t] + torch.maximum(best, from_below)
    at = (positions - 1).clamp(min=0)
    found = at.repeat(longest, 1)
    for t in range(longest - 1, 0, -1):
        found[t] = at
        came = steps[t].gather(1, at[:, None])[:, 0] & (t < frames)
        at = (at - came.long()).clamp(min=0)
    if longest:
        found[0] = at
    return found.T


def durations_of(path: Tensor, there: Tensor, positions: int) -> Tensor:
    """How many frames each position has: ``(batch, positions)`` of paths ``(batch, frames)``, of which those frames
    count that are ``there``, 1 of 0 and 1.

    Example:
        >>> durations_of(torch.tensor([[0, 1, 1, 1]]), torch.tensor([[1.0, 1.0, 1.0, 0.0]]), 2)
        tensor([[1., 2.]])
    """
    return there.new_zeros(len(path), positions).scatter_add_(1, path, there)


def regulated(durations: Tensor) -> tuple[Tensor, Tensor]:
    """The path of some durations ``(batch, positions)`` in frames, which need not be whole: each position ends at the
    frame that is nearest to the sum so far, so that the whole is right to half a frame (the length regulator of Ren et
    al. 2019). Returns the position of each frame ``(batch, longest)``, and how many frames there are ``(batch,)``, at
    least 1.

    Example:
        >>> regulated(torch.tensor([[1.5, 1.5, 1.0]]))
        (tensor([[0, 0, 1, 2]]), tensor([4]))
    """
    ends = durations.double().cumsum(1).round().long()
    n = ends[:, -1].clamp(min=1)
    place = torch.arange(int(n.max()), device=durations.device).expand(len(ends), -1).contiguous()
    return torch.searchsorted(ends, place, right=True).clamp(max=ends.shape[1] - 1), n


def inside(path: Tensor, there: Tensor) -> Tensor:
    """Where each frame lies within its position, from 0 to 1, and the logarithm of how many frames that has: ``(batch,
    2, frames)`` of paths ``(batch, frames)``, of which those frames count that are ``there``; zeros elsewhere.

    Example:
        >>> inside(torch.tensor([[0, 1, 1]]), torch.ones(1, 3))[0, 0]
        tensor([0.5000, 0.2500, 0.7500])
    """
    counts = durations_of(path, there, int(path.max()) + 1)
    own = counts.gather(1, path).clamp(min=1)
    before = counts.cumsum(1).gather(1, path) - own
    place = torch.arange(path.shape[1], device=path.device) + 0.5
    return torch.stack([(place - before) / own, own.log()], 1) * there[:, None]
