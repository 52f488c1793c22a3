"""VAE on grey digits of 8 x 8 pixels with a mixture of discretized logistics: what the demo trains, in a minute."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.discretized_logistic import DiscretizedLogistic
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.images.levels import scaled
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP, Embedding
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 12, hidden: tuple[int, ...] = (256, 256), components: int = 3) -> Experiment:
    """For small integer images; the label is a condition of prior, encoder and decoder: a style that no example of a
    class has is not drawn for it."""
    classes = data.condition
    prior = Gaussian(Embedding(classes, 2 * latent)) if classes else Normal(latent)
    steps, levels = scaled(data)
    outputs = DiscretizedLogistic.outputs(data.shape, components)
    vae = VAE(
        Flat(prior=prior, posterior=Gaussian(MLP(data.shape, 2 * latent, hidden, "silu", classes, centred=True))),
        decoder=DiscretizedLogistic(MLP(latent, outputs, hidden, "silu", classes), components, levels=levels),
    )
    return Experiment(
        model=Preprocessed(steps, vae),
        training=Training(epochs=80, learning_rate=2e-3, weight_decay=0.3, average=0.99),
    )
