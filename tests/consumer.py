"""What a user's script looks like to a type checker: CI runs mypy on it. Each line below types as it says."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor

import fusevae
from fusevae import (
    MLP,
    VAE,
    Artifact,
    Bernoulli,
    Binarize,
    Conditions,
    Flat,
    Gaussian,
    Label,
    Normal,
    Number,
    Run,
    Training,
)


def train() -> Artifact:
    """A first model."""
    data = fusevae.read_data(None)
    vae = VAE(Flat(Normal(8), Gaussian(MLP((1, 8, 8), Gaussian.outputs(8)))), Bernoulli(MLP(8, (1, 8, 8))))
    return fusevae.fit(vae, data, views=[Binarize()], training=Training(epochs=1))


def use(path: str) -> float:
    """A run, its samples and its figures."""
    run = Run.open(path)
    assert_type(run, Run)
    x = fusevae.sample(run.artifact, 16, label="7")
    assert_type(x, Tensor)
    found = fusevae.evaluate(run.artifact, run.data.test)
    assert_type(found.log_likelihood.value, float)
    both = Conditions([Label("sentiment", ["negative", "positive"]), Number("year", 2000.0, 8.0)])
    return float(torch.nan_to_num(both.row({"year": 1999})).sum()) + found.log_likelihood.value


def mistaken() -> None:
    """What a type checker has to find."""
    from fusevae import DoesNotExist  # type: ignore[attr-defined]

    fusevae.sample(3)  # type: ignore[arg-type]
    print(DoesNotExist)
