"""What a model is given beside the examples that it is judged on: log p(x | label) is no log p(x)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.conditions import Conditions
from fusevae.data.examples import Examples


def known(conditions: Conditions | None, label: Tensor | None) -> Tensor:
    """How many examples have a value, by column: ``(columns,)``, of conditions as a tensor ``(n, ...)``."""
    if conditions is None or label is None:
        return torch.zeros(0, dtype=torch.long)
    return (~conditions.numbers(label).isnan()).sum(0).cpu()


def known_of(examples: Examples) -> Tensor:
    """The same of examples, which are read block by block."""
    parts = examples.batches(torch.arange(len(examples)).split(1000))
    return sum((known(examples.spec.conditions, label) for _, label in parts), torch.zeros((), dtype=torch.long))


def labels_in_words(artifact: Artifact, counts: Tensor, n: int) -> str:
    """Whose conditions ``n`` samples were asked for, where so many of the examples have each."""
    unknown = given(artifact, counts, n) or "none known"
    return "of the real examples" + (f": {unknown}" if "known" in unknown else "")


def given(artifact: Artifact, counts: Tensor, n: int) -> str | None:
    """The conditions that a model is given with ``n`` examples, of which so many have each, in words; None where it
    takes none, or none is known.

    Example:
        >>> from fusevae import MLP, DataSpec, Gaussian
        >>> from fusevae.core.conditions import Label
        >>> columns = Conditions([Label("digit", ["zero", "one"])])
        >>> model = Gaussian(MLP(1, 2, classes=columns))
        >>> given(Artifact(model, DataSpec((2,), conditions=columns)), torch.tensor([30]), 50)
        'digit (known of 30 of 50)'
    """
    columns = artifact.data.conditions
    if columns is None or not artifact.is_conditional:
        return None
    some = [
        name if count == n else f"{name} (known of {count:,} of {n:,})"
        for name, count in zip(columns.names, counts.tolist(), strict=False)
        if count
    ]
    return ", ".join(some) or None
