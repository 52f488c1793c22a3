"""Priors over sequences of latents: padding, an exact flow, a bound, and fits after training."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fusevae
from fusevae import (
    DataSpec,
    DPMSolver,
    Flat,
    FrameDiffusion,
    FrameFlow,
    FrameWise,
    Measured,
    NormalFrames,
    Training,
    Waveform,
    fit_prior,
)
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.columns import Text
from fusevae.core.conditions import Conditions
from fusevae.core.errors import InputError
from fusevae.core.frames import ended, extent, within
from fusevae.core.levels import bounds_as, log_bound
from fusevae.data.frame_steps import StandardiseFrames
from fusevae.distributions.autoregressive_codes import AutoregressiveCodes
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder
from fusevae.training.prior import FRAMES

LABEL = torch.tensor([0, 1, 1, 0])
N = torch.tensor([5, 2, 7, 1])


def sequences(width=3):
    torch.manual_seed(1)
    return torch.randn(4, width, 7) * within(N, 7)


def parts(classes=2):
    torch.manual_seed(0)
    found = [
        NormalFrames(3, 12, classes),
        FrameFlow(3, 12, hidden=8, blocks=2, transforms=3, classes=classes),
        FrameDiffusion(3, 12, hidden=8, blocks=2, classes=classes, times=4),
    ]
    for part in found:
        for p in part.parameters():  # away from where it starts
            p.data.add_(0.1 * torch.randn_like(p))
    return [part.eval() for part in found]


@pytest.mark.parametrize("part", parts(), ids=lambda part: type(part).__name__)
def test_zeros_that_follow_change_no_value_no_gradient_and_no_sample(part):
    x = sequences()

    def found(x, label):
        with noise.keyed("same"), bounds_as("surrogate"):
            value = log_bound(part(label), x)
        slopes = torch.autograd.grad(value.sum(), list(part.parameters()))
        return value, torch.cat([g.flatten() for g in slopes])

    for a, b in zip(found(x, LABEL), found(F.pad(x, (0, 4)), LABEL), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for way in ("log_bound", "summed_bound"):
            with noise.keyed("same"), bounds_as(way):
                whole = log_bound(part(LABEL), x)
            for start, stop in ((0, 1), (1, 4)):  # as alone, where others are longer
                with noise.keyed("same", rows=noise.Rows(start, stop, 4)), bounds_as(way):
                    alone = log_bound(part(LABEL[start:stop]), x[start:stop])
                torch.testing.assert_close(alone, whole[start:stop], rtol=1e-4, atol=1e-4)
        with noise.keyed("draw"):
            whole = noise.sample(part(LABEL), (3,))
        with noise.keyed("draw", rows=noise.Rows(1, 4, 4)):
            some = noise.sample(part(LABEL[1:]), (3,))
        torch.testing.assert_close(whole[:, 1:, :, : some.shape[-1]], some, rtol=1e-4, atol=1e-4)
        assert not part(LABEL).sample()[..., 12:].any()
        too_long = torch.randn(4, 3, 13)
        assert (log_bound(part(LABEL), too_long) == -torch.inf).all()


def test_a_flow_of_frames_has_autograds_determinant_and_is_undone():
    part, x = parts()[1].double(), sequences().double()
    u, log_det = part.into(x, LABEL)
    for i, n in enumerate(N.tolist()):
        one = x[i, :, :n]
        jacobian = torch.autograd.functional.jacobian(
            lambda v, i=i: part.into(v[None], LABEL[i : i + 1])[0][0], one
        ).view(3 * n, 3 * n)
        # the nets' outputs are rounded to float32, as every net's are
        assert log_det[i].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-4)
    assert (u - x).abs().max() > 0.1
    torch.testing.assert_close(part.back(u, LABEL), x, rtol=1e-4, atol=1e-4)
    exact = part.base(LABEL).log_prob(u) + log_det
    torch.testing.assert_close(part(LABEL).log_prob(x), exact)


@torch.no_grad()
def test_a_diffusion_of_frames_whose_net_gives_0_is_standard_normal_frames_in_as_many_numbers_as_there_are():
    part, x = FrameDiffusion(3, 12, hidden=8, blocks=1, times=3), sequences()
    for found in (part().log_bound(x), part().summed_bound(x)):  # with no noise at all
        torch.testing.assert_close(found, part.base().log_prob(x), rtol=1e-3, atol=2e-2)
    drawn = part().sample((2000,))
    numbers = drawn[within(extent(drawn), drawn.shape[-1]).expand_as(drawn) > 0]
    assert numbers.mean().abs() < 0.03 and (numbers.std() - 1).abs() < 0.03


class Loud(nn.Module):
    """Two numbers for each 8 samples of a clip: their sum and difference by halves, and a small scale."""

    def forward(self, x, label=None):
        n = -(-extent(x[:, None]) // 8)
        parts = F.pad(x, (0, -x.shape[-1] % 8)).unflatten(-1, (-1, 2, 4)).sum(-1).movedim(-1, 1)
        there = within(n, parts.shape[-1])
        return torch.cat([parts, torch.full_like(parts, -3.0)], 1) * there


def of_sound():
    """Clips of two kinds, which differ in level, length and course, and a model whose latents are these."""
    torch.manual_seed(0)
    label = torch.arange(120) % 2
    level = torch.where(label == 0, 1.0, -1.0)[:, None] * (1 + (torch.arange(64) // 32)) / 4
    x = ended(level + 0.1 * torch.randn(120, 64), torch.where(label == 0, 24, 56) + 8 * torch.randint(0, 2, (120,)))
    decoder = Waveform(WaveDecoder(2, 8, 2, 4, 4, (1, 1), classes=2))
    vae = Measured(Flat(NormalFrames(2, 16), FrameWise(Loud())), decoder, SpectralDistance(1000, 1.0, (0.016,)))
    return Artifact(vae, DataSpec((64,), "float32", -2, 2, ["short", "long"], SoundSchema(1000))), x, label


SMALL = {
    "flow": {"hidden": 12, "blocks": 1, "transforms": 2},
    "diffusion": {"hidden": 16, "blocks": 2, "sampler": DPMSolver(8), "times": 8},
    "autoregressive": {"hidden": 16, "components": 2},
    "normal": {},
}


@pytest.mark.parametrize("kind", FRAMES)
def test_a_prior_of_sequences_is_fitted_and_told_what_is_known(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(FRAMES, kind, functools.partial(family := FRAMES[kind], **SMALL[kind]))
    parent, x, label = of_sound()
    names = [("short", "long")[i] for i in label]
    training = Training(epochs=40, batch_size=60, learning_rate=1e-2, average=0.9)
    child = fit_prior(parent, x, kind, names, training=training, quiet=True)
    prior = child.distribution.latents.prior
    assert type(prior if kind == "normal" else prior.model) is family
    if kind != "normal":
        assert isinstance(prior.steps[0], StandardiseFrames) and prior.steps[0].fitted
    z = child.distribution.latents.posterior(x).sample()
    with torch.no_grad():
        if kind in ("flow", "autoregressive"):
            assert prior(label).log_prob(z).mean() > NormalFrames(2, 16)().log_prob(z).mean() + 10
        drawn = [noise.sample_to(prior(torch.full((200,), i)), (200,)) for i in (0, 1)]
    short, long = (extent(made).float().mean() for made in drawn)
    assert long > 1.4 * short
    for made, real in zip(drawn, (z[label == 0], z[label == 1]), strict=True):
        assert kind == "normal" or made[:, 0, 0].mean() == pytest.approx(real[:, 0, 0].mean().item(), abs=0.5)
    again = fusevae.load(child.save(tmp_path), trust=[f"{__name__}.Loud"])
    assert torch.equal(fusevae.sample(again, 4, ["long"] * 4, seed=1), fusevae.sample(child, 4, ["long"] * 4, seed=1))
    assert isinstance(parent.distribution.latents.prior, NormalFrames)


def test_what_fits_no_sequence_of_vectors_is_refused_in_a_line(tmp_path, capsys):
    parent, x, _ = of_sound()
    with pytest.raises(InputError, match=r"sequences of vectors.*'mixture' fits: take flow or diffusion or auto"):
        fit_prior(parent, x, "mixture")
    parent.save(tmp_path / "run")
    words = ["--output", str(tmp_path / "new"), "--trust", f"{__name__}.Loud"]
    assert main(["fit-prior", str(tmp_path / "run"), "made", *words]) == 2
    assert not (tmp_path / "new" / "model.safetensors").exists()
    parent.data = DataSpec((64,), "float32", -2, 2, Conditions([Text("text", ["a", "b"])]), SoundSchema(1000))
    with pytest.raises(InputError, match="frames of a text"):
        fit_prior(parent, x, "flow")


def test_speech_vae_is_trained_with_each_prior():
    data = DataSpec((800,), "float32", -1, 1, ["a", "b"], SoundSchema(1000))
    for kind, family in FRAMES.items():
        made = fusevae.find("speech-vae")(data, latent=2, width=8, prior=kind).model
        assert type(made.latents.prior) is family
        assert any(getattr(part, "classes", 0) == 2 for part in made.latents.prior.modules())


@pytest.mark.parametrize("of", [(AutoregressiveFrames, 3, 200, 4, 2), (AutoregressiveCodes, 3, 8, 200, 4, 3, 3)])
def test_drawing_ends_with_the_longest_and_what_is_drawn_afterwards_does_not_depend_on_it(of, monkeypatch):
    prior, steps = of[0](*of[1:]), []
    monkeypatch.setattr(prior, "read", lambda *given: steps.append(len(given[0])) or type(prior).read(prior, *given))
    after = set()
    for end in (0.0, 3.0):
        torch.nn.init.constant_(prior.head.bias[-1:], end)
        torch.manual_seed(0)
        n = extent(prior().sample((50,)))
        assert len(steps) == int(n.max()) + 1 < 60
        assert steps[-1] < 50  # those that had ended were left out
        after.add(torch.rand(()).item())
        steps.clear()
    assert len(after) == 1
