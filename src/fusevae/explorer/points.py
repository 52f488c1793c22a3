"""The points of the map: the latents of a run's examples, encoded piece by piece while the page is looked at."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.conditions import Label
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.data.examples import Batch, Examples
from fusevae.data.joined import Joined
from fusevae.data.modality import modality_of
from fusevae.evaluation.blocks import blocks
from fusevae.evaluation.latent_space import Plane
from fusevae.evaluation.likelihood import block_bound
from fusevae.evaluation.paths import Latents, active
from fusevae.evaluation.reading import has_real_latents, one_latent, read
from fusevae.explorer.turns import LONGEST, Busy, Turns
from fusevae.modalities.tables.dates import DAY, forms_of, numbers_of

MOST = 100_000  # points of a map
NUMBERS = 100_000_000  # of all their latents
PIECE = 500  # of it at a time, fewer of large examples; the plane is that of the first
VALUES = 400_000  # of the examples of a piece, after which others may have their turn
NAMED = 60  # values that a column of words has at most, to be a column of classes
MISSING = "(missing)"


class Column(NamedTuple):
    """What points are coloured by: numbers, those of classes with their names, or days since 1970."""

    values: np.ndarray
    names: list[str] | None = None
    dates: bool = False

    def word(self, value: float) -> str:
        """A number as it is said."""
        return str(np.datetime64(int(value), "D")) if self.dates else f"{value:.4g}"


class Points:
    """The examples of a run in an order that is the same each time and spread over all, with what is known of them.

    Args:
        artifact: the model.
        parts: sets of examples by name.
        turns: whose turn it is to compute.
    """

    def __init__(self, artifact: Artifact, parts: Sequence[tuple[str, Examples]], turns: Turns) -> None:
        self.artifact, self.turns = artifact, turns
        self.examples = Joined([(name, part) for name, part in parts if len(part)])
        self.real = has_real_latents(artifact)
        longest = max(part.spec.shape for _, part in parts)
        self.one = one_latent(artifact, longest)[0].cpu() if self.real else torch.zeros(1)
        order = torch.Generator().manual_seed(noise.key("explorer"))
        most = min(MOST, NUMBERS // self.one.numel())
        self.order = torch.randperm(len(self.examples), generator=order)[:most]
        self.piece = min(PIECE, max(50, VALUES // artifact.data.dims))
        self.found: list[Latents] = []
        self.bounds: list[Tensor] = []
        self.plane: Plane | None = None
        self.started: set[str] = set()
        self.failed = ""
        self.whole: Latents | None = None
        self.changing = threading.Lock()

    def __len__(self) -> int:
        return len(self.order)

    @property
    def have(self) -> int:
        """Points whose latents are known so far."""
        return sum(len(each.z) for each in self.found)

    def start(self, what: str) -> None:
        """Begin to prepare ``"latents"`` or ``"bounds"``, where that was not begun."""
        with self.changing:
            if what in self.started:
                return
            self.started.add(what)
        work = {"latents": self._encode, "bounds": self._judge}[what]
        threading.Thread(target=self._work, args=(work,), daemon=True, name=f"explorer-{what}").start()

    def drawn(self) -> Plane:
        """The plane of the map, once the first latents are known."""
        self.start("latents")
        end = time.monotonic() + LONGEST
        while self.plane is None:
            if self.failed or time.monotonic() > end:
                raise Busy(self.failed or "the examples are being read: try again in a moment")
            time.sleep(0.01)
        return self.plane

    def raw(self, points: Tensor) -> Batch:
        """Raw examples and what is known beside them, by the numbers of points."""
        if not len(points) or int(points.max()) >= len(self) or int(points.min()) < 0:
            asked = ", ".join(map(str, points.tolist()[:3])) or "none"
            raise InputError(f"there is no example {asked} here: they are numbered from 0 to {len(self) - 1:,}")
        return self.examples.batch(self.order[points])

    def read(self, examples: Examples) -> Latents:
        """The latents of examples, as long as those of the longest: of sequences shorter ones go on with zeros."""
        z, scale, label = read(self.artifact, examples)
        if (more := self.one.shape[-1] - z.shape[-1]) < 0:
            raise InputError("the example is longer than all of the map: it has no place there")
        return Latents(F.pad(z, (0, more)), scale if scale is None else F.pad(scale, (0, more)), label)

    def latents(self) -> Latents:
        """Those known so far."""
        with self.changing:
            if self.whole is None or len(self.whole.z) < self.have:
                z = torch.cat([each.z for each in self.found]) if self.found else torch.zeros(0, 1)
                scales = [each.scale for each in self.found if each.scale is not None]
                labels = [each.label for each in self.found if each.label is not None]
                scale = torch.cat(scales) if self.found and len(scales) == len(self.found) else None
                label = torch.cat(labels) if self.found and len(labels) == len(self.found) else None
                self.whole = Latents(z, scale, label)
            return self.whole

    def columns(self) -> list[str]:
        """Names of what points can be coloured by."""
        known = self.artifact.data.conditions
        given = known.names if known is not None and self.latents().label is not None else []
        bounds = ["log-likelihood", "untypical"] if self.artifact.distribution.level >= Level.BOUND else []
        sets = ["set"] if len(self.examples.names) > 1 else []
        names = [*given, *self._drawn(1)[0], *sets, *bounds]
        if self.real and self.found:
            names += [f"z {d}" for d in active(self.latents())[:10].tolist()]
        return list(dict.fromkeys(names))

    def column(self, name: str) -> Column:
        """The values of a column for the points so far."""
        if name not in self.columns():
            raise InputError(f"{name[:60]!r} is no column of these examples")
        known, found = self.artifact.data.conditions, self.latents()
        n = len(found.z)
        if known is not None and name in known.names and found.label is not None:
            at = known.names.index(name)
            column, numbers = known.columns[at], known.numbers(found.label)[:, at]
            if isinstance(column, Label):
                return _few(numbers.nan_to_num(len(column.classes)).long().numpy(), [*column.classes, "unknown"])
            return Column(numbers.numpy())
        if name == "set":
            return Column(self.examples.part_of(self.order[:n]).numpy(), self.examples.names)
        if name in ("log-likelihood", "untypical"):
            self.start("bounds")
            if self.failed:
                raise InputError(self.failed)
            bounds = torch.cat(self.bounds) if self.bounds else torch.zeros(0)
            values = bounds if name == "log-likelihood" else (bounds - bounds.mean()).abs()
            return Column(values.numpy())
        if name.startswith("z ") and name[2:].isdecimal():
            return Column(found.z.flatten(1)[:, int(name[2:])].numpy())
        names, rows = self._drawn(n)
        return _told(np.array([row[names.index(name)] for row in rows]))

    @functools.lru_cache(maxsize=2)  # noqa: B019 (kept as long as the server)
    def _drawn(self, n: int) -> tuple[list[str], list[list[str]]]:
        """The columns that the kind of data draws of the first points, where it draws a table of several."""
        spec = self.artifact.data
        tables = modality_of(spec).draw([("", self.raw(torch.arange(n))[0])], spec).parts()
        if len(tables) != 1 or len(tables[0].get("names", ())) < 2:
            return [], []
        return tables[0]["names"], tables[0]["rows"]

    def _work(self, work: Any) -> None:
        try:
            work()
        except Exception as error:  # said on the page: a thread has nobody else to tell
            self.failed = " ".join(str(error).split())[:500]

    def _encode(self) -> None:
        for part in self.order.split(self.piece):
            with self.turns.aside():
                found = self.read(self.examples.subset(part))
            with self.changing:
                if self.plane is None:
                    self.plane = Plane.of(found.z)
                self.found.append(found)

    def _judge(self) -> None:
        device = next(self.artifact.parameters(), torch.zeros(())).device
        for part in self.order.split(self.piece):
            with self.turns.aside(), torch.no_grad(), noise.preserved(device):
                (block,) = blocks(self.artifact, self.examples.subset(part), 0, device)
                found = block_bound(self.artifact, block, 0).cpu()
            self.bounds.append(found)


def _told(values: np.ndarray) -> Column:
    """Values as numbers, as dates, or as the numbers of classes with their names."""
    try:
        return Column(np.array([np.nan if v == "" else float(v) for v in values.tolist()]))
    except ValueError:
        names, places = np.unique(values.astype(str), return_inverse=True)
    words = [name for name in names.tolist() if name]
    form = next((form for form in forms_of(words) if "%Y" in form or "%y" in form), None)
    if form is not None:
        return Column(numbers_of(names.tolist(), form)[places] / DAY, dates=True)
    return _few(places, [name or MISSING for name in names.tolist()])


def _few(places: np.ndarray, names: list[str]) -> Column:
    """Classes without those that nothing is of, the most frequent kept where they are many."""
    counts = np.bincount(places, minlength=len(names))
    most = NAMED if (counts > 0).sum() <= NAMED else NAMED - 1
    kept = np.sort(np.argsort(-counts, kind="stable")[:most])
    kept = kept[counts[kept] > 0]
    new = np.full(len(names), len(kept))
    new[kept] = np.arange(len(kept))
    words = [names[k] for k in kept]
    return Column(new[places], [*words, "others"] if (new[places] == len(kept)).any() else words)
