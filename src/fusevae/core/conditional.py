"""Conditional: a module whose forward returns a distribution. Every model here is one."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core.description import Described
from fusevae.core.errors import SlotError
from fusevae.core.levels import Level
from fusevae.core.trace import Trace


class Conditional(Described, nn.Module):
    r"""A conditional distribution :math:`p(x \mid given)`.

    The same class stands as prior (nothing or a label is given), posterior (an example and a label) or likelihood
    (a latent and a label): its role is where it is nested. ``forward(*given)`` returns a
    :class:`torch.distributions.Distribution` whose ``batch_shape`` is that of the given tensors; a condition that
    is missing is ``None``.

    Attributes:
        level: what the distribution promises (:class:`Level`).
        discrete: whether it is a mass function (sums to 1) rather than a density (integrates to 1).
        mixed: whether it is a density over some of its dimensions and a mass over others, each for the values that are
            there (NaN is one that is missing).
        space: where its values lie: ``"reals"`` (arrays of numbers, whatever their range), ``"sphere"`` (vectors of
            length 1), ``"one-hot"``, ``"sequences"`` (tokens up to an end) or ``"frames"`` (vectors, any
            number). Two of different spaces have no finite KL.
        has_mean: whether its distributions have a mean that can be computed (an autoregressive model's can't).
        deterministic: whether its bound draws nothing, so that importance weighting can't tighten it.
        has_latents: whether it infers latents: it then has ``trace``, ``generate``, ``reconstruct``, ``encode`` and
            ``decode``.
        needs: about how many updates, and examples, a model of data takes until its samples show what these are; (0, 0)
            for few.
    """

    level: Level = Level.DENSITY
    discrete: bool = False
    mixed: bool = False
    space: str = "reals"
    has_mean: bool = True
    has_latents: bool = False
    deterministic: bool = False
    needs: tuple[int, int] = (0, 0)

    @abstractmethod
    def forward(self, *given: Tensor | None) -> Distribution:
        """The distribution, given an example, a latent or conditions of shape ``(*batch, ...)``."""

    # what has latents says how, in one form, so that preprocessing can stand before any of them

    def trace(self, x: Tensor, *conditions: Tensor | None, samples: Sequence[int] = ()) -> Trace:
        """Encode ``x`` of shape ``(*batch, *event)``, sample latents ``(*samples, *batch, ...)``, decode."""
        raise self._without_latents()

    def generate(self, shape: Sequence[int], *conditions: Tensor | None) -> Distribution:
        """p(x | z) for latents drawn from the prior, with batch shape ``shape``: its mean or its samples are new x."""
        raise self._without_latents()

    def reconstruct(self, x: Tensor, *conditions: Tensor | None) -> Distribution:
        """p(x | z) at the most typical latent of each ``x``."""
        raise self._without_latents()

    def encode(self, x: Tensor, *conditions: Tensor | None) -> dict[str, Tensor]:
        """The arrays that the latents name, each ``(*batch, ...)``."""
        raise self._without_latents()

    def decode(self, z: Tensor, *conditions: Tensor | None) -> Distribution:
        """p(x | z) for latents ``(*batch, ...)`` as the first array of :meth:`encode` holds them; in a hierarchy these
        are of the top level, and those below are the means of their prior."""
        raise self._without_latents()

    def inference(self) -> list[nn.Module]:
        """The parts that only infer latents: q and its nets."""
        raise self._without_latents()

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Take from training ``examples()`` what stays (means and ranges of preprocessing) and what the training starts
        from (a codebook, the mean of a decoder's outputs); where there is nothing, they are not asked for."""

    def _without_latents(self) -> SlotError:
        return SlotError(f"{type(self).__name__} has no latents to infer: take a model that has (a VAE)")

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        """Tiny examples, each with what is given to it; every law is tested on each of them."""
        return []

    def __call__(self, *given: Tensor | None) -> Distribution:
        return super().__call__(*given)


def batch_of(given: Sequence[Tensor | None]) -> torch.Size:
    """The batch shape of what is given: a label has no event, a latent is a vector."""
    shapes = [g.shape[:-1] if g.is_floating_point() else g.shape for g in given if g is not None]
    return torch.broadcast_shapes(*shapes) if shapes else torch.Size()


def flattened(condition: Tensor | None, lead: Sequence[int]) -> Tensor | None:
    """Labels, or vectors, broadcast to ``(*lead, ...)`` and with these dimensions made one: a row for each example."""
    if condition is None:
        return None
    event = condition.shape[-1:] if condition.is_floating_point() else torch.Size()
    return condition.expand(*lead, *event).reshape(-1, *event)


def parameters(net: nn.Module, given: Sequence[Tensor | None]) -> Tensor:
    """What a net gives for a distribution, in float32 whatever the precision of the net.

    A net takes the example and as many conditions as its ``forward`` has room for: ``nn.Sequential`` none.
    """
    out: Tensor = net(*given[: room(type(net))])  # type: ignore[arg-type]
    return out.float()


@functools.cache
def room(net: type[nn.Module]) -> int | None:
    """How many positional arguments a net's ``forward`` takes; None for any number."""
    kinds = [p.kind for p in inspect.signature(net.forward).parameters.values()][1:]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return None
    return sum(k in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for k in kinds)


def event_dim(net: nn.Module, given: int | None) -> int:
    """How many trailing dimensions one event of a net's output has: as given, as the net says, or 1."""
    if given is not None:
        return given
    outputs = getattr(net, "outputs", None)
    return len(outputs) if isinstance(outputs, tuple) else 1
