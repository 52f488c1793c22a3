"""The folder of a training: what says that one holds a training already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusevae.core.artifact import WEIGHTS
from fusevae.core.errors import InputError
from fusevae.core.files import check_place
from fusevae.training import checkpoint
from fusevae.training.records import METRICS, read_records

CONFIG, CHECKPOINTS, REPORT = "config.yaml", "checkpoints", "report.html"
#: a training that was killed before its config.yaml was written has only the checkpoint of step 0, and begins again
SIGNS = (CONFIG, WEIGHTS, METRICS, f"{CHECKPOINTS}/step-*[1-9]*")


def fresh_folder(folder: str | Path) -> Path:
    """The folder of a new training, or :class:`InputError` where it can't be."""
    folder = Path(folder).expanduser()
    check_place(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give another --output, a folder")
    if holds := [name for name in SIGNS if any(folder.glob(name))]:
        raise InputError(
            f"{folder} holds a training already ({', '.join(holds)}): go on with it (fusevae train --resume {folder}, "
            f"or fusevae.resume({str(folder)!r})), or give another --output"
        )
    return folder


def last_values(folder: Path) -> dict[str, Any]:
    """The plain values of the state that a training goes on from; :class:`InputError` where there is none: to begin
    again at step 0 would be another training."""
    place = folder / CHECKPOINTS
    found = checkpoint.newest_values(place)
    if found is None and checkpoint.read_newest(place) is None:
        steps = max((record.get("step", 0) for record in read_records(folder / METRICS)), default=0)
        raise InputError(
            f"{place} holds no checkpoint to go on from, and {METRICS} shows {steps:,} steps: put it back, or train "
            f"anew, fusevae train {folder} --output NEW"
        )
    return found or {}
