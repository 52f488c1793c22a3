"""Masked autoregressive flow alone, over dequantized pixels or columns (MAF, Papamakarios et al. 2017)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import widths
from fusevae.data.preprocessing import into_reals
from fusevae.distributions.flow import Flow, Kind, Structure
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.mlp import Embedding
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training
from fusevae.training.sizing import defended

modality = ("images", "tables")
outline = {"transforms": 0}  # their masks take seconds


def recipe(
    data: DataSpec,
    structure: Structure = "autoregressive",
    kind: Kind = "affine",
    transforms: int = 5,
    hidden: tuple[int, ...] | None = None,
    alpha: float = 1e-6,
    conditional: bool = False,
) -> Experiment:
    """The density takes one pass, a sample one for each pixel; ``conditional`` gives it the label. ``hidden`` is (512,
    512), less for few examples."""
    hidden = hidden or widths(data, (512, 512))
    classes = data.condition if conditional else 0
    net = Embedding(classes, Flow.outputs(data.shape, 16)) if classes else None
    flow = Flow(data.shape, structure, kind, transforms, hidden, net=net, context=16 if classes else 0)
    return Experiment(
        model=Preprocessed(into_reals(data, alpha), defended(data, flow)),
        training=Training(epochs=50, batch_size=100, learning_rate=1e-3, patience=4),
    )
