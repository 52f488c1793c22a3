"""Waveform models: perfect reconstruction, masks, sequences of latents, codes and their files."""

import pytest
import torch
from torch.nn import functional as F

from fusevae.core.frames import ended, extent
from fusevae.core.levels import log_bound
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.distributions.frame_gaussian import FrameGaussian
from fusevae.distributions.waveform import Waveform
from fusevae.models.flat import Flat
from fusevae.models.measured import Measured
from fusevae.nets.spectral import istft, stft
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN

RATE = 1000
SIZES = {"window": 16, "hop": 4, "stride": 2, "width": 8}


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def clips(lengths=(200, 90, 40, 1)):
    torch.manual_seed(0)
    return ended(0.1 * torch.randn(len(lengths), max(lengths)), torch.tensor(lengths))


def small(classes=0, prior=None):
    torch.manual_seed(0)
    prior = prior or AutoregressiveFrames(3, 60, hidden=8, components=2, classes=classes)
    posterior = FrameGaussian(WaveEncoder(6, **SIZES, blocks=(1, 2), classes=classes))
    decoder = Waveform(WaveDecoder(3, **SIZES, blocks=(2, 1), classes=classes))
    return Measured(Flat(prior, posterior), decoder, SpectralDistance(RATE, 10.0, (0.064, 0.016)))


def slopes(value, model):
    found = torch.autograd.grad(value, list(model.parameters()), allow_unused=True, retain_graph=True)
    return torch.cat([g.flatten() for g in found if g is not None])


def test_the_head_gives_sound_back_from_its_true_spectrum():
    x = torch.randn(2, 64 * 4)
    net = WaveDecoder(3, window=16, hop=4, stride=2, width=4, blocks=(1, 1))
    spectrum = stft(x, 16, 4)[..., :-1]
    true = torch.cat([spectrum.abs().clamp(min=1e-9).log(), spectrum.angle()], 1)
    assert torch.allclose(net.sound(true, torch.tensor([64, 64])), x, atol=1e-4)


def test_a_spectrum_of_fewer_frames_is_inverted_as_if_it_stood_alone():
    spectrum = stft(torch.randn(2, 160), 16, 4)
    whole = istft(spectrum, 16, 4, 160, torch.tensor([41, 20]))
    assert torch.allclose(whole[:1], istft(spectrum[:1], 16, 4, 160), atol=1e-6)
    assert torch.allclose(whole[1, :80], istft(spectrum[1:, :, :20], 16, 4, 80)[0], atol=1e-6)


def test_a_clip_has_a_latent_for_each_part_that_it_begins():
    z = WaveEncoder(6, **SIZES, blocks=(1, 1))(clips())
    assert extent(z).tolist() == [25, 12, 5, 1] and z.shape[-1] == 25
    x = WaveDecoder(6, **SIZES, blocks=(1, 1))(z)
    assert extent(x[:, None]).tolist() == [200, 96, 40, 8]


@pytest.mark.parametrize("start", [0.5, 0.0])
def test_zeros_after_the_end_change_no_value_and_no_gradient(start):
    """Of a whole training step: encoder, prior, decoder, distance, critics."""
    model = small(classes=2)
    objective = WaveGAN(WaveCritic((2, 3), (32,), (4, 4)), RATE, start=start)
    label, x = torch.tensor([0, 1, -1, 1]), clips()
    found = []
    for given in (x, F.pad(x, (0, 77))):
        trace = model.trace(given, label)
        z = ended_noise(trace, model, label)
        losses = objective.losses(z, 0.2)
        assert all(value.shape == (4,) for value in losses.values())
        found.append(
            (
                torch.cat(list(losses.values())).detach(),
                slopes(losses["model"].sum(), model),
                slopes(losses["critic"].sum(), objective.opponent),
            )
        )
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(a.abs().max().clamp(min=1)))


def ended_noise(trace, model, label):
    """The trace with noise that is the same whatever the padding: that of the first latents."""
    q = trace.terms[0].q
    torch.manual_seed(3)
    noise = torch.randn(q.mean.shape[0], 40, q.mean.shape[1]).transpose(1, 2)[..., : q.mean.shape[-1]]
    z = (q.mean + q.stddev * F.pad(noise, (0, q.mean.shape[-1] - noise.shape[-1]))) * q.there
    trace.terms[0].z = z
    trace.likelihood = model.decoder(z, label)
    trace.distance = model.distance(trace.likelihood.mean, trace.x)
    return trace


def test_one_clip_is_the_same_beside_others():
    model, x = small(), clips((120, 50))
    both, alone = model.reconstruct(x).mean, model.reconstruct(x[1:, :50]).mean
    assert torch.allclose(both[1, : alone.shape[1]], alone[0], atol=1e-5) and not both[1, alone.shape[1] :].any()
    p, z = model.latents.prior(), model.latents.posterior(x).mean
    assert torch.allclose(log_bound(p, z)[1], log_bound(p, z[1:, :, :7])[0], atol=1e-4)


def test_the_distance_is_zero_of_the_same_and_grows_with_length_and_error():
    distance, x = SpectralDistance(RATE), clips((200, 100))
    assert torch.equal(distance(x, x), torch.zeros(2))
    near, far = distance(0.9 * x, x), distance(0.3 * x, x)
    assert (near > 0).all() and (near < far).all()
    assert distance(torch.stack([x, 0.9 * x]), x).shape == (2, 2)
    long = torch.cat([x[:1], x[:1]], 1)
    assert distance(0.5 * long, long).item() == pytest.approx(2 * distance(0.5 * x[:1], x[:1]).item(), rel=0.1)


def test_the_prior_tells_how_long_sequences_are_and_learns_them():
    torch.manual_seed(0)
    p = AutoregressiveFrames(1, 12, hidden=16, components=2)
    data = ended(1 + 0.1 * torch.randn(64, 1, 12), torch.full((64, 1), 5))
    data[::2, :, 3:] = 0
    optimizer = torch.optim.Adam(p.parameters(), 0.02)
    for _ in range(120):
        optimizer.zero_grad()
        (-p().log_prob(data).mean()).backward()
        optimizer.step()
    z = p().sample((200,))
    lengths = extent(z)
    assert set(lengths.tolist()) <= {1, 2, 3, 4, 5, 6, 7} and ((lengths == 3) | (lengths == 5)).float().mean() > 0.8
    assert abs(z[z != 0].mean() - 1) < 0.05


def test_the_critics_tell_apart_what_they_learn_to():
    torch.manual_seed(0)
    critic = WaveCritic((2, 3), (32,), (4, 8))
    objective = WaveGAN(critic, RATE)
    optimizer = torch.optim.Adam(critic.parameters(), 0.005)
    real, fake = clips((150, 120)), 0.02 * torch.sign(clips((150, 120)))
    for _ in range(40):
        optimizer.zero_grad()
        loss = sum(
            objective.each_told(a.scores, b.scores).mean()
            for a, b in zip(critic.judge(real), critic.judge(fake), strict=True)
        )
        loss.backward()
        optimizer.step()
    assert (critic(real).mean(1) > critic(fake).mean(1)).all()
