"""Glow: a normalizing flow of convolutions at several scales, for images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.distributions.flow import Flow, FlowDistribution, base_and_context
from fusevae.nets.invertible import MultiScale
from fusevae.nets.mlp import MLP


class Glow(Conditional):
    r"""Images x = f(u) for u from a Gaussian, f of convolutions (Kingma & Dhariwal 2018):
    :math:`\log p(x) = \log p(u) + \log|\det \partial u / \partial x|`, exact; a sample costs as much as a density.

    At each level the image is squeezed, then ``steps`` times scaled (activation norm), its channels mixed (an
    invertible 1 x 1 convolution) and half of them moved by an affine coupling; then half leave, with a Gaussian whose
    moments depend on the other half. Only even axes are halved, so a 28 x 28 image has two levels, 14 x 14 and 7 x 7;
    one of odd height and width needs several channels.

    It expects images of about unit scale: put the step ``Standardise`` before it. At its start it is a rotation.

    Args:
        shape: ``(channels, height, width)``.
        levels: at most.
        steps: a level.
        width: of the couplings' nets.
        net: gives, for what is given (an example, a latent, a label), the mean and the log-scale of the Gaussian and a
            ``context`` for the couplings: :meth:`outputs` numbers. Without it the Gaussian is standard, and x depends
            on nothing.
        context: width of what the net gives to the couplings.

    Raises :class:`InputError` where an image of that shape can't be halved.

    Example:
        >>> import torch
        >>> Glow((3, 8, 6), steps=2, width=8)().log_prob(torch.zeros(5, 3, 8, 6)).shape
        torch.Size([5])
        >>> from fusevae.nets.mlp import Embedding
        >>> labels = Embedding(10, Glow.outputs((1, 8, 8), 4))
        >>> Glow((1, 8, 8), steps=2, width=8, net=labels, context=4)(torch.tensor([3, -1])).sample().shape
        torch.Size([2, 1, 8, 8])
    """

    has_mean = False
    zero: Tensor

    def __init__(
        self,
        shape: tuple[int, ...],
        levels: int = 3,
        steps: int = 8,
        width: int = 64,
        net: nn.Module | None = None,
        context: int = 0,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise InputError(f"Glow was given the shape {shape}: expected (channels, height, width); take Flow instead")
        if context and net is None:
            raise InputError(f"context is {context} but there is no net to give it: add net=, or leave context at 0")
        self.shape, self.net, self.context = tuple(shape), net, context
        self.layers = MultiScale(self.shape, levels, steps, width, context)
        self.register_buffer("zero", torch.zeros(torch.Size(shape).numel()), persistent=False)

    outputs = staticmethod(Flow.outputs)

    def forward(self, *given: Tensor | None) -> Distribution:
        base, context = base_and_context(self.net, given, self.zero, self.context)
        there, back = _Way(self.layers, context), _Way(self.layers.inverse, context)
        there.inv, back.inv = back, there
        return FlowDistribution(base, there, self.shape)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        few: dict[str, Any] = {"steps": 2, "width": 4}
        found = [
            (cls((2, 1, 1), **few), ()),
            (cls((1, 1, 2), net=MLP(2, cls.outputs((1, 1, 2), 3), (4,)), context=3, **few), (torch.randn(3, 2),)),
        ]
        for part, _ in found:
            for p in part.layers.parameters():  # away from the start, where the couplings are the identity
                p.data.add_(0.2 * torch.randn_like(p))
        return found


class _Way:
    """One direction of the layers, for vectors ``(*lead, D)`` and a context that broadcasts to them."""

    inv: _Way

    def __init__(self, run: Callable[..., tuple[Tensor, Tensor]], context: Tensor | None) -> None:
        self.run, self.context = run, context

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lead = x.shape[:-1]
        context = self.context
        if context is not None:
            lead = torch.broadcast_shapes(lead, context.shape[:-1])
            context = context.expand(*lead, -1).reshape(-1, context.shape[-1])
        y, log_det = self.run(x.expand(*lead, -1).reshape(-1, x.shape[-1]), context)
        return y.reshape(*lead, -1), log_det.view(lead)
