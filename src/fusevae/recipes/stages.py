"""The stages of a tuning: trials, the pair of the best and the defaults, and the training for the rest of the time."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from fusevae.core.artifact import Artifact
from fusevae.core.description import Trust
from fusevae.core.durations import clock
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples
from fusevae.data.splits import Splits
from fusevae.evaluation.likelihood import log_likelihood
from fusevae.recipes.candidates import say
from fusevae.recipes.curves import Fallen, lasting, looks_of, peak, per_doubling
from fusevae.recipes.default import as_settings
from fusevae.recipes.kept import Clock, keep
from fusevae.recipes.ranges import plain
from fusevae.recipes.rounds import OVERHEAD
from fusevae.recipes.trials import K, Trials, study_of
from fusevae.recipes.tuned import SHORTER, WORTH_MORE, Tuned, chosen, plan
from fusevae.training.budget import VALIDATING
from fusevae.training.callbacks import Callback
from fusevae.training.configuration import Node
from fusevae.training.folder import CONFIG, REPORT
from fusevae.training.run import Run
from fusevae.training.train import resume, train

KEPT, STATES, SHORT = "tune.json", "states", "short"
EACH, LONGER = 0.025, 2.5  # of the time, for a trial; how much longer a training of the pair goes on from one
SEARCH, QUICK = 0.25, 5  # of the time, for trials; how many at most where the defaults are far from their end
HEAT = 2  # of the best settings that go on as the defaults did; one where these are far from their end
LAST = 0.75  # of the time, about: for the last training
USED = 0.92  # of the time: the rest is for the last report, which may take less
PLANNED = 0.95  # of the last training's time, since steps may take longer than those before
LOOKING, MOST_LOOKS = 0.05, 20  # of it, that looks at held-out examples may take; how many there are at most
FEWEST = 4  # trials: where there is no time for so many, none is begun
UPDATES, TRIED, LEAST = 40, 3, 2.0  # of a trial, at least: updates, looks at held-out examples; seconds
LOOKS = 5  # at held-out examples, of a training of the pair
#: where doubling their time brings the defaults more than such a part of all that they gained, they are far from their
#: end, and have all of it: a table (0.16) was 0.03 to 0.05 nats behind after a search. Where they pass over the data
#: less often than so in all the time, smaller nets are tried: captions (2 times) gain most by half the width
FAR, PASSES = 0.1, 20
WORTH = 0.1  # of what a doubling brings: what a trial has to be better by to be worth a longer one
#: once the defaults have been seen to pass their best state: a trial is planned for so many times what they took to it,
#: with so many looks in that time, and so many without a better one end it. Digits: planned for twice as long the
#: learning rate falls too soon, -79.9 nats where they have -79.6
WHOLE, OFTEN, PATIENCE = 5, 4, 3


@dataclass
class Work:
    """A tuning that goes on where it was stopped, as ``kept`` says. Each part returns whether no user stopped it."""

    folder: Path
    kept: dict[str, Any]
    trials: Trials
    configure: Callable[[Mapping[str, Any]], Node]
    splits: Splits
    apart: Examples
    seconds: float
    spent: Clock
    seed: int
    device: str
    trust: Trust
    quiet: bool
    command: str | None

    def save(self) -> None:
        keep(self.folder, KEPT, self.kept)

    def all(self) -> bool:
        """Everything."""
        if (self.folder / "best" / REPORT).is_file() and "tuned" in self.kept:
            return True
        if "each" not in self.kept:
            step, look, _ = self.trials.speed(self.trials.own)
            self.kept["each"] = max(LEAST, EACH * self.seconds, UPDATES * step + TRIED * look)
            self.kept["from"] = self.spent.seconds  # the data have been read
            self.save()
        each = self.kept["each"]
        searched = SEARCH * self.seconds * (SEARCH * self.seconds >= FEWEST * each)
        say(plan(self.seconds, each, searched, LONGER * each, self.trials.search), self.quiet)
        if searched and not (self._search(searched) and self._pair()):
            return False
        if (SHORT not in self.kept and not self._last()) or (SHORT in self.kept and not self._short()):
            return False
        shutil.rmtree(self.folder / STATES, ignore_errors=True)
        return True

    def _search(self, searched: float) -> bool:
        """The trials, with a longer training of the defaults after the first, which says how many more there are."""
        trials, each, own = self.trials, self.kept["each"], self.trials.own
        until = self.kept.get("from", 0.0) + searched
        trials.noted = self._noted
        while not trials.done and self.spent.seconds < until:
            if not trials.one(each):
                return False
        if not trials.done:
            raise InputError(f"no trial came to its end in {clock(each)}: give more time than {clock(self.seconds)}")
        if not self._longer(own):
            return False
        worth, far = self._worth()
        step, _, per_epoch = trials.speed(own)
        trials.smaller = self.seconds < PASSES * step * per_epoch
        if far and not trials.smaller:
            self.kept["says"] = WORTH_MORE.format(worth)
            return True
        while SHORT not in self.kept and self.spent.seconds < until + LONGER * each:
            most = (QUICK if trials.better(WORTH * worth) else FEWEST - 1) if far else math.inf
            if len(trials.done) + trials.pruned > most:
                break
            if not trials.one(each):
                return False
        return True

    def _worth(self) -> tuple[float, bool]:
        """Nats that a doubling of the time is worth to the defaults, and whether they are far from their end. Where
        they have passed their best state, trials are to be as long as they took to it."""
        looks = self.kept["pair"][_key(self.trials.own)].get("looks")
        if not looks or len(looks) < 3:
            return 0.0, False
        first, one, more = looks[0][1], looks[1][1], looks[2:]
        times, longer = self._times(self.trials.own), max(value for _, value in more)
        worth = max(0.0, per_doubling(one, longer, times))
        at = peak([(0.0, one), *more] if times > LONGER else more, first)
        seconds = self.kept["each"] * (times - LONGER + LONGER * (at or 0.0))
        if at is not None and SHORT not in self.kept and self._room(seconds):
            say(f"the defaults were best after {clock(seconds)}", self.quiet)
            self.kept[SHORT] = seconds
            self.save()
        return worth, worth > FAR * (max(one, longer) - first)

    def _room(self, seconds: float) -> bool:
        """Whether there is time for trials, and the last training, that are best after so many seconds."""
        return self.spent.seconds + (FEWEST + 1) * self._lasts(seconds) < USED * self.seconds

    def _lasts(self, seconds: float) -> float:
        """How long a training takes that is best after so many."""
        return (1 + PATIENCE / OFTEN) * seconds

    def _noted(self, params: Mapping[str, Any], artifact: Artifact) -> None:
        """Keep what a trial has learned, which a longer training goes on from."""
        if params == self.trials.own and (looks := self._looks(artifact)):
            self.kept["first"] = [looks[0], (1.0, max(value for _, value in looks))]
            self.save()
        if self.trials.judge is None and not isinstance(self.trials.configure(params).objective, nn.Module):
            artifact.save(self._state(params))  # else critics would begin anew

    def _state(self, params: Mapping[str, Any], of: str = "trial") -> Path:
        """Where what some settings have learned is kept."""
        return self.folder / STATES / f"{of}-{hashlib.sha256(_key(params).encode()).hexdigest()[:12]}"

    def _times(self, params: Mapping[str, Any]) -> float:
        """How many times as long as a trial a training of the pair is, what it goes on from included."""
        return LONGER + self._state(params).is_dir()

    def _longer(self, params: Mapping[str, Any]) -> bool:
        """Go on with some settings, from their trial; returns whether it was not stopped."""
        key, each, state = _key(params), self.kept["each"], self._state(params)
        if key in self.kept["pair"]:
            return True
        say(f"{'defaults' if params == self.trials.own else 'best'}: {clock(LONGER * each)} more", self.quiet)
        artifact, _ = self.trials.trained(params, LONGER * each, LOOKS, (), state if state.is_dir() else None)
        if artifact.history is None or artifact.history.why == "interrupted":
            return False
        found: dict[str, Any] = {"looks": [*self.kept.get("first", []), *self._looks(artifact)]}
        found["value"] = self.trials.value(artifact, each)
        if self.trials.judge is None:
            found["apart"] = self._apart(artifact)
        if state.is_dir():
            artifact.save(self._state(params, "longer"))
        self.kept["pair"][key] = found
        self.save()
        return True

    def _looks(self, artifact: Artifact) -> list[tuple[float, float]]:
        history = artifact.history
        found = looks_of(history.rest.records, history.total) if history is not None else []
        return found if self.trials.judge is None else []

    def _apart(self, artifact: Artifact) -> list[float]:
        """log p(x) of the examples that no trial is judged by."""
        k = max(K, self.trials.samples(self.kept["each"]))
        found: list[float] = log_likelihood(artifact, self.apart, None, k, self.seed).tolist()
        return found

    def _pair(self) -> bool:
        """Let the best settings go on as the defaults did, where they are worth it, and choose one or the defaults."""
        if SHORT in self.kept or "tuned" in self.kept:
            return True
        own, (worth, far) = self.trials.own, self._worth()
        heat = self.trials.better(WORTH * worth)[: 1 if far else HEAT]
        if not all(self._longer(params) for params in heat):
            return False
        end = {_key(params): self._end(params) for params in heat}
        best = max(heat, key=lambda params: end[_key(params)], default=own)
        lasts = best == own or end[_key(best)] > 0
        ours, theirs = (self.kept["pair"].get(_key(params)) for params in (best, own))
        found = self._chosen(best, ours, theirs) if lasts else self._chosen(own, None, None)
        found.says = self.kept.get("says", found.says)
        if not lasts:
            found.says = f"{' '.join(as_settings(plain(best)))} would be no better at the end of the time"
        self.kept["tuned"], self.kept["settings"] = found.to_dict(), dict(best if found.kept == "tuned" else own)
        self.save()
        return True

    def _end(self, params: Mapping[str, Any]) -> float:
        """How much better than the defaults some settings will be at the end of the time."""
        short, own = (self.trials.found.get(_key(each), -math.inf) for each in (params, self.trials.own))
        one, other = (self.kept["pair"][_key(each)]["value"] for each in (params, self.trials.own))
        if self.trials.judge is not None or other is None or one is None or not math.isfinite(own):
            return -math.inf if one is None else float(one) - float(other or 0.0)
        times = self._times(params)
        return lasting(short - own, one - other, times, math.sqrt(self.seconds / (self.kept["each"] * times)))

    def _chosen(self, best: Mapping[str, Any], ours: Any, theirs: Any, also: Trials | None = None) -> Tuned:
        settings = [] if best == self.trials.own else as_settings(plain(best))
        each = [self.trials, *([also] if also else [])]
        return chosen(settings, ours, theirs, sum(len(t.done) for t in each), sum(t.pruned for t in each))

    def _last(self) -> bool:
        """What was chosen goes on for the time that is left, unless it learns by heart and there is time for trials."""
        if "tuned" not in self.kept:
            self.kept |= {"tuned": self._chosen(self.trials.own, None, None).to_dict(), "settings": {}}
            self.save()
        params, place = self.kept["settings"], self.folder / "last"
        left = max(LEAST, self.seconds - self._report(params) - self.spent.seconds)
        if not (place / CONFIG).is_file():
            say(f"{self.kept['tuned']['kept']}: a training of {clock(left)}", self.quiet)
        state = self._state(params or self.trials.own, "longer")
        before = self.kept["each"] * (1 + LONGER) if state.is_dir() else 0.0
        first = self.kept["first"][0][1] if before and "first" in self.kept else None
        fallen = Fallen(lambda seconds: self._room(before + seconds), first)
        start = state if state.is_dir() else None
        run = self._whole(place, self.configure(params), self._length(params, left), fallen, weights=start)
        if fallen.seen:
            self.kept |= {SHORT: before + fallen.at, "long": self._apart(run.artifact)}
            self.save()
        elif not run.finished:
            return False
        else:
            place.rename(self.folder / "best")
        return True

    def _short(self) -> bool:
        """Trials that may go on until they have passed their best states, and the best of them, or the longer training
        that had passed its own, as the run."""
        tried: dict[str, Any] = self.kept.setdefault("tried", {})
        each, usual = WHOLE * self.kept[SHORT], self._lasts(self.kept[SHORT])
        trials = replace(
            self.trials, study=study_of(self.folder, SHORT), looks=WHOLE * OFTEN, at=1.5 / WHOLE, patience=PATIENCE,
            smaller=False,
        )  # fmt: skip

        def noted(params: Mapping[str, Any], artifact: Artifact) -> None:
            seconds = artifact.history.seconds if artifact.history is not None else 0.0
            tried[_key(params)] = {"apart": self._apart(artifact), "seconds": seconds}
            self.save()

        trials.noted = noted
        while "lengths" not in self.kept:
            again = max([usual, *(one["seconds"] for one in tried.values())])  # of the last training
            left = USED * self.seconds - self.spent.seconds - again
            if left < usual:
                break
            if not trials.one(each, left):
                return False
        if "lengths" not in self.kept:
            self._choose_short(trials, tried)
        lengths, last = self.kept["lengths"], self.folder / "last"
        if lengths is None:  # its best state is kept; it is ended, and judged
            few = ["training.budget=0.001"]
            run = resume(last, self.device, self.trust, 1, self.quiet, few, self.splits)
            if run.finished:
                last.rename(self.folder / "best")
            return run.finished
        say(f"{self.kept['tuned']['kept']}: {lengths['epochs']:.3g} epochs, more are no better", self.quiet)
        return self._whole(self.folder / "best", self.configure(self.kept["settings"]), lengths).finished

    def _choose_short(self, trials: Trials, tried: Mapping[str, Any]) -> None:
        """The best trial of these, where it is better beyond chance than the defaults' or, where there is one, than the
        longer training."""
        best, own, long = trials.best, trials.own, self.kept.get("long")
        ours, theirs = tried.get(_key(best)), tried.get(_key(own))
        if long is None:
            found = self._chosen(best, ours, theirs, trials)
            params = best if found.kept == "tuned" else own
        else:
            shorter = chosen(["shorter"], ours, {"apart": long}, 0, 0)
            found, params = Tuned.from_dict(self.kept["tuned"]), self.kept["settings"]
            if shorter.kept == "tuned":
                params = best
                found.settings = [] if best == own else as_settings(plain(best))
                found.gain, found.interval, found.says = shorter.gain, shorter.interval, SHORTER
                found.kept = "tuned" if found.settings else "defaults"
            found.trials, found.pruned = found.trials + len(trials.done), found.pruned + trials.pruned
        kept = long is not None and params is self.kept["settings"]
        self.kept["lengths"] = None if kept else trials.lengths(params, WHOLE * self.kept[SHORT], trials.looks)
        found.epochs = None if kept else self.kept["lengths"]["epochs"]
        self.kept |= {"tuned": found.to_dict(), "settings": dict(params)}
        self.save()

    def _length(self, params: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The settings of the last training, which takes so long: as trials have shown, it isn't timed anew. Its
        learning rate rises once more, so that looks are no better for long before it falls: it has no patience."""
        params = {"training.batch_size": self.kept["batch"], **(params or self.trials.own)}
        most = seconds / max(1e-6, self._look(params))
        looks = min(MOST_LOOKS, max(1, int(LOOKING * most), min(LOOKS, int(VALIDATING * most))))
        some = PLANNED * seconds - (looks + 1) * (self._look(params) - self.trials.speed(params)[1])
        found = self.trials.lengths(params, some, looks, seen=True)
        planned = {"batch_size": params["training.batch_size"], "budget": seconds, "planned": True}
        return {name: found[name] for name in ("epochs", "validate_every", "patience")} | planned

    def _look(self, params: Mapping[str, Any]) -> float:
        """Seconds of a look at all validation examples, of which trials see some."""
        few, every = len(self.trials.splits.validation), len(self.splits.validation)
        return self.trials.speed(params or self.trials.own)[1] * every / few

    def _report(self, params: Mapping[str, Any]) -> float:
        """Seconds that are kept for the report of the last training."""
        part = len(self.splits.held[0]) / len(self.splits.validation)
        return min((1 - USED) * self.seconds, OVERHEAD + part * self._look(params))

    def _whole(
        self, place: Path, node: Node, training: dict[str, Any], *callbacks: Callback, weights: Path | None = None
    ) -> Run:
        """Train a configuration into a folder, or go on with it."""
        if (place / REPORT).is_file():
            return Run.open(place, self.device, self.trust)
        if (place / CONFIG).is_file():
            return resume(place, self.device, self.trust, 1, self.quiet, splits=self.splits)
        node["training"] = {"class": "Training", **(node.get("training") or {}), **training}
        return train(
            node, place, self.splits, weights, device=self.device, trust=self.trust, importance_samples=1,
            quiet=self.quiet, command=self.command, callbacks=callbacks,
        )  # fmt: skip


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
