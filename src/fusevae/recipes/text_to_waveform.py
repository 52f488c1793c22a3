"""Text to speech as waveforms, as in VITS: latents aligned to a text, a flow before their prior, sound by critics."""

from __future__ import annotations

from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.frame_steps import FrameCoupling
from fusevae.distributions.aligned import Aligned
from fusevae.distributions.frame_wise import FrameWise
from fusevae.distributions.waveform import Waveform
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.flat import Flat
from fusevae.models.measured import Measured
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.frame_net import TextNet
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "audio"


def recipe(
    data: DataSpec, latent: int = 16, width: int = 128, stride: int = 2, flow: int = 4, segment: int = 32
) -> Experiment:
    """A vector of latents every 16 ms. The texts are a column of the conditions; what else is known (a speaker) is told
    to prior, posterior and decoder. ``flow`` is how many couplings stand before the prior; of ``segment`` vectors of a
    clip sound is made in training. No bound is claimed. After ten minutes of a core 2 % of its words are wrong."""
    rate, view, known = rate_of(data), usual_view(rate_of(data)), data.conditions
    if known is None or known.text is None:
        raise InputError("text-to-waveform needs a text beside each clip: metadata.csv and wavs/, as LJSpeech has them")
    told, window, hop = known if len(known) > 1 else 0, view.window, view.hop
    longest = 4 * (data.shape[0] // (hop * stride) + 1)
    between = [FrameCoupling(latent, bool(i % 2), width // 2) for i in range(flow)]
    aligned = Aligned(TextNet(known, width), latent, longest=longest, diagonal=0.1, scales=True)
    prior = Preprocessed([*between], aligned)
    encoder = WaveEncoder(2 * latent, window, hop, stride, width, (1, 3), told)
    posterior = FrameWise(encoder, bounds=(-5.0, 2.0), start=-1.0)
    decoder = Waveform(WaveDecoder(latent, window, hop, stride, width, (3, 2), told))
    critic = WaveCritic(windows=(2 * window, window, window // 2))
    return Experiment(
        model=Measured(Flat(prior, posterior), decoder, SpectralDistance(rate), segment),
        objective=WaveGAN(critic, rate, beta=0.3, start=0.5),
        training=Training(epochs=100, batch_size=8, learning_rate=8e-4, betas=(0.8, 0.99), average=0.998, skip=0.0),
    )
