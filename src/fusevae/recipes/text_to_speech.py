"""Text to speech: frame-wise latents whose prior is aligned to a text, log-mel frames given them, with a bound."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.frame_steps import StandardiseFrames
from fusevae.distributions.aligned import Aligned
from fusevae.distributions.frame_wise import FrameWise
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.flat import Flat
from fusevae.models.preprocessed import Preprocessed
from fusevae.models.vae import VAE
from fusevae.nets.frame_net import FrameNet, TextNet
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "audio"


def recipe(data: DataSpec, latent: int = 16, width: int = 96, blocks: int = 3) -> Experiment:
    """The texts are a column of the conditions; what else is known (a speaker) is told to prior, posterior and decoder.
    Sound is made of the frames by Griffin-Lim."""
    view, known = usual_view(rate_of(data)), data.conditions
    bands, frames = view.spec(data).shape
    if known is None or known.text is None:
        raise InputError("text-to-speech needs a text beside each clip: metadata.csv and wavs/, as LJSpeech has them")
    told = known if len(known) > 1 else 0
    prior = Aligned(TextNet(known, width), latent, blocks, longest=4 * frames)
    posterior = FrameWise(FrameNet(bands, 2 * latent, width, blocks, told))
    decoder = FrameWise(FrameNet(latent, bands, width, blocks, told), scale="shared")
    return Experiment(
        model=Preprocessed([StandardiseFrames(bands)], VAE(Flat(prior, posterior), decoder)),
        views=[view],
        training=Training(epochs=100, batch_size=8, learning_rate=1e-3),
    )
