"""Sound: what is read is what was written, nothing changes with padding, and transforms come back."""

import io
import logging
import math
import sys
import tempfile

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import fusevae
from fusevae import InputError, read_data
from fusevae.cli import main
from fusevae.core.artifact import Artifact
from fusevae.core.frames import MARK, ended, extent
from fusevae.core.spec import DataSpec
from fusevae.data.frame_steps import StandardiseFrames
from fusevae.data.source import read_examples
from fusevae.distributions.frames import log_count
from fusevae.modalities.audio.quality import mel_distance, spectral_distance, usual_view
from fusevae.modalities.audio.schema import SoundSchema
from fusevae.modalities.audio.views import LogMel
from fusevae.nets.spectral import from_mel, griffin_lim, istft, mel_filters, n_frames, stft
from fusevae.training.identity import fingerprints

sf = pytest.importorskip("soundfile")
pytest.importorskip("soxr")
RATE = 8000


def tone(n=2000, hz=440.0, rate=RATE, loud=0.5):
    return (loud * np.sin(2 * np.pi * hz * np.arange(n) / rate)).astype(np.float32)


def folder_of(place, clips, rate=RATE, suffix=".wav", **kwargs):
    place.mkdir(parents=True, exist_ok=True)
    for name, x in clips.items():
        path = place / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, x, rate, **kwargs)
    return place


def read(place, **settings):
    return read_data(str(place), **{"validation": 0, "test": 0} | settings).train


def clips_of(examples):
    x = examples.batch(torch.arange(len(examples)))[0]
    return [clip[: int(extent(clip[None]))] for clip in x]


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("suffix", "subtype", "exact"),
    [
        (".wav", "PCM_U8", 2**-7),
        (".wav", "PCM_16", 2**-15),
        (".wav", "PCM_24", 2**-23),
        (".wav", "PCM_32", 2**-24),
        (".wav", "FLOAT", 0),
        (".wav", "DOUBLE", 0),
        (".flac", "PCM_16", 2**-15),
        (".flac", "PCM_24", 2**-23),
        (".aiff", "PCM_16", 2**-15),
        (".ogg", "VORBIS", None),
        (".mp3", None, None),
    ],
)
def test_any_depth_reads_as_the_samples_that_it_holds(tmp_path, suffix, subtype, exact):
    x = tone(4000)
    (clip,) = clips_of(read(folder_of(tmp_path / "d", {"a": x}, suffix=suffix, subtype=subtype)))
    assert len(clip) == len(x)
    if exact is None:  # lossy
        assert np.corrcoef(clip.numpy(), x)[0, 1] > 0.95
    else:
        assert np.abs(clip.numpy() - x).max() <= exact


def test_a_clip_keeps_its_length_and_the_zeros_at_its_end(tmp_path):
    x = np.concatenate([tone(500), np.zeros(300, np.float32)])
    found = clips_of(read(folder_of(tmp_path / "d", {"a": x, "b": tone(1200)})))
    assert [len(clip) for clip in found] == [800, 1200] and found[0][-1] == MARK and not found[0][500:-1].any()


def test_other_rates_and_channels_are_brought_to_one_and_said(tmp_path, caplog):
    folder_of(tmp_path / "d", {"a": tone(2000), "b": tone(1000)})
    folder_of(tmp_path / "d", {"c": tone(4000, rate=16000)}, rate=16000)
    folder_of(tmp_path / "d", {"d": np.stack([tone(2000), 0 * tone(2000)], 1)})
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path / "d")
    assert found.spec.schema.rate == RATE and [len(clip) for clip in clips_of(found)] == [2000, 1000, 2000, 2000]
    assert "1 of 4 clips are resampled to 8,000 Hz (1 of 16,000 Hz)" in caplog.text
    assert "1 of 4 clips are mixed down" in caplog.text
    a, _, c, d = (clip[200:-200] for clip in clips_of(found))
    assert torch.allclose(a, c, atol=0.01) and torch.allclose(a, 2 * d, atol=1e-3)  # soxr filters at the ends
    assert read(tmp_path / "d", rate=4000).spec.schema.rate == 4000


def test_names_classes_and_splits(tmp_path):
    names = {f"{d}_{s}_{i}": tone(300 + i) for d in (3, 7) for s in ("ann", "bob") for i in range(3)}
    found = read(folder_of(tmp_path / "names", names), conditions="{digit}_{speaker}_{take}")
    assert found.spec.conditions.names == ["digit", "speaker", "take"] and found.ids[0] == "3_ann_0.wav"
    found = read(folder_of(tmp_path / "classes", {f"yes/{i}": tone() for i in range(3)} | {"no/1": tone()}))
    assert found.spec.classes == ["no", "yes"]
    place = folder_of(tmp_path / "splits", {"train/a": tone(), "train/b": tone(), "test/c": tone(900)})
    splits = read_data(str(place), validation=0)
    assert len(splits.train) == 2 and splits.test.ids == ["c.wav"]


def test_audio_folder_lj_speech_and_parquet(tmp_path):
    place = folder_of(tmp_path / "hf", {"a": tone(400), "b": tone(500)})
    (place / "metadata.csv").write_text("file_name,mood\nb.wav,sad\na.wav,glad\n")
    found = read(place, conditions=["mood"])
    assert found.spec.conditions.names == ["mood"] and [len(c) for c in clips_of(found)] == [400, 500]
    place = folder_of(tmp_path / "lj", {"wavs/LJ1": tone(400), "wavs/LJ2": tone(500), "wavs/LJ3": tone(600)})
    (place / "metadata.csv").write_text('LJ2|"It" was 2|it was two\nLJ1|so|so\n')
    assert read(place).ids == ["LJ2.wav", "LJ1.wav"]
    (place / "metadata.csv").write_text("LJ9|so|so\n")
    with pytest.raises(InputError, match="'LJ9'"):
        read(place)
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    sf.write(file, tone(700), RATE, format="FLAC")
    cells = [{"bytes": file.getvalue(), "path": "x.flac"}] * 3
    parquet.write_table(pyarrow.table({"audio": cells, "label": [0, 1, 0]}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert [len(c) for c in clips_of(found)] == [700] * 3 and found.spec.classes == ["0", "1"]
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset.from_dict({"sound": cells, "label": [0, 1, 0]}).cast_column("sound", datasets.Audio())
    whole.save_to_disk(str(tmp_path / "saved"))
    for given in (whole, str(tmp_path / "saved")):
        found = read_data(given, validation=0, test=0).train
        assert [len(c) for c in clips_of(found)] == [700] * 3 and found.spec.classes == ["0", "1"]


def test_windows_of_long_recordings_are_the_recordings_and_no_two_parts_share_a_stretch(tmp_path, caplog):
    x = {f"{c}/{i}": tone(n) * np.linspace(0.5, 1, n, dtype=np.float32) for c in "ab" for i, n in ((0, 9100), (1, 700))}
    folder_of(tmp_path / "d", x, subtype="FLOAT")
    with caplog.at_level(logging.WARNING):
        data = read_data(str(tmp_path / "d"), window=0.125, validation=0.2, test=0.2)
    assert "4 are cut into 20 windows of about 0.125 s (data.window)" in caplog.text
    parts = data.train, data.validation, data.test
    found = {name: clip for part in parts for name, clip in zip(part.ids, clips_of(part), strict=True)}
    assert [len(part) for part in parts] == [12, 4, 4] and len(found) == 20
    for name, whole in x.items():
        mine = sorted((n for n in found if n.startswith(f"{name}.wav @")), key=lambda n: float(n.split("@")[1][:-1]))
        again = torch.cat([found[n] for n in mine])
        assert torch.allclose(again, torch.from_numpy(whole), rtol=0, atol=2**-29)  # a zero at an end is marked
        sides = [next(i for i, part in enumerate(parts) if n in part.ids) for n in mine]
        assert sides == sorted(sides)  # training, then validation, then test: each is one stretch
    labels = dict(zip(data.train.ids, data.train.batch(torch.arange(12))[1].flatten().tolist(), strict=True))
    assert {(name[0], label) for name, label in labels.items()} == {("a", 0), ("b", 1)}
    folder_of(tmp_path / "long", {"c": tone(61 * RATE)})
    assert [len(clip) for clip in clips_of(read(tmp_path / "long"))] == [4 * RATE] * 14 + [5 * RATE]
    assert [len(clip) for clip in clips_of(read_examples(str(tmp_path / "long"), data.spec))][-1] == 5 * RATE
    with pytest.raises(InputError, match="window=0 was given"):
        read(tmp_path / "d", window=0)


@pytest.mark.parametrize("options", [{}, {"rate": 4000}, {"window": 0.125}])
def test_more_sound_than_memory_holds_lies_on_disk_and_is_the_same(tmp_path, caplog, monkeypatch, options):
    place = folder_of(tmp_path / "d", {str(i): tone(900 + 400 * i) for i in range(6)})
    usual, few = read_data(str(place), **options), read_data(str(place), memory_gb=2e-5, **options)
    assert "0.0 GB, more than memory_gb=2e-05" in caplog.text
    for part in ("train", "validation", "test"):
        a, b = (getattr(data, part) for data in (usual, few))
        assert a.ids == b.ids and all(torch.equal(p, q) for p, q in zip(clips_of(a), clips_of(b), strict=True))
    assert fingerprints(usual) == fingerprints(few)
    full = type("Full", (), {"write": lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))})
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"No space left on device.*set TMPDIR"):
        read_data(str(place), memory_gb=2e-5, **options)


def test_what_an_index_does_not_name_or_hold_is_said(tmp_path, caplog):
    place = folder_of(tmp_path / "lj", {f"wavs/LJ{i}": tone(4000) for i in range(3)} | {"other": tone(4000)})
    index = place / "metadata.csv"
    index.write_text("LJ1|so\u2028it is\nLJ2|no\n", encoding="utf-16")
    with caplog.at_level(logging.WARNING):
        assert read(place).ids == ["LJ1.wav", "LJ2.wav"]
        assert caplog.messages == [f"{index}: left out 1 clips of wavs/ that have no text in it, such as LJ0.wav"]
        index.write_text("LJ1|so\n../other|so\n")
        with pytest.raises(InputError, match=r"names '\.\./other', which isn't in wavs/"):
            read(place)
        caplog.clear()
        place = folder_of(tmp_path / "hf", {"a": tone(400), "b": tone(500)})
        (place / "metadata.csv").write_text("path,label\na.wav,1\nb.wav,2\n")
        assert read(place).spec.conditions is None
    said = f"{place}/metadata.csv has no column file_name but path, label, so that nothing in it is used: "
    assert caplog.messages == [f"{said}call that of the files' names file_name"]
    (place / "metadata.csv").unlink()
    (place / "metadata.jsonl").write_text('{"file_name": "a.wav"\n')
    with pytest.raises(InputError, match="line 1 is no object with a file_name: mend it"):
        read(place)


def test_arrays_are_looked_at_as_files_are(tmp_path, caplog):
    x = np.stack([0 * tone(), tone() + np.float32(0.3), np.clip(4 * tone(), -1, 1), tone() / 10_000])
    np.savez(tmp_path / "x.npz", x=x, rate=RATE)
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path / "x.npz")) == 4
        read(folder_of(tmp_path / "d", {"a": tone(9), "b": tone()}))
    for words in ("are silent:", "have a constant offset", "are clipped", "are nearly silent"):
        assert sum(f"1 of 4 clips {words}" in text for text in caplog.messages) == 1
    assert any("1 of 2 clips are shorter than 0.01 s" in text for text in caplog.messages)
    for bad, says in (
        ({"rate": 8000.5}, r"rate is 8000\.5: expected one whole number in Hz"),
        ({"rate": 0}, "rate is 0: expected one"),
        ({"x": x[:, None]}, r"x has shape \(4, 1, 2000\): expected sound, \(N, samples\)"),
        ({"x": np.stack([x, x], 2)}, r"shape \(4, 2000, 2\): expected sound"),
    ):
        np.savez(tmp_path / "x.npz", **({"x": x, "rate": RATE} | bad))
        with pytest.raises(InputError, match=says):
            read(tmp_path / "x.npz")
    with pytest.raises(InputError, match="at most 1,000,000"):
        read(tmp_path / "d", rate=10**9)


def test_arrays_say_their_rate(tmp_path):
    x = np.stack([tone(300), np.concatenate([tone(200), np.zeros(100, np.float32)])])
    np.savez(tmp_path / "x.npz", x=x, rate=RATE, y=np.array([0, 1]))
    found = read(tmp_path / "x.npz")
    assert found.spec.schema.rate == RATE and [len(c) for c in clips_of(found)] == [300, 200]
    assert torch.equal(
        found.batch(torch.arange(2))[0],
        read_data(x, rate=RATE, modality="audio", validation=0, test=0).train.batch(torch.arange(2))[0],
    )
    whole = read_data((x * 2**15).round().astype(np.int16), rate=RATE, modality="audio", validation=0, test=0).train
    assert torch.allclose(whole.batch(torch.arange(2))[0], torch.from_numpy(x), atol=2**-15)
    np.savez(tmp_path / "z.npz", x=x)
    with pytest.raises(InputError, match="rate"):
        read(tmp_path / "z.npz", modality="audio")


FORMATS = {"ogg": "OGG", "flac": "FLAC", "aiff": "AIFF", "au": "AU", "w64": "W64", "caf": "CAF"}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def spoiled(kind):
    file = io.BytesIO()
    sf.write(file, tone(4000), RATE, format=FORMATS.get(kind.split()[0], "WAV"))
    data = file.getvalue()
    if kind == "length":  # of a tenth of the samples
        return data[:40] + (800).to_bytes(4, "little") + data[44:]
    if kind == "rate":
        return data[:24] + (2 * 10**9).to_bytes(4, "little") + data[28:]
    if "cut" in kind:
        return data[: len(data) * 2 // 3]
    return {
        "empty": b"",
        "pointer": LFS,
        "text": b"a text\n" * 99,
        "no samples": data[:40] + bytes(4),
        "header": data[:20],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("wav cut", "cut off"),
        ("flac cut", "can't be decoded|cut off"),
        ("ogg cut", "cut off|no sound|can't be decoded"),
        ("aiff cut", "cut off"),
        ("au cut", "cut off"),
        ("w64 cut", "cut off"),
        ("caf cut", "can't be decoded|cut off"),
        ("length", "cut off"),
        ("rate", "2,000,000,000 samples a second, as no sound has"),
        ("pointer", "is no sound but a pointer of Git LFS"),
        ("empty", r"can't be decoded \(Format not recognised\)"),
        ("text", "can't be decoded"),
        ("no samples", "no sound"),
        ("header", "can't be decoded"),
    ],
)
def test_what_is_damaged_is_refused_in_a_line_or_counted_and_skipped(tmp_path, caplog, kind, says):
    place = folder_of(tmp_path / "d", {"a": tone(), "c": tone()})
    suffix = kind.split()[0] if kind.split()[0] in FORMATS else "wav"
    (place / f"b.{suffix}").write_bytes(spoiled(kind))
    with pytest.raises(InputError, match=says) as error:
        read(place)
    assert "\n" not in str(error.value) and f"b.{suffix}" in str(error.value) and "skip" in str(error.value)
    with caplog.at_level(logging.WARNING):
        assert len(read(place, skip_damaged=True)) == 2
    assert "left out 1 damaged files of 3" in caplog.text


def test_channels_that_cancel_out_are_refused(tmp_path):
    place = folder_of(tmp_path / "d", {"a": np.stack([tone(), -tone()], 1), "b": tone()})
    with pytest.raises(InputError, match=r"a\.wav has 2 channels that cancel out"):
        read(place)


def test_a_file_whose_length_was_not_known_when_it_was_written_is_read(tmp_path):
    place = folder_of(tmp_path / "d", {"a": tone(1000)})
    data = bytearray((place / "a.wav").read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4
    (place / "a.wav").write_bytes(bytes(data))
    assert len(clips_of(read(place))[0]) == 1000


def test_silence_clipping_and_foreign_values_are_said(tmp_path, caplog):
    place = folder_of(tmp_path / "d", {"a": 0 * tone(), "b": np.clip(4 * tone(), -1, 1), "c": tone()})
    with caplog.at_level(logging.WARNING):
        clips = clips_of(read(place))
    assert "1 of 3 clips are silent" in caplog.text and "1 of 3 clips are clipped" in caplog.text
    assert len(clips[0]) == 2000
    with pytest.raises(InputError, match="every training clip is silent: there is nothing to learn"):
        read(folder_of(tmp_path / "s", {"a": 0 * tone(), "b": 0 * tone()}))
    folder_of(tmp_path / "e", {"a": 9000 * tone()}, subtype="FLOAT")
    with pytest.raises(InputError, match="full scale"):
        read(tmp_path / "e", skip_damaged=True)
    folder_of(tmp_path / "f", {"a": tone() * np.float32(np.nan)}, subtype="FLOAT")
    with pytest.raises(InputError, match="NaN"):
        read(tmp_path / "f")
    with pytest.raises(InputError, match="memory_gb"):
        read(folder_of(tmp_path / "g", {"a": tone(9000)}), memory_gb=1e-5)


def test_without_the_extra_a_line_names_it(tmp_path, monkeypatch, capsys):
    place = folder_of(tmp_path / "d", {"a": tone()})
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert main(["train", "--data", str(place), "--output", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "pip install 'fusevae[audio]'" in said and not (tmp_path / "r").exists()


# ---------------------------------------------------------------- transforms


@pytest.mark.parametrize(("window", "hop"), [(64, 16), (256, 64), (256, 32), (32, 7)])
def test_the_inverse_of_the_transform_gives_the_samples_back(window, hop):
    x = torch.randn(2, 3, 1003)
    spectrum = stft(x, window, hop)
    assert spectrum.shape == (2, 3, window // 2 + 1, n_frames(1003, hop))
    assert torch.allclose(istft(spectrum, window, hop, 1003), x, atol=1e-5)


def test_the_transform_is_the_sum_that_it_says():
    x, n, h = torch.randn(100).double(), 16, 4
    padded = F.pad(x, (n // 2, n // 2))
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(n) / n).double()
    waves = torch.exp(-2j * math.pi * torch.arange(n // 2 + 1)[:, None] * torch.arange(n) / n)
    wanted = torch.stack([waves @ (padded[t * h : t * h + n] * window).to(waves.dtype) for t in range(26)], 1)
    assert torch.allclose(stft(x.float(), n, h), wanted.to(torch.complex64), atol=1e-5)


def test_mel_bands_cover_every_frequency_once():
    for rate in (8000, 11025, 16000, 22050, 44100, 48000):  # whatever bands are narrower than a bin
        view = usual_view(rate)
        bands = torch.eye(view.bands)
        assert from_mel(bands, rate, view.window).max() < 2.5, rate
    filters = mel_filters(16000, 512, 64)
    assert torch.allclose(filters.sum(1), torch.ones(64)) and (filters >= 0).all()
    peaks = filters.argmax(1)
    assert (peaks.diff() >= 0).all() and (filters[:, 3:250].sum(0) > 0).all()
    flat = filters @ torch.ones(257, 4)  # magnitudes that are linear within bands are found again
    assert torch.allclose(filters @ from_mel(flat, 16000, 512), flat, atol=0.05)


def test_griffin_lim_finds_sound_of_the_magnitudes():
    x = torch.from_numpy(tone(3000) + tone(3000, 900.0, loud=0.2))
    magnitude = stft(x, 256, 64).abs()
    again = griffin_lim(magnitude, 256, 64, 3000)
    error = (stft(again, 256, 64).abs() - magnitude).norm() / magnitude.norm()
    assert error < 0.1 and torch.equal(again, griffin_lim(magnitude, 256, 64, 3000))


def test_log_mel_of_a_sine_is_its_loudness():
    view = LogMel(8000, 256, 64, 40)
    y = view(torch.from_numpy(tone(4000, 1000.0, loud=1.0))[None])[0]
    inside = y[:, 10:50]
    assert y.shape == (40, n_frames(4000, 64))
    filters = mel_filters(8000, 256, 40)
    band = int(filters[:, 32].argmax())  # 1000 Hz is bin 32
    assert (inside.argmax(0) == band).all()
    wanted = float(sum(filters[band, 32 + i] * {0: 0.5}.get(i, 0.25) for i in (-1, 0, 1)))  # Hann: 1/2 beside
    assert torch.allclose(inside[band].exp(), torch.tensor(wanted), rtol=0.02)


def test_frames_become_the_same_sound_whatever_follows_or_stands_beside_them():
    view = usual_view(RATE)
    torch.manual_seed(0)
    y = view(ended(0.1 * torch.randn(3, 3000), torch.tensor([3000, 1500, 700])))
    sound = view.restore(y)
    longer = view.restore(F.pad(y, (0, 40)))
    assert torch.equal(longer[:, : sound.shape[1]], sound) and not longer[:, sound.shape[1] :].any()
    for i, n in enumerate(extent(y).tolist()):
        alone = view.restore(y[i : i + 1, :, :n])[0]
        assert torch.equal(alone, sound[i, : len(alone)])


def test_zeros_after_the_end_change_nothing():
    view = usual_view(RATE)
    torch.manual_seed(0)
    x = ended(0.1 * torch.randn(4, 2000), torch.tensor([2000, 1500, 700, 1]))
    longer = F.pad(x, (0, 1234))
    y, z = view(x), view(longer)
    assert torch.allclose(y, z[..., : y.shape[-1]], atol=1e-5) and not z[..., y.shape[-1] :].any()
    assert torch.equal(extent(y), extent(x[:, None]) // 64 + 1)
    for i in range(4):
        alone = view(x[i : i + 1, : int(extent(x[i : i + 1]))])
        assert torch.allclose(alone[0], y[i, :, : alone.shape[-1]], atol=1e-5)
    data = DataSpec((2000,), "float32", -1, 1, ["a", "b"], SoundSchema(RATE))
    model = Artifact(fusevae.find("mel-vae")(data, width=8, blocks=2, latent=3).model, data, [view]).eval()
    model.distribution.start_from(lambda: view(x))
    label = torch.tensor([0, 1, 0, 1])
    values, slopes = [], []
    for given in (y, z):
        torch.manual_seed(1)
        model.zero_grad()
        value = model.distribution.trace(given, label).elbo
        value.sum().backward()
        values.append(value.detach())
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert torch.allclose(*values, rtol=1e-4) and torch.allclose(*slopes, rtol=1e-3, atol=1e-3 * slopes[0].abs().max())
    again = fusevae.reconstruct(model, read_data(x.numpy(), rate=RATE, modality="audio", validation=0, test=0).train)
    assert (again.shape[0], again.dim()) == (4, 2) and again.isfinite().all()


def test_the_view_and_its_way_back_keep_the_number_of_frames():
    view = usual_view(RATE)
    x = ended(0.1 * torch.randn(3, 900), torch.tensor([900, 420, 64]))
    assert torch.equal(extent(view(view.restore(view(x)))), extent(view(x)))


def test_numbers_of_frames_have_probabilities_that_sum_to_one():
    n = torch.arange(1, 400)
    for place, spread in ((0.0, 0.3), (4.0, 0.05), (5.9, 1.0), (9.0, 0.01)):
        total = log_count(n, torch.tensor(place).double(), torch.tensor(spread).double(), 399).exp().sum()
        assert total.item() == pytest.approx(1.0)
    assert log_count(torch.tensor([0, 400]), torch.tensor(1.0), torch.tensor(1.0), 399).isneginf().all()


def test_standardised_frames_have_the_jacobian_that_they_say():
    step = StandardiseFrames(2)
    step.fit(torch.randn(9, 2, 5) * 3 + 1)
    x = F.pad(torch.randn(1, 2, 3), (0, 2))
    jacobian = torch.autograd.functional.jacobian(lambda v: step(F.pad(v, (0, 2)))[0][..., :3], x[..., :3])
    wanted = torch.linalg.slogdet(jacobian.reshape(6, 6))[1]
    assert torch.allclose(step(x)[1], wanted) and torch.allclose(step.inverse(step(x)[0]), x, atol=1e-5)


def test_distances_are_zero_of_the_same_and_grow_with_what_is_apart():
    x = ended(torch.from_numpy(np.stack([tone(2000), tone(2000, 700.0)])), torch.tensor([2000, 1000]))
    for distance in (mel_distance, spectral_distance):
        assert torch.equal(distance(x, x, RATE), torch.zeros(2))
        assert torch.allclose(distance(x, F.pad(x, (0, 500)), RATE), torch.zeros(2))
        near, far = distance(x, 0.9 * x, RATE), distance(x, 0.3 * x, RATE)
        assert (far > near).all() and (near > 0).all()
    hiss = 0.1 * torch.randn(1, 2000)
    assert mel_distance(hiss, 0.5 * hiss, RATE).item() == pytest.approx(6.02, abs=0.01)


# ---------------------------------------------------------------- from the command line


def test_sound_is_trained_sampled_reconstructed_and_scored(tmp_path, capsys):
    rng = np.random.default_rng(0)
    clips = {
        f"{d}_{s}_{i}": tone(int(rng.integers(500, 900)), 300.0 + 400 * d) + rng.normal(0, 0.01, 1).astype("f")
        for d in (0, 1)
        for s in ("ann", "bob")
        for i in range(12)
    }
    data, run = folder_of(tmp_path / "d", clips), tmp_path / "run"
    settings = ['data.conditions="{digit}_{speaker}_{take}"', "training.epochs=2", "recipe.width=8", "recipe.blocks=1"]
    words = [w for one in settings for w in ("--set", one)]
    assert main(["train", "mel-vae", "--data", str(data), "--output", str(run), *words]) == 0
    page = (run / "report.html").read_text()
    assert "<audio" in page and "log-mel frames (40 bands, 32 ms every 8 ms)" in page
    out = tmp_path / "clips"
    said = ["--label", "digit=1,speaker=ann"]
    assert main(["sample", str(run), "-n", "3", "--output", str(out), *said]) == 0
    assert {p.name for p in out.iterdir()} == {"00000.wav", "00001.wav", "00002.wav", "metadata.csv", "grid.png"}
    assert sf.info(out / "00000.wav").samplerate == RATE
    new = folder_of(tmp_path / "new", {"1_bob_3": tone(800, 700.0)}, suffix=".flac")
    again = tmp_path / "again.wav"
    assert main(["reconstruct", str(run), "--data", str(new / "1_bob_3.flac"), "--output", str(again)]) == 0
    assert sf.info(again).samplerate == RATE and sf.info(again).frames > 64
    assert main(["encode", str(run), "--data", str(data), "--output", str(tmp_path / "z.csv")]) == 0
    assert (
        main(
            ["anomaly", str(run), "--data", str(new), "--output", str(tmp_path / "s.csv"), "--importance-samples", "3"]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--importance-samples", "3"]) == 0
    wrong = folder_of(tmp_path / "wrong", {"1_bob_9": tone(400)}, rate=4000)
    assert main(["evaluate", str(run), "--data", str(wrong), "--importance-samples", "3"]) == 0
    assert "resampled to 8,000 Hz" in capsys.readouterr().err
