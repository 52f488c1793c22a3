"""VAE of counts: a latent for what a cell is made of, one for how deep it was counted (scVI, Lopez et al. 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.counts import NegativeBinomial, ZeroInflatedNegativeBinomial
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.tables.families import check_counts
from fusevae.models.flat import Flat
from fusevae.models.vae import VAE
from fusevae.nets.counts import CountDecoder, CountEncoder, Depth
from fusevae.nets.mlp import MLP
from fusevae.objectives.beta import Linear
from fusevae.objectives.elbo import ELBO
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "tables"


def recipe(
    data: DataSpec, latent: int = 10, hidden: tuple[int, ...] = (128,), zero_inflated: bool = False
) -> Experiment:
    """Conditions (a batch, say) are given to encoder and decoder, so that the latent is free of them.

    The depth is the first of ``latent + 1`` numbers, with a prior of its own fitted to the training cells: what the
    library says is a bound on the probability of the counts, those of a model that is told each cell's total are not.
    """
    check_counts(data)
    told, genes, depth = data.condition, data.dims, Depth(data.condition)
    q = Gaussian(CountEncoder(depth, MLP(genes, 2 * (latent + 1), hidden, "silu", told)))
    net = CountDecoder(depth, MLP(latent, genes * (1 + zero_inflated), hidden, "silu", told), genes)
    family = ZeroInflatedNegativeBinomial if zero_inflated else NegativeBinomial
    return Experiment(
        model=VAE(Flat(prior=Normal(latent + 1), posterior=q), decoder=family(net)),
        objective=ELBO(beta=Linear(part=0.2)),
        training=Training(epochs=200, batch_size=128, learning_rate=2e-3, patience=15),
    )
