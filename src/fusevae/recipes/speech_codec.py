"""A codec of sound: residual codes, spectral distances, critics (SoundStream, EnCodec, DAC)."""

from __future__ import annotations

from fusevae.core.spec import DataSpec
from fusevae.distributions.waveform import Waveform
from fusevae.modalities.audio.quality import usual_view
from fusevae.modalities.audio.schema import rate_of
from fusevae.modalities.audio.views import Excerpt, Varied
from fusevae.models.coded import Coded
from fusevae.models.measured import Measured
from fusevae.nets.residual import ResidualQuantizer
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN
from fusevae.training.experiment import Experiment
from fusevae.training.settings import Training

modality = "audio"


def recipe(
    data: DataSpec, stages: int = 10, codes: int = 1024, features: int = 32, width: int = 128, stride: int = 4
) -> Experiment:
    """Every 32 ms a code of each codebook: at 1,024 codes 312.5 bits a second for each of them, of which the first few
    alone are a coarser sound. ``fusevae encode`` and ``fusevae decode`` take files of any length."""
    rate, view = rate_of(data), usual_view(rate_of(data))
    window, hop = view.window, view.hop
    latents = Coded(
        WaveEncoder(features, window, hop, stride, width, (1, 3)),
        ResidualQuantizer(codes, features, stages, commitment=0.01, revive=0.1),
    )
    decoder = Waveform(WaveDecoder(features, window, hop, stride, width, (3, 2)))
    return Experiment(
        model=Measured(latents, decoder, SpectralDistance(rate)),
        views=[Excerpt(0.55, rate), Varied()],
        objective=WaveGAN(WaveCritic(windows=(2 * window, window, window // 2)), rate),
        training=Training(epochs=40, batch_size=16, learning_rate=8e-4, betas=(0.8, 0.99), average=0.998, skip=0.0),
    )
