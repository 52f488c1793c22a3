"""What is wrong in a training: what its players say of held-out examples, and which tensor went wrong first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import SlotError
from fusevae.core.processes import sum_over_processes
from fusevae.data.examples import Examples
from fusevae.evaluation.asked import as_asked, remark
from fusevae.evaluation.collapse import alike, collapsed
from fusevae.evaluation.judge import LEAST
from fusevae.training.mending import apart, better, fallen, separable
from fusevae.training.optimizer import whole
from fusevae.training.parallel import gather_sums
from fusevae.training.players import Batch, Game
from fusevae.training.records import readable

BLOCK = 500  # examples that a diagnosis looks at, or a validation at once; fixed: noise is keyed by block
LIKE, FEWEST = 100, 100  # of different lengths: in a block of a validation, and at least in a diagnosis
#: numbers of a block of a validation, and of a diagnosis, at most: 300 pictures of 3 x 64 x 64 at once took three times
#: as long as 20 at once, whose maps fit into a cache
NUMBERS, LOOKED_AT = 2**19, 2**21
PASSES = 3  # over each example of an update: forward, and backward for twice as much
ASKED, TOLD = 200, 2000  # samples that conditions are told of, and examples that a teller learns from
WORTH = 50  # updates of an example for each of these samples, from which a training is worth a look
SHARE = 0.1  # of the work of the updates, that diagnoses may cost beside it, but for one at the end
AGAIN, LITTLE = 10, 0.02  # passes over the examples after which a look is due, and what it may cost of their work


def due(loop: Any) -> bool:
    """Whether a training (a :class:`fusevae.training.loop.Loop`) is at its end, or has done enough since the last
    diagnosis to be worth another. Work is counted, not time: the records are the same whatever it ran beside."""
    updates = 1 + len(loop.game.players) * len(rows_of(_held(loop))) / (PASSES * loop.batches.size)  # one for the rest
    return bool(loop.step == loop.total or updates <= SHARE * (loop.step - loop.values["diagnosed"]))


def early(loop: Any) -> bool:
    """Whether held-out examples are to judge a state before the next regular validation: the start, then each time that
    the steps have doubled in the first twentieth, where it costs little beside the updates, and after it whenever each
    example has been learned from ten times since, where it costs next to nothing. A net for many examples learns a few
    by heart in less than a twentieth of its training (MADE, 110 rows: -24 nats at the start, -149 at the first
    validation), and of a long one that is hundreds of times that it sees each."""
    leader = next((p for p in loop.game.players.values() if p.judged), None)
    if not (loop.settings.mend and len(loop.validation) and leader is not None and leader.kept):
        return False
    last, most = loop.values["validated"], min(loop.validate_every, max(1, loop.total // 20))
    if last is None:
        return bool(loop.step == 0)
    updates, since = 1 + len(loop.validation) / (PASSES * loop.batches.size), loop.step - last
    doubled = last < loop.step < most and loop.step >= 2 * last and updates <= SHARE * since
    return bool(doubled or (since >= AGAIN * loop.per_epoch and updates <= LITTLE * since))


def diagnose(loop: Any, game: nn.Module, progress: float) -> None:
    """Record what a block of held-out examples (or training ones) says of the players, at ``progress`` of the training;
    what is wrong is said once. What latents that are all alike tell (None of others) is known to all processes, for
    what is done about it."""
    loop.values["diagnosed"] = loop.step
    told = [f["mutual_information"] for f in ([] if loop.rank else _said(loop, game, progress)) if alike(f)]
    mine = 0.0 if loop.rank else max(0.0, told[0]) if told else math.nan
    nats = sum_over_processes(loop.figures.one * mine).item()
    loop.values["alike"] = None if math.isnan(nats) else nats


def _said(loop: Any, game: nn.Module, progress: float) -> Iterator[dict[str, Any]]:
    """What each player's diagnosis found, recorded."""
    held = _held(loop)
    batch = Batch(*held.batch(rows_of(held))).to(loop.device)
    for name, player in cast(Game, game).players.items():
        with noise.keyed(loop.seed, "diagnosis", name, device=loop.device):
            found = player.diagnose(batch)
        if not found:
            continue
        loop.write({f"{loop.figures.prefix(name)}diagnosis": found})
        for what, text in player.warnings(found, progress).items():
            if what not in loop.values["warned"]:
                loop.values["warned"] = [*loop.values["warned"], what]
                loop.write({"event": what, "says": text})
                loop.progress.warn(f"step {loop.step}: {text}")
        yield found


def held_out(loop: Any, game: nn.Module, judged: Sequence[str]) -> dict[str, Any]:
    """The means of the figures of players on the validation examples, as averaged weights have them; blocks are of
    examples of like length, so that little is filled up."""
    sums: dict[str, Tensor] = {}
    lengths, size = loop.validation.lengths, len(loop.validation)
    order = torch.arange(size) if lengths is None else lengths.argsort(stable=True)
    at_once = min(BLOCK, max(1, NUMBERS // loop.validation.spec.dims)) if lengths is None else LIKE
    blocks = list(order.split(at_once))
    mine = range(loop.rank, len(blocks), loop.processes)
    for i, raw in zip(mine, loop.validation.batches(blocks[j] for j in mine), strict=True):
        batch = Batch(*raw).to(loop.device)
        for name in judged:
            with noise.keyed(loop.seed, "validation", i, name, device=loop.device):
                losses = game(name, batch, 1.0)
            for who, (loss, metrics) in losses.items():
                for k, v in {**metrics, "loss": loss}.items():
                    key = f"{loop.figures.prefix(who)}{k}"
                    sums[key] = sums.get(key, 0.0) + v * len(batch.x)
    if loop.processes > 1:
        sums = gather_sums(sums)
    return readable({k: v / len(loop.validation) for k, v in sums.items()})


def look_at_conditions(loop: Any, artifact: Artifact) -> None:
    """Record how far samples of what was trained have the conditions that they are asked for, and say which are
    ignored; nothing where there are none, or too little was trained or held out. Work is counted, not time."""
    held, device = loop.validation, loop.device
    worth = loop.step * loop.batches.size >= WORTH * ASKED and len(held) and loop.processes == 1
    if not (worth and artifact.is_conditional) or artifact.data.conditions is None:
        return
    try:
        found = as_asked(artifact.to(device), loop.train, held, ASKED, loop.seed, TOLD)
    except SlotError:  # an autoencoder before its prior is fitted
        found = {}
    finally:
        artifact.cpu()
    if found:
        loop.write({"as_asked": {name: one.to_dict() for name, one in found.items()}})
    parts = [path for path, part in artifact.named_modules() if "guidance" in getattr(part, "_arguments", ())]
    guided = f"{parts[0]}.guidance" if parts else None
    for name, one in found.items():
        if one.ignored and one.n >= LEAST:  # of molecules few may be some
            text = remark(name, one, guided)
            loop.write({"event": "condition", "says": text})
            loop.progress.warn(text)


def judge(loop: Any, game: nn.Module, judged: Sequence[str], early: bool, last: bool) -> None:
    """Held-out examples' figures, and what they decide: which state is kept, what is mended, whether to stop."""
    means = held_out(loop, game, judged)
    leader = loop.game.players[judged[0]]
    told = loop.values.get("alike")
    score, lives = leader.score(means), told is None and not collapsed(means)
    loop.values["score"] = score
    reached = loop.values.get("reached")  # since the training went back, if it did: what had been lost is climbed again
    climbs = bool(loop.values["rollbacks"]) and (reached is None or score > reached)
    loop.values["reached"] = score if reached is None or score > reached else reached
    if better(score, lives, loop.values["best"], loop.values["lives"]):
        loop.values |= {"best": score, "lives": lives, "stale": 0, "kept": loop.step, "climbed": loop.mending.mean}
        loop.mending.rise(score)
        if loop.settings.patience or (loop.settings.mend and leader.kept):
            loop.best = {n: whole(v).clone() for n, v in game.state_dict().items()}
    elif not early and not climbs:
        loop.values["stale"] += 1
    loop.write({"validation": means})
    if not loop.doubtful():
        loop.good = loop.state()  # a short training may make no checkpoint
    if leader.mending is not None and leader.kept and not last:
        told = told if separable(leader) is not None else None
        if says := loop.mending.after(means, loop.step / loop.total, loop.values["lives"], told):
            loop.values["stale"] = 0  # what is done takes time
            if told is not None:
                some = Batch(*loop.train.batch(rows_of(loop.train))).to(loop.device)
                says += apart(loop, leader, some)
                loop.good = loop.state()
            loop.tell("mended", says)
    loop.finished = loop.settings.ended(loop.values)
    if (loop.finished or last) and loop.best and (says := fallen(score, loop.values, loop.mending.mean, climbs)):
        loop.tell("kept", says)


def _held(loop: Any) -> Examples:
    found: Examples = loop.validation if len(loop.validation) else loop.train
    return found


def rows_of(held: Examples) -> Tensor:
    """The examples that a diagnosis looks at, evenly over all: fewer where they are large, or where the longest would
    fill up the others."""
    if held.lengths is None:
        return held.evenly(min(BLOCK, max(FEWEST, LOOKED_AT // held.spec.dims)))
    rows = held.evenly(BLOCK)
    if len(rows) <= FEWEST:
        return rows
    lengths = held.lengths[rows].double()
    return held.evenly(max(FEWEST, round(len(rows) * (lengths.mean() / lengths.max()).item())))


def first_bad_tensor(game: Game, name: str, batch: Batch, progress: float) -> str:
    """Replay one player's loss and gradients, and name the first tensor that is not finite, in plain words."""
    found: list[str] = []

    def hook(path: str) -> Any:
        def check(module: nn.Module, inputs: Any, output: Any) -> None:
            if not found and isinstance(output, Tensor) and not bool(output.isfinite().all()):
                given = next((x for x in inputs if isinstance(x, Tensor)), None)
                size = f", largest input {given.abs().max().item():.3g}" if given is not None else ""
                found.append(f"the output of {path} ({type(module).__name__}) is not finite{size}")

        return check

    if batch.x.is_floating_point() and bool(batch.x.isinf().any()):  # NaN stands for what is missing
        return "the batch itself is not finite"
    for path, parameter in game.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"the parameter {path} is not finite"
    handles = [m.register_forward_hook(hook(p)) for p, m in game.named_modules() if p]
    try:
        loss, metrics = game(game.leader(name), batch, progress)[name]
        if found:
            return found[0]
        for key, value in {**metrics, "loss": loss}.items():
            if not bool(value.isfinite().all()):
                return f"{key} is not finite"
        own = game.own(name)
        gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    norms = {p: g.norm().item() for p, g in zip(own, gradients, strict=True) if g is not None}
    for path, norm in norms.items():
        if norm != norm or norm == float("inf"):
            return f"the gradient of {path} is not finite"
    largest = max(norms, key=lambda p: norms[p])
    return f"the gradient norm is far above its running mean, most of it in {largest} ({norms[largest]:.3g})"
