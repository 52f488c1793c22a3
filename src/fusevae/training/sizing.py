"""How a training follows the number of examples, where there are fewer than recipes are made for."""

from __future__ import annotations

import math

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.training.settings import Training

FEWEST, UPDATES = 16, 1000  # examples of a batch, and updates of a training, at least


def sized(data: DataSpec, training: Training) -> Training:
    """The settings of a training, for so many examples.

    A batch is at most a fifth of them (of 16 at least), so that an epoch has five updates, each of other examples; and
    epochs are as many as make a thousand updates. 110 rows in batches of 100 and 50 epochs, which were the settings of
    ``maf``, are 50 updates of the same rows. That such a training overfits costs time and nothing else: the best state
    on validation examples is kept.

    Example:
        >>> from fusevae import DataSpec
        >>> found = sized(DataSpec((13,), examples=110), Training(epochs=50, batch_size=100))
        >>> found.batch_size, found.epochs
        (22, 200.0)
        >>> sized(DataSpec((13,), examples=60_000), Training(epochs=50, batch_size=100)).epochs
        50
    """
    if not few(data):
        return training
    n = data.examples or 1
    batch = min(training.batch_size, max(FEWEST, n // 5))
    updates = max(1, n // min(batch, n))
    return training.replaced(batch_size=batch, epochs=max(training.epochs, float(math.ceil(UPDATES / updates))))
