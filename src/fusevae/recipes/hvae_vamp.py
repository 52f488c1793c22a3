"""Two levels of latents on binarized images, the upper with a VampPrior (convHVAE of Tomczak & Welling 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import pull, turns
from fusevae.distributions.gaussian import Gaussian
from fusevae.models.flat import Flat
from fusevae.nets.mlp import MLP
from fusevae.recipes import ladder_vae, vamp_vae
from fusevae.training.experiment import Experiment

modality = "images"


def recipe(
    data: DataSpec, latent: int = 4, width: int = 32, stride: int = 4, top: int = 40, components: int | None = None
) -> Experiment:
    """z2 ~ Vamp, a vector; z1 given z2, a map of the image's size over ``stride``; x given both. The pass from z2 down
    is shared by inference and generation."""
    posterior = Gaussian(MLP(data.shape, 2 * top, (200, 200), centred=True))
    above = Flat(vamp_vae.prior(data, posterior, top, components), posterior, pull(data), turns(data))
    return ladder_vae.below(above, data, (1,), latent, width, stride, top)
