"""How near rows of a table come back, by the kinds of their columns."""

from __future__ import annotations

import torch

from fusevae.core.artifact import Artifact
from fusevae.data.examples import Examples
from fusevae.evaluation.latents import reconstruct
from fusevae.evaluation.results import RECONSTRUCTIONS, Result, figure
from fusevae.modalities.tables.column import CLASSES, FIXED
from fusevae.modalities.tables.schema import TableSchema


class TableReconstruction(Result):
    """How near rows are to themselves after encoding and decoding, over the cells that are there.

    Attributes:
        n: rows.
        accuracy: the part of the cells of classes that come back as they were.
        error: of numbers, the root of the mean squared error in standard deviations of the column, a mean over columns.
    """

    section = RECONSTRUCTIONS
    n: int
    accuracy: float | None = figure("classes as they were", better="high", form=".1%", default=None)
    error: float | None = figure(
        "error of numbers", better="low", form=".4g", hint="in standard deviations", default=None
    )


def table_reconstruction(artifact: Artifact, held: Examples, seed: int = 0) -> TableReconstruction:
    """Rows, each typical of its latent, beside what they were made from."""
    schema = held.spec.schema
    assert isinstance(schema, TableSchema)
    x = held.batch(torch.arange(len(held)))[0].double()
    again, there = reconstruct(artifact, held, seed=seed).double(), ~x.isnan()
    same, cells, errors = 0, 0, []
    for i, column in enumerate(schema.columns):
        a, b = x[there[:, i], i], again[there[:, i], i]
        if column.kind in FIXED or not len(a):
            continue
        if column.kind in CLASSES:
            same, cells = same + int((a == b).sum()), cells + len(a)
        elif len(a) > 1 and (scale := a.std().item()) > 0:
            errors.append((a - b).square().mean().sqrt().item() / scale)
    return TableReconstruction(
        n=len(x),
        accuracy=same / cells if cells else None,
        error=sum(errors) / len(errors) if errors else None,
    )
