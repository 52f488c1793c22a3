"""VAE on binarized images whose prior is a normalizing flow (masked autoregressive, learned with the rest)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import LEAST, PLENTY, few, pull
from fusevae.distributions.flow import Flow
from fusevae.recipes import binary_vae
from fusevae.training.experiment import Experiment
from fusevae.training.prior import with_prior

modality = "images"


def recipe(
    data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), transforms: int | None = None
) -> Experiment:
    """The nets of ``binary-vae``; a learned prior mends a latent too simple for the data (Chen et al. 2017).

    ``transforms`` are 4 of two layers of 128, but 2 of one layer of 128 where there are under 5,000 examples (an
    update takes 1.17 times that of ``binary-vae``, of the four 1.36, over colour pictures of 28 x 28), and one of a
    layer of 32 where there are under 2,500: of 1,900 characters (600 held out, k = 32, 100 s of a core) the four were
    0.56 nats (0.07 to 1.06) below ``binary-vae``, the one could not be told from it. Of few examples the prior pulls
    less at the latent (:func:`fusevae.data.defaults.pull`)."""
    base = binary_vae.recipe(data, latent, hidden)
    usual, widths = (1, (LEAST,)) if few(data, PLENTY // 2) else (2, (128,)) if few(data) else (4, (128, 128))
    flow = Flow(latent, "autoregressive", "affine", transforms or usual, hidden=widths)
    model = with_prior(base.model, flow, pull=pull(data))
    return base.replaced(model=model, training=base.training.replaced(epochs=200))
