"""Waveform models: perfect reconstruction, masks, sequences of latents, codes and their files."""

import itertools
import json
import math
import shutil

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import fusevae
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError, SlotError
from fusevae.core.frames import ended, extent, within
from fusevae.core.levels import log_bound
from fusevae.core.spec import DataSpec
from fusevae.distributions.autoregressive_frames import AutoregressiveFrames
from fusevae.distributions.frame_wise import FrameWise
from fusevae.distributions.waveform import Waveform
from fusevae.evaluation.blocks import as_examples
from fusevae.evaluation.paths import way
from fusevae.modalities.audio import codec
from fusevae.modalities.audio.bits import code_rate
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.modalities.audio.views import Varied
from fusevae.models.coded import Coded
from fusevae.models.flat import Flat
from fusevae.models.measured import Measured
from fusevae.nets.residual import NONE, ResidualQuantizer
from fusevae.nets.spectral import istft, stft
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN
from fusevae.training.prior import fit_prior

sf = pytest.importorskip("soundfile")
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
    posterior = FrameWise(WaveEncoder(6, **SIZES, blocks=(1, 2), classes=classes))
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


def test_another_pace_and_level_are_those_of_the_sound_itself():
    view, n = Varied(1.25, 6.0), torch.tensor([300, 200, 250] * 20)
    x = ended(torch.sin(0.5 * torch.arange(300.0)).expand(60, -1), n)
    assert view.eval()(x) is x and torch.allclose(Varied(1.0, 0.0)(x), x, atol=1e-6)
    with noise.keyed(0):
        made = view.train()(x)
    with noise.keyed(0):
        u = torch.rand(60, 1), torch.rand(60, 1)
    pace, level = 1.25 ** (2 * u[0] - 1), 10 ** (0.3 * (2 * u[1] - 1))
    assert pace.min() < 0.9 and pace.max() > 1.1 and level.max() > 1.5 * level.min()
    assert ((extent(made[:, None]) - n / pace[:, 0]).abs() <= 1).all()
    exact = level * torch.sin(0.5 * pace * torch.arange(made.shape[-1]))
    inside = within(n / pace[:, 0] - 8, made.shape[-1])[:, 0] * (torch.arange(made.shape[-1]) > 8)
    assert ((made - exact) * inside).abs().max() < 0.02


# ---------------------------------------------------------------- codes


def small_codec(stages=3, levels=8, blocks=(1, 2)):
    torch.manual_seed(0)
    latents = Coded(WaveEncoder(4, **SIZES, blocks=blocks), ResidualQuantizer(levels, 4, stages))
    model = Measured(latents, Waveform(WaveDecoder(4, **SIZES, blocks=(2, 1))), SpectralDistance(RATE, 1.0, (0.016,)))
    spec = DataSpec((400,), "float32", -1, 1, None, SoundSchema(RATE))
    artifact = Artifact(model, spec).eval()
    model.start_from(lambda: clips((400, 380, 399)))
    return artifact


def test_each_codebook_codes_what_those_before_it_left():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(16, 4, 5, revive=0.05)
    h = torch.randn(8, 4, 60)
    for _ in range(60):
        quantizer(h + 0.0)
    quantizer.eval()
    h[0, :, 40:] = 0
    found = quantizer(h)
    scaled = 2 * F.normalize(h, dim=1)
    errors = [(quantizer.lookup(found.codes[:, :n]) - scaled).square().mean().item() for n in range(6)]
    assert all(b < 0.8 * a for a, b in itertools.pairwise(errors))
    assert torch.allclose(quantizer.lookup(found.codes), found.z, atol=1e-5)
    assert (found.codes[0, :, 40:] == NONE).all() and not found.z[0, :, 40:].any()
    assert len(found.codes[:, 0].unique()) == 17  # every code of the first is in use, and none after the end
    alone = quantizer(h[:1, :, :40])
    assert torch.equal(alone.codes[0], found.codes[0, :, :40]) and torch.allclose(
        alone.commitment, found.commitment[:1]
    )


def test_a_dropped_codebook_is_left_out_of_the_sum_and_gradients_pass_straight_through():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(8, 4, 3, dropout=1.0)
    h = torch.randn(40, 4, 5, requires_grad=True)
    with torch.no_grad():  # in which the codebooks stay
        found = quantizer(h)
    wholes = [quantizer.lookup(found.codes[:, :n]) for n in (1, 2, 3)]
    same = torch.stack([(found.z - whole).flatten(1).abs().amax(1) < 1e-5 for whole in wholes])
    assert (same.sum(0) == 1).all() and all(0.1 < part.float().mean() < 0.9 for part in same)
    (slope,) = torch.autograd.grad(quantizer(h).z.sum(), h)
    assert slope.abs().sum() > 0


def test_the_file_holds_the_bits_that_the_codes_have(tmp_path):
    artifact, x = small_codec(), 0.1 * torch.randn(5000)
    sf.write(tmp_path / "a.wav", x.numpy(), RATE, subtype="FLOAT")
    facts = codec.compress(artifact, tmp_path / "a.wav", tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as found:
        stages, places = found["shape"]
        assert (stages, places) == (3, 625) and len(found["bits"]) == -(-3 * 625 * 3 // 8)
        whole = artifact.distribution.encode(x[None])["codes"][0]
        assert torch.equal(codec.unpacked(found["bits"], (3, 625), 3).long(), whole)
    assert facts["bits_per_second"] == pytest.approx(3 * 3 * RATE / 8, rel=0.01)
    codes = torch.randint(0, 1024, (2, 77))
    assert torch.equal(codec.unpacked(codec.packed(codes, 10), (2, 77), 10).long(), codes)


def test_windows_give_what_the_whole_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(codec, "SECONDS", 0.8)
    monkeypatch.setattr(codec, "BLOCK", 700)
    artifact, x = small_codec(), 0.1 * torch.randn(6003)
    x[3000:4100] = 0  # silence that ends windows
    sf.write(tmp_path / "a.wav", x.numpy(), RATE, subtype="FLOAT")
    coder = codec.Codec(artifact)
    assert coder.at_once < 120
    codes, samples = coder.codes(codec._read(tmp_path / "a.wav", RATE), 3)
    _, arrays = artifact.distribution.latents.encode(x[None])
    assert samples == 6003 and (codes != arrays["codes"][0]).float().mean() < 0.002  # ties may fall either way
    whole = artifact.distribution.decoder(coder.quantizer.lookup(codes.long()[None])).mean[0, :6003]
    assert torch.allclose(torch.cat(list(coder.sound(codes, samples))), whole, atol=1e-4)


def test_a_long_recording_takes_no_more_memory_than_a_window():
    artifact = small_codec()
    coder = codec.Codec(artifact)
    longest = []
    encode, decode = coder.encoder.forward, coder.decoder.forward
    coder.encoder.forward = lambda x, *o: (longest.append(x.shape[-1]), encode(x, *o))[1]
    coder.decoder.forward = lambda z, *o: (longest.append(z.shape[-1] * coder.samples), decode(z, *o))[1]
    codes, samples = coder.codes((torch.randn(5000) for _ in range(40)), 3)
    parts = list(coder.sound(codes, samples))
    limit = (coder.at_once + 2 * max(coder.encoder.reach, coder.decoder.reach)) * coder.samples
    assert samples == 200_000 == sum(map(len, parts)) and max(longest) <= limit + coder.samples


def test_recordings_are_encoded_and_decoded_from_the_command_line(tmp_path, capsys):
    run = tmp_path / "run"
    small_codec().save(run)
    sf.write(tmp_path / "talk.flac", np.stack([0.1 * np.random.default_rng(0).normal(size=9000)] * 2, 1), 3 * RATE)
    talk, codes, again = (str(tmp_path / name) for name in ("talk.flac", "talk.npz", "again.wav"))
    assert main(["encode", str(run), "--data", talk, "--output", codes, "--codebooks", "2", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["bits_per_second"] == pytest.approx(2 * 3 * RATE / 8, rel=0.01)
    assert f"resampled from {3 * RATE:,} to {RATE:,} Hz" in told.err and "2 channels are mixed down to one" in told.err
    assert main(["decode", str(run), "--data", codes, "--output", again]) == 0
    assert (sf.info(again).samplerate, sf.info(again).frames) == (RATE, 3000)
    nothing = str(tmp_path / "no.npz")
    (tmp_path / "cut.flac").write_bytes((tmp_path / "talk.flac").read_bytes()[:-3000])
    sf.write(tmp_path / "anti.wav", 0.1 * np.random.default_rng(0).normal(size=(900, 1)) * [1, -1], RATE)
    for words, says in (
        (["encode", str(run), "--data", talk, "--output", codes, "--codebooks", "9"], "1 to 3"),
        (["decode", str(run), "--data", talk, "--output", again], "no file of codes"),
        (["decode", str(run), "--data", codes, "--output", str(tmp_path / "a.npz")], ".wav"),
        (["encode", str(run), "--data", __file__, "--output", codes], "test_waves.py"),
    ):
        capsys.readouterr()
        assert main(words) == 2
        said = capsys.readouterr().err.strip()
        assert says in said and "\n" not in said
    for name, says in (("cut.flac", "mend it"), ("anti.wav", "cancel out")):
        assert main(["encode", str(run), "--data", str(tmp_path / name), "--output", nothing]) == 2
        assert says in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "no.npz").exists()
    other = small_codec(stages=2)
    other.save(tmp_path / "other")
    assert main(["decode", str(tmp_path / "other"), "--data", codes, "--output", again]) == 2
    assert "another codec" in capsys.readouterr().err
    assert main(["encode", str(run), "--data", talk, "--output", str(tmp_path / "c.npz")]) == 0
    data = bytearray((tmp_path / "talk.npz").read_bytes())
    del data[200:300]
    (tmp_path / "bad.npz").write_bytes(data)
    assert main(["decode", str(run), "--data", str(tmp_path / "bad.npz"), "--output", again]) == 2


def test_a_prior_over_codes_is_told_labels_generates_and_says_how_many_bits_they_take(tmp_path, capsys):
    artifact = small_codec()
    artifact.data = DataSpec((400,), "float32", -1, 1, ["high", "low"], SoundSchema(RATE))
    label = torch.arange(24) % 2
    x = ended(torch.sin((1 - 0.8 * label)[:, None] * torch.arange(1, 401)), 100 + 150 * label)
    names = ["low" if i else "high" for i in label]
    with pytest.raises(SlotError, match="fit-prior"):
        fusevae.sample(artifact, 1)
    with pytest.raises(InputError, match="sequences of codes"):
        fit_prior(artifact, x, "flow", quiet=True)
    settings = fusevae.Training(epochs=30, batch_size=20, learning_rate=1e-2)
    found = fit_prior(artifact, x, "autoregressive", names, training=settings, quiet=True)
    assert found.is_conditional and not artifact.is_conditional
    assert codec.Codec(found).name == codec.Codec(artifact).name  # codes stay what they were
    high, low = (extent(fusevae.sample(found, 20, [name] * 20, seed=1)[:, None]).float() for name in ("high", "low"))
    assert low.mean() > 1.5 * high.mean() > 90
    plain, prior = (code_rate(each, as_examples(each, x, names)) for each in (artifact, found))
    assert plain.entropy is None and plain.stored == prior.stored == pytest.approx(9 * RATE / 8, rel=0.05)
    latents, bits, samples = found.distribution.latents, 0.0, 0
    for one, clip in zip(label, x, strict=True):  # alone, without what is not there
        clip = clip[: int(extent(clip[None]))]
        codes = latents.encode(clip[None])[1]["codes"]
        bits -= latents.prior(one[None]).log_prob(codes + 1).item() / math.log(2)
        samples += len(clip)
    assert prior.entropy == pytest.approx(bits * RATE / samples, rel=1e-4) and prior.entropy < 0.7 * prior.stored
    for i in range(12):
        (folder := tmp_path / "clips" / names[i]).mkdir(parents=True, exist_ok=True)
        sf.write(folder / f"{i}.wav", x[i, : int(extent(x[i][None]))].numpy(), RATE, subtype="FLOAT")
    found.save(tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), "--data", str(tmp_path / "clips"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["codes"]
    assert said["n"] == 12 and said["entropy"] < said["stored"]
    older = artifact.distribution.latents.replaced(prior=AutoregressiveFrames(4, 60, hidden=4))  # of vectors
    assert older.generate((3,)).shape == (3, 4, 60)


def test_a_speech_vae_is_trained_sampled_read_and_judged(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fusevae.modalities.audio.classifier.UPDATES", 2)
    rng, data, run = np.random.default_rng(0), tmp_path / "d", tmp_path / "run"
    data.mkdir()
    for digit, speaker, take in itertools.product((0, 1), ("ann", "bob"), range(12)):
        wave = 0.3 * np.sin(0.2 * (1 + digit) * np.arange(int(rng.integers(300, 900))))
        sf.write(data / f"{digit}_{speaker}_{take}.wav", wave, RATE)
    settings = ['data.conditions="{digit}_{speaker}_{take}"', "training.epochs=2", "recipe.width=8", "recipe.latent=4"]
    words = [w for one in settings for w in ("--set", one)]
    assert main(["train", "speech-vae", "--data", str(data), "--output", str(run), *words]) == 0
    assert "<audio" in (run / "report.html").read_text()
    out = tmp_path / "clips"
    assert main(["sample", str(run), "-n", "3", "--output", str(out), "--label", "digit=1,speaker=ann"]) == 0
    assert {p.name for p in out.iterdir()} == {*(f"0000{i}.wav" for i in range(3)), "metadata.csv", "grid.png"}
    for command, output in (
        ("reconstruct", "again.wav"),
        ("encode", "z.npz"),
        ("interpolate", "between"),
        ("neighbours", "near.csv"),
        ("neighbours", "near.png"),
        ("map", "map.csv"),
    ):
        more = ["--pairs", "0,0"] if command == "interpolate" else ["-k", "2"] if command == "neighbours" else []
        assert main([command, str(run), "--data", str(data), "--output", str(tmp_path / output), *more]) == 0
    with np.load(tmp_path / "z.npz") as found:
        assert found["mean"].shape == found["scale"].shape == (48, 4, found["mean"].shape[2])
    shutil.copy(data / "0_ann_1.wav", data / "new.wav")
    new = ["reconstruct", str(run), "--data", str(data / "new.wav"), "--output"]
    capsys.readouterr()
    assert main([*new, str(tmp_path / "new.wav")]) == 0  # of which nothing is known
    assert "new.wav is not named as conditions=" in (said := capsys.readouterr().err)
    assert "taken without digit, speaker, take" in said
    assert main([*new, str(tmp_path / "no.wav"), "--conditions", "{digit}_{speaker}"]) == 2  # it was asked for here
    assert main(["encode", str(run), "--data", str(data), "--output", str(tmp_path / "all.csv")]) == 0
    assert "1 of 49: new.wav is not named" in capsys.readouterr().err
    (data / "new.wav").unlink()
    assert main(["evaluate", str(run), "--json", "--samples", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"]["features"].startswith("features of a classifier")


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_a_way_between_sequences_of_different_length_keeps_both_ends(path):
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 7)
    found = way(a, b, 3, path)
    assert found.shape == (2, 3, 3, 7)
    assert torch.equal(found[:, 0, :, :4], a) and not found[:, 0, :, 4:].any() and torch.equal(found[:, 2], b)


def test_latents_of_clips_that_are_shorter_than_the_longest_are_decoded_and_have_neighbours():
    """What encode gives, decode takes: it wanted as many frames as the longest clip of the training has."""
    artifact = Artifact(small(), DataSpec((200,), "float32", -1, 1, None, SoundSchema(RATE)))
    x = clips((90, 40))
    z = fusevae.encode(artifact, x)["mean"]
    assert z.shape[-1] < fusevae.encode(artifact, clips())["mean"].shape[-1]
    assert torch.equal(fusevae.decode(artifact, z), fusevae.reconstruct(artifact, x))
    assert fusevae.neighbours(artifact, clips(), x[:, :90], k=1).indices.flatten().tolist() == [1, 2]
    for bad in (z[:, :2], z[..., :0], z[0]):
        with pytest.raises(InputError, match=r"expected \(n, 3, "):
            fusevae.decode(artifact, bad)
