"""VAE on binarized images whose prior is a normalizing flow (masked autoregressive, learned with the rest)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.defaults import widths
from fusevae.distributions.flow import Flow
from fusevae.recipes import binary_vae
from fusevae.training.experiment import Experiment
from fusevae.training.prior import with_prior

modality = "images"


def recipe(data: DataSpec, latent: int = 50, hidden: tuple[int, ...] = (200, 200), transforms: int = 4) -> Experiment:
    """The nets of ``binary-vae``; a learned prior mends a latent too simple for the data (Chen et al. 2017)."""
    base = binary_vae.recipe(data, latent, hidden)
    flow = Flow(latent, "autoregressive", "affine", transforms, hidden=widths(data, (128, 128)))
    model = with_prior(base.model, flow)
    return base.replaced(model=model, training=base.training.replaced(epochs=200))
