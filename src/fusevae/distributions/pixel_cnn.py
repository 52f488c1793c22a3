"""PixelCNN: images pixel by pixel in raster order, each given all before it, by masked convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from fusevae.core import noise
from fusevae.core.conditional import Conditional, parameters
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.distributions.categorical import on_grid, shares
from fusevae.distributions.discretized_logistic import DiscretizedLogistic, _LogisticMixture, outset, reach
from fusevae.nets.masked_conv import ChannelHead, PixelNet, Walk
from fusevae.nets.mlp import MLP
from fusevae.nets.outset import start_at

Kind = Literal["bernoulli", "categorical", "logistic"]
AT_ONCE = 2**22  # activations of one layer held at once where no gradient is wanted


class PixelCNN(Conditional):
    r""":math:`p(x \mid given) = \prod_{i} p(x_i \mid x_{<i}, given)` over the pixels i in raster order, and within a
    pixel over its channels, exact: gated masked convolutions (van den Oord et al. 2016).

    A likelihood of images, a prior over a grid of codes, or a decoder. A strong one: as a decoder it may ignore the
    latent, unless it sees only near pixels, so that the latent must carry the rest (Gulrajani et al. 2017; Chen et al.
    2017). What it sees is :attr:`reach`: that many rows above, and in those and in its own row that many columns to
    each side, all that come before the pixel and nothing else. Kernels ``(7, 1, 1)`` see 3 pixels far, and are cheap.

    Args:
        shape: ``(channels, height, width)``.
        kind: ``"bernoulli"`` for x in {0, 1}; ``"categorical"``: ``levels`` values without an order, such as codes;
            ``"logistic"``: ``levels`` values by a mixture of discretized logistics for a whole pixel, the channels
            linked (PixelCNN++, Salimans et al. 2017; without its halving and doubling of the image).
        width: channels of each layer.
        kernels: sizes of the layers' kernels, odd; 1 for a layer of each pixel by itself.
        levels: number of values, evenly spaced.
        low: the smallest value.
        high: the largest; ``low + levels - 1`` by default, so that x are integers.
        components: logistics in the mixture.
        context: width of a vector that is given (a latent), for every layer; 0 for none.
        classes: number of labels, or :class:`Conditions`, that every layer is given; 0 for none.
        net: maps what is given, a latent and a label, to features ``(channels, height, width)``: every layer is given
            those of its own pixel.
        by_place: whether a label says something to each place of the first layer, too.

    Example:
        >>> import torch
        >>> p = PixelCNN((1, 4, 4), width=4, kernels=(3, 3), context=2)
        >>> p(torch.zeros(5, 2)).log_prob(torch.ones(5, 1, 4, 4)).shape, p.reach
        (torch.Size([5]), 2)
    """

    discrete = True
    has_mean = False

    def __init__(
        self,
        shape: tuple[int, ...],
        kind: Kind = "bernoulli",
        width: int = 32,
        kernels: tuple[int, ...] = (7, 3, 3, 3, 3),
        levels: int = 2,
        low: float = 0.0,
        high: float | None = None,
        components: int = 5,
        context: int = 0,
        classes: int | Conditions = 0,
        net: nn.Module | None = None,
        by_place: bool = False,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise InputError(f"PixelCNN was given shape={tuple(shape)}: expected (channels, height, width)")
        if kind not in ("bernoulli", "categorical", "logistic"):
            raise InputError(f"PixelCNN was given kind={kind!r}: expected 'bernoulli', 'categorical' or 'logistic'")
        if kind == "bernoulli" and (levels, low, high) not in ((2, 0, None), (2, 0, 1)):
            raise InputError(f"kind='bernoulli' is for values 0 and 1: for {levels} levels take 'categorical'")
        if levels < 2:
            raise InputError(f"levels is {levels}, expected at least 2")
        if context and net is not None:
            raise InputError("PixelCNN was given both context and net: give the vector to the net, and leave context 0")
        self.shape, self.kind, self.levels, self.components = tuple(shape), kind, levels, components
        self.low, self.high = float(low), float(low + levels - 1 if high is None else high)
        channels = shape[0]
        self.embedding: nn.Embedding | None = None
        self.each = 1  # numbers that stand for a channel
        if kind == "categorical":
            self.each = min(width, levels)
            self.embedding = nn.Embedding(levels, self.each)
        features = 0
        if net is not None:
            outputs = getattr(net, "outputs", None)
            if not isinstance(outputs, tuple) or len(outputs) != 3 or outputs[1:] != self.shape[1:]:
                raise InputError(
                    f"the net's outputs are {outputs}, expected (channels, {shape[1]}, {shape[2]}): ConvDecoder, say"
                )
            features = outputs[0]
        inputs = channels * self.each + (kind == "logistic")  # one channel of ones says where the image ends
        self.layers = PixelNet(
            inputs, width, kernels, context, features, classes, (shape[1], shape[2]) if by_place else None
        )
        self.head: nn.Module
        if kind == "logistic":
            outputs = DiscretizedLogistic.outputs(self.shape, components)[0]
            self.head = ChannelHead(width, 1, 0, outputs)
        else:
            self.head = ChannelHead(width, channels, self.each, 1 if kind == "bernoulli" else levels)
        nn.init.zeros_(cast(Tensor, self.head.last.bias))
        self.context, self.classes, self.net = context, classes, net

    @property
    def reach(self) -> int:
        """How many rows up, and columns to each side, a pixel's probability depends on."""
        return self.layers.reach

    @property
    def spacing(self) -> float:
        """Between neighbouring values."""
        return (self.high - self.low) / (self.levels - 1)

    def forward(self, *given: Tensor | None) -> Distribution:
        rest = list(given)
        vector = rest.pop(0) if self.context else None
        features = parameters(self.net, given) if self.net is not None else None
        if features is not None:
            rest.pop(0)
        label = rest[0] if rest and self.classes else None
        return _PixelCNN(self, vector, label, features)

    def seen(self, x: Tensor) -> Tensor:
        """Images ``(n, channels, height, width)`` as the layers see them; 0 is outside of the image."""
        if self.kind == "bernoulli":
            return 2 * x - 1
        if self.embedding is not None:
            index = ((x - self.low) / self.spacing).round().long()
            return F.embedding(index, self.embedding.weight).movedim(-1, 2).flatten(1, 2)
        return torch.cat([self.scaled(x), torch.ones_like(x[:, :1])], 1)

    def scaled(self, x: Tensor) -> Tensor:
        """Values between -1 and 1, where the logistics begin."""
        return 2 * (x - self.low) / (self.high - self.low) - 1

    def start_from(self, examples: Callable[[], Tensor]) -> None:
        """Each pixel starts at what all have on the whole."""
        how = self.components, self.levels, -1.0, 1.0
        if self.kind == "logistic":

            def values() -> Tensor:
                return self.scaled(examples().float())

            start_at(self.head, values, lambda x: outset(x, *how), lambda x: reach(x, *how))
        elif self.kind == "bernoulli":
            start_at(self.head, examples, lambda x: torch.logit((x.sum(0) + 0.5) / (len(x) + 1)))
        else:
            start_at(self.head, examples, lambda x: shares(x, self.levels, self.low, self.high))

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Any, ...]]]:
        z, small = torch.randn(3, 2), {"width": 3, "kernels": (3, 3, 1)}
        net = MLP(2, (2, 2, 2), hidden=(4,))
        return [
            (cls((1, 2, 2), context=2, **small), (z,)),  # type: ignore[arg-type]
            (cls((2, 2, 2), net=net, **small), (z,)),  # type: ignore[arg-type]
            (cls((1, 2, 2), classes=2, by_place=True, **small), (torch.tensor([0, 1, -1]),)),  # type: ignore[arg-type]
            (cls((1, 2, 2), "categorical", levels=3, low=-1.0, high=1.0, **small), ()),  # type: ignore[arg-type]
            (cls((1, 2, 2), "logistic", levels=3, components=2, context=2, **small), (z,)),  # type: ignore[arg-type]
        ]


class _PixelCNN(Distribution):
    arg_constraints = {}

    def __init__(self, owner: PixelCNN, vector: Tensor | None, label: Tensor | None, features: Tensor | None) -> None:
        self.owner = owner
        numbers = int(label is not None and label.is_floating_point())
        self.given = [(vector, 1), (label, numbers), (features, 3)]  # each with the dimensions of its event
        leads = [g.shape[: g.dim() - dims] for g, dims in self.given if g is not None]
        super().__init__(torch.broadcast_shapes(*leads), torch.Size(owner.shape), validate_args=False)

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        owner = self.owner
        if owner.kind == "bernoulli":
            return constraints.independent(constraints.boolean, 3)
        return on_grid(owner.low, owner.high, owner.spacing, 3)

    def _flat(self, lead: torch.Size) -> list[Tensor | None]:
        """What is given, its leading dimensions ``lead`` flattened into one."""
        return [
            g if g is None else g.expand(*lead, *g.shape[g.dim() - dims :]).reshape(-1, *g.shape[g.dim() - dims :])
            for g, dims in self.given
        ]

    def log_prob(self, value: Tensor) -> Tensor:
        shape = self.event_shape
        lead = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        x = value.to(torch.float32).expand(*lead, *shape).reshape(-1, *shape)
        given = self._flat(lead)
        if torch.is_grad_enabled():
            return self._log_prob(x, given).view(lead)
        return in_parts(self._log_prob, x, given, shape[1] * shape[2] * self.owner.layers.width).view(lead)

    def _log_prob(self, x: Tensor, given: list[Tensor | None]) -> Tensor:
        owner = self.owner
        seen = owner.seen(x)
        h = owner.layers(seen, owner.layers.conditions(*given))
        out = owner.head(h, seen).float()
        if owner.kind == "logistic":
            return self._mixture(out[:, 0].flatten(2)).log_prob(owner.scaled(x))
        if owner.kind == "bernoulli":
            logits = out[:, :, 0]
            return (x * logits - F.softplus(logits)).flatten(1).sum(1)
        index = ((x - owner.low) / owner.spacing).round().long()
        return out.log_softmax(2).gather(2, index.unsqueeze(2)).flatten(1).sum(1)

    def _mixture(self, raw: Tensor, one: bool = False) -> _LogisticMixture:
        """Of a scaled image, or of one pixel, from parameters ``(*lead, numbers, pixels)``."""
        o, (c, h, w) = self.owner, self.event_shape
        shape = torch.Size((c, 1, 1) if one else (c, h, w))
        return _LogisticMixture(raw, c, o.components, shape, o.levels, -1.0, 1.0)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:
        return self.walk(sample_shape, Walk)

    def walk(self, sample_shape: Any, walk: Callable[..., Any]) -> Tensor:
        """Samples whose features come from a ``walk`` over the pixels (:class:`fusevae.nets.masked_conv.Walk`)."""
        owner, (channels, height, width) = self.owner, self.event_shape
        lead = torch.Size(sample_shape) + self.batch_shape
        n = math.prod(lead)
        with torch.no_grad():
            conditions = owner.layers.conditions(*self._flat(lead))
            on = walk(owner.layers, n, (height, width), conditions)
            x = torch.full((n, *self.event_shape), owner.low, device=next(owner.parameters()).device)
            for i in range(height):
                on.row(i)
                for j in range(width):
                    h, pixel = on.at(j), x[:, :, i : i + 1, j : j + 1]
                    for c in range(1 if owner.kind == "logistic" else channels):
                        self._draw(h, pixel, c, lead)
                    on.put(j, owner.seen(pixel)[..., 0, 0])
        return x.view(*lead, *self.event_shape)

    def _draw(self, h: Tensor, pixel: Tensor, c: int, lead: torch.Size) -> None:
        """Put channel ``c`` of ``pixel``, ``(n, channels, 1, 1)``; where they are linked, all of them."""
        owner = self.owner
        out = owner.head(h, owner.seen(pixel)).float()[:, c]
        if owner.kind == "logistic":
            drawn = self._mixture(out[..., 0].view(*lead, -1, 1), one=True).sample()
            step = ((drawn + 1) * (owner.levels - 1) / 2).round()
            pixel.copy_(owner.low + owner.spacing * step.reshape(pixel.shape))
        elif owner.kind == "bernoulli":
            pixel[:, c, 0, 0] = (torch.rand(lead, device=h.device).flatten() < out[:, 0, 0, 0].sigmoid()).float()
        else:
            index = noise.choose(out[..., 0, 0].view(*lead, -1)).flatten()
            pixel[:, c, 0, 0] = owner.low + owner.spacing * index


def in_parts(
    log_prob: Callable[[Tensor, list[Tensor | None]], Tensor], x: Tensor, given: list[Tensor | None], each: int
) -> Tensor:
    """``log_prob`` of events ``(n, *event)`` and what is given to each, so many at once that memory stays bounded;
    ``each`` is how many numbers a layer holds for one."""
    size = max(1, AT_ONCE // each)
    cuts = [slice(start, start + size) for start in range(0, max(1, len(x)), size)]
    return torch.cat([log_prob(x[cut], [g if g is None else g[cut] for g in given]) for cut in cuts])
