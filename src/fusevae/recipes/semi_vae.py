"""Semi-supervised VAE for images and tables: learns to classify from few labels and many examples without one (M2)."""

from __future__ import annotations

import math

from fusevae.core.conditional import Conditional
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.core.steps import Step, View
from fusevae.core.tails import Tails
from fusevae.data.preprocessing import Normalise, Standardise
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.images.levels import MOST
from fusevae.modalities.images.views import Affine, Binarize
from fusevae.modalities.tables.views import Jitter
from fusevae.models.flat import Flat
from fusevae.models.label_mixture import LabelMixture
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.conv import ConvEncoder
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.semi_supervised import SemiSupervised
from fusevae.training.experiment import Experiment
from fusevae.training.recipes import take
from fusevae.training.settings import Training

modality = ("images", "tables")
reads = {"unknown": "-1"}

LARGE = 400  # pixels from which one of ink is as clear in black and white


def recipe(
    data: DataSpec,
    latent: int = 32,
    hidden: tuple[int, ...] = (256, 256),
    channels: tuple[int, ...] = (64, 128),
    alpha: float = 20.0,
    consistency: float = 20.0,
    adversarial: float | None = None,
    labelled: float = 0.25,
) -> Experiment:
    """A label that isn't known is an empty cell, NaN or -1.

    ``alpha`` is the weight of the classification beside the nats of an example, as in :math:`\\alpha N / N_l`, where
    Kingma et al. have 0.1; ``consistency`` that of q(y | x) staying as it is under the worst change of length
    ``adversarial``, and of being sure under small ones: images turned, scaled and moved, tables with noise. By default
    that length is a tenth of the range of a pixel, of tables of a column's standard deviation, times the root of their
    number. At least the part ``labelled`` of each batch has a label, which the weights make up for.
    """
    label = data.conditions.label if data.conditions is not None else None
    if label is None:
        raise InputError(
            "semi-vae needs one column of labels, known of some examples, and the data have none: name it, "
            f"data.conditions=[label], or {take(data)}"
        )
    k, shape, known = len(label.classes), data.shape, label.known
    images = len(shape) == 3
    share = max(known, labelled)
    classifier = ConvEncoder(shape, k, channels, blocks=0) if images else MLP(shape, k, hidden, "silu")
    views: list[View] = []
    steps: list[Step] = []
    decoder: Conditional
    if images and data.is_discrete and shape[0] == 1 and data.dims >= LARGE:
        views = [Binarize("threshold")]  # what is drawn afresh each time hides the shape from the classifier
        decoder = Bernoulli(MLP(latent, shape, hidden, "silu", k))
    elif images and data.is_discrete and 2 <= data.high - data.low + 1 <= MOST:
        steps = [Normalise(data.low, data.high, -1.0, 1.0)]
        levels = round(data.high - data.low) + 1
        outputs = DiscretizedLogistic.outputs(shape, 3)
        decoder = DiscretizedLogistic(MLP(latent, outputs, hidden, "silu", k), 3, levels=levels)
    else:
        steps = [Normalise(data.low, data.high, -1.0, 1.0)] if images else [Standardise(shape), Tails()]
        decoder = Gaussian(MLP(latent, Gaussian.outputs(shape), hidden, "silu", k), bounds=(-4.0, 3.0))
    spread = 2.0 if images and steps else 1.0  # the range of a pixel; of a table's column the standard deviation
    length = adversarial if adversarial is not None else 0.1 * spread * math.sqrt(data.dims)
    posterior = Gaussian(MLP(shape, 2 * latent, hidden, "silu", k))
    model: Conditional = LabelMixture(VAE(Flat(Normal(latent), posterior), decoder), classifier, k)
    return Experiment(
        model=Preprocessed(steps, model) if steps else model,
        views=views,
        objective=SemiSupervised(
            alpha / share,
            known / share,
            consistency,
            length,
            changes=Affine() if images else Jitter(),
            beta=Linear(part=0.25),
        ),
        training=Training(epochs=100 if images else 300, batch_size=128, unlabelled=0.0, labelled=labelled),
    )
