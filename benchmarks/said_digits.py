"""Corpora in LJSpeech's layout: strings of spoken digits joined from single ones, and sentences by espeak-ng. Who reads
them needs no labels."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 8000  # Hz, of the spoken digits
PAUSE = (0.04, 0.14)  # seconds between two digits
Clips = dict[int, list[np.ndarray]]


def clips_of(folder: Path, speaker: str, test: bool) -> Clips:
    """The clips of a speaker by digit: those of the official test split (indices 0 to 4), or all others."""
    import soundfile

    found: Clips = defaultdict(list)
    for path in sorted(folder.glob(f"*_{speaker}_*.wav")):
        digit, _, index = path.stem.split("_")
        if (int(index) < 5) == test:
            found[int(digit)].append(soundfile.read(path, dtype="float32")[0])
    return found


def strings(n: int, longest: int, seed: int, without: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Different strings of 3 to ``longest`` digits, none of those ``without``."""
    draw, found = random.Random(seed), dict.fromkeys([""])
    while len(found) <= n:
        made = "".join(str(draw.randrange(10)) for _ in range(draw.randint(3, longest)))
        if made not in without:
            found[made] = None
    return list(found)[1:]


def words(digits: str) -> str:
    """``"314"`` as ``"three one four"``."""
    return " ".join(WORDS[int(digit)] for digit in digits)


def joined(digits: str, clips: Clips, draw: random.Random) -> np.ndarray:
    """A clip of each digit, with pauses between."""
    parts = []
    for digit in digits:
        parts += [draw.choice(clips[int(digit)]), np.zeros(round(draw.uniform(*PAUSE) * RATE), np.float32)]
    return np.concatenate(parts[:-1])


def write_sentences(folder: Path, texts: list[str]) -> None:
    """``metadata.csv`` and ``wavs/`` of texts as espeak-ng says them."""
    if shutil.which("espeak-ng") is None:
        raise SystemExit("no espeak-ng, which says the sentences: apt-get install espeak-ng")
    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    for i, text in enumerate(texts):
        subprocess.run(["espeak-ng", "-v", "en", "-w", folder / "wavs" / f"C{i:05}.wav", "--", text], check=True)
    lines = [f"C{i:05}|{text}" for i, text in enumerate(texts)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_corpus(folder: Path, said: list[str], clips: Clips, seed: int) -> None:
    """``metadata.csv`` and ``wavs/``."""
    import soundfile

    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    lines = []
    for i, digits in enumerate(said):
        name = f"S{i:05}"
        soundfile.write(folder / "wavs" / f"{name}.wav", joined(digits, clips, draw), RATE, subtype="PCM_16")
        lines.append(f"{name}|{digits}|{words(digits)}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
