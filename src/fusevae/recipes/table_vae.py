"""VAE for tables: features standardised on the training data, a Gaussian decoder with a variance for each feature."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Standardise
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training
from fusevae.training.sizing import defended

modality = "tables"


def recipe(data: DataSpec, latent: int = 8, hidden: tuple[int, ...] = (128, 128)) -> Experiment:
    """Samples are draws in the table's own units."""
    decoder = Gaussian(MLP(latent, (2 * data.shape[0], *data.shape[1:]), hidden, "silu"), bounds=(-4.0, 3.0))
    vae = VAE(
        Flat(prior=Normal(latent), posterior=Gaussian(MLP(data.shape, 2 * latent, hidden, "silu"))),
        decoder=defended(data, decoder, whiten=False),
    )
    return Experiment(
        model=Preprocessed([Standardise(data.shape)], vae),
        training=Training(epochs=200, batch_size=64, patience=10),
    )
