"""What sets of examples are compared by: features of a classifier, of a net that the user names, or plain columns."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.examples import Examples
from fusevae.data.preprocessing import without_errors
from fusevae.evaluation.blocks import BLOCK

FITTED_ON = 100_000  # examples from which columns take their means and scales


def features(extractor: nn.Module, x: Tensor) -> Tensor:
    """Features ``(n, d)`` of examples in the data's units, block by block.

    ``extractor`` is any module with a method ``features``: a :class:`fusevae.nets.classifier.Classifier`, a
    :class:`Columns`, a :class:`Scripted`.
    """
    device = next((t.device for t in (*extractor.parameters(), *extractor.buffers())), torch.device("cpu"))
    take: Any = extractor.eval().features
    with torch.no_grad(), torch.autocast(device.type, enabled=False):  # the same figures in any precision of the model
        return torch.cat([take(part.to(device)).float().cpu() for part in x.split(BLOCK)])


def features_of(extractor: nn.Module, examples: Examples) -> Tensor:
    """The same for examples, which are read block by block."""
    indices = torch.arange(len(examples)).split(BLOCK)
    return torch.cat([features(extractor, x) for x, _ in examples.batches(iter(indices))])


def fingerprint(net: nn.Module) -> str:
    """A hash of a net's weights: figures by features of different ones can't be compared."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in sorted(net.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Columns(nn.Module):
    """The values of a table themselves, each column with mean 0 and variance 1 over the training examples.

    Args:
        train: the training examples.
    """

    about = "the columns, standardised"
    mean: Tensor
    scale: Tensor

    def __init__(self, train: Examples) -> None:
        super().__init__()
        some = train.evenly(FITTED_ON)
        x = train.batch(some)[0].flatten(1).double()
        mean, scale = without_errors(x, x.mean(0), x.std(0, unbiased=False))
        self.register_buffer("mean", mean)
        self.register_buffer("scale", torch.where(scale > 0, scale, 1.0))

    def features(self, x: Tensor) -> Tensor:
        """``(n, columns)`` for examples ``(n, *shape)``."""
        return (x.flatten(1).double() - self.mean) / self.scale


class Scripted(nn.Module):
    """A net of the user's in a TorchScript file: Inception as the literature on FID hands it around, say.

    It is called with images ``(n, 3, height, width)`` with values from 0 to 255 and gives ``(n, d)``; where its forward
    takes ``return_features``, that is set. Opening such a file runs what is in it by TorchScript's own interpreter,
    no Python; it is opened only where the user names it.

    Args:
        path: the file.
        data: what the images are.
    """

    def __init__(self, path: str | Path, data: DataSpec) -> None:
        super().__init__()
        if len(data.shape) != 3:
            raise InputError(f"{path} is a net for images, the data have shape {data.shape}: leave --extractor out")
        path = Path(path).expanduser()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self.net = torch.jit.load(str(path), map_location="cpu").eval()
            arguments = [argument.name for argument in self.net.forward.schema.arguments]
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path} is no TorchScript file ({reason}): save the net by torch.jit.save") from None
        self.low, self.span = data.low, data.high - data.low or 1.0
        self.given = {"return_features": True} if "return_features" in arguments else {}
        self.about = f"features of {path.name}"
        with torch.no_grad():
            try:
                found = self.features(torch.full((2, *data.shape), data.low))
            except RuntimeError as error:
                reason = " ".join(str(error).split())[-120:]
                raise InputError(f"{path} takes no images of shape {(3, *data.shape[1:])} ({reason})") from None
        if not isinstance(found, Tensor) or found.dim() != 2:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"{path} gives {shape} for 2 images: expected features of shape (2, d)")

    def features(self, x: Tensor) -> Tensor:
        """``(n, d)`` for images ``(n, channels, height, width)`` in the data's units."""
        scaled = (x.float() - self.low) / self.span * 255
        three = scaled[:, :3] if scaled.shape[1] >= 3 else scaled[:, :1].expand(-1, 3, -1, -1)
        found: Tensor = self.net(three.contiguous(), **self.given)
        return found


def about(extractor: nn.Module) -> str:
    """What the features are, in words."""
    return str(getattr(extractor, "about", type(extractor).__name__))
