"""Beam search: the likeliest sequences of a language model, approximately."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fusevae.core.generation import Generation
from fusevae.core.vocabulary import END


def search(
    run: Callable[[Tensor, list[Tensor | None]], Tensor],
    given: list[Tensor | None],
    start: Tensor,
    how: Generation,
    longest: int,
    kept: Any,
) -> Tensor:
    r"""The sequence of the highest :math:`\log p(x)` among ``how.beams`` hypotheses that are kept at every token,
    ``(n, length)`` (Lowerre 1976); one that has ended stays among them with the probability that it has.

    Args:
        run: the logits after tokens ``(n * beams, length)``.
        given: what the model is given for each sequence.
        start: an end, and the tokens that every sequence begins with, ``(n, 1 + m)``.
        how: the number of beams.
        longest: tokens after which an hypothesis is given up.
        kept: what the net keeps of the positions so far.
    """
    n, beams = len(start), how.beams
    given = [g if g is None else g.repeat_interleave(beams, 0) for g in given]
    new = start.repeat_interleave(beams, 0)
    sequences = new[:, 1:]
    # at first all hypotheses are one
    score = torch.full((n, beams), -torch.inf, device=start.device)
    score[:, 0] = 0.0
    done = torch.zeros(n, beams, dtype=torch.bool, device=start.device)
    first = torch.arange(n, device=start.device)[:, None] * beams
    state = start.new_zeros(n * beams)
    for place in range(len(how.start), longest):
        log_p = how.allowed(run(new, given)[:, -1], place, state).log_softmax(-1).view(n, beams, -1)
        tokens = log_p.shape[-1]
        log_p = log_p.masked_fill(done[..., None], -torch.inf)
        log_p[..., END] = log_p[..., END].masked_fill(done, 0.0)
        score, best = (score[..., None] + log_p).flatten(1).topk(beams)
        rows = (first + best // tokens).flatten()
        new = (best % tokens).view(-1, 1)
        state = how.after(state[rows], new[:, 0])
        sequences = torch.cat([sequences[rows], new], 1)
        done = done.flatten()[rows].view(n, beams) | (new.view(n, beams) == END)
        kept.choose(rows)
        if bool(done.all()):
            break
    best = score.argmax(1, keepdim=True)
    return sequences.view(n, beams, -1).gather(1, best[..., None].expand(-1, -1, sequences.shape[1])).squeeze(1)
