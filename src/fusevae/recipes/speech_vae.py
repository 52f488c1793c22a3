"""VAE of sound as waveforms: a sequence of latents with an autoregressive prior, spectral distances, critics."""

from __future__ import annotations

from typing import Literal

from fusevae.core.spec import DataSpec
from fusevae.distributions.frame_wise import FrameWise
from fusevae.distributions.waveform import Waveform
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.models.flat import Flat
from fusevae.models.measured import Measured
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN
from fusevae.training.experiment import Experiment
from fusevae.training.prior import FRAMES
from fusevae.training.settings import Training

modality = "audio"


def recipe(
    data: DataSpec,
    latent: int = 16,
    width: int = 128,
    stride: int = 4,
    prior: Literal["autoregressive", "flow", "diffusion", "normal"] = "autoregressive",
    conditional: bool = True,
) -> Experiment:
    """A vector of latents every 32 ms; how many there are is drawn with them. The prior is learned with the rest, what
    is known beside the clips is given to all parts unless ``conditional`` is false. No bound is claimed."""
    rate, view = rate_of(data), usual_view(rate_of(data))
    classes = data.condition if conditional else 0
    window, hop = view.window, view.hop
    longest = 2 * (data.shape[0] // (hop * stride) + 1)
    sequences = FRAMES[prior](latent, longest, classes=classes)
    encoder = WaveEncoder(2 * latent, window, hop, stride, width, (1, 3), classes)
    posterior = FrameWise(encoder, bounds=(-5.0, 2.0), start=-1.0)
    decoder = Waveform(WaveDecoder(latent, window, hop, stride, width, (3, 2), classes))
    critic = WaveCritic(windows=(2 * window, window, window // 2))
    return Experiment(
        model=Measured(Flat(sequences, posterior), decoder, SpectralDistance(rate)),
        objective=WaveGAN(critic, rate, beta=0.1, start=0.5),
        training=Training(epochs=40, batch_size=16, learning_rate=8e-4, betas=(0.8, 0.99), average=0.998, skip=0.0),
    )
