"""Trainings of the classifiers that judge samples: to where they stand still, and no further."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fusevae.core import noise
from fusevae.data.examples import Examples
from fusevae.training.diagnosis import PASSES
from fusevae.training.loop import Loop
from fusevae.training.players import Game, Player
from fusevae.training.prepare import pick_device
from fusevae.training.progress import Progress
from fusevae.training.settings import Training

APART, MOST = 0.05, 1000  # of the training examples, by which it is told that a training stands still
EVERY, LOOKS = 25, 20  # updates from one look at them to the next, at least; looks over the longest training, at most
SHARE = 0.1  # of the updates, that looks may cost beside them
PATIENCE = 8  # looks without a better one end a training
TIE = 1e-4  # of equal accuracies the one with the lower loss is better
CHECKPOINTS = 100  # updates between the states that it goes on from
#: what kept classifiers are told apart by, beside their data and settings
RULE = ("last unless surely worse", APART, MOST, EVERY, LOOKS, SHARE, PATIENCE, TIE)


class Classifying(Player):
    """Base of what trains a ``net`` to classify, whose figures have an ``accuracy``."""

    name = "classifier"

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def own(self) -> list[nn.Module]:
        return [self.net]

    def score(self, means: Mapping[str, Any]) -> float:
        return float(means["accuracy"] - TIE * means["loss"])


def held_apart(train: Examples, seed: int = 0) -> tuple[Examples, Examples]:
    """Training examples without some of them, and these, which tell when a training stands still.

    Example:
        >>> from fusevae.data.examples import InMemory
        >>> [len(part) for part in held_apart(InMemory(torch.zeros(50, 2)))]
        [48, 2]
    """
    generator = torch.Generator().manual_seed(noise.key(seed, "apart"))
    order = torch.randperm(len(train), generator=generator)
    n = min(MOST, round(APART * len(train)))
    return train.subset(order[n:].sort().values), train.subset(order[:n].sort().values)


def train_until_still(
    player: Classifying,
    train: Examples,
    training: Training,
    seed: int = 0,
    device: str = "auto",
    quiet: bool = False,
    folder: Path | None = None,
    seen_as: Callable[[Examples], Examples] = lambda examples: examples,
) -> nn.Module:
    """The net of a player, trained for ``training``, or until its accuracy on a twentieth of the training examples,
    which it doesn't learn from, was no better at eight looks in a row. The last state is what is returned, or the best
    where that is better by more than a standard error (Breiman et al. 1984): of so few the best is often one of an
    early, less trained net (characters of 5 alphabets: 73.2 % of others are right, 76.1 % at the end).

    Args:
        player: whose net is trained.
        train: the training examples.
        training: at most so long.
        seed: of the order, and of what is held apart.
        device: as for :func:`fusevae.fit`.
        quiet: show no progress.
        folder: of its checkpoints, from which it goes on where it was stopped; removed at its end.
        seen_as: what the player is given of examples.
    """
    ours, theirs = (seen_as(part) for part in held_apart(train, seed))
    updates = max(1, len(ours) // training.batch_size) * training.epochs
    cheap = len(theirs) / (PASSES * training.batch_size) / SHARE
    every = max(EVERY, round(cheap), round(updates / LOOKS))
    training = training.replaced(patience=PATIENCE, validate_every=every, checkpoint_every=CHECKPOINTS)
    loop = Loop(Game([player]), ours, theirs, training, seed, pick_device(device), folder, Progress(quiet, python=True))
    if folder is not None:
        loop.resume()
    if not loop.run():
        raise KeyboardInterrupt  # half a training must not pass for a whole one
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    best, last = (loop.values.get(name) for name in ("best", "score"))
    sure = best is None or best - last > math.sqrt(max(0.0, best * (1 - best)) / len(theirs))
    game = loop.result() if sure else loop.average.ready()
    found: Classifying = game.players[player.name]  # type: ignore[index,assignment]
    return found.net.cpu().eval()
