"""Latent diffusion: a VAE on binarized images whose prior is a diffusion model, learned with the rest."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay, few, pull, turns
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.diffusion import Diffusion
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.samplers import DPMSolver
from fusevae.distributions.schedules import LinearSchedule
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.nets.time_mlp import TimeMLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.recipes.diffusion import GUIDANCE
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec,
    latent: int = 32,
    hidden: tuple[int, ...] | None = None,
    width: int = 256,
    blocks: int = 3,
    steps: int = 25,
    guidance: float = GUIDANCE,
    conditional: bool = False,
) -> Experiment:
    """The prior starts as the standard normal (Vahdat et al. 2021): its simple loss trains its net, its bound, over
    evenly spread noise levels, the encoder. ``conditional`` gives all parts the label, the prior with ``guidance``."""
    classes = data.condition if conditional else 0
    hidden = hidden or ((200, 200) if few(data) else (400, 400))
    net, schedule = TimeMLP(latent, width, blocks, classes), LinearSchedule(-10.0, 8.0)
    prior = Diffusion(net, latent, "v", schedule, DPMSolver(steps), guidance=guidance)
    posterior = Gaussian(MLP(data.shape, 2 * latent, hidden, "silu", classes, centred=True))
    return Experiment(
        model=VAE(
            Flat(prior, posterior, pull(data), turns(data)),
            decoder=Bernoulli(MLP(latent, data.shape, hidden, "silu", classes)),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(start=0.1, part=0.25)),
        training=Training(epochs=100, batch_size=200, learning_rate=2e-3, weight_decay=decay(data)),
    )
