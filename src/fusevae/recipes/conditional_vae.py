"""Conditional VAE on binarized images: the label is given to prior, encoder and decoder (Sohn et al. 2015)."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.gaussian import Gaussian
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP, Embedding
from fusevae.training.experiment import Experiment
from fusevae.training.recipes import take
from fusevae.training.settings import Training

modality = "images"


def recipe(data: DataSpec, latent: int = 20, hidden: tuple[int, ...] = (400, 400)) -> Experiment:
    """A tenth of the labels is hidden in training, so that the model also samples without one."""
    if not data.condition:
        raise InputError(f"conditional-vae needs labels and the data have none: name some, or {take(data)}")
    return Experiment(
        model=VAE(
            Flat(
                prior=Gaussian(Embedding(data.condition, 2 * latent)),
                posterior=Gaussian(MLP(data.shape, 2 * latent, hidden, "silu", data.condition, centred=True)),
            ),
            decoder=Bernoulli(MLP(latent, data.shape, hidden, "silu", data.condition)),
        ),
        views=[Binarize()],
        training=Training(epochs=50, batch_size=100),
    )
