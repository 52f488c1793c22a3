"""Experiment: a model, its data and its training, as one configuration; and the run folder that it makes."""

from __future__ import annotations

from collections.abc import Sequence

from fusevae.core.conditional import Conditional
from fusevae.core.description import Described
from fusevae.core.steps import View
from fusevae.data.source import Source
from fusevae.objectives.elbo import ELBO
from fusevae.objectives.objective import Objective
from fusevae.training.settings import Training


class Experiment(Described):
    """All that a run depends on; a recipe returns one, ``config.yaml`` is one.

    Args:
        model: the distribution to train.
        data: where the data come from and how they are split.
        views: what is done to the examples before the model sees them.
        objective: what is maximised.
        training: settings of the loop.
        seed: of initial weights, noise and order.
    """

    def __init__(
        self,
        model: Conditional,
        data: Source = Source(),
        views: Sequence[View] = (),
        objective: Objective = ELBO(),
        training: Training = Training(),
        seed: int = 0,
    ) -> None:
        self.model, self.data, self.views = model, data, list(views)
        self.objective, self.training, self.seed = objective, training, seed
