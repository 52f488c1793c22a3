"""Normalizing flows: a Gaussian taken through invertible nets (zuko's), as prior, posterior or likelihood."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, constraints
from torch.distributions import Normal as TorchNormal

from fusevae.core.conditional import Conditional, parameters
from fusevae.core.errors import InputError
from fusevae.distributions.gaussian import smooth_bound
from fusevae.nets.mlp import MLP, Constant, as_shape
from fusevae.nets.outset import untouched

Structure = Literal["autoregressive", "inverse", "coupling"]
Kind = Literal["affine", "spline"]

MOST = 4096  # numbers of x: the masks of the nets grow with their square (a spline's are 23 bytes for each pair)
FAR = 1e4  # deviations, beyond which the nets of the transforms see no more of how far off a number is


class Flow(Conditional):
    r"""x = f(u) for u from a Gaussian: :math:`\log p(x) = \log p(u) + \log|\det \partial u / \partial x|`, exact.

    Args:
        dims: of x, a vector; or the shape of x, an image, say, whose numbers are taken in their order.
        structure: ``"autoregressive"``: the density takes one pass, a sample ``dims`` passes (MAF, Papamakarios et al.
            2017): a prior. ``"inverse"``: the reverse (IAF, Kingma et al. 2016): a posterior, whose samples carry their
            density with them. ``"coupling"``: both take two passes (RealNVP, Dinh et al. 2017); the halves are a
            checkerboard where x is an image, the first and the last numbers where it is a vector.
        kind: of the functions of one number: ``"affine"``, or ``"spline"``, rational-quadratic between -5 and 5 and the
            identity outside (Durkan et al. 2019).
        transforms: how many are chained; the order of the dimensions is reversed after each.
        hidden: widths of the hidden layers of each.
        bins: of a spline.
        net: gives, for what is given (an example, a latent, a label), the mean and the log-scale of the Gaussian and a
            ``context`` for the transforms: :meth:`outputs` numbers. Without it the Gaussian is standard, and x depends
            on nothing.
        context: width of what the net gives to the transforms.

    Two posteriors of the literature: ``Flow(50, "inverse", net=MLP(784, Flow.outputs(50, 64)), context=64)`` is the one
    of IAF, with ``kind="spline"`` that of a residual VAE with splines.

    Example:
        >>> import torch
        >>> Flow(3)().log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
        >>> q = Flow(3, "inverse", net=MLP(4, Flow.outputs(3, 2)), context=2)(torch.zeros(5, 4))
        >>> q.rsample().shape
        torch.Size([5, 3])
    """

    has_mean = False
    zero: Tensor

    def __init__(
        self,
        dims: int | tuple[int, ...],
        structure: Structure = "coupling",
        kind: Kind = "spline",
        transforms: int = 4,
        hidden: tuple[int, ...] = (128, 128),
        bins: int = 8,
        net: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        from zuko.flows.autoregressive import MaskedAutoregressiveTransform
        from zuko.lazy import LazyComposedTransform
        from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

        super().__init__()
        if structure not in ("autoregressive", "inverse", "coupling") or kind not in ("affine", "spline"):
            raise InputError(
                f"Flow was given structure={structure!r} and kind={kind!r}: expected 'autoregressive', 'inverse' or "
                "'coupling', and 'affine' or 'spline'"
            )
        if context and net is None:
            raise InputError(f"context is {context} but there is no net to give it: add net=, or leave context at 0")
        self.shape, self.structure, self.net, self.context = as_shape(dims), structure, net, context
        size = math.prod(self.shape)
        if size > MOST:
            raise InputError(
                f"Flow was given {size:,} numbers: expected at most {MOST:,}, since the masks of its nets grow with "
                "their square; take glow, whose nets are convolutions, smaller pictures (data.size=[32,32]), or a flow "
                "over latents (a prior)"
            )
        univariate: Callable[..., Any] = MonotonicAffineTransform
        shapes: list[tuple[int, ...]] = [(), ()]
        if kind == "spline":
            univariate, shapes = functools.partial(MonotonicRQSTransform, slope=1e-3), [(bins,), (bins,), (bins - 1,)]
        order = checkerboard(self.shape) if structure == "coupling" else torch.arange(size)
        parts: list[Any] = []
        for i in range(transforms):
            if i > 1 and size > 1:  # masks take seconds of thousands of numbers, and are those of the one before last
                parts.append(_anew(parts[i - 2]))
                continue
            parts.append(
                MaskedAutoregressiveTransform(
                    size,
                    context,
                    passes=2 if structure == "coupling" else None,
                    order=size - 1 - order if i % 2 else order,
                    univariate=univariate,
                    shapes=shapes,
                    hidden_features=hidden,
                    activation=nn.SiLU,
                )
            )
        for part in parts:  # near the identity at the start
            if size > 1:
                part.hyper.register_forward_pre_hook(_within)
                part.hyper[-1].weight.data.mul_(0.1)
                part.hyper[-1].bias.data.zero_()
        self.chain = LazyComposedTransform(*parts)
        self.register_buffer("zero", torch.zeros(size), persistent=False)

    @staticmethod
    def outputs(dims: int | tuple[int, ...], context: int = 0) -> int:
        """How many numbers the net gives."""
        return 2 * math.prod(as_shape(dims)) + context

    def forward(self, *given: Tensor | None) -> Distribution:
        base, context = base_and_context(self.net, given, self.zero, self.context)
        chain = self.chain(context)
        inverse = self.structure == "inverse"
        return FlowDistribution(base, chain.inv if inverse else chain, self.shape, dear=inverse)

    @torch.no_grad()
    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Over data of unit scale the flow starts as their constant model: its transforms as good as the identity (of
        weights of 0 it learns more slowly)."""
        lasts = [part.hyper[-1] for part in self.chain.transforms] if len(self.zero) > 1 else []
        if all(untouched(last.bias) for last in lasts):
            for last in lasts:
                last.weight.mul_(0.1)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        few: dict[str, Any] = {"transforms": 2, "hidden": (4,), "bins": 3}
        x = torch.randn(3, 2)
        return [
            (cls(2, "autoregressive", "affine", **few), ()),
            (cls(2, "coupling", "spline", **few), ()),
            (cls(2, "inverse", "affine", net=MLP(2, cls.outputs(2, 3), (4,)), context=3, **few), (x,)),
            (cls(2, "coupling", "spline", net=MLP(2, cls.outputs(2), (4,)), **few), (x,)),
            (cls(2, "inverse", "spline", net=Constant(cls.outputs(2, 1), std=0.3), context=1, **few), ()),
            (cls((1, 1, 2), "coupling", "affine", **few), ()),
        ]


def _anew(part: Any) -> Any:
    """The same transform with weights of its own, as they are at the start. Tensors are cloned one by one, so that a
    budget of memory counts them."""
    tensors: dict[int, Any] = {id(p): nn.Parameter(p.detach().clone()) for p in part.parameters()}
    found = copy.deepcopy(part, tensors | {id(buffer): buffer.clone() for buffer in part.buffers()})
    for layer in found.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    return found


def _within(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
    """What a net is given, kept within :data:`FAR`: a number far from all others scales and shifts the rest by as much
    as one at the edge does, so that no density overflows, and the transforms stay invertible."""
    return (given[0].clamp(-FAR, FAR),)


def checkerboard(shape: tuple[int, ...]) -> Tensor:
    """The rank of each number of an event: those on the black fields of an image come before those on the white; in a
    vector they keep their order.

    Example:
        >>> checkerboard((1, 2, 2)), checkerboard((3,))
        (tensor([0, 2, 3, 1]), tensor([0, 1, 2]))
    """
    if len(shape) == 1:
        return torch.arange(shape[0])
    colour = sum(torch.meshgrid(*map(torch.arange, shape), indexing="ij")) % 2
    return torch.as_tensor(colour).flatten().argsort(stable=True).argsort()


def base_and_context(
    net: nn.Module | None, given: Sequence[Tensor | None], zero: Tensor, context: int
) -> tuple[Distribution, Tensor | None]:
    """The Gaussian that a flow starts from, over vectors as long as ``zero``, and what its transforms are given."""
    mean, scale, rest = zero, torch.ones_like(zero), None
    if net is not None:
        mean, raw, rest = parameters(net, given).split([len(zero), len(zero), context], -1)
        scale = smooth_bound(raw, -7.0, 5.0).exp()
    base = Independent(TorchNormal(mean, scale, validate_args=False), 1, validate_args=False)
    return base, rest if context else None


class FlowDistribution(Distribution):
    """x of ``shape`` whose flat numbers are taken by ``into`` to u from ``base``; a sample remembers its own u, so that
    its density costs nothing more. ``dear`` says that the density of any other x takes a pass for each dimension."""

    arg_constraints = {}
    has_rsample = True

    def __init__(self, base: Distribution, into: Any, shape: tuple[int, ...], dear: bool = False) -> None:
        self.base, self.into, self.dear = base, into, dear
        self._drawn: tuple[Tensor, Tensor, Tensor] | None = None
        super().__init__(base.batch_shape, torch.Size(shape), validate_args=False)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:
        u = self.base.rsample(sample_shape)
        with torch.autocast(u.device.type, enabled=False):  # the way back must be the way in, digit for digit
            x, log_det = self.into.inv.call_and_ladj(u)
        x = x.unflatten(-1, self.event_shape)
        self._drawn = x, u, -log_det
        return x

    def log_prob(self, value: Tensor) -> Tensor:
        if self._drawn is not None and value is self._drawn[0]:
            _, u, log_det = self._drawn
        else:
            with torch.autocast(value.device.type, enabled=False):
                u, log_det = self.into.call_and_ladj(value.flatten(value.dim() - len(self.event_shape)))
        return self.base.log_prob(u) + log_det
