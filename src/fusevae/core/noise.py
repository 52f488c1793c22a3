"""Random numbers keyed by seed, step and position in the batch.

Every draw that the library makes goes through :func:`sample`, :func:`rsample`, :func:`uniform`, :func:`normal` or
:func:`kept` (the masks of dropout). Inside
:func:`keyed`, the generators are seeded by a key, so that the noise of a step depends on nothing that
happened before it: a resumed run needs no stored generator state. Where a process holds only some rows of the
global batch (several processes, or gradient accumulation), the same numbers are drawn for the whole batch and
this part's rows are kept, so that the number of processes doesn't change a result.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Rows:
    """Which rows ``start:stop`` of a global batch of ``total`` examples are here."""

    start: int
    stop: int
    total: int

    @property
    def here(self) -> int:
        return self.stop - self.start


_turn = threading.RLock()
_rows: ContextVar[Rows | None] = ContextVar("rows", default=None)
_alike: ContextVar[bool] = ContextVar("alike", default=False)


def key(*parts: int | str) -> int:
    """A 63-bit seed from any integers and words, the same on every machine.

    Example:
        >>> key(0, "step", 1) == key(0, "step", 1) != key(0, "step", 2)
        True
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


@contextmanager
def keyed(*parts: int | str, device: torch.device | str = "cpu", rows: Rows | None = None) -> Iterator[None]:
    """Seed the generators of the CPU and of ``device`` by ``key(*parts)`` for the draws inside.

    ``rows`` says which rows of the global batch this process holds; ``None`` means all of them. The state
    that the generators had before is not restored; :func:`preserved` does that once around a whole loop.
    """
    seed = key(*parts)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would visit every backend: 200 us a step
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(seed)
    token = _rows.set(rows if rows is not None and rows.here != rows.total else None)
    try:
        yield
    finally:
        _rows.reset(token)


@contextmanager
def preserved(device: torch.device | str = "cpu") -> Iterator[None]:
    """Leave the caller's random state as it was. The generators are the process's, so one thread is inside at a time:
    what each draws is what it would draw alone."""
    device = torch.device(device)
    with _turn, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def alike() -> Iterator[None]:
    """Inside, :func:`rsample` draws the same noise all along the first dimension of a batch of two or more: what is
    compared along it then differs by less chance, and each by itself is distributed as it was.

    Example:
        >>> from torch.distributions import Normal
        >>> with alike():
        ...     x = rsample(Normal(torch.tensor([[0.0], [5.0]]), torch.ones(2, 1)))
        >>> bool((x[1] - x[0] - 5.0).abs() < 1e-5)
        True
    """
    token = _alike.set(True)
    try:
        yield
    finally:
        _alike.reset(token)


def rsample(p: Distribution, sample_shape: Sequence[int] = ()) -> Tensor:
    """Reparameterised samples ``(*sample_shape, *batch, *event)`` of ``p`` (Kingma & Welling 2014)."""
    if not _alike.get() or len(p.batch_shape) < 2:
        return _draw(p.rsample, p, sample_shape)
    with _Alike(len(sample_shape), p.batch_shape[0]):
        return _draw(p.rsample, p, sample_shape)


def sample(p: Distribution, sample_shape: Sequence[int] = ()) -> Tensor:
    """Samples ``(*sample_shape, *batch, *event)`` of ``p`` without a gradient."""
    return _draw(p.sample, p, sample_shape)


def sample_to(p: Distribution, shape: Sequence[int]) -> Tensor:
    """Samples whose leading dimensions are exactly ``shape``, of which ``p.batch_shape`` is the end.

    A prior without a condition has no batch; this draws one sample an example from it.
    """
    shape = torch.Size(shape)
    return sample(p, shape[: len(shape) - len(p.batch_shape)])


def uniform(shape: Sequence[int], device: torch.device | str = "cpu", dim: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) whose dimension ``dim`` is the batch."""
    with _whole_batch(dim):
        return torch.rand(tuple(shape), device=device)


def even(shape: Sequence[int], device: torch.device | str = "cpu", dim: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) that are evenly spread over the batch, dimension ``dim``: of n rows, in an order by
    chance, each is 1/n from the next, so that a mean over the batch has less noise (Kingma et al. 2021)."""
    rows, shape = _rows.get(), list(shape)
    start, total = (0, shape[dim]) if rows is None else (rows.start, rows.total)
    first = torch.rand([1 if i == dim else n for i, n in enumerate(shape)], device=device)
    place = torch.rand(total, device=device).argsort()[start : start + shape[dim]] / max(1, total)
    return (first + place.view(-1, *[1] * (len(shape) - 1 - dim))) % 1


def normal(shape: Sequence[int], device: torch.device | str = "cpu", dim: int = 0) -> Tensor:
    """Standard normal numbers whose dimension ``dim`` is the batch."""
    with _whole_batch(dim):
        return torch.randn(tuple(shape), device=device)


def kept(x: Tensor, rate: float) -> Tensor:
    """A mask for ``x`` of shape ``(batch, ...)``, or of several copies of the batch one after the other: 0 with
    probability ``rate``, to 1 / 65,536, and else 1 / (1 - rate), so that its mean is 1.

    Four numbers are made of one draw of 64 bits, a fifth of the time of ``bernoulli_`` on a CPU.
    """
    rows, shape = _rows.get(), x.shape
    if rows is not None:
        if len(x) % rows.here:
            raise RuntimeError(
                f"a mask of shape {list(shape)} can't be drawn for a part of a batch (rows {rows.start} to {rows.stop} "
                f"of {rows.total}): give it the batch as its first dimension"
            )
        shape = torch.Size((len(x) // rows.here * rows.total, *shape[1:]))
    left_out, count = round(rate * 2**16), shape.numel()
    if left_out == 2**16:
        return torch.zeros_like(x)
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    drawn = drawn.view(torch.int16)[:count].view(shape)
    if rows is not None:
        drawn = rows_of(drawn, rows)
    return (drawn >= left_out - 2**15).to(x.dtype).mul_(2**16 / (2**16 - left_out))


def rows_of(whole: Tensor, rows: Rows) -> Tensor:
    """The rows of a part of the batch, from what was made for the whole batch or for several copies of it."""
    return whole.view(-1, rows.total, *whole.shape[1:])[:, rows.start : rows.stop].flatten(0, 1)


def part() -> Rows | None:
    """Which rows of the global batch are here, where they are not all."""
    return _rows.get()


def choose(logits: Tensor, sample_shape: Sequence[int] = (), dim: int = -1) -> Tensor:
    """Indices of categories along ``dim`` of ``logits``, ``(*sample_shape, *logits.shape without dim)``.

    By Gumbel's trick, a number for each category, so that a draw doesn't depend on its batch.
    """
    uniform = torch.rand(torch.Size(sample_shape) + logits.shape, device=logits.device).clamp_(1e-20, 1 - 1e-7)
    return (logits.detach() - uniform.log_().neg_().log_()).argmax(dim)


def inverse(logits: Tensor, uniform: Tensor) -> Tensor:
    """The categories ``(n,)`` of logits ``(n, categories)`` at which their distribution functions pass ``uniform``.

    Example:
        >>> inverse(torch.tensor([[0.0, -torch.inf, 0.0]] * 2), torch.tensor([0.4, 0.6]))
        tensor([0, 2])
    """
    upto = logits.double().softmax(-1).cumsum(-1)
    return torch.searchsorted(upto, uniform.double()[:, None] * upto[:, -1:], right=True).squeeze(-1)


def _draw(draw: Any, p: Distribution, sample_shape: Sequence[int]) -> Tensor:
    shape = torch.Size(sample_shape)
    if _rows.get() is None or getattr(p, "draws_keyed", False):  # a composite draws its parts by these functions
        return draw(shape)
    with _whole_batch(len(shape) + len(p.batch_shape) - 1):
        return draw(shape)


@contextmanager
def _whole_batch(dim: int) -> Iterator[None]:
    rows = _rows.get()
    if rows is None:
        yield
        return
    with _WholeBatch(rows, dim):
        yield


_RANDOM = {
    getattr(torch.ops.aten, name)
    for name in (
        "normal normal_ randn randn_like rand rand_like uniform_ bernoulli bernoulli_ exponential_ multinomial "
        "randint randint_like random_ cauchy_ log_normal_ geometric_ poisson binomial _standard_gamma"
    ).split()
}
#: how many random numbers an element uses depends on its parameter, or their order isn't that of the elements
_UNEVEN = {"multinomial", "poisson", "binomial", "_standard_gamma"}


#: what fills a tensor with noise whose distribution no other tensor says
_FILLS = {torch.ops.aten.normal_, torch.ops.aten.uniform_, torch.ops.aten.exponential_}


class _Alike(TorchDispatchMode):
    """Fills a tensor with the same random numbers all along dimension ``dim``, where it has ``size`` there."""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.dim, self.size = dim, size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        x: Any = args[0] if func.overloadpacket in _FILLS else None
        if x is None or x.dim() <= self.dim or x.shape[self.dim] != self.size:
            return func(*args, **(kwargs or {}))
        first = func(torch.empty_like(x.narrow(self.dim, 0, 1)), *args[1:], **(kwargs or {}))
        return x.copy_(first.expand_as(x))


class _WholeBatch(TorchDispatchMode):
    """Runs each random operation for the whole global batch and keeps this part's rows of dimension ``dim``.

    Tensor arguments (a probability per element, say) are widened by repeating a row: each element consumes its
    own random numbers whatever its parameter is, so the rows kept are those that one process would draw.
    """

    def __init__(self, rows: Rows, dim: int) -> None:
        super().__init__()
        self.rows, self.dim = rows, dim

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket not in _RANDOM:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        shape = next(a for a in args if isinstance(a, (Tensor, list, tuple)))
        shape = list(shape.shape) if isinstance(shape, Tensor) else list(shape)
        dim, rows = self.dim, self.rows
        if name in _UNEVEN or not 0 <= dim < len(shape) or shape[dim] != rows.here:
            raise RuntimeError(
                f"{name} of shape {shape} can't be drawn for a part of a batch (rows {rows.start} to {rows.stop} of "
                f"{rows.total}): draw a number for each element, with the batch as its own dimension (categories by "
                "fusevae.core.noise.choose)"
            )
        out = func(*(self._widen(a, dim) for a in args), **kwargs)
        here = out.narrow(dim, rows.start, rows.here)
        if func._schema.is_mutable:
            args[0].copy_(here)
            return args[0]
        return here.contiguous()

    def _widen(self, value: Any, dim: int) -> Any:
        rows = self.rows
        if isinstance(value, Tensor) and value.dim() > dim and value.shape[dim] == rows.here:
            index = torch.zeros(rows.total, dtype=torch.long, device=value.device)
            index[rows.start : rows.stop] = torch.arange(rows.here, device=value.device)
            return value.index_select(dim, index)
        if isinstance(value, (list, tuple)) and len(value) > dim:
            return [rows.total if d == dim else n for d, n in enumerate(value)]
        return value
