"""The model of a training that has not come to its end, from its newest checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.weights import weights_follow
from fusevae.training import checkpoint, configuration
from fusevae.training.folder import CHECKPOINTS
from fusevae.training.run import Run

PART = ".artifact."  # before the names of a model's weights in those of the game


class SoFar(NamedTuple):
    """A model as it was at a step of its training."""

    artifact: Artifact
    step: int

    @classmethod
    def of(cls, run: Run) -> SoFar | None:
        """The model of a run's newest checkpoint, with averaged weights where there are some; None before the first
        step was saved. The run's data are read for their description, once."""
        if run.configuration is None or not newest_step(run.folder):
            return None
        state = checkpoint.read_newest(run.folder / CHECKPOINTS)
        if state is None:
            return None
        with weights_follow():
            experiment = configuration.experiment(run.configuration, run.trust)
        artifact = Artifact(experiment.model, run.data.spec, list(experiment.views))
        weights: dict[str, Tensor] = {}
        for group in ("game", "buffer", "average"):  # the last that is there counts
            weights |= _of_model(state.tensors, group)
        try:
            artifact.load_state_dict(weights, strict=False)
        except RuntimeError as error:
            raise InputError(f"the checkpoint is of another model ({str(error).splitlines()[0]})") from None
        return cls(artifact.eval(), int(state.values["step"]))


def newest_step(folder: Path) -> int:
    """The step of the newest checkpoint in a run's folder, by its name; 0 where there is none."""
    names = sorted(path.stem.removeprefix("step-") for path in (folder / CHECKPOINTS).glob("step-*.safetensors"))
    return int(names[-1]) if names and names[-1].isdecimal() else 0


def _of_model(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition("/")
        before, part, own = rest.partition(PART)
        if kind == group and part and before.count(".") == 1:
            found.setdefault(own, value)
    return found
