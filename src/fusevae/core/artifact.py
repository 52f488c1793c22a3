"""The artifact: a model with its views and its description of the data, which rebuilds itself from one file."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from torch import Tensor, nn

import fusevae
from fusevae.core.conditional import Conditional, room
from fusevae.core.description import Described, Trust, build, check_remembered, describe
from fusevae.core.errors import InputError, shown
from fusevae.core.files import written_whole
from fusevae.core.levels import Level
from fusevae.core.migration import migrated
from fusevae.core.spec import DataSpec, Measure
from fusevae.core.steps import View
from fusevae.core.stored import Stored, load_into, stored
from fusevae.core.untrusted import from_yaml
from fusevae.core.weights import weights_follow

FORMAT = 2
WEIGHTS = "model.safetensors"


class Artifact(Described, nn.Module):
    """A distribution over a view of some data: what is trained, evaluated, sampled, saved and loaded.

    Args:
        distribution: p(x | conditions) over the view, invertible preprocessing included.
        data: what the raw data are.
        views: applied to raw examples in order.

    Attributes:
        history: how it was trained (:class:`fusevae.History`), where :func:`fusevae.fit` made it; a file doesn't keep
            it. None lets go of what :func:`fusevae.resume` needs, the data among them.
    """

    history: Any = None

    def __init__(self, distribution: Conditional, data: DataSpec, views: list[View] | None = None) -> None:
        super().__init__()
        self.distribution = distribution
        self.views = cast(Sequence[View], nn.ModuleList(views or []))
        self.data = data
        self.viewed = data
        for view in views or []:
            self.viewed = view.spec(self.viewed)

    def view(self, x: Tensor) -> Tensor:
        """Raw examples ``(batch, *shape)`` as the model sees them: floating point, or integers for tokens."""
        x = self.data.schema.into(x)
        for view in self.views:
            x = view(x)
        return self.viewed.typed(x)

    def restore(self, x: Tensor) -> Tensor:
        """Values of the view ``(*batch, *shape)`` back in the units and the dtype of the data."""
        for view in reversed(self.views):
            x = view.restore(x)
        if not self.data.schema.numeric:
            return x.long()
        if self.data.is_discrete:
            x = x.round().clamp(self.data.low, self.data.high)
        return self.data.schema.back(x).to(getattr(torch, self.data.dtype))

    @torch.no_grad()
    def seen(self, x: Tensor) -> Tensor:
        """Raw examples beside what the model makes of them: as they are, or, where a view changes their shape (a
        resize, a crop), in the shape of the view."""
        return x if self.viewed.shape == self.data.shape else self.restore(self.view(x)).cpu()

    @property
    def is_mass(self) -> bool:
        """Whether the likelihood is a probability of discrete data, so that bits per dimension are defined."""
        return self.distribution.discrete or (self.viewed.is_discrete and dequantizes(self.distribution))

    @property
    def measure(self) -> Measure:
        """What the likelihood gives: a mass over stated values, a density, or a density over some of the dimensions and
        a mass over others."""
        return "mixed" if self.distribution.mixed else "mass" if self.is_mass else "density"

    @property
    def support(self) -> str:
        """Over what the likelihood is; figures over different supports are never compared."""
        if self.distribution.level < Level.BOUND:
            return "none: it only samples"
        views = "".join(f", {v.label}" for v in self.views if v.changes_support)
        return self.viewed.schema.support(self.viewed, self.measure) + views

    @property
    def is_conditional(self) -> bool:
        """Whether what is known beside the data changes anything: a part was made for it, or is a network of one's own
        whose forward has room for it, ``forward(z, c)``."""
        modules = list(self.distribution.modules())
        if any(getattr(m, "classes", 0) for m in modules):
            return True
        nets = [getattr(part, "net", None) for part in modules if isinstance(part, Conditional)]
        own = [net for net in nets if isinstance(net, nn.Module) and not _ours(net)]
        return self.data.conditions is not None and any((room(type(net)) or 0) > 1 for net in own)  # type: ignore[arg-type]

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.distribution.parameters())

    def __repr__(self) -> str:
        model = getattr(self.distribution, "model", self.distribution)  # without its preprocessing
        known = self.data.conditions if self.is_conditional else None
        given = "" if known is None else f", given {', '.join(known.names)}"
        words = f"{type(model).__name__}, {self.support}, {self.n_parameters:,} parameters{given}"
        return f"Artifact: {words}" + (f"\n{self.history}" if self.history is not None else "")

    def _repr_html_(self) -> str:
        shown = importlib.import_module("fusevae.training.display")  # pictures stand above this folder
        html: str = shown.artifact_html(self)
        return html

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> Path:
        """Write ``model.safetensors`` (weights and description) into a folder, or to a path that ends so.

        Raises :class:`InputError` for what could not be loaded again: a plain function, or a network of your own whose
        arguments nobody remembers.
        """
        from safetensors.torch import save_model

        check_remembered(self)
        path = Path(path)
        path = path if path.suffix == ".safetensors" else path / WEIGHTS
        header = {
            "format": str(FORMAT),
            "fusevae": fusevae.__version__,
            "artifact": yaml.safe_dump(describe(self), sort_keys=False),
        }
        with written_whole(path) as beside:
            save_model(self, str(beside), metadata=header | (metadata or {}))
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str], trust: Trust = (), device: str | torch.device = "cpu") -> Artifact:
        """Rebuild an artifact from its file or run folder; nothing is unpickled, nothing foreign is imported.

        Args:
            path: a run folder, or a ``.safetensors`` file.
            trust: names of classes or modules from outside the library that the artifact may use, or a mapping
                from such a name to the class or to a function that builds it.
            device: where the weights go.
        """
        try:
            device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"device {shown(device)} was given: expected 'cpu' or 'cuda'") from error
        path = Path(path)
        path = path / WEIGHTS if path.is_dir() else path
        header = _header(path)
        node = migrated(from_yaml(header.metadata["artifact"], f"{path}: its description"))
        says = f"this is far more than the weights in {path}: give a file that fusevae saved"
        # who trusts code that runs here trusts what it takes
        with weights_follow(), header.budget(says) if not trust else nullcontext():
            artifact = build(node, trust)
        if not isinstance(artifact, cls):
            raise InputError(
                f"{path} describes a {type(artifact).__name__}, not an artifact: give a file that fusevae saved"
            )
        load_into(artifact, path, header)
        return artifact.to(device).eval()


def _ours(net: nn.Module) -> bool:
    """Whether a net is the library's or torch's, which say themselves what they are given."""
    return type(net).__module__.partition(".")[0] in ("fusevae", "torch", "transformers")


def read_header(path: Path) -> dict[str, str]:
    """The metadata of an artifact's file, or an :class:`InputError` that says what the file is instead."""
    return _header(path).metadata


def _header(path: Path) -> Stored:
    if not os.path.exists(path):
        raise InputError(f"no artifact at {path}: give a run folder with {WEIGHTS}, or a .safetensors file")
    header = stored(path, "artifact")
    about, number = header.metadata, header.metadata.get("format", "")
    if "artifact" not in about or not re.fullmatch("[0-9]{1,6}", number):
        raise InputError(f"{path} was not written by fusevae (no description in it): give a file that fusevae saved")
    if not re.fullmatch("-?[0-9]{1,30}", about.get("seed", "0")):
        raise InputError(f"{path} names {about['seed'][:40]!r} as its seed: expected a number; is it damaged?")
    if not 1 <= int(number) <= FORMAT:
        raise InputError(
            f"{path} has format {number} of fusevae {about.get('fusevae')}, this is {fusevae.__version__} "
            f"which reads 1 to {FORMAT}: upgrade fusevae"
        )
    return header


def load(path: str | Path, trust: Trust = (), device: str | torch.device = "cpu") -> Artifact:
    """Rebuild an artifact from its run folder or file; see :meth:`fusevae.Artifact.load`."""
    return Artifact.load(path, trust, device)


def dequantizes(distribution: nn.Module) -> bool:
    """Whether the outermost preprocessing turns integers into reals, so that integers' probability is bounded."""
    steps = getattr(distribution, "steps", ())
    return any(step.dequantizes for step in steps)
