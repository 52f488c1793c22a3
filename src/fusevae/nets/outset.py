"""Where the outputs of a net start: at what the data are on the whole, in place of 0.

A decoder that starts at 0 first learns the mean of the data. The latent, of which it makes nothing yet, is noise to it
meanwhile, and both learn to leave the other alone: on 2,720 drawn characters a VampPrior's latent died in the first 50
steps (ELBO -167.5, a constant model's), and lived when the outputs started at the mean (-130 after 400 steps).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

FEW = 10_000  # examples that a start is taken from; places of as many, where a convolution's are one
NARROW = 1e-3  # deviation of an output below which it is float32's as much as the data's


@torch.no_grad()
def start_at(
    net: nn.Module,
    examples: Callable[[], Tensor],
    outputs: Callable[[Tensor], Tensor],
    reach: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Set the bias of a net's last layer (its ``last``) to ``outputs`` of the examples ``(n, *event)``, of the shape of
    one event. A convolution has the same for each place: for it, every place of an image is an example ``(c, 1, 1)``.
    Where the net has a bias for each place besides (its ``place``), that takes the outputs, those of whole events.
    ``reach`` of them, of the same shape, is what the layer's weights are taken times: of outputs that are values of the
    data it is :func:`spread`.

    A net whose bias is not 0 any more was trained, one that names no layer as its last is one's own, and one that is
    frozen doesn't move: all of these stay as they are.

    Example:
        >>> from fusevae.nets.mlp import MLP
        >>> net = MLP(2, 3)
        >>> start_at(net, lambda: torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]), lambda x: x.mean(0))
        >>> net.last.bias
        Parameter containing:
        tensor([2., 2., 2.], requires_grad=True)
    """
    last = getattr(net, "last", None)
    place = getattr(net, "place", None)
    if not isinstance(last, (nn.Linear, nn.Conv2d)) or last.bias is None or not untouched(last.bias):
        return
    if place is not None and not untouched(place):
        return
    x = thinned(examples().float())
    if place is not None:
        place.copy_(outputs(x).view_as(place))
    if isinstance(last, nn.Conv2d):
        x = thinned(x.movedim(1, -1).reshape(-1, x.shape[1], 1, 1))
    pixels = getattr(net, "patch", 1) ** 2  # that each place of a last layer gives
    if place is None:
        last.bias.copy_(outputs(x).flatten().repeat_interleave(pixels))
    if reach is not None:
        last.weight.mul_(reach(x).flatten().repeat_interleave(pixels).view(-1, *(1 for _ in last.weight.shape[1:])))


@torch.no_grad()
def center_on(part: nn.Module, examples: Callable[[], Tensor]) -> None:
    """Let the nets in a part that look at how the data differ from their mean (their ``data_mean``) take it from the
    examples ``(n, *event)``, once: of dark strokes on a light ground nearly all inputs are 1, and a VAE was 5 nats
    behind one of the same strokes in light on dark."""
    means = [getattr(net, "data_mean", None) for net in part.modules()]
    if new := [mean for mean in means if isinstance(mean, Tensor) and not bool(mean.any())]:
        found = thinned(examples().float()).mean(0)
        for mean in new:
            mean.copy_(found)


@torch.no_grad()
def set_apart(net: nn.Module, outputs: Tensor) -> bool:
    """Scale and shift the first outputs of a net's last layer, which are ``outputs`` (n, k) of examples, so that each
    has a mean of 0 and a deviation of 1 over them; returns whether the net has such a layer. A convolutional encoder of
    small bright spots on a dark ground told its latent of them by 0.007 deviations.

    Example:
        >>> from fusevae.nets.mlp import MLP
        >>> net, x = MLP(2, 3), torch.randn(50, 2)
        >>> set_apart(net, net(x)[:, :1]), round(net(x)[:, 0].std(correction=0).item(), 3)
        (True, 1.0)
    """
    last = getattr(net, "last", None)
    if not isinstance(last, nn.Linear) or last.bias is None or not last.weight.requires_grad:
        return False
    k, mean, deviation = outputs.shape[1], outputs.mean(0), outputs.std(0, correction=0).clamp(min=NARROW)
    last.weight[:k] /= deviation[:, None]
    last.bias[:k] = (last.bias[:k] - mean) / deviation
    return True


@torch.no_grad()
def tell(head: nn.Linear, inputs: Tensor, nats: float) -> None:
    r"""Let a layer that gives the means, then the log-scales, of a Gaussian latent of k numbers tell ``nats`` of the
    examples whose ``inputs`` (n, width) these are: its means are their first k principal components, of deviation
    :math:`\sqrt{1 - \sigma^2}`, and every scale is :math:`\sigma = e^{-nats / k}`. Over all examples q(z | x) then has
    the moments of N(0, I), and none of these nats, its mean KL, is paid for where or how wide that is.

    A mean of many random vectors differs little from example to example. Of layers that start at random weights a
    latent said 0.02 to 0.04 deviations of a text: noise to the decoder, which learned to do without it.

    Example:
        >>> head, x = nn.Linear(5, 4), torch.randn(100, 5)
        >>> tell(head, x, nats=1.0)
        >>> mean, scale = head(x)[:, :2], head(x)[:, 2:].exp()
        >>> kl = (mean.square() + scale.square() - 1) / 2 - scale.log()
        >>> round(kl.sum(1).mean().item(), 3)
        1.0
    """
    k, scale = head.out_features // 2, math.exp(-nats / (head.out_features // 2))
    differ(head, inputs, math.sqrt(1 - scale**2), k)
    head.bias[k:] = math.log(scale)


@torch.no_grad()
def differ(head: nn.Linear, inputs: Tensor, deviation: float, k: int | None = None) -> None:
    """Let the first k outputs of a layer (all of them by default) be principal components of its ``inputs`` (n, width),
    of a mean of 0 and a ``deviation``; the other ones are 0.

    Example:
        >>> head, x = nn.Linear(5, 4), torch.randn(100, 5)
        >>> differ(head, x, 0.5)
        >>> torch.allclose(head(x).T.cov(correction=0), 0.25 * torch.eye(4), atol=1e-5)
        True
    """
    k, x = k or head.out_features, thinned(inputs).double()
    away = x - x.mean(0)
    variance, axes = torch.linalg.eigh(away.mT @ away / len(x))
    n = min(k, int((variance > NARROW**2 * variance[-1]).sum()))  # of few examples that are alike there are fewer
    axes = axes.mT.flip(0)[:n] / variance.flip(0)[:n, None].sqrt()
    head.weight.zero_()
    head.bias.zero_()
    head.weight[:n] = (deviation * axes).to(head.weight.dtype)
    head.bias[:n] = -head.weight[:n] @ x.mean(0).to(head.weight.dtype)


def spread(x: Tensor) -> Tensor:
    """How far a net's outputs should be from what the data ``(n, *event)`` are on the whole: where these differ by less
    than a quarter, less by as much. Of nearly constant images, which differ by 0.04, a net of outputs about 1 was off
    by 25 deviations at its start, and 600 nats below a constant model."""
    return (4 * x.std(0, correction=0)).clamp(max=1.0)


def untouched(bias: Tensor) -> bool:
    """Whether a bias is as it was made, and may move."""
    return bias.requires_grad and not bool(bias.any())


def thinned(x: Tensor) -> Tensor:
    """Evenly spread rows, at most so many as a start is taken from."""
    return x[:: -(-len(x) // FEW)]
