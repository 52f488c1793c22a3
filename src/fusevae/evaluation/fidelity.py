"""How near reconstructions are to what they were made from: error, PSNR, SSIM."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.evaluation.blocks import BLOCK, as_examples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.results import RECONSTRUCTIONS, Result, figure

WINDOW, SIGMA = 11, 1.5  # of SSIM's Gaussian weights, in pixels
K1, K2 = 0.01, 0.03


class Reconstruction(Result):
    """How near examples are to themselves after encoding and decoding.

    Attributes:
        n: examples.
        error: the root of the mean squared error of a value, in the data's units.
        span: of the data.
        psnr: of images, in decibels, a mean over them: see :func:`psnr`.
        ssim: the same, see :func:`ssim`.
        kind: whether means of p(x | z) or samples were compared.

    Example:
        >>> Reconstruction(n=10, error=0.125, span=1.0, kind="mean")
        Reconstruction
        reconstructed as         mean
        error, root mean square  0.125 (data span 1)
    """

    section = RECONSTRUCTIONS
    n: int
    kind: str = figure("reconstructed as")
    error: float = figure("error, root mean square", better="low", form=".4g", hint="data span {span:g}")
    span: float
    psnr: float | None = figure("PSNR", "dB", "high", form=".2f", default=None)
    ssim: float | None = figure("SSIM", better="high", form=".4f", default=None)


def psnr(x: Tensor, y: Tensor, span: float) -> Tensor:
    r"""Peak signal-to-noise ratio of each pair of images in decibels, ``(n,)``:

    .. math:: 10 \log_{10} \frac{span^2}{\mathrm{mean}\,(x - y)^2}

    Args:
        x: ``(n, channels, height, width)``.
        y: the same.
        span: of the values: 255 for bytes. Equal images have an infinite ratio.

    Example:
        >>> import torch
        >>> psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 25.5), 255.0)
        tensor([20.])
    """
    return 10 * torch.log10(span**2 / (x.float() - y.float()).square().flatten(1).mean(1))


def ssim(x: Tensor, y: Tensor, span: float) -> Tensor:
    r"""Structural similarity of each pair of images, at most 1, ``(n,)`` (Wang et al. 2004):

    .. math:: \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}

    with means and variances under Gaussian weights in windows of 11 x 11 pixels (the largest odd size that fits a
    smaller image), averaged over the windows that lie inside the image, and over channels. Arguments as of
    :func:`psnr`.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 3, 16, 16)
        >>> ssim(x, x, 1.0)
        tensor([1., 1.])
    """
    if x.shape != y.shape or x.dim() != 4:
        raise InputError(f"images of shapes {tuple(x.shape)} and {tuple(y.shape)} were given: expected (n, c, h, w)")
    size = min(WINDOW, *x.shape[2:])
    size -= 1 - size % 2
    weights = torch.exp(-0.5 * ((torch.arange(size, dtype=torch.float64) - size // 2) / SIGMA) ** 2)
    weights /= weights.sum()

    def blur(image: Tensor) -> Tensor:
        one_channel = image.flatten(0, 1)[:, None]
        return F.conv2d(F.conv2d(one_channel, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    a, b = x.double().cpu(), y.double().cpu()
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    found = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return found.view(len(x), -1).mean(1).float()


def reconstruction_quality(artifact: Artifact, data: Any, label: Any = None, seed: int = 0) -> Reconstruction:
    """How near each example is to itself after encoding and decoding, in the data's units.

    Args:
        artifact: a model with latents.
        data: raw examples, as for :func:`fusevae.reconstruct`.
        label: their labels, where the model is conditional.
        seed: of the view, where it draws.
    """
    examples = as_examples(artifact, data, label)
    if not len(examples):
        raise InputError("there are no examples to reconstruct: give data with at least one")
    spec = artifact.data
    span = spec.high - spec.low or 1.0
    again = reconstruct(artifact, examples, seed=seed)
    squares, ratios, alike = 0.0, [], []
    indices = torch.arange(len(examples)).split(BLOCK)
    for index, (x, _) in zip(indices, examples.batches(iter(indices)), strict=True):
        y = again[index]
        squares += (x.double() - y.double()).square().sum().item()
        if len(spec.shape) == 3:
            ratios.append(psnr(x, y, span))
            alike.append(ssim(x, y, span))
    return Reconstruction(
        n=len(examples),
        error=math.sqrt(squares / (len(examples) * spec.dims)),
        span=span,
        psnr=torch.cat(ratios).double().mean().item() if ratios else None,
        ssim=torch.cat(alike).double().mean().item() if alike else None,
        kind="mean" if artifact.distribution.has_mean else "sample",
    )
