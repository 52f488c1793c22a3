"""VAE of sound over log-mel frames, with a bound: a latent for a clip, its length and its frames given that."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.data.frame_steps import StandardiseFrames
from fusevae.distributions.frames import Frames
from fusevae.distributions.gaussian import Gaussian
from fusevae.distributions.normal import Normal
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.frames import FrameDecoder, FrameEncoder
from fusevae.nets.mlp import MLP, Told
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "audio"


def recipe(data: DataSpec, latent: int = 32, width: int = 128, blocks: int = 4, conditional: bool = True) -> Experiment:
    """What is known beside the clips is given to prior, encoder and decoder unless ``conditional`` is false; sound is
    made of the frames by Griffin-Lim."""
    view = usual_view(rate_of(data))
    bands, frames = view.spec(data).shape
    classes = data.condition if conditional else 0
    prior = Gaussian(Told(classes, 2 * latent)) if classes else Normal(latent)
    posterior = Gaussian(FrameEncoder(bands, 2 * latent, width, blocks, classes=classes))
    net, count = FrameDecoder(latent, bands, width, blocks, classes=classes), MLP(latent, 2, (64,), "silu", classes)
    vae = VAE(Flat(prior, posterior), decoder=Frames(net, count, longest=4 * frames))
    return Experiment(
        model=Preprocessed([StandardiseFrames(bands)], vae),
        views=[view],
        training=Training(epochs=40, batch_size=32, learning_rate=1e-3),
    )
