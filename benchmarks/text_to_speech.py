"""Text to speech: strings of 3 to 5 spoken digits by one speaker, of which none was in training, under a recogniser.

The corpus is made here, in LJSpeech's layout: 1,000 strings, joined from a speaker's training clips (indices 5 and on;
8 kHz) with pauses of 40 to 140 ms, and their words. ``text-to-speech``, or another recipe that says texts, is trained
on it for as many minutes as are given (60 by default), everything else by default, seed 0. The recogniser is trained by
connectionist temporal classification on strings joined from the training clips of all six speakers, drawn anew each
time, never on anything that was made; its word errors on 100 strings joined from the speaker's test clips (indices 0 to
4) are printed beside those on what ``speak`` says of the same strings. Word errors are insertions, deletions and
substitutions over words.
An alignment is monotone by construction; that it is true is shown by the picture in the report. ``rate`` is the
largest deviation of the length from what was asked for, of these strings at 0.8 and 1.25. The real-time factor is that
of ``speak`` alone, Griffin-Lim included, a string at a time. ``mel`` and ``spectral`` are how far held-out clips of the
corpus are from what the model makes of their own latents; ``energy`` is how far what is said is from the real strings
in statistics of log-mel bands (real strings of the training clips are as far as ``energy_real``): 0 where nothing tells
them apart. With ``captions`` for a speaker the corpus is 2,000 captions as espeak-ng says them, at 8 kHz, and what is
reported are the losses on held-out ones. Resumable.
``python benchmarks/text_to_speech.py [MINUTES] [SPEAKER] [RECIPE]``
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from common import before, kept, report, runs, size, smoke, start, train
from inputs import captions, speech
from said_digits import RATE, Clips, clips_of, joined, strings, words, write_corpus, write_sentences

RUNS = runs("text-to-speech")
STRINGS, HELD, LONGEST, SENTENCES = size((1000, 100, 5, 2000), (40, 4, 3, 40))
UPDATES, BATCH = size((700, 24), (3, 4))
BLANK = 10
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")


def frames(clips: list[Any]) -> Any:
    """Log-mel frames of 16 ms of clips, about mean 0 and deviation 1, ``(n, 40, t)``, zeros after the end."""
    import torch
    from torch.nn import functional as F
    from torch.nn.utils.rnn import pad_sequence

    from fusevae.core.frames import extent, within
    from fusevae.modalities.audio.quality import usual_view

    x = usual_view(RATE)(pad_sequence([torch.as_tensor(clip) + 1e-6 for clip in clips], batch_first=True))
    y = F.avg_pool1d((x + 6) / 3 * within(extent(x), x.shape[-1]), 2)
    return y * within(extent(x) // 2, y.shape[-1])


def recogniser(clips: dict[str, Clips]) -> Any:
    """A net from frames to the logits of ten digits and a blank, trained on strings that are joined anew each time."""
    import torch
    from safetensors.torch import load_model, save_model
    from torch.nn import functional as F

    from fusevae.core.frames import extent
    from fusevae.nets.frame_net import FrameNet

    torch.manual_seed(0)
    net, path, draw = FrameNet(40, 11, size(96, 8), 6), RUNS / "recogniser.safetensors", random.Random(0)
    if path.exists():
        load_model(net, path)
        return net.eval()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=UPDATES)
    for _ in range(UPDATES):
        said = ["".join(str(draw.randrange(10)) for _ in range(draw.randint(1, 4))) for _ in range(BATCH)]
        sound = [joined(digits, clips[draw.choice(list(clips))], draw) * draw.uniform(0.4, 1.6) for digits in said]
        x = frames(sound)
        target = torch.tensor([int(digit) for digits in said for digit in digits])
        lengths = torch.tensor([len(digits) for digits in said])
        loss = F.ctc_loss(net(x).log_softmax(1).permute(2, 0, 1), target, extent(x), lengths, blank=BLANK)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    save_model(net, str(path))
    return net.eval()


def heard(net: Any, clips: list[Any]) -> list[str]:
    """The digits that are heard in each clip: the likeliest of each frame, repetitions and blanks left out."""
    import torch

    from fusevae.core.frames import extent

    found = []
    with torch.no_grad():
        for part in (clips[i : i + 50] for i in range(0, len(clips), 50)):
            x = frames(part)
            for best, n in zip(net(x).argmax(1).tolist(), extent(x).tolist(), strict=True):
                path = best[:n]
                said = [a for a, b in zip(path, [BLANK, *path[:-1]], strict=True) if a != b and a != BLANK]
                found.append("".join(map(str, said)))
    return found


def errors(said: list[str], found: list[str]) -> float:
    """Insertions, deletions and substitutions over words."""

    def distance(a: str, b: str) -> int:
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            before, row[0] = row[0], i
            for j, y in enumerate(b, 1):
                before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
        return row[-1]

    return sum(map(distance, said, found)) / sum(map(len, said))


def measured(folder: Path, speaker: str, held: list[str]) -> dict[str, Any]:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    import fusevae
    from fusevae.core.frames import extent
    from fusevae.evaluation.distances import energy_distance
    from fusevae.evaluation.speaking import alignments, monotone
    from fusevae.modalities.audio.quality import Statistics, sound_reconstruction

    net = recogniser({name: clips_of(speech(), name, False) for name in size(SPEAKERS, (speaker,))})
    real, draw = clips_of(speech(), speaker, True), random.Random(1)
    sound = [joined(digits, real, draw) for digits in held]
    run = fusevae.Run.open(folder)
    started, made = time.perf_counter(), []
    for digits in held:
        clip = fusevae.speak(run.artifact, words(digits))[0]
        made.append(clip[: int(extent(clip[None]))])
    seconds = time.perf_counter() - started
    off = 0.0
    for rate in (0.8, 1.25):
        again = fusevae.speak(run.artifact, [words(digits) for digits in held], rate=rate)
        asked = torch.tensor([len(clip) / rate for clip in made])
        off = max(off, float((extent(again[:, None]) / asked - 1).abs().max()))
    x, label = run.held[0].batch(torch.arange(min(50, len(run.held[0]))))
    assert label is not None
    rough = run.artifact.seen(x)
    texts = run.artifact.data.conditions.values(label)["text"].tolist()
    digits_of = {words(digits): digits for digits in strings(STRINGS, LONGEST, 0)}
    through = fusevae.reconstruct(run.artifact, run.held[0].subset(torch.arange(len(x))))
    parts = {"griffin_lim": rough, "reconstructed": through}
    of_parts = {
        f"word_errors_{name}": errors(
            [digits_of[text] for text in texts], heard(net, [clip[: int(extent(clip[None]))] for clip in part])
        )
        for name, part in parts.items()
    }
    own = clips_of(speech(), speaker, False)
    others = [joined(digits, own, draw) for digits in held]
    padded = (pad_sequence([torch.as_tensor(clip) for clip in clips], True) for clips in (sound, made, others))
    seen, said, real_too = map(Statistics(run.data.train).features, padded)
    near = sound_reconstruction(run.artifact, run.held[0])
    return {
        "energy": energy_distance(seen, said),
        "energy_real": energy_distance(seen, real_too),
        "mel": near.mel,
        "spectral": near.spectral,
        "word_errors_real": errors(held, heard(net, sound)),
        "word_errors": errors(held, heard(net, made)),
        **of_parts,
        "monotone": all(monotone(path) for path in alignments(run.artifact, x, label)),
        "rate": off,
        "seconds_said": sum(map(len, made)) / RATE / len(made),
        "seconds_real": sum(map(len, sound)) / RATE / len(sound),
        "real_time_factor": seconds / (sum(map(len, made)) / RATE),
        "steps": run.steps,
        "elbo": getattr(run.evaluation, "elbo", None),
    }


def losses(folder: Path) -> dict[str, Any]:
    """The losses on the validation part, first and last."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    found = [record for record in records if "validation" in record]
    first, last = (record["validation"]["loss"] for record in (found[0], found[-1]))
    return {"steps": found[-1]["step"], "first": first, "last": last}


def main(minutes: int = 60, speaker: str = "george", recipe: str = "text-to-speech") -> None:
    name = f"{recipe}-{speaker}-{minutes}"
    corpus, folder = RUNS / f"corpus-{speaker}", RUNS / name
    said = strings(STRINGS, LONGEST, 0)
    if not (corpus / "metadata.csv").exists():
        if speaker == "captions":
            write_sentences(corpus, captions("train").read_text(encoding="utf-8").splitlines()[:SENTENCES])
        else:
            write_corpus(corpus, said, clips_of(speech(), speaker, False), 0)
    settings = [*size([], ["recipe.width=8"]), *([f"data.rate={RATE}"] if speaker == "captions" else [])]
    train(folder, recipe, corpus, settings, *([] if smoke() else ["--budget", f"{minutes}m"]))
    if speaker == "captions":
        figures = losses(folder)
    else:
        held = strings(HELD, LONGEST, 1, set(said))
        figures = kept(RUNS / f"{name}.json", lambda: measured(folder, speaker, held))
    found = {name: {"recipe": recipe, "minutes": minutes, "speaker": speaker, **figures}}
    report("text_to_speech", {"runs": before("text_to_speech").get("runs", {}) | found}, __doc__ or "", 0)


if __name__ == "__main__":
    start(main, int, str, str)
