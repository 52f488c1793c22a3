"""Convolutional ladder of latents on binarized images (Sønderby et al. 2016), below a vector with a flow as prior."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.flow import Flow
from fusevae.distributions.gaussian import Gaussian
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.ladder import Ladder
from fusevae.models.vae import VAE
from fusevae.nets.ladder import ConvLadder, SubPixel
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, levels: tuple[int, ...] = (1, 2), latent: int = 4, width: int = 32, stride: int = 4, top: int = 40
) -> Experiment:
    """``levels`` at each size, from the smallest to the image over ``stride``: one of 4 x 4 and two of 7 x 7 where it
    is 28 x 28. The vector holds what the whole image has in common, the levels the rest."""
    above = Flat(Flow(top, "autoregressive", "affine", 4), Gaussian(MLP(data.shape, 2 * top, (200, 200), centred=True)))
    return below(above, data, levels, latent, width, stride, top)


def below(
    above: Flat, data: DataSpec, levels: tuple[int, ...], latent: int, width: int, stride: int, top: int
) -> Experiment:
    """Levels of maps below a vector of size ``top``."""
    net = ConvLadder(data.shape, levels, latent, width, top, stride=stride)
    return Experiment(
        model=VAE(Ladder(net, above), decoder=Bernoulli(SubPixel(net.state, data.shape, hidden=8))),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=50, batch_size=100, learning_rate=2e-3, weight_decay=decay(data)),
    )
