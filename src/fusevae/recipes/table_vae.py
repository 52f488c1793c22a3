"""VAE for tables of any columns: numbers, categories and dates, each with a family of its own, and missing cells."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.core.tails import Tails
from fusevae.data.preprocessing import Standardise
from fusevae.distributions.factor_gaussian import FactorGaussian
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.mixed import Mixed
from fusevae.distributions.normal import Normal
from fusevae.modalities.tables.families import cells_of, gappy
from fusevae.modalities.tables.schema import TableSchema
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.cells import CellEncoder
from fusevae.nets.factors import Factors
from fusevae.nets.mlp import MLP
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "tables"
MOST = 500  # columns up to which factors are fitted in a second


def recipe(
    data: DataSpec,
    latent: int = 8,
    hidden: tuple[int, ...] = (128, 128),
    components: int = 3,
    conditional: bool | None = None,
    factors: bool | None = None,
) -> Experiment:
    """Samples are draws in the table's own units.

    Of reals alone the features are standardised, and a Gaussian decoder has a variance for each. Any other table has a
    :class:`Mixed` decoder with ``components`` in the mixture of a column of numbers, and an encoder that is told which
    cells are missing. ``conditional`` gives both the conditions: by default of any other table that has some.

    ``factors``, for reals alone: encoder and decoder tell only how they differ from a factor analysis
    (:class:`FactorGaussian`). By default so up to 500 columns: of 300 columns that six factors make (378 rows) 8 s of a
    core gave -447.5 nats with it, where 16 s without had given -500.9.
    """
    schema = data.schema
    mixed = isinstance(schema, TableSchema) and schema.mixed
    classes = data.condition if (mixed if conditional is None else conditional) else 0
    training = Training(epochs=200, batch_size=64, patience=10)
    if not isinstance(schema, TableSchema) or not mixed:
        encoder = MLP(data.shape, 2 * latent, hidden, "silu", classes)
        decoder = MLP(latent, 2 * data.dims, hidden, "silu", classes)
        if factors or (factors is None and data.dims <= MOST):
            both = Factors(data.dims, latent)
            q: Gaussian = FactorGaussian(encoder, both, "z")
            p: Gaussian = FactorGaussian(decoder, both, "x")
        else:
            q, p = Gaussian(encoder), Gaussian(decoder, bounds=(-4.0, 3.0))
        vae = VAE(Flat(prior=Normal(latent), posterior=q), p)
        return Experiment(model=Preprocessed([Standardise(data.shape), Tails()], vae), training=training)
    cells, holes = cells_of(schema), gappy(schema)
    q = Gaussian(CellEncoder(cells, MLP(cells.width, 2 * latent, hidden, "silu", classes)))
    net = MLP(latent, Mixed.outputs(cells, components), hidden, "silu", classes)
    gaps = MLP(latent, len(holes), (64,), "silu", classes) if holes else None
    vae = VAE(Flat(prior=Normal(latent), posterior=q), Mixed(net, cells, components, gaps, holes))
    return Experiment(model=vae, training=training)
