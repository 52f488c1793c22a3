"""The trainings of a bench: each recipe for a time, or trained on for longer, and what became of each."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusevae.core.description import Trust
from fusevae.core.durations import clock
from fusevae.data.splits import Splits
from fusevae.evaluation.answer import order
from fusevae.evaluation.judge import Judge, reference
from fusevae.evaluation.of_model import TrainingCost
from fusevae.recipes.candidates import UNFIT, say
from fusevae.recipes.kept import keep
from fusevae.recipes.rounds import FEWEST, LOOK
from fusevae.training import configuration
from fusevae.training.budget import USED, Plan, plan
from fusevae.training.compare import Compared, compared, judge_or_why
from fusevae.training.configuration import Node, one_line
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.prepare import pick_device
from fusevae.training.run import Run
from fusevae.training.train import resume, train

KEPT = "bench.json"  # what was asked for, and the plan of each training
CUT = 0.9  # of the planned steps, from which on it is no matter that the time was over
OWN = 1  # importance samples of a run's own report: the comparison weights more


class Work:
    """The trainings of a bench, as far as they have come."""

    def __init__(
        self,
        folder: Path,
        splits: Splits,
        nodes: dict[str, Node],
        refused: dict[str, str],
        kept: dict[str, Any],
        device: str,
        trust: Trust,
        quiet: bool,
        command: str | None,
    ) -> None:
        self.folder, self.splits, self.nodes, self.refused, self.kept = folder, splits, nodes, refused, kept
        self.device, self.trust, self.quiet, self.command = device, trust, quiet, command
        self.runs: dict[str, Run] = {}

    def save(self) -> None:
        """Keep what is known."""
        keep(self.folder, KEPT, self.kept)

    def judge(self, samples: int, extractor: str | None = None) -> Judge:
        """What samples are held against."""
        part = self.kept.get("plan", {}).get("judge_part", 1.0)
        less = {} if part == 1 else {"part": part}
        return reference(self.splits, samples, extractor, str(pick_device(self.device)), self.quiet, **less)

    def one(self, name: str, seconds: float) -> bool:
        """Train a recipe, or go on with it, note how far it has come, or why it can't; returns whether it was not
        stopped on the way."""
        try:
            run = self._one(name, seconds)
        except UNFIT as error:
            self.refused[name] = one_line(error)
            say(f"{name}: {self.refused[name]}")
            return True
        if run.finished:
            self.runs[name] = run
        return run.finished

    def _one(self, name: str, seconds: float) -> Run:
        place, node, plans = self.folder / name, self.nodes[name], self.kept["plans"]
        if (place / REPORT).is_file():
            run = Run.open(place, self.device, self.trust)
        elif (place / CONFIG).is_file():
            say(f"{name}: going on", self.quiet)
            run = resume(place, self.device, self.trust, OWN, quiet=self.quiet)
        else:
            if name not in plans:
                say(f"{name}: timing its steps", self.quiet)
                made = plan(configuration.experiment(node, self.trust), self.splits, seconds, self.device)
                plans[name] = made.json()
                self.save()
            chosen = Plan(**plans[name])
            node["training"] = {"class": "Training", **(node.get("training") or {}), **chosen.settings()}
            node["training"] |= {"budget": seconds, "planned": True}
            say(f"{name}: {chosen}", self.quiet)
            settings: dict[str, Any] = {"device": self.device, "trust": self.trust, "quiet": self.quiet}
            run = train(node, place, self.splits, importance_samples=OWN, command=self.command, **settings)
        self.kept["done"][name] = {"steps": run.steps, "seconds": run.seconds}
        self.save()
        return run

    # ---------------------------------------------------------------- in rounds

    def trained(self, name: str, number: int, seconds: float) -> float | None:
        """Train a recipe for so many seconds more; returns those that it took beside, None where it was stopped."""
        before, began = self._seconds(name), time.monotonic()
        if number == 0:
            if not self.one(name, seconds):
                return None
        else:
            try:
                run = self._longer(name, seconds)
            except UNFIT as error:  # what it was before stays
                say(f"{name}: {one_line(error)}")
                run = Run.open(self.folder / name, self.device, self.trust)
            if not run.finished:
                return None
            self.runs[name] = run
        if name in self.runs:
            run = self.runs[name]
            self.kept["done"][name] = {"steps": run.steps, "seconds": run.seconds, "round": number}
        return max(0.0, time.monotonic() - began - (self._seconds(name) - before))

    def _longer(self, name: str, seconds: float) -> Run:
        """Go on with a run that came to its end, for a longer training; its plan is kept before."""
        place, done = self.folder / name, self.kept["done"][name]
        more = done.get("more")
        if more is None:
            first = self.kept["plans"][name]
            steps = done["steps"] + max(1, int(USED * seconds * done["steps"] / max(1e-6, done["seconds"])))
            more = {"epochs": steps * first["epochs"] / first["steps"], "budget": done["seconds"] + seconds}
            done["more"] = more | {"steps": steps}
            self.save()
        now = (configuration.read(place / CONFIG).get("training") or {}).get("budget")
        asked = [] if now == more["budget"] else [f"training.{key}={more[key]!r}" for key in ("epochs", "budget")]
        say(f"{name}: going on, to {done['more']['steps']:,} steps", self.quiet)
        return resume(place, self.device, self.trust, OWN, self.quiet, asked, self.splits)

    def _seconds(self, name: str) -> float:
        """Of its training so far."""
        if not (self.folder / name / CONFIG).is_file():
            return 0.0
        return Run.open(self.folder / name, self.device, self.trust).seconds

    def settled(self, name: str) -> bool:
        """Whether a recipe can't be trained, or has learned what it can: it was stopped by its patience."""
        if name in self.refused:
            return True
        run = self.runs.get(name) or self._opened(name)
        if run is None or not run.finished:
            return False
        training = (run.configuration or {}).get("training") or {}
        late = run.seconds >= float(training.get("budget") or math.inf)
        return not late and run.steps < self._planned(name) and training.get("patience") is not None

    def open(self) -> None:
        """Open what was trained, by whichever call."""
        for name in self.nodes:
            self._opened(name)

    def _opened(self, name: str) -> Run | None:
        if not (self.folder / name / REPORT).is_file():
            return None
        run = self.runs[name] = Run.open(self.folder / name, self.device, self.trust)
        return run

    def _planned(self, name: str) -> int:
        run = self.runs[name]
        epochs, first = ((run.configuration or {}).get("training") or {}).get("epochs"), self.kept["plans"][name]
        return round(epochs * first["steps"] / first["epochs"])

    def best(self, samples: int, number: int) -> list[str]:
        """All that were trained, the best first, by a quick look at likelihoods and samples."""
        n = max(min(samples, FEWEST), round(LOOK * samples))
        judge, why = judge_or_why(lambda: self.judge(n)) if samples else (None, "")
        held = self.splits.held[0]
        few = held.spread(max(FEWEST, round(LOOK * self.kept["plan"]["evaluation"]["examples"])))
        self.open()
        runs = {name: Run.open(run.path, self.device, self.trust) for name, run in self.runs.items()}
        found = compared(runs, few, "", judge, 1, "auto", 0, why).comparison
        names = order(found.answer, runs)
        say(f"after round {number + 1}, the best first: {', '.join(names)}", self.quiet)
        return names

    def told(self, found: Compared) -> None:
        """Add to a comparison what was planned and what became of it."""
        begun = self.kept.get("rounds", [])
        for path, model in found.comparison.models.items():
            name = Path(path).name
            cost = model.training or TrainingCost()
            model.training, steps = replace(cost, plan=self.kept["plans"][name]), cost.steps or 0
            if steps < CUT * (planned := self._planned(name)):
                why = "no better validation for its patience" if self.settled(name) else "out of time"
                model.notes.append(f"stopped at step {steps:,} of {planned:,}: {why}")
            last = max((i for i, each in enumerate(begun) if name in each["names"]), default=0)
            if last + 1 < len(begun) and not self.settled(name):
                model.notes.append(f"trained in {last + 1} of {len(begun)} rounds: others were better")
        found.comparison.budget, found.comparison.total = (self.kept["asked"].get(key) for key in ("budget", "total"))
        found.comparison.refused = self.refused

    def shares(self, spent: float) -> str:
        """What became of the time, ``spent`` seconds of it so far, in words."""
        each = [f"round {i + 1}: {', '.join(r['names'])}, {clock(r['seconds'])} each"
                for i, r in enumerate(self.kept["rounds"])]  # fmt: skip
        rest = spent - sum(done["seconds"] for done in self.kept["done"].values())
        return "; ".join([*each, f"all else {clock(max(0.0, rest))} so far"])
