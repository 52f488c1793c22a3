"""How models and their training follow the number of examples, where there are fewer than recipes are made for."""

from __future__ import annotations

import math

from fusevae.core.conditional import Conditional
from fusevae.core.spec import DataSpec
from fusevae.data.defaults import few
from fusevae.data.whiten import Whiten
from fusevae.distributions.defensive import Defensive
from fusevae.distributions.normal import Normal
from fusevae.models.preprocessed import Preprocessed
from fusevae.training.settings import Training

FEWEST, UPDATES = 16, 1000  # examples of a batch, and updates of a training, at least
MOST = 1024  # dimensions whose correlations are taken out


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


def defended(data: DataSpec, model: Conditional, whiten: bool = True) -> Conditional:
    """A density over standardised data, with a constant model beside it where there are few examples; and, but for a
    decoder, over data whose correlations are taken out, so that it starts as a Gaussian that has them.

    On 110 rows of 13 columns, of which 20 chose among the states, flows and MADE had 1 to 520 nats less than the
    constant model without it and 2.4 more with it.
    """
    if not few(data):
        return model
    if whiten and data.dims <= MOST:
        model = Preprocessed([Whiten(data.shape)], model)
    return Defensive(model, Normal(data.shape))
