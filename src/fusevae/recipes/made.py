"""MADE alone, over dequantized pixels or columns: each a Gaussian, or a mixture, given those before it."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import widths
from fusevae.data.preprocessing import into_reals
from fusevae.distributions.made import MADE
from fusevae.models.preprocessed import Preprocessed
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training
from fusevae.training.sizing import defended

modality = ("images", "tables")


def recipe(
    data: DataSpec,
    hidden: tuple[int, ...] | None = None,
    components: int = 1,
    alpha: float = 1e-6,
    conditional: bool = False,
) -> Experiment:
    """Germain et al. 2015, as in the comparison of Papamakarios et al. (2017); a sample takes a pass for each pixel.
    ``hidden`` is (1024,), and less for few examples."""
    classes = data.condition if conditional else 0
    made = MADE(data.shape, hidden or widths(data, (1024,)), "gaussian", components, classes=classes)
    return Experiment(
        model=Preprocessed(into_reals(data, alpha), defended(data, made)),
        training=Training(epochs=50, batch_size=100, learning_rate=1e-3, patience=4),
    )
