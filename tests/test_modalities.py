"""Laws of modalities, over each of them; and one of one's own, in one file outside the package."""

from __future__ import annotations

import inspect
import json
import wave
from pathlib import Path

import events_modality
import numpy as np
import pytest
import torch

import fusevae
from fusevae import InputError, read_data
from fusevae.cli import main
from fusevae.core.spec import DataSpec, Measure
from fusevae.data.modality import Modality, modalities, modality, modality_of
from fusevae.data.source import read_examples
from fusevae.data.splits import Splits

RATE = 20.0


def write_events(path: Path, n: int = 240, rate: float = RATE) -> Path:
    rng = np.random.default_rng(0)
    bursts = rng.integers(0, 2, n)
    rows = [(rng.random(12) < (0.8 if burst else 0.1)).astype(int) for burst in bursts]
    lines = [json.dumps({"rate": rate, "burst": bursts.tolist()}, separators=(",", ":"))]
    path.write_text("\n".join(lines + ["".join(map(str, row)) for row in rows]) + "\n")
    return path


def data_of(name: str, folder: Path) -> str:
    """A small file or folder of each kind, with a condition where the kind has a column for it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    if name == "images":
        x = rng.integers(0, 256, (120, 6, 6, 3), dtype=np.uint8)
        np.savez(folder / "x.npz", x=x, y=np.arange(120) % 3)
        return str(folder / "x.npz")
    if name == "tables":
        rows = [(i % 3, round(float(v), 3), round(float(2 * v + 1), 3)) for i, v in enumerate(rng.normal(size=120))]
        (folder / "x.csv").write_text("kind,a,b\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
        return str(folder / "x.csv")
    if name == "text":
        words = [f"a {c} dog runs to the {p}" for c in ("red", "big", "old") for p in ("park", "sea", "hill", "wood")]
        (folder / "x.txt").write_text("\n".join(words * 10) + "\n")
        return str(folder / "x.txt")
    if name == "molecules":
        smiles = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N", "Cl", "C=O")]
        (folder / "x.smi").write_text("\n".join(smiles * 3) + "\n")
        return str(folder / "x.smi")
    if name == "audio":
        for i in range(120):
            samples = np.arange(rng.integers(400, 1000))
            tone = np.sin(samples * (0.1 + 0.2 * (i % 3))) * rng.uniform(0.2, 0.8) + rng.normal(0, 0.02, len(samples))
            with wave.open(str(folder / f"{i:03}.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes((2**15 * tone.clip(-0.99, 0.99)).astype("<i2").tobytes())
        rows = [f"{i:03}.wav,tone{i % 3}" for i in range(120)]
        (folder / "metadata.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
        return str(folder)
    return str(write_events(folder / "x.events"))


KINDS = sorted(modalities())
SETTINGS = {"tables": {"conditions": ["kind"]}, "text": {"tokens": "characters"}, "events": {"conditions": ["burst"]}}
every = pytest.mark.parametrize("name", KINDS)


def read(name: str, tmp_path: Path) -> Splits:
    for needed in {"molecules": ["rdkit"], "audio": ["soundfile", "soxr"]}.get(name, []):
        pytest.importorskip(needed)
    return read_data(data_of(name, tmp_path / name), **SETTINGS.get(name, {}))


def test_the_walk_finds_the_folders_and_what_was_imported() -> None:
    folders = {p.name for p in (Path(fusevae.__file__).parent / "modalities").iterdir() if (p / "modality.py").exists()}
    assert folders <= set(KINDS) and "events" in KINDS
    for name in KINDS:
        assert modality(name).name == name and modality(name).schema.modality == name
        assert modality(name).what and not inspect.isabstract(type(modality(name)))
    with pytest.raises(InputError, match="did you mean 'images'"):
        modality("image")


@every
def test_data_are_recognised_by_one_kind_alone(name: str, tmp_path: Path) -> None:
    splits = read(name, tmp_path)
    assert splits.spec.modality == name and modality_of(splits.spec) is modality(name)
    assert modality(name).schema is type(splits.spec.schema) and splits.spec.schema.about(splits.spec)
    for part in (splits.train, splits.validation, splits.test):
        assert len(part) and part.spec is splits.spec


@every
def test_what_is_written_reads_back_the_same(name: str, tmp_path: Path) -> None:
    splits = read(name, tmp_path)
    kind, spec = modality(name), splits.spec
    x, y = splits.test.batch(torch.arange(len(splits.test)))
    beside = {} if y is None or spec.conditions is None else spec.conditions.values(y)
    for suffix in kind.formats:
        numbers = (".npy", ".npz") if name != "images" else (".npy", ".csv")
        if suffix in (".png", ".wav", ".flac", ".ogg") or suffix in numbers:
            continue  # a sheet for the eye, all of them for the ear; numbers without their names, or their shape
        path = tmp_path / f"written{suffix}"
        kind.check_output(path, spec)
        kind.write(x, spec, path, {} if name == "events" else beside)
        again = read_examples(str(path), spec)
        assert len(again) == len(x), suffix
        back = again.batch(torch.arange(len(x)))
        if spec.schema.numeric:
            assert torch.allclose(back[0].double(), x.double(), rtol=1e-6), suffix
        else:
            assert spec.text(back[0]) == spec.text(x), suffix
        assert again.spec.dtype == spec.dtype, suffix


@every
def test_a_spec_and_its_schema_round_trip(name: str, tmp_path: Path) -> None:
    from fusevae.core.description import build, describe

    spec = read(name, tmp_path).spec
    again = build(describe(spec), trust=["events_modality"])
    assert describe(again) == describe(spec)
    spec.check(again)


@every
def test_the_files_of_another_kind_are_refused_in_a_line(name: str, tmp_path: Path) -> None:
    for other in KINDS:
        related = {name, other} == {"text", "molecules"}  # molecules are written as text
        related |= (name, other) == ("text", "audio")  # beside sounds lies a table of words
        if other == name or related:
            continue
        with pytest.raises(InputError) as error:
            read_data(data_of(other, tmp_path / other), modality=name)
        assert "\n" not in str(error.value) and len(str(error.value)) < 600


@every
def test_a_model_refuses_data_of_another_kind(name: str, tmp_path: Path) -> None:
    spec = read(name, tmp_path).spec
    for other in KINDS:
        if other != name and {name, other} != {"text", "molecules"}:
            with pytest.raises(InputError):
                spec.check(read(other, tmp_path).spec)


@every
def test_drawing_never_fails(name: str, tmp_path: Path) -> None:
    splits = read(name, tmp_path)
    kind, spec = modality(name), splits.spec
    for n in (1, 2, 7):
        x = splits.train.batch(torch.arange(n))[0]
        for sheet in (
            kind.draw([("", x)], spec),
            kind.draw([("one", x), ("two", x[:1])], spec),
            kind.pairs(x, x, spec),
            *kind.portrait(x, x, spec).values(),
        ):
            path = sheet.beside(tmp_path / f"sheet{n}")
            assert path.stat().st_size > 0 and path.suffix == sheet.suffix
            assert sheet.html("a sheet").startswith("<")


@every
def test_the_baseline_is_a_distribution(name: str, tmp_path: Path) -> None:
    splits = read(name, tmp_path)
    spec, x = splits.spec, splits.train.batch(torch.arange(len(splits.train)))[0]
    mass = spec.is_discrete
    measure: Measure = "mass" if mass else "density"
    baseline = modality(name).baseline(spec.typed(x), spec, measure)
    log_p = baseline.log_prob(spec.typed(x))
    assert log_p.shape == (len(x),) and bool(log_p.isfinite().all())
    if mass and spec.schema.numeric:  # one value of one example through all that it can be: the others' share is common
        one = spec.typed(x[:1]).flatten(1).repeat(round(spec.high - spec.low) + 1, 1)
        one[:, 0] = torch.arange(spec.low, spec.high + 1)
        rest = baseline.log_prob(one.view(-1, *spec.shape))
        low, high = rest.min().item(), rest.max().item()
        assert low < high
        alone = modality(name).baseline(spec.typed(x).flatten(1)[:, :1], spec.with_shape((1,)), measure)
        assert alone.log_prob(one[:, :1]).exp().sum().item() == pytest.approx(1.0)


@every
def test_real_examples_are_at_the_floor(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real examples in the place of samples: no figure that has a direction says that they are worse than real ones."""
    monkeypatch.setattr("fusevae.modalities.images.extractor.UPDATES", 5)
    monkeypatch.setattr("fusevae.modalities.audio.classifier.UPDATES", 5)
    splits = read(name, tmp_path)
    held = splits.train.subset(torch.arange(0, 80))
    judge = modality(name).reference(held, splits, 24, None, "cpu", True)
    truth = splits.train.subset(torch.arange(40, len(splits.train)))

    def real(artifact, n=16, label=None, seed=0, kind="auto", generation=None):
        return truth.batch(torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))[:n])[0]

    monkeypatch.setattr("fusevae.evaluation.judge.sample", real)
    model = fusevae.Artifact(fusevae.Normal(2), splits.spec)
    found = judge.judge(model, "sample")
    for figure in found.figures():
        if figure.real is not None and figure.better is not None and isinstance(figure.value, float):
            apart = figure.value - figure.real
            worse = apart if figure.better == "low" else -apart
            assert worse < 0.6 * max(1.0, abs(figure.real)) + 3 * (figure.error or 0.0), figure.name


@every
def test_a_default_is_recommended_with_its_reason(name: str, tmp_path: Path) -> None:
    splits = read(name, tmp_path)
    for seconds in (None, 30.0, 3600.0):
        choices = modality(name).recommend(splits.spec, len(splits.train), seconds)
        assert choices and all(choice.why and "\n" not in choice.why for choice in choices)
        assert callable(fusevae.find(choices[0].recipe))


@every
def test_what_two_could_claim_is_asked(name: str) -> None:
    with pytest.raises(InputError, match=r"data\.modality"):
        read_data(torch.randn(50, 1, 800).numpy())


# ---------------------------------------------------------------- one of one's own


def test_a_modality_is_one_file_and_no_edit_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(Path(events_modality.__file__).read_text().splitlines()) <= 150
    assert issubclass(events_modality.Events, Modality)
    data, trust = write_events(tmp_path / "d.events"), ["--trust", "events_modality"]
    run, other = tmp_path / "a", tmp_path / "b"
    conditions = ["--set", "data.conditions=[burst]"]
    assert main(["train", "--data", str(data), "--output", str(run), "--seed", "1", *conditions, *trust]) == 0
    assert "events_vae" in capsys.readouterr().err
    assert "events of 0.6 s at 20 Hz" in (run / "report.html").read_text()
    assert {p.name for p in run.iterdir()} >= {"samples.csv", "reconstructions.csv", "curves.png", "map.png"}
    recipe = "events_modality:events_vae"
    assert main(["train", recipe, "--data", str(data), "--output", str(other), "--set", "recipe.latent=3", *trust]) == 0
    capsys.readouterr()
    assert main(["sample", str(run), "-n", "5", "--output", str(tmp_path / "made.events"), *trust]) == 0
    made = read_data(str(tmp_path / "made.events"), validation=0, test=0)
    assert len(made.train) == 5 and made.spec.schema.rate == RATE
    assert main(["encode", str(run), "--output", str(tmp_path / "z.csv"), *trust]) == 0
    assert (tmp_path / "z.csv").read_text().startswith("row,burst,mean_0,mean_1,")
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--importance-samples", "5", "--samples", "20", *trust]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["support"] == "mass on {0..1}^12" and found["samples"]["fid"] >= 0
    page = tmp_path / "page.html"
    options = ["--importance-samples", "5", "--samples", "20", "--output", str(page), *trust]
    assert main(["compare", str(run), str(other), *options]) == 0
    assert "||" in page.read_text()
    words = ["bench", recipe, "--data", str(data), "--budget", "2s", "--output", str(tmp_path / "bench"), *trust]
    assert main([*words, "--importance-samples", "5", "--samples", "20"]) == 0
    assert (tmp_path / "bench" / "comparison.html").is_file()
    wrong = write_events(tmp_path / "wrong.events", rate=50.0)
    assert main(["evaluate", str(run), "--data", str(wrong), *trust]) == 2
    assert "made for events at 20 Hz, these have 50" in capsys.readouterr().err


def test_a_plain_spec_still_computes() -> None:
    artifact = fusevae.Artifact(fusevae.Normal(3), DataSpec((3,)))
    assert artifact.data.modality == "" and fusevae.sample(artifact, 2).shape == (2, 3)
    assert fusevae.log_likelihood(artifact, torch.zeros(4, 3)).shape == (4,)
