"""Examples in blocks, each viewed with noise that is keyed by the block: every evaluation sees the same data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.data.examples import Examples, InMemory
from fusevae.data.source import read_examples

BLOCK = 500
LONGEST = 512  # tokens of a text that is given in Python, unless the model was trained on longer ones


class Block(NamedTuple):
    """Raw examples, their labels, and what the model sees of them."""

    number: int
    raw: Tensor
    label: Tensor | None
    x: Tensor


def blocks(artifact: Artifact, examples: Examples, seed: int, device: torch.device | str = "cpu") -> Iterator[Block]:
    """Blocks of :data:`BLOCK` examples; a binarization of a test set is the same for the same seed, whatever is asked
    of it."""
    indices = torch.arange(len(examples)).split(BLOCK)
    for i, (raw, label) in enumerate(examples.batches(iter(indices))):
        with noise.keyed(seed, "view", i):
            x = artifact.view(raw)
        yield Block(i, raw, label.to(device) if label is not None else None, x.to(device))


def as_examples(artifact: Artifact, data: Any, label: Any = None, gaps: bool = False) -> Examples:
    """Arrays, a path or a data set as examples that the artifact can take, NaN where numbers of a table may be missing
    (``gaps``); raises :class:`InputError` where it can't."""
    longest: dict[str, Any] = {} if artifact.data.schema.numeric else {"longest": max(LONGEST, *artifact.data.shape)}
    examples = read_examples(data, artifact.data, label, gaps, artifact.is_conditional, **longest)
    check_examples(artifact, examples, gaps)
    return examples


def check_examples(artifact: Artifact, examples: Examples, gaps: bool = False) -> None:
    """Raise :class:`InputError` unless the model can take the examples; integers in memory count by their values, since
    uint8 says little about the range that is used."""
    spec = examples.spec
    if isinstance(examples, InMemory) and spec.is_discrete and len(examples):
        spec = spec.with_range(float(examples.x.min()), float(examples.x.max()))
    artifact.data.check(spec)
    if gaps or artifact.distribution.mixed or not isinstance(examples, InMemory) or not examples.x.is_floating_point():
        return
    if bool((missing := examples.x.flatten(1).isnan().any(1)).any()):
        raise InputError(
            f"{int(missing.sum())} examples have missing values, the first {int(missing.nonzero()[0])} (from 0 on): "
            "this model takes none, fill them in (fusevae impute), or drop them"
        )
