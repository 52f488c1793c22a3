"""The loop: players move in turn on batches of data. There is one loop, and it knows nothing but players."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fusevae.core import noise
from fusevae.core.errors import TrainingError
from fusevae.core.memory import keep_freed_memory
from fusevae.core.processes import sum_over_processes, world
from fusevae.data.examples import Examples
from fusevae.training import checkpoint, diagnosis, pace
from fusevae.training.average import Average
from fusevae.training.batches import Batches
from fusevae.training.callbacks import Callback, Moment, call
from fusevae.training.figures import Figures
from fusevae.training.mending import ENOUGH, HEADWAY, SMALLER, Mending, beginning, held
from fusevae.training.optimizer import GuardedAdamW, like, whole
from fusevae.training.parallel import together, wrap
from fusevae.training.players import Batch, Game, Losses
from fusevae.training.progress import Interrupt, Progress
from fusevae.training.records import METRICS, Records, readable
from fusevae.training.settings import Training

IN_A_ROW, ROLLBACKS = 5, 5  # updates skipped in a row before it goes back to a good state; returns until it gives up


class Loop:
    """Trains the players of a game. What a run has become after a step depends only on the seed and the settings.

    Args:
        game: the players.
        train: the examples.
        validation: held-out examples, possibly none.
        settings: of the training.
        seed: of the noise and of the order of the examples.
        device: where the computation runs; the examples stay where they are.
        folder: where checkpoints and ``metrics.jsonl`` go; None keeps both in memory.
        progress: what shows the state of the training.
    """

    def __init__(
        self,
        game: Game,
        train: Examples,
        validation: Examples,
        settings: Training,
        seed: int,
        device: torch.device,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.train, self.validation, self.settings, self.seed, self.device = train, validation, settings, seed, device
        self.batches = Batches(train, settings, seed)
        self.per_epoch, self.total = self.batches.per_epoch, self.batches.total
        self.folder, self.progress = folder, progress or Progress(quiet=True)
        self.rank, self.processes = world()
        self.validate_every = settings.validate_every or max(1, self.total // 20)

        self.game = game.to(device).train()
        self.average = Average(self.game, settings.average)
        self.wrapped = wrap(self.game, settings, device)
        self.average.follow(self.game)
        self.mending = Mending()
        for player in game.players.values():
            player.mending = self.mending if settings.mend else None
        self.optimizers = {n: GuardedAdamW(self.game.own(n), settings, device) for n in game.players}

        self.step, self.stopping, self.finished = 0, False, False  # a callback asked for a stop; the end has come
        self.values: dict[str, Any] = {"rate_scale": 1.0, "rollbacks": 0, "best": None, "lives": True, "stale": 0}
        self.values |= {"records": 0, "warned": [], "looked": 0, "diagnosed": 0, "validated": None, "kept": 0}
        self.callbacks: list[Callback] = []
        self.figures = Figures(list(game.players), device)
        self.best: dict[str, Tensor] = {}
        self.first: dict[str, Tensor] = {}  # the weights of the start, until it is seen that there is headway
        self.records = Records(folder if self.rank == 0 else None)

    # ---------------------------------------------------------------- the loop

    def run(self) -> bool:
        """Train to the end, or until interrupted or told to stop; returns whether it came to the end."""
        keep_freed_memory()
        if not self.step and self.total >= ENOUGH and self.settings.mend and self.mending.floor is not None:
            self.first = {k: v for k, v in self.state().tensors.items() if k.startswith(("game/", "buffer/"))}
        self.good = self.state()
        with Interrupt() as interrupt, self.progress.showing(self.total, self.step), together(self.folder):
            batches = self.batches.since(self.step)
            if diagnosis.early(self):
                with noise.preserved(self.device):
                    self._validate()  # what is learned has to be better than the start
            while self.step < self.total and not self.finished:
                with noise.preserved(self.device):  # between two steps another thread may draw
                    if self._step(next(batches).to(self.device)):
                        batches = self.batches.since(self.step)
                        continue
                self.progress.advance(self.step)
                if self._interrupted(interrupt):
                    self.values |= self.progress.used
                    if self.processes == 1 and self.progress.late:
                        self._validate(last=True)  # nothing comes after: what is kept is judged
                    self.save()  # what goes on from this state takes out the next record
                    self.records.write(self.now | {"event": "stopped", "says": self.why}, self.progress.seconds)
                    return False
        return True

    def _step(self, batch: Batch) -> bool:
        """A step: the players' moves, and what is due after it; returns whether the loop went back."""
        for name, player in self.game.players.items():
            if player.moves(self.step, self.step / self.total):
                self._move(name, batch)
        self.average.update(self.step)
        self.step += 1
        if (self.step % self.settings.log_every == 0 or self.step == self.total) and self._look():
            return True
        if self.step % self.validate_every == 0 or self.step == self.total or diagnosis.early(self):
            self._validate()
        if self.step % self.settings.checkpoint_every == 0 or self.step == self.total or self.finished:
            self.save()
        return False

    @property
    def now(self) -> dict[str, Any]:
        """How far the training is."""
        return {"step": self.step, "epoch": self.step / self.per_epoch}

    @property
    def why(self) -> str:
        """What stopped it, where it was stopped."""
        return "a callback stopped it" if self.stopping else "out of time" if self.progress.late else "interrupted"

    def _interrupted(self, interrupt: Interrupt) -> bool:
        """Whether to stop after this step; several processes agree on it now and then."""
        asked = interrupt.seen or self.progress.late or self.stopping
        if self.processes == 1:
            return asked
        if self.step % self.settings.log_every:
            return False
        return bool(sum_over_processes(self.figures.one * asked).item())

    def _move(self, name: str, batch: Batch) -> None:
        """One player's move, or that of several from one forward: losses, gradients, updates."""
        progress, movers = self.step / self.total, (name, *self.game.players[name].partners)
        parts = self.batches.parts(batch)
        turns = movers if len(movers) > 1 and self.settings.parallel == "fsdp" else (None,)  # one backward a forward
        for (i, (part, rows)), alone in itertools.product(enumerate(parts), turns):
            with (
                noise.keyed(self.seed, "step", self.step, name, device=self.device, rows=rows),
                self._sync(i + 1 == len(parts)),
            ):
                losses = self._losses(name, part, progress, alone)
                self._backward(losses, rows.here * self.processes / self.batches.size)
            for who, (_, metrics) in losses.items():
                self.figures.add(who, metrics, rows.here / self.batches.size)
        for who in movers:
            if self.mending.moves(who, self.step):
                self.optimizers[who].step(self.settings.rate(progress) * self.values["rate_scale"])
            self.optimizers[who].zero_grad()

    def _backward(self, losses: Losses, share: float) -> None:
        """Step 6: of each loss, the gradient of its own player's parameters."""
        for i, (who, (loss, _)) in enumerate(losses.items()):
            only = list(self.optimizers[who].parameters.values()) if len(losses) > 1 else None
            (loss * share if share != 1 else loss).backward(inputs=only, retain_graph=i + 1 < len(losses))

    def _losses(self, name: str, batch: Batch, progress: float, alone: str | None) -> Losses:
        half = self.settings.precision != "float32"
        with torch.autocast(self.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            return self.wrapped(name, batch, progress, alone)

    def _sync(self, last: bool) -> contextlib.AbstractContextManager[None]:
        if isinstance(self.wrapped, DistributedDataParallel) and not last:
            return self.wrapped.no_sync()
        return contextlib.nullcontext()

    # ---------------------------------------------------------------- what is logged, looked at and kept

    def _look(self) -> bool:
        """Write what the last steps gave; with validation the only place where the host waits for the device. Returns
        whether updates went wrong so often that the loop went back to its last good state."""
        steps = self.step - self.values["looked"]
        record: dict[str, Any] = {"train": readable(self.figures.means(steps))}
        record["learning_rate"] = self.settings.rate((self.step - 1) / self.total) * self.values["rate_scale"]
        bad = []
        for name, optimizer in self.optimizers.items():
            optimizer.read()
            stats = optimizer.stats
            prefix = self.figures.prefix(name)
            record[f"{prefix}gradient_norm"] = stats["norms"] / steps
            record[f"{prefix}skipped"] = int(stats["skipped"])
            stats["norms"] = 0.0
            if stats["in_a_row"] >= IN_A_ROW:
                bad.append(name)
        self.figures.sums, self.values["looked"] = {}, self.step
        self.write(record)
        self.mending.look(self, record["train"])
        may = self.settings.mend and self.values["rollbacks"] < ROLLBACKS
        if bad:
            self._go_back(f"{IN_A_ROW} or more updates in a row were abnormal: {self._cause(bad[0])}")
        elif may and (why := self.mending.too_far(record["train"], steps) or pace.fell(self.values, self.mending.mean)):
            self._go_back(why, SMALLER)
            return True
        elif may and self.first and (why := self.mending.no_headway(self.step / self.total, self.values.get("score"))):
            self._go_back(why, SMALLER, beginning(self))
            return True
        elif may and (found := pace.grown(self.values, self.step, self.total, self.mending.least)):
            self.values |= found.values
            self.tell("mended", found.says)
        self.first = self.first if self.step < HEADWAY[1] * self.total else {}
        return bool(bad)

    @torch.no_grad()
    def _validate(self, last: bool = False) -> None:
        """The players' figures on held-out data with averaged weights; the first player's decides on stopping."""
        game, early, last = self.average.ready(), bool(self.step % self.validate_every), last or self.step == self.total
        self.values["validated"] = self.step
        if diagnosis.due(self) and not last:
            diagnosis.diagnose(self, game, self.step / self.total)
        judged = [name for name, player in self.game.players.items() if player.judged]
        if len(self.validation) and judged:
            diagnosis.judge(self, game, judged, early and not last, last)
        if last or self.finished:  # of the weights that are kept; those of the training stay as they are
            now = {n: v.clone() for n, v in game.state_dict().items()}
            game.load_state_dict(self.best or now)
            diagnosis.diagnose(self, game, 1.0)
            game.load_state_dict(now)

    def tell(self, event: str, says: str) -> None:
        """Record something unusual, and say it on the command line."""
        self.write({"event": event, "says": says})
        if not self.progress.python:
            self.progress.say(f"step {self.step}: {says}")

    def write(self, record: dict[str, Any]) -> None:
        """Record figures or an event, under the present step; callbacks see it first."""
        record = self.now | record
        if self.callbacks and self.rank == 0:
            moment = Moment(self.step, self.total, self.progress.seconds, self.average.ready, self.stop)
            if not call(self.callbacks, record, moment):
                self.stop()
        self.progress.record(record, self.step)
        self.records.write(record, self.progress.seconds)
        self.values["records"] = len(self.records)

    def _cause(self, name: str) -> str:
        """Which tensor of a player went wrong first in the last step."""
        step = self.step - 1
        batch = next(self.batches.since(step)).to(self.device)
        leader = self.game.leader(name)
        with noise.keyed(self.seed, "step", step, leader, device=self.device, rows=self.batches.rows):
            return diagnosis.first_bad_tensor(self.game, name, batch, step / self.total)

    def _go_back(self, cause: str, smaller: float | None = None, to: checkpoint.State | None = None) -> None:
        """Return to the last good state, or another, with a smaller step, the first time half of it, and say why."""
        smaller = smaller or (SMALLER if self.values["rollbacks"] and self.settings.mend else 0.5)
        to, at, best = to or held(self), self.step - 1, self.best  # nothing was wrong with that
        now = pace.back(self.values, smaller, to.values["step"])
        if now["rollbacks"] > ROLLBACKS:
            raise TrainingError(
                f"the training went wrong at step {at} ({cause}), after {ROLLBACKS} returns with a smaller step: lower "
                "training.learning_rate, or look at the data"
            )
        self.restore(to)
        self.best, self.values = best, self.values | now
        self.write({"event": "went back", "from": at, "cause": cause, "rate_scale": now["rate_scale"]})
        self.progress.warn(f"step {at}: {cause}; back to step {self.step}, {now['rate_scale']:g} of the learning rate")
        self.save()

    # ---------------------------------------------------------------- state

    def state(self) -> checkpoint.State:
        """A copy of everything that the rest of the training depends on, whole on every process."""
        tensors = {f"game/{n}": whole(v.detach()) for n, v in self.game.named_parameters()}
        tensors |= {f"buffer/{n}": v for n, v in self.game.named_buffers()}
        tensors |= {f"average/{n}": v for n, v in self.average.state().items()}
        for name, optimizer in self.optimizers.items():
            tensors |= {f"optimizer/{name}/{k}": v for k, v in optimizer.state().items()}
        tensors |= {f"sums/{k}": sum_over_processes(v) / self.processes for k, v in self.figures.sums.items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()} | {f"first/{k}": v for k, v in self.first.items()}
        copies = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
        return checkpoint.State(copies, {"step": self.step, **self.values, **self.mending.state()})

    @torch.no_grad()
    def restore(self, state: checkpoint.State) -> None:
        """Take over a state; the reverse of :meth:`state`."""
        groups: dict[str, dict[str, Tensor]] = {}
        for name, tensor in state.tensors.items():
            group, _, rest = name.partition("/")
            groups.setdefault(group, {})[rest] = tensor
        for n, p in self.game.named_parameters():
            p.copy_(like(groups["game"][n], p))
        for n, b in self.game.named_buffers():
            b.copy_(groups["buffer"][n])
        self.average.load(groups.get("average", {}))
        for name, optimizer in self.optimizers.items():
            prefix = f"{name}/"
            optimizer.load({k.removeprefix(prefix): v for k, v in groups["optimizer"].items() if k.startswith(prefix)})
        self.figures.sums = {k: v.to(self.device, copy=True) for k, v in groups.get("sums", {}).items()}
        self.best, self.first = groups.get("best", {}), groups.get("first", {})
        self.step = state.values["step"]
        looked = self.step - (self.step % self.settings.log_every if self.figures.sums else 0)  # of earlier versions
        self.values = {"looked": looked, "diagnosed": self.step, "lives": True, "validated": self.step, "kept": 0}
        self.values |= state.values
        del self.values["step"]
        self.mending.restore(self.values)
        self.finished = self.settings.ended(self.values)

    def save(self) -> None:
        """Keep the present state as the last good one, and on disk; unless it is doubtful, which may be the beginning
        of the end."""
        if self.step < self.total and self.doubtful():
            return
        self.good = self.state()
        if self.folder is not None and self.rank == 0:
            checkpoint.write(self.folder / "checkpoints", self.good)

    def doubtful(self) -> bool:
        """Whether the newest updates were skipped, or what is climbed has fallen far since the last look."""
        if any(o.newest_was_skipped() for o in self.optimizers.values()):
            return True
        steps = self.step - self.values["looked"]
        return bool(steps and self.settings.mend and self.mending.doubtful(readable(self.figures.means(steps)), steps))

    def stop(self) -> None:
        """End after this step, saved."""
        self.stopping = True

    def resume(self) -> bool:
        """Go on from the newest whole checkpoint of the folder; returns whether there was one."""
        assert self.folder is not None
        state = checkpoint.read_newest(self.folder / "checkpoints")
        if state is not None:
            checkpoint.check_fits(state, self.state(), self.folder)
            self.restore(state)
        seconds = self.records.rewind(self.folder / METRICS, self.values["records"])
        self.progress.earlier = max(seconds, self.values.get("seconds", 0.0))
        return state is not None

    def result(self) -> nn.Module:
        """The game that evaluation uses: averaged weights, or the best ones where ``patience`` kept them."""
        game = self.average.ready()
        if self.best:
            game.load_state_dict(self.best)
        return game
