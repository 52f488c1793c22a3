"""VAE on binarized images with a VampPrior: the mixture of its posterior at learned inputs (Tomczak & Welling 2018)."""

from __future__ import annotations

from fusevae.core.conditional import Conditional
from fusevae.core.spec import DataSpec
from fusevae.data.defaults import decay, pseudo_inputs, pull, turns
from fusevae.distributions.bernoulli import Bernoulli
from fusevae.distributions.defensive import Defensive
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.distributions.vamp import Vamp
from fusevae.modalities.images.views import Binarize
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), components: int | None = None
) -> Experiment:
    """The nets of ``binary-vae``; prior and posterior are one encoder. Of few examples the mixture holds the standard
    normal, too (:func:`prior`)."""
    posterior = Gaussian(MLP(data.shape, 2 * latent, hidden, centred=True))
    return Experiment(
        model=VAE(
            Flat(prior(data, posterior, latent, components), posterior, pull(data), turns(data)),
            decoder=Bernoulli(MLP(latent, data.shape, hidden)),
        ),
        views=[Binarize()],
        objective=ELBO(beta=Linear(part=0.25)),
        training=Training(epochs=120, batch_size=200, learning_rate=3e-3, weight_decay=decay(data)),
    )


def prior(data: DataSpec, posterior: Conditional, latent: int, components: int | None = None) -> Conditional:
    """The mixture of a posterior at pseudo-inputs; of few examples also with N(0, I), whose part is half of what is
    missing of :func:`fusevae.data.defaults.pull`: a few narrow components are no prior for latents that the standard
    normal spreads, and so none is more than its logarithm below it. The components of few are smoothed, since held-out
    latents lie between them: of 200 digits (600 others, k = 32, 10,000 updates, the prior's gradient kept from the
    encoder) log p(x) is -126.8 without a kernel, -125.6 with one, -126.5 of ``binary-vae``; of 1,900 characters (5,000
    updates) -115.0, -114.8 and -116.0."""
    share = (1 - pull(data)) / 2
    mixture = Vamp(posterior, data.shape, components or pseudo_inputs(data), kernel=latent if share else 0)
    return Defensive(mixture, Normal(latent), share) if share else mixture
