"""Text to speech: transcripts beside sound, the monotonic search, the bound over alignments, and `fusevae speak`."""

import itertools
import json
import math

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

import fusevae
from fusevae import InputError
from fusevae.cli import main
from fusevae.core import noise
from fusevae.core.columns import Text
from fusevae.core.conditions import Conditions, Label
from fusevae.core.frames import extent
from fusevae.core.levels import bounds_as, log_bound
from fusevae.core.speaking import Speaking, speaking
from fusevae.core.spec import DataSpec
from fusevae.data.frame_steps import FrameCoupling
from fusevae.data.sequences import Sequences
from fusevae.data.source import read_examples
from fusevae.data.splits import Splits
from fusevae.distributions.aligned import Aligned
from fusevae.distributions.frame_wise import FrameWise
from fusevae.distributions.frames import log_count
from fusevae.distributions.waveform import Waveform
from fusevae.evaluation.speaking import alignments, monotone
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.models.measured import Measured
from fusevae.models.preprocessed import Preprocessed
from fusevae.nets.alignment import durations_of, monotonic_search, regulated
from fusevae.nets.frame_net import FrameNet, TextNet
from fusevae.nets.mlp import Constant
from fusevae.nets.spectral_distance import SpectralDistance
from fusevae.nets.wave import WaveDecoder, WaveEncoder
from fusevae.nets.wave_critic import WaveCritic
from fusevae.objectives.wave_gan import WaveGAN
from fusevae.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = ["ab a", "ba", "bb a", "aab"]
KNOWN = Conditions([Label("who", ["x", "y"]), Text("text", [" ", "a", "b"])])


def paths(positions: int, frames: int) -> list[torch.Tensor]:
    """Every monotone path."""
    cuts = itertools.combinations(range(1, frames), positions - 1)
    return [torch.tensor([sum(t >= c for c in cut) for t in range(frames)]) for cut in cuts]


def write(folder, rows, separator="|", head=""):
    """LJSpeech's layout: a tone for each text."""
    (folder / "wavs").mkdir(parents=True)
    for i in range(len(rows)):
        tone = 0.3 * np.sin(np.arange(2000 + 160 * i) * (0.3 + 0.1 * (i % 2)))
        soundfile.write(folder / "wavs" / f"c{i:02}_{'xy'[i % 2]}.wav", tone, 8000)
    lines = [f"c{i:02}_{'xy'[i % 2]}{separator}{row}" for i, row in enumerate(rows)]
    (folder / "metadata.csv").write_text("\n".join([*([head] if head else []), *lines]), encoding="utf-8")
    return folder


# transcripts


def test_texts_are_read_beside_the_clips_that_they_are_of(tmp_path):
    data = fusevae.read_data(str(write(tmp_path / "a", [f"Mr {t}|{t}" for t in TEXTS * 3])), test=0.25)
    beside = data.train.beside()
    assert data.spec.conditions.text.characters == [" ", "a", "b"]
    assert all(text == TEXTS[int(file[1:3]) % 4] for file, text in zip(beside["file"], beside["text"], strict=True))
    both = fusevae.read_data(str(tmp_path / "a"), conditions="{nr}_{who}")
    assert both.spec.conditions.names == ["nr", "who", "text"]
    again = read_examples(str(tmp_path / "a"), data.spec)
    assert again.beside()["text"].tolist() == TEXTS * 3


def test_an_audio_folder_has_its_transcripts_and_other_columns_only_where_they_are_asked_for(tmp_path):
    folder = write(
        tmp_path / "a", [f",{t},{'xy'[i % 2]}" for i, t in enumerate(TEXTS * 3)], ".wav", "file_name,transcription,who"
    )
    for path in (folder / "wavs").iterdir():
        path.rename(folder / path.name)
    (folder / "wavs").rmdir()
    assert fusevae.read_data(str(folder)).train.beside()["transcription"][0] in TEXTS
    assert (
        fusevae.read_data(str(folder), conditions=["who", "transcription"]).spec.conditions.names[-1] == "transcription"
    )
    assert fusevae.read_data(str(folder), conditions=["who:text"]).spec.conditions.text.characters == ["x", "y"]
    assert fusevae.read_data(str(folder), conditions=["who"]).spec.conditions.text is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("c99|ab", "line 12 names 'c99', which isn't in wavs"),
        ("c11_y|", "its text is empty"),
        ("c11_y", "has 1 parts"),
        ("c11_y|" + "ab" * 60, "120 characters are no text of a clip of 0.47 s"),
    ],
)
def test_what_is_no_text_of_a_clip_is_refused_or_left_out_and_counted(tmp_path, line, says, caplog):
    folder = write(tmp_path / "a", TEXTS * 3)
    index = folder / "metadata.csv"
    index.write_text("\n".join([*index.read_text().splitlines()[:-1], line]))
    with pytest.raises(InputError, match=says) as error:
        fusevae.read_data(str(folder))
    assert "\n" not in str(error.value)
    data = fusevae.read_data(str(folder), skip_damaged=True, test=0.0, validation=0.0)
    assert len(data.train) == 11
    assert "left out 1 of 12 clips" in caplog.text


def test_characters_that_no_training_text_has_are_refused(tmp_path):
    data = fusevae.read_data(str(write(tmp_path / "a", TEXTS * 3)))
    with pytest.raises(InputError, match="'q', which no training text has"):
        read_examples(str(write(tmp_path / "b", ["qa", "ab"])), data.spec)
    with pytest.raises(InputError, match="character 'q'"):
        KNOWN.row({"text": "aq"})


def test_conditions_with_a_text_come_back_as_they_were_given():
    rows = KNOWN.given({"who": ["y", None], "text": ["ab, a=b".replace(",", "").replace("=", ""), "b"]}, 2)
    assert KNOWN.values(rows)["text"].tolist() == ["ab ab", "b"]
    assert KNOWN.words(rows[0]) == "who=y,text=ab ab"
    assert torch.equal(KNOWN.read("who=y,text=ab ab"), rows[0])
    with pytest.raises(InputError, match="last column alone"):
        Conditions(KNOWN.columns[::-1])


# the search and the lengths


def test_the_monotonic_search_is_that_of_brute_force_in_every_small_case():
    for positions, frames in [(p, f) for p in range(1, 5) for f in range(p, 8)]:
        scores = torch.randn(3, 4, 7)
        found = monotonic_search(scores, torch.tensor([positions] * 3), torch.tensor([frames] * 3))
        for score, path in zip(scores, found, strict=True):
            sums = [score[p, torch.arange(frames)].sum() for p in paths(positions, frames)]
            assert torch.equal(path[:frames], paths(positions, frames)[int(torch.stack(sums).argmax())])
            assert monotone(path[:frames])
            assert path[frames - 1] == positions - 1


def test_a_path_depends_on_nothing_beyond_the_end_and_on_no_other_of_its_batch():
    scores, n, t = torch.randn(3, 4, 9), torch.tensor([4, 2, 1]), torch.tensor([9, 5, 3])
    found = monotonic_search(scores, n, t)
    for i in range(3):
        alone = monotonic_search(scores[i : i + 1, : n[i], : t[i]], n[i : i + 1], t[i : i + 1])
        assert torch.equal(alone[0], found[i, : t[i]])


def test_regulated_lengths_are_right_to_half_a_frame_and_undo_durations():
    path = monotonic_search(torch.randn(2, 3, 8), torch.tensor([3, 3]), torch.tensor([8, 8]))
    again, n = regulated(durations_of(path, torch.ones(2, 8), 3))
    assert torch.equal(again, path)
    assert n.tolist() == [8, 8]
    durations = 5 * torch.rand(20, 9) + 0.2
    for rate in (0.7, 1.0, 1.9):
        assert ((regulated(durations / rate)[1] - durations.sum(1) / rate).abs() <= 0.5 + 1e-5).all()


# the bound


def prior(diagonal: float = 0.0) -> Aligned:
    return Aligned(Constant((4, 3), std=1.0), 2, blocks=1, longest=20, diagonal=diagonal).eval()


@pytest.mark.parametrize("diagonal", [0.0, 0.1])
def test_the_bound_is_below_the_sum_over_all_alignments_and_is_one_of_its_terms(diagonal):
    part = prior(diagonal)
    z = torch.randn(1, 2, 6)
    with torch.no_grad():
        h = part.net()[None]
        there, terms = torch.ones(1, 6), []
        for path in paths(3, 6):
            mean, log_scale = part.frames(h, path[None], there)
            durations = durations_of(path[None], there, 3).long()
            frames = torch.distributions.Normal(mean, log_scale.exp()).log_prob(z).sum()
            terms.append(frames + log_count(durations, *part.timings(h), 20).sum())
        whole, found = torch.stack(terms), part().log_bound(z)[0]
    assert found <= torch.logsumexp(whole, 0)
    assert (whole - found).abs().min() < 1e-4
    assert math.isinf(part().log_bound(z[..., :2])[0].detach())  # no position is without a frame


def test_where_the_means_say_nothing_the_search_goes_along_the_diagonal_if_it_is_told_to():
    part, z = prior(0.1), torch.randn(1, 2, 9)
    torch.nn.init.zeros_(part.match.weight)
    assert part().align(z).tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2]]
    torch.testing.assert_close(part().align(F.pad(z, (0, 4)))[:, :9], part().align(z))


def test_the_surrogate_has_the_number_of_the_bound_and_trains_the_means_that_are_searched_by():
    part, z = prior(), torch.randn(3, 2, 7, requires_grad=True)
    p = part()
    torch.testing.assert_close(p.surrogate(z), p.log_bound(z))
    slopes = [torch.autograd.grad(f(z).sum(), z)[0] for f in (p.surrogate, p.log_bound)]
    torch.testing.assert_close(*slopes)  # what is given has the gradient of the bound alone
    p.surrogate(z).sum().backward()
    assert part.match.weight.grad.any()


def model() -> fusevae.VAE:
    posterior = FrameWise(FrameNet(3, 4, 8, 1, KNOWN))
    decoder = FrameWise(FrameNet(2, 3, 8, 1, KNOWN), "shared")
    return fusevae.VAE(fusevae.Flat(Aligned(TextNet(KNOWN, 8, 1), 2, 1, 40), posterior), decoder)


def test_padding_of_sound_and_of_text_changes_neither_values_nor_gradients():
    part, x = model(), torch.randn(1, 3, 9)
    label = KNOWN.tensor({"who": ["y"], "text": ["ab a"]})
    found = []
    for frames, characters in ((0, 0), (4, 3)):
        part.zero_grad()
        given = F.pad(label, (0, characters))
        z = F.pad(part.latents.posterior(x, label).mean, (0, frames))
        with bounds_as("surrogate"):
            p = part.latents.prior(given)
            value = p.surrogate(z) + part.decoder(z, given).log_prob(F.pad(x, (0, frames)))
            value = value + part.latents.posterior(F.pad(x, (0, frames)), given).log_prob(z)
        value.sum().backward()
        found.append((value.detach(), [q.grad.clone() for q in part.parameters() if q.grad is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-4)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_sample_of_a_text_does_not_depend_on_a_longer_one_beside_it():
    part = model().latents.prior.eval()
    rows = KNOWN.tensor({"text": ["ab", "ab abba"], "who": ["x", "x"]})
    with speaking(Speaking(temperature=0.0)):
        alone, both = part(rows[:1, :3]).sample()[0], part(rows).sample()[0]
    torch.testing.assert_close(alone, both[:, : alone.shape[-1]])
    assert not both[:, alone.shape[-1] :].any()


# waveforms of latents behind a flow


def couplings() -> list[FrameCoupling]:
    """Of which each moves something."""
    torch.manual_seed(0)
    steps = [FrameCoupling(3, bool(i % 2), 8, 1) for i in range(3)]
    for step in steps:
        torch.nn.init.normal_(step.net.head.weight, std=0.3)
    return steps


def test_a_flow_of_frames_has_autograds_determinant_and_is_undone():
    whole = Preprocessed([step.double() for step in couplings()], prior().double())
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    y, logdet = whole.into(x)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: whole.into(v[None])[0][0], x[i]).view(12, 12)
        # the net's outputs are rounded to float32, as every net's are
        assert logdet[i].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-5)
    assert not torch.allclose(y, x, atol=0.1)
    torch.testing.assert_close(whole.back(y), x)
    with pytest.raises(InputError, match="at least 2"):
        FrameCoupling(1)


def voice(segment: int = 0) -> Measured:
    sizes = {"window": 16, "hop": 4, "stride": 2, "width": 8, "classes": KNOWN}
    between = Preprocessed(couplings(), Aligned(TextNet(KNOWN, 8, 1), 3, 1, 40, diagonal=0.1, scales=True))
    posterior = FrameWise(WaveEncoder(6, **sizes, blocks=(1, 1)))
    decoder = Waveform(WaveDecoder(3, **sizes, blocks=(1, 1)))
    return Measured(fusevae.Flat(between, posterior), decoder, SpectralDistance(1000, 10.0, (0.064, 0.016)), segment)


def test_of_a_segment_of_each_clip_sound_is_made_in_training_wherever_zeros_follow(monkeypatch):
    monkeypatch.setattr(noise, "uniform", lambda shape, device: torch.tensor([0.4, 0.9, 0.2]))
    x, label = 0.1 * torch.randn(3, 96), KNOWN.tensor({"who": ["y", "x", "x"], "text": ["ab a", "b", "ba"]})
    x[1, 70:], x[2, 30:] = 0, 0
    traces = []
    for segment, samples in ((0, 0), (12, 0), (5, 0), (5, 40)):
        torch.manual_seed(3)
        part = voice(segment).train()  # of the same numbers each time
        with noise.keyed("step"), bounds_as("surrogate"):
            traces.append(part.trace(F.pad(x, (0, samples)), label))
    whole, all_of_it, some, padded = traces
    torch.testing.assert_close(all_of_it.distance, whole.distance)
    assert torch.equal(some.x, padded.x) and torch.equal(some.times, padded.times)
    torch.testing.assert_close(some.kl, whole.kl)  # of the latents the whole counts
    for clip, heard, times in zip(x, some.x, some.times, strict=True):
        n, length = int(extent(heard[None])), int(extent(clip[None]))
        assert n <= 40 and times == length / n
        assert any(torch.equal(clip[i : i + n], heard[:n]) for i in range(0, length, 8))
    with pytest.raises(InputError, match="segment=-1"):
        voice(-1)
    assert some.times[0] > 1 and some.times[2] == 1  # a clip that is no longer than a segment is heard as a whole


def test_padding_of_waveform_and_text_changes_no_value_and_no_gradient_of_a_step():
    part, objective = voice(), WaveGAN(WaveCritic((2,), (32,), (4, 4)), 1000, start=0.0)
    x, label = 0.1 * torch.randn(2, 96), KNOWN.tensor({"who": ["y", "x"], "text": ["ab a", "b"]})
    x[1, 70:] = 0
    mean = part.latents.posterior(x, label).mean.detach()
    noise, found = 0.5 * torch.randn_like(mean), []
    for samples, characters in ((0, 0), (40, 3)):
        given, padded = F.pad(label, (0, characters)), F.pad(x, (0, samples))
        with bounds_as("surrogate"):
            trace = part.trace(padded, given)
            q = trace.terms[0].q
            z = (q.mean + q.stddev * F.pad(noise, (0, q.mean.shape[-1] - noise.shape[-1]))) * q.there
            trace.terms[0].z, trace.likelihood = z, part.decoder(z, given)
            trace.distance = part.distance(trace.likelihood.mean, padded)
            losses = objective.losses(trace, 0.5)
        slopes = torch.autograd.grad(losses["model"].sum(), list(part.parameters()), allow_unused=True)
        found.append((torch.stack(list(losses.values())).detach(), [g for g in slopes if g is not None]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-3)
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max().clamp(min=1)))


def test_the_prior_behind_a_flow_is_a_bound_by_the_change_of_variables_and_its_means_are_trained():
    part = voice().latents.prior
    label, z = KNOWN.tensor({"who": ["y"], "text": ["ab"]}), torch.randn(1, 3, 9)
    u, logdet = part.into(z)
    torch.testing.assert_close(part(label).log_bound(z), part.model(label).log_bound(u) + logdet)
    assert part.level is fusevae.Level.BOUND and voice().level is fusevae.Level.SAMPLES
    with bounds_as("surrogate"):
        log_bound(part(label), z).sum().backward()
    assert part.model.match.weight.grad.any() and part.steps[0].net.stem.weight.grad.any()


def test_a_training_of_waveforms_of_texts_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    lengths, label = torch.arange(16) * 3 + 60, KNOWN.tensor({"who": ["x", "y"] * 8, "text": TEXTS * 4})
    spec = DataSpec((105,), "float32", -1, 1, KNOWN, SoundSchema(1000))
    whole = Sequences(0.3 * torch.randn(int(lengths.sum())), lengths, label, spec)
    data = Splits(whole, whole.subset(torch.arange(4)), whole.subset(torch.arange(0)), spec, "")
    settings = fusevae.Training(epochs=4, batch_size=8, log_every=1, average=0.9)

    def loop(folder):
        torch.manual_seed(0)
        objective = WaveGAN(WaveCritic((2,), (32,), (4, 4)), 1000, start=0.5)
        return prepare(voice(), data, [], objective, settings, 0, "cpu", folder)

    unbroken, cut = loop(tmp_path / "whole"), loop(tmp_path / "cut")
    assert unbroken.run()
    cut.callbacks = [lambda record: record["step"] < 5 and None]
    assert not cut.run()
    again = loop(tmp_path / "cut")
    assert again.resume() and again.step == 5
    again.run()
    pairs = zip(unbroken.result().state_dict().values(), again.result().state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    start = voice().latents.prior.model.match.weight
    (end,) = (p for name, p in unbroken.result().named_parameters() if name.endswith("match.weight"))
    assert (end - start).abs().max() > 1e-3  # what is searched by is trained beside critics, too


# the command


@pytest.fixture(scope="module", params=["text-to-speech", "text-to-waveform"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    data = write(folder / "data", TEXTS * 8)
    settings = ['data.conditions="{nr}_{who}"', "recipe.width=8", "training.epochs=2"]
    settings += ["recipe.latent=2", "training.batch_size=8"]
    code = main(
        ["train", request.param, "--data", str(data), "--output", str(folder / "run"), "--device", "cpu"]
        + [word for setting in settings for word in ("--set", setting)]
    )
    assert code == 0
    return folder / "run"


def test_the_report_shows_the_alignment_which_is_monotone(run):
    assert (run / "alignment.png").stat().st_size > 5000
    assert "Alignment" in (run / "report.html").read_text(encoding="utf-8")
    opened = fusevae.Run.open(run)
    x, label = opened.held[0].batch(torch.arange(2))
    assert all(monotone(path) for path in alignments(opened.artifact, x, label))


def test_speak_writes_the_sound_of_texts_at_the_rate_that_was_asked_for(run, tmp_path, capsys):
    seconds = {}
    for rate in ("1", "1.2", "0.8"):
        place = str(tmp_path / f"{rate}.wav")
        text = "ab abba aab ba bb ab"
        arguments = ["speak", str(run), text, "--label", "who=x", "--rate", rate, "--json", "--device", "cpu"]
        assert main([*arguments, "--output", place]) == 0
        seconds[rate] = json.loads(capsys.readouterr().out)["seconds"][0]
        assert soundfile.info(place).duration == pytest.approx(seconds[rate])
    assert seconds["1"] / seconds["1.2"] == pytest.approx(1.2, rel=0.05)
    assert seconds["1"] / seconds["0.8"] == pytest.approx(0.8, rel=0.05)
    artifact = fusevae.load(run)
    assert extent(fusevae.speak(artifact, ["ab", "abba"])[:, None]).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["speak", "RUN", "xyz", "--output", "said.wav"], "character 'x'"),
        (["speak", "RUN", " ", "--output", "said.wav"], "text is empty"),
        (["speak", "RUN", "ab", "--label", "who=z", "--output", "said.wav"], "unknown who 'z'"),
        (["speak", "RUN", "ab", "--rate", "0", "--output", "said.wav"], "rate is 0.0, expected 0.1 to 10"),
        (["speak", "RUN", "ab", "--output", "said.txt"], "can't be written|is a file|no place|give"),
        (["sample", "RUN", "-n", "2", "--output", "clips"], "fusevae speak RUN TEXT"),
        (["interpolate", "RUN", "-n", "1", "--output", "clips"], "frames that follow what is said"),
    ],
)
def test_what_can_not_be_said_is_refused_in_a_line(run, tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert any(__import__("re").search(says, line) for line in told), told
    assert not list(tmp_path.iterdir())


def test_a_bound_is_given_where_there_is_one(run, capsys):
    bounded = fusevae.load(run).distribution.level >= fusevae.Level.BOUND
    assert main(["evaluate", str(run), "--importance-samples", "1", "--device", "cpu"]) == (0 if bounded else 2)
    told = capsys.readouterr()
    assert ("ELBO" in told.out) if bounded else ("has no likelihood" in told.err)


def test_the_other_commands_work_on_such_a_run(run, tmp_path, capsys):
    for arguments in (
        ["reconstruct", str(run), "--output", str(tmp_path / "again")],
        ["encode", str(run), "--output", str(tmp_path / "z.npz")],
        ["sample", str(run), "-n", "2", "--label", "who=x,text=ab ba", "--output", str(tmp_path / "new")],
    ):
        assert main([*arguments, "--device", "cpu"]) == 0, arguments
    assert len(list((tmp_path / "new").glob("*.wav"))) == 2


def test_a_model_that_says_no_texts_is_refused(tmp_path):
    with pytest.raises(InputError, match="says no texts"):
        fusevae.speak(fusevae.Artifact(fusevae.Normal(2), fusevae.DataSpec((2,))), "ab")
