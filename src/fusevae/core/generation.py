"""How sequences are written: a setting of whoever asks for them, not of the model that writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fusevae.core.errors import InputError


@dataclass(frozen=True)
class Generation:
    r"""How a language model writes its tokens, one after the other.

    The default draws from the model itself: only these samples have the model's probabilities, and only these are
    judged against real data. Of text, whatever is written leaves out what no text is made of: the unknown token, an end
    that comes first, and bytes that make no character; the other tokens keep the model's probabilities, in
    proportion.

    Attributes:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: only the k likeliest tokens are drawn (Fan et al. 2018); 0 for all.
        top_p: only the likeliest tokens that together reach this probability are drawn (Holtzman et al. 2020).
        beams: beam search for the likeliest sequence with so many hypotheses, which draws nothing; 0 or 1 for none.
        longest: tokens after which a sequence is given up; None for what the model says.
        start: tokens that every sequence begins with.
        never: tokens that are never written.
        never_first: tokens that no sequence begins with.
        states: where tokens are parts of something (bytes of a character), the state after each token in each state,
            ``(states, tokens)``, -1 where it is never written; a sequence begins in state 0.

    Raises :class:`InputError` for settings out of range.

    Example:
        >>> Generation(temperature=0.8, top_p=0.95).limited(torch.log(torch.tensor([0.7, 0.29, 0.01]))).exp() > 0
        tensor([ True,  True, False])
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 0
    longest: int | None = None
    start: tuple[int, ...] = ()
    never: tuple[int, ...] = ()
    never_first: tuple[int, ...] = ()
    states: Tensor | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, ok, wanted in (
            ("temperature", self.temperature >= 0 and math.isfinite(self.temperature), "0 or more"),
            ("top_k", self.top_k >= 0, "0 (for all) or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("beams", self.beams >= 0, "0 (for none) or more"),
            ("longest", self.longest is None or self.longest > 0, "more than 0"),
        ):
            if not ok:
                raise InputError(f"{name} is {getattr(self, name)}, expected {wanted}")

    def allowed(self, logits: Tensor, place: int, state: Tensor) -> Tensor:
        """The logits ``(n, tokens)`` of the token at a place, in a state ``(n,)``: -inf for those that are never
        written there."""
        without = [*self.never, *(self.never_first if place == 0 else ())]
        if without:
            logits = logits.index_fill(-1, torch.tensor(without, device=logits.device), -torch.inf)
        return logits if self.states is None else logits.masked_fill(self.states[state] < 0, -torch.inf)

    def after(self, state: Tensor, token: Tensor) -> Tensor:
        """The states ``(n,)`` after tokens ``(n,)`` that are written in some."""
        return state if self.states is None else self.states[state, token].clamp(min=0)

    def on(self, device: torch.device) -> Generation:
        """The same, with what it looks up on a device."""
        return self if self.states is None else replace(self, states=self.states.to(device))

    def limited(self, logits: Tensor) -> Tensor:
        """The logits ``(..., tokens)`` that are drawn from: -inf for tokens that are not."""
        if self.temperature not in (0, 1):
            logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ordered, index = logits.sort(descending=True)
            probabilities = ordered.softmax(-1)
            beyond = probabilities.cumsum(-1) - probabilities >= self.top_p  # the likeliest is never left out
            logits = logits.masked_fill(beyond.scatter(-1, index, beyond), -torch.inf)
        return logits


GREEDY = Generation(temperature=0)

_current: ContextVar[Generation | None] = ContextVar("generation", default=None)


@contextmanager
def generating(how: Generation | None) -> Iterator[None]:
    """Inside, language models write in this way, however deep in a model they are nested; None leaves what holds."""
    token = _current.set(how or _current.get())
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Generation:
    """The way that holds here: draws from the model itself, unless :func:`generating` says otherwise."""
    return _current.get() or Generation()
