"""GAN on images: a convolutional generator against a convolutional critic with R1 (Mescheder et al. 2018)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.preprocessing import Normalise
from fusevae.distributions.normal import Normal
from fusevae.models.gan import Generator
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.critic import ConvCritic
from fusevae.nets.generator import ConvGenerator
from fusevae.objectives.adversarial import Adversarial
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "images"


def recipe(
    data: DataSpec, latent: int = 64, channels: tuple[int, ...] = (32, 64, 128), conditional: bool = False
) -> Experiment:
    """``channels`` are the widths of the critic's stages, the generator has them in reverse; ``conditional`` gives both
    the label."""
    classes = data.condition if conditional else 0
    return Experiment(
        model=Preprocessed(
            [Normalise(data.low, data.high, -1.0, 1.0)],
            Generator(Normal(latent), ConvGenerator(latent, data.shape, channels[::-1], classes)),
        ),
        objective=Adversarial(ConvCritic(data.shape, channels, classes=classes)),
        training=Training(epochs=30, batch_size=64, learning_rate=5e-4, betas=(0.0, 0.99), clip=0.0, skip=0.0),
    )
