"""Sound: a codec beside Codec2 and Opus, and a speech VAE by a classifier of what is said and by whom.

The spoken digits (8 kHz, six speakers), by their official split: takes 0 to 4 of each are the test, 300 clips. For the
codecs these are joined by speaker to 30 pieces, the ten digits of a take with 50 ms of silence between, since single
clips are too short for STOI. Each codec is allowed one delay for all pieces, that with the best STOI of -10 to 60 ms by
2.5 ms (a shift of each piece to where its samples fit best cost our codec .05 to .09 of STOI: it has no delay, and
phases of its own); STOI and PESQ (narrow band) are means over the pieces. Codec2 and Opus are Debian's; where they,
pystoi or pesq are missing, so are their rows. Bits are those in the file. Codes used: the part of each codebook that
the training clips use, the least.
Of speech-vae and mel-vae: 20 samples of each digit by each speaker, and the reconstructions of the test clips, by a
classifier that was trained on real ones; Fréchet distance in its features; how near samples are to training clips.
Asked for, after 60 minutes of 2 cores: STOI above .793 and PESQ above 2.39 at 1.3 kbit/s or less, .844 and 2.81 at 3.2
kbit/s; 97 % of the classifier's accuracy on reconstructions, 95 % (digit) and 90 % (speaker) of it on samples.
``python benchmarks/speech.py [NAME ...] --minutes 60`` trains and measures those named (all without a name),
resumable, in ``runs/speech``. Names are speech-codec, speech-vae, mel-vae, and two ablations of speech-vae. Arms of as
many updates each, 16 epochs whatever the minutes: unchanged, without-critic, one-gaussian-a-step (of the prior, for a
mixture of eight), without-memory (a prior of one number of state: near to none over the sequence), standard-normal (in
the place of the prior). And priors: one more speech-vae is trained for the minutes, and each prior stands in it in
turn, the one learned with it or, fitted to its latents after, a flow, a diffusion, an autoregressive one, and the
standard normal. Of each: 10 samples of each digit by each speaker, what the classifier hears, their Fréchet distance
from the test clips, and what a second of sound takes of a core.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import before, chosen, kept, last, report, runs, size, start, trained_on
from inputs import speech

RUNS = runs("speech")
ARMS = {  # of speech-vae: what is left out, or what stands in its place
    "unchanged": [],  # beside the others, after as many updates
    "without-critic": ["objective.start=1"],
    "one-gaussian-a-step": ["model.latents.prior.components=1"],
    "without-memory": ["model.latents.prior.hidden=1"],
    "standard-normal": ["recipe.prior=normal"],
}
#: fitted to the latents of one speech-vae
PRIORS = size(("flow", "diffusion", "autoregressive", "normal"), ("normal",))
MODELS = ("speech-codec", "speech-vae", "mel-vae", *ARMS, "priors")
RATE, PAUSE = 8000, 0.05
DELAYS = range(-80, 481, 20)  # samples
EPOCHS = size(16, 0.1)  # of an arm
EACH = size(20, 1)  # samples of each digit by each speaker; of an arm half as many
SMALL = {
    "speech-codec": size([], ["recipe.width=8", "recipe.stages=2", "recipe.codes=8"]),
    "speech-vae": size([], ["recipe.width=8"]),
    "mel-vae": size([], ["recipe.width=8", "recipe.blocks=1"]),
}
NAMES = 'data.conditions="{digit}_{speaker}_{take}"'
OPUS = "opusenc --quiet --raw --raw-rate 8000 --raw-chan 1 --speech --hard-cbr --bitrate {} in.raw out"
PEERS = {  # bits a second, and how a file in.raw of 16 bits comes back as out.raw
    **{f"Codec2 {n}": (n, f"c2enc {n} in.raw out && c2dec {n} out out.raw") for n in (1300, 3200)},
    **{f"Opus {n}": (1000 * n, f"{OPUS.format(n)} && opusdec --quiet --rate 8000 out out.raw") for n in (6,)},
}


def digits() -> Path:
    """The clips by their split, as links."""
    folder, source = RUNS / "digits", speech()
    for path in sorted(source.glob("*.wav")):
        part = "test" if int(path.stem.rpartition("_")[2]) < 5 else "train"
        link = folder / part / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(path.resolve())
    return folder


def train(name: str) -> Path:
    """Train a model for the minutes asked, or go on with it."""
    recipe = "speech-vae" if name in (*ARMS, "priors") else name
    settings = [NAMES, *SMALL[recipe], *ARMS.get(name, [])]
    if name in ARMS:
        more, settings = (), [*settings, f"training.epochs={EPOCHS}", "training.validate_every=1000"]
    else:
        more = size(("--budget", f"{common.options().minutes:g}m"), ())
    return common.train(RUNS / name, recipe, digits(), settings, "--importance-samples", "1", *more)


def pieces(instead: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
    """The test clips of each speaker's takes, joined; or what stands for them, by their names."""
    import soundfile

    found: dict[tuple[str, str], list[np.ndarray]] = {}
    for path in sorted((digits() / "test").glob("*.wav")):
        _, speaker, take = path.stem.split("_")
        clip = soundfile.read(path, dtype="float32")[0]
        clip = clip if instead is None else delayed(instead[path.name], 0, len(clip))
        found.setdefault((speaker, take), []).extend([clip, np.zeros(round(PAUSE * RATE), np.float32)])
    return [np.concatenate(clips) for clips in found.values()]


def judged(code: Callable[[np.ndarray], np.ndarray]) -> dict[str, float | None]:
    """STOI and PESQ of what comes back of each piece, less the codec's delay, which is where STOI is best."""
    pairs = [(x, code(x)) for x in pieces()]

    def mean(score: Callable[[np.ndarray, np.ndarray], float | None], delay: int) -> float | None:
        found = [score(x, delayed(y, -delay, len(x))) for x, y in pairs]
        values = [value for value in found if value is not None]
        return float(np.mean(values)) if values else None

    tried = {delay: mean(stoi, delay) for delay in size(DELAYS, (0,))}
    best = max(tried, key=lambda delay: tried[delay] or 0.0)
    return {"stoi": tried[best], "pesq": mean(pesq, best), "delay_ms": 1000 * best / RATE}


def delayed(x: np.ndarray, by: int, samples: int) -> np.ndarray:
    """``x`` later by so many samples (or earlier), so long."""
    whole = np.concatenate([np.zeros(max(0, by)), x[max(0, -by) :], np.zeros(samples)])
    return whole[:samples].astype(np.float32)


def stoi(x: np.ndarray, y: np.ndarray) -> float | None:
    try:
        from pystoi import stoi as measure
    except ImportError:
        return None
    return float(measure(x, y, RATE))


def pesq(x: np.ndarray, y: np.ndarray) -> float | None:
    try:
        from pesq import PesqError
        from pesq import pesq as measure
    except ImportError:
        return None
    try:
        return float(measure(RATE, x, y, "nb"))
    except PesqError:  # it hears no utterance
        return None


def peer(command: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """A codec by its programs, where they are."""
    if not all(shutil.which(part.split()[0]) for part in command.split("&&")):
        return None

    def code(x: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "in.raw").write_bytes((x * 32767).astype("<i2").tobytes())
            subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)
            data = (Path(folder) / "out.raw").read_bytes()
        data = data[44:] if data[:4] == b"RIFF" else data
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2") / 32768

    return code


def ours(folder: Path, stages: int) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """The codec of a run by its first codebooks, and its bits a second."""
    import torch

    import fusevae
    from fusevae.modalities.audio.codec import codec_of

    codec = codec_of(fusevae.load(folder))
    assert codec

    def code(x: np.ndarray) -> np.ndarray:
        codes, samples = codec.codes(iter([torch.from_numpy(x)]), stages)
        return torch.cat(list(codec.sound(codes, samples))).numpy()

    return code, stages * codec.quantizer.bits * codec.rate / codec.samples


def used(folder: Path) -> float:
    """The least part of a codebook that the training clips use."""
    import fusevae

    artifact = fusevae.load(folder)
    data = fusevae.read_data(str(digits()), conditions=NAMES.partition("=")[2].strip('"')).train
    codes = fusevae.encode(artifact, data)["codes"]
    levels = artifact.distribution.latents.quantizer.levels
    return min(len(np.unique(codes[:, i][codes[:, i] >= 0])) / levels for i in range(codes.shape[1]))


def codec(folder: Path) -> dict[str, Any]:
    """The codec at several rates."""
    found: dict[str, Any] = {"codes_used": kept(folder / "used.json", lambda: used(folder)), "rates": {}}
    for stages in size((2, 4, 10), (1, 2)):
        code, bits = ours(folder, stages)
        found["rates"][f"{bits:g}"] = kept(folder / f"rate-{stages}.json", lambda code=code: judged(code))
    return found


def asked(spec: Any, each: int) -> Any:
    """The conditions of so many samples of each digit by each speaker."""
    words = {"digit": [], "speaker": []}
    columns = {c.name: c.classes for c in spec.conditions.columns if c.name in words}
    for digit in columns["digit"]:
        for speaker in columns["speaker"]:
            words["digit"] += [digit] * each
            words["speaker"] += [speaker] * each
    others = {c.name: None for c in spec.conditions.columns if c.name not in words}
    return spec.conditions.given(words | others, len(words["digit"]))


def heard(folder: Path) -> dict[str, Any]:
    """What a classifier hears in samples and reconstructions, and the judge's figures."""
    import torch

    import fusevae
    from fusevae.modalities.audio.classifier import accuracies, classifier_for
    from fusevae.modalities.audio.judge import SoundReference

    run = fusevae.Run.open(folder, "cpu")
    artifact, data = run.artifact, run.data
    net, spec, label = classifier_for(data, quiet=True), artifact.data, asked(artifact.data, EACH)
    real, known = data.test.batch(torch.arange(len(data.test)))
    parts = {"real": (real, known), "samples": (fusevae.sample(artifact, len(label), label, seed=0), label)}
    parts["reconstructions"] = (fusevae.reconstruct(artifact, data.test), known)
    names = [c.name for c in spec.conditions.columns]
    found = {part: accuracies(net, x, y, spec).tolist() for part, (x, y) in parts.items()}
    judge = SoundReference(data.test, data, size(150, 8), "cpu", True).judge(artifact)
    return {"columns": names, "accuracy": found, "judge": judge.to_dict()}


def listened(folder: Path) -> dict[str, Any]:
    """Of an arm: what the classifier hears in samples, reconstructions, test clips and as many clips of training, and
    the Fréchet distance of each from the test clips; STOI and PESQ of reconstructions, joined as for codecs."""
    import torch

    import fusevae
    from fusevae.core.frames import extent
    from fusevae.evaluation.distances import frechet_distance
    from fusevae.evaluation.features import features
    from fusevae.modalities.audio.classifier import accuracies, classifier_for

    run = fusevae.Run.open(folder, "cpu")
    artifact, data = run.artifact, run.data
    net, spec, label = classifier_for(data, quiet=True), artifact.data, asked(artifact.data, -(-EACH // 2))
    started = common.now()
    made = fusevae.sample(artifact, len(label), label, seed=0)
    seconds, length = common.now() - started, extent(made[:, None]).sum().item() / RATE
    real, known = data.test.batch(torch.arange(len(data.test)))
    parts = {"test clips": (real, known), "training clips": data.train.batch(data.train.evenly(len(label)))}
    parts["reconstructions"] = (again := fusevae.reconstruct(artifact, data.test), known)
    parts["samples"] = (made, label)
    pairs = list(zip(pieces(), pieces(dict(zip(data.test.ids, again.numpy(), strict=True))), strict=True))
    scores = {score.__name__: [score(x, y) for x, y in pairs] for score in (stoi, pesq)}
    wanted = features(net, real)
    found = {
        part: {
            "accuracy": accuracies(net, x, y, spec).tolist(),
            "fid": frechet_distance(wanted, features(net, x)) if x is not real else 0.0,
        }
        for part, (x, y) in parts.items()
    }
    means = {name: float(np.mean(each)) for name, each in scores.items() if None not in each}
    return {"heard": found, "samples": len(label), "real_time": seconds / length, "reconstructions": means}


def fitted(kind: str, folder: Path) -> dict[str, Any]:
    """A prior of speech-vae that is fitted to its latents after."""
    import fusevae

    of = RUNS / f"priors-{kind}"

    def fit() -> dict[str, float]:
        shutil.rmtree(of, ignore_errors=True)  # of a fit that was cut off
        started = common.now()
        short = size({}, {"training": fusevae.Training(epochs=1, batch_size=64)})
        fusevae.Run.open(folder, "cpu").with_prior(kind, of, quiet=True, **short)
        return {"fit_minutes": (common.now() - started) / 60}

    return kept(RUNS / f"priors-{kind}.json", fit) | kept(of / "listened.json", lambda: listened(of))


def measure(name: str) -> dict[str, Any]:
    folder = train(size(name, "speech-vae") if name == "priors" else name)
    at_end = last(folder)
    found = {"training_minutes": at_end["seconds"] / 60, "steps": at_end["step"], "trained_on": trained_on(folder)}
    if name == "speech-codec":
        return found | codec(folder)
    if name in ARMS:
        return found | kept(folder / "listened.json", lambda: listened(folder))
    if name == "priors":
        each = {"learned with it": kept(folder / "listened.json", lambda: listened(folder))}
        return found | {"priors": each | {kind: fitted(kind, folder) for kind in PRIORS}}
    return found | kept(folder / "heard.json", lambda: heard(folder))


def main(*names: str) -> None:
    RUNS.mkdir(parents=True, exist_ok=True)
    names = chosen(names, MODELS, [*MODELS[:2], "priors"])
    found = {name: measure(name) for name in names}
    figures = {"models": {}, "ablation": {}, "peers": {}} | before("speech")
    for name, (bits, command) in PEERS.items() if "speech-codec" in names else ():
        if (code := peer(command)) is not None:
            here = kept(RUNS / f"{name.replace(' ', '-')}.json", lambda code=code: judged(code))
            figures["peers"][name] = {"bits": bits} | here
    for name, one in found.items():
        figures["ablation" if name in (*ARMS, "priors") else "models"][name] = one
    report("speech", figures, __doc__ or "", 0)


if __name__ == "__main__":
    start(main)
