"""Models compared on the same data, example by example."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.typed import Count
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.given import given, known_of
from fusevae.evaluation.intervals import interval
from fusevae.evaluation.likelihood import check_samples, log_likelihood
from fusevae.evaluation.results import LIKELIHOOD, Result, figure, part
from fusevae.evaluation.scores import NATS, LogLikelihood, kind_of


class Difference(Result):
    """The mean by which the log-likelihoods of two models differ, example by example, in nats.

    Attributes:
        model: the one.
        minus: the other.
        value: the mean of the first less the second.
        stderr: its standard error.
        interval: where it is with 95 % confidence, by Student's t.

    Example:
        >>> Difference(model="a", minus="b", value=1.0, stderr=0.1, interval=[0.804, 1.196])
        Difference
        difference in log p(x)  +1.000 nats per example (95 % between +0.804 and +1.196)
    """

    section = LIKELIHOOD
    model: str
    minus: str
    value: float = figure("difference in log p(x)", NATS, form="+.3f", interval="interval")
    stderr: float
    interval: list[float]


class Pairs(Result):
    """Log-likelihoods of several models of the same data, and the difference of every two.

    Attributes:
        n: examples.
        support: of all.
        importance_samples: k of the bounds.
        models: by name.
        differences: of every two.
    """

    n: int = figure("examples", form=",")
    support: str = figure("support")
    importance_samples: int
    models: dict[str, LogLikelihood] = part(over="support")
    differences: list[Difference]


def compare(
    artifacts: Mapping[str, Artifact], data: Any, label: Any = None, importance_samples: Count = 1000, seed: int = 0
) -> Pairs:
    r"""Log-likelihoods of several models as pairs: the same examples, and the same binarization of each.

    What an example is hard or easy by is common to both models of a pair, so the standard error of the mean difference
    is many times smaller than that of either mean. Where likelihoods are bounds, a difference is that of the bounds.

    Args:
        artifacts: models by name, at least two.
        data: raw examples, as for :func:`fusevae.log_likelihood`.
        label: their labels, where the models are conditional.
        importance_samples: k of the bounds.
        seed: of the view and of the samples.

    Raises :class:`InputError` where the models' likelihoods are over different supports, or given different conditions:
    such figures mean different things.

    Example:
        >>> import torch
        >>> from fusevae import DataSpec, Gaussian, Normal
        >>> from fusevae.nets.mlp import Constant
        >>> a, b = (Artifact(model, DataSpec((2,))) for model in (Normal(2), Gaussian(Constant(4))))
        >>> compare({"a": a, "b": b}, torch.randn(5, 2)).differences[0].minus
        'b'
    """
    if len(artifacts) < 2:
        raise InputError(f"{len(artifacts)} models were given to compare: give at least two")
    first = next(iter(artifacts.items()))
    examples = as_examples(first[1], data, label)
    counts, n = known_of(examples), len(examples)
    for name, artifact in artifacts.items():
        check_samples(artifact, importance_samples)
        if artifact.support != first[1].support:
            raise InputError(
                f"likelihoods over different supports can't be compared: {first[0]} is a {first[1].support}, {name} a "
                f"{artifact.support}; train both on the same view of the data"
            )
        if (mine := given(artifact, counts, n)) != (theirs := given(first[1], counts, n)):
            raise InputError(
                f"likelihoods given different conditions can't be compared: that of {first[0]} is given "
                f"{theirs or 'nothing'}, that of {name} {mine or 'nothing'}; leave the labels out"
            )
    each = {name: log_likelihood(a, examples, None, importance_samples, seed) for name, a in artifacts.items()}
    models, differences = summary(artifacts, each)
    return Pairs(
        n=len(each[first[0]]),
        support=first[1].support,
        importance_samples=importance_samples,
        models=models,
        differences=differences,
    )


def summary(
    artifacts: Mapping[str, Artifact], each: Mapping[str, Tensor]
) -> tuple[dict[str, LogLikelihood], list[Difference]]:
    """Means and paired differences of log-likelihoods ``each`` ``(n,)``, over one support and of the same examples."""
    n = len(next(iter(each.values())))
    if n < 2:
        raise InputError(f"{n} examples were given: give at least two, for a standard error")

    def error(values: Tensor) -> float:
        return values.std(unbiased=True).item() / math.sqrt(n)

    differences = []
    for (a, mine), (b, theirs) in itertools.combinations(each.items(), 2):
        apart = mine - theirs
        value, stderr = apart.mean().item(), error(apart)
        where = interval(value, stderr, n)
        differences.append(Difference(model=a, minus=b, value=value, stderr=stderr, interval=where))
    models = {
        name: LogLikelihood(value=values.mean().item(), stderr=error(values), kind=kind_of(artifacts[name]))
        for name, values in each.items()
    }
    return models, differences
