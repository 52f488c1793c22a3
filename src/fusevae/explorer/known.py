"""What the explorer knows of a run, loaded when it is first looked at and kept."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae.core.artifact import WEIGHTS, Artifact
from fusevae.core.description import Trust
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.modality import Modality, modality_of
from fusevae.evaluation.anomaly import parts as unusual_parts
from fusevae.evaluation.samples import conditions
from fusevae.explorer.points import Points
from fusevae.explorer.turns import Turns
from fusevae.training.folder import CONFIG
from fusevae.training.record_form import parsed
from fusevae.training.records import METRICS
from fusevae.training.run import Run

REFERENCE = 200  # held-out examples that one of the user's own is held against
IMPORTANCE = 8  # samples of its likelihood


class Known:
    """A run and what was found out about it.

    Args:
        name: what the page calls it.
        path: where it lies.
        data: examples that are shown in place of its own, or None.
        turns: whose turn it is to compute.
        device: where the model runs.
        trust: as for :class:`fusevae.training.run.Run`.
    """

    def __init__(self, name: str, path: Path, data: str | None, turns: Turns, device: str, trust: Trust) -> None:
        self.name, self.path, self.given, self.turns = name, path, data, turns
        self.device, self.trust = device, trust
        self.records = Records(path / METRICS) if path.is_dir() else None
        self.opening = threading.RLock()  # what is loaded is loaded once, whoever asks meanwhile
        self.opened: Run | None = None
        self.placed: Points | None = None

    @property
    def run(self) -> Run:
        """The run itself."""
        with self.opening:
            self.opened = self.opened or Run.open(self.path, self.device, self.trust)
            return self.opened

    @property
    def artifact(self) -> Artifact:
        """Its model; :class:`InputError` while a training has left none."""
        with self.opening:
            return self.run.artifact

    @property
    def ready(self) -> bool:
        """Whether there is a model."""
        return self.run.weights.exists()

    @property
    def kind(self) -> Modality:
        """What kind its data are of."""
        return modality_of(self.artifact.data)

    @property
    def source(self) -> str:
        """What says which runs are of the same data, without reading them."""
        found = (self.run.configuration or {}).get("data") or {}
        return f"{found.get('modality')} {found.get('path')}"

    @property
    def points(self) -> Points:
        """The examples of its map."""
        with self.opening:
            if self.placed is None:
                self.placed = Points(self.artifact, self._parts(), self.turns)
            return self.placed

    def _parts(self) -> list[tuple[str, Examples]]:
        if self.given is not None:
            return [("given", self.run.examples(self.given)[0])]
        try:
            data = self.run.data
        except InputError as error:
            raise InputError(f"{error}; fusevae explore {self.path} --data PATH shows others") from None
        return [("training", data.train), ("validation", data.validation), ("test", data.test)]

    @functools.lru_cache(maxsize=2)  # noqa: B019 (kept as long as the server)
    def usual(self, labelled: bool) -> dict[str, Tensor]:
        """How unusual held-out examples are, with what is known beside them or without."""
        held = self.points.examples.parts[-1] if self.given is not None else self.run.held[0]
        return unusual_parts(self.artifact, held.spread(REFERENCE), IMPORTANCE, labelled=labelled)

    def show(self, x: Tensor) -> list[dict[str, Any]]:
        """Examples ``(n, *shape)`` as their kind of data shows them."""
        return self.kind.fragment(x, self.artifact.data).parts()

    def condition(self, given: Mapping[str, str], like: int | None, n: int) -> Tensor | None:
        """What ``n`` examples are decoded with: the values that are given, else those of a point."""
        artifact = self.artifact
        if not artifact.is_conditional or artifact.data.conditions is None:
            return None
        values = {name: value for name, value in given.items() if value != ""}
        if values:
            return conditions(artifact, values, n)
        if like is not None:
            label = self.points.raw(torch.tensor([like]))[1]
            return None if label is None else label.expand(n, *label.shape[1:])
        return None


class Records:
    """The records of a training that may be going on; what was read once isn't read again.

    Args:
        path: of ``metrics.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.found = path, 0, list[dict[str, Any]]()
        self.inode = 0

    def read(self) -> list[dict[str, Any]]:
        """Those written so far; a last line that is still being written waits."""
        try:
            about = os.stat(self.path)
            if about.st_size < self.at or about.st_ino != self.inode:  # begun anew
                self.at, self.found, self.inode = 0, [], about.st_ino
            with open(self.path, "rb") as file:
                file.seek(self.at)
                new = file.read()
        except FileNotFoundError:
            return []
        whole = new[: new.rfind(b"\n") + 1]
        lines = [line for line in whole.decode(errors="replace").split("\n") if line]
        self.found += [parsed(line, str(self.path)) for line in lines]
        self.at += len(whole)
        return self.found


class Runs:
    """The runs that were named, and nothing else.

    Args:
        paths: run folders, files of models, or folders of runs, in which new ones may appear.
        data: as of :class:`Known`.
        device: as of :class:`Known`.
        trust: as of :class:`Known`.
    """

    def __init__(self, paths: Sequence[str], data: str | None = None, device: str = "cpu", trust: Trust = ()) -> None:
        self.paths = [Path(path).expanduser() for path in paths]
        self.data, self.device, self.trust, self.turns = data, device, trust, Turns()
        self.known: dict[str, Known] = {}
        self.looking = threading.Lock()
        for path in self.paths:
            if not path.exists():
                raise InputError(f"no run at {path}: give run folders, or a folder of runs")
            if not _within(path):
                raise InputError(f"{path} holds no run: give run folders, or a folder of runs")
        if data is not None and not Path(data).expanduser().exists():
            raise InputError(f"no data at {data}: check the path")

    def all(self) -> dict[str, Known]:
        """Every run there is now, by the name that the page calls it."""
        with self.looking:
            for path in (each for given in self.paths for each in _within(given)):
                if any(known.path == path for known in self.known.values()):
                    continue
                whole = path.resolve()
                name = whole.name if whole.name not in self.known else f"{whole.parent.name}/{whole.name}"
                while name in self.known:
                    name += "'"
                self.known[name] = Known(name, path, self.data, self.turns, self.device, self.trust)
            return dict(self.known)

    def one(self, name: str) -> Known:
        """The run of that name, or :class:`InputError`."""
        found = self.known.get(name) or self.all().get(name)
        if found is None:
            raise InputError(f"no run {name[:60]!r} is shown here: name it when the explorer is started")
        return found


def _within(path: Path) -> list[Path]:
    """The run at a path, or those in it."""
    if not path.is_dir() or _is_run(path):
        return [path]
    return sorted(each for each in path.iterdir() if each.is_dir() and _is_run(each))


def _is_run(folder: Path) -> bool:
    return (folder / CONFIG).is_file() or (folder / WEIGHTS).is_file()
