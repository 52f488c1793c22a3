"""Where the data lie: in ``$FUSEVAE_DATA`` or ../shared/data; those of a smoke are made."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, results, smoke

FOLDER = Path(os.environ.get("FUSEVAE_DATA", ROOT.parent / "shared" / "data"))
PARTS = {"train": 240, "valid": 40, "test": 80}  # how many are made


def place(name: str, make: Callable[[Path], None]) -> Path:
    """A file or a folder of the data; ends with a reason where there is none."""
    if smoke():
        path = results() / "data" / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make(path)
    else:
        path = FOLDER / name
        if not path.exists():
            raise SystemExit(f"no {path}: set FUSEVAE_DATA=/folder/with/{name}")
    return path


def mnist() -> Path:
    """``x_train`` (60000, 28, 28) uint8, ``y_train``, ``x_test`` (10000), ``y_test``."""

    def make(path: Path) -> None:
        found: dict[str, Any] = {}
        for part, n in (("train", 400), ("test", 160)):
            found[f"x_{part}"], found[f"y_{part}"] = pictures(n, 28)
        np.savez(path, **found)

    return place("mnist.npz", make)


def images(part: str, n: int) -> Any:
    """The first images of MNIST, ``(n, 1, 28, 28)`` uint8, and their labels, as tensors."""
    import torch

    with np.load(mnist()) as data:
        return torch.from_numpy(data[f"x_{part}"][:n]).unsqueeze(1), torch.from_numpy(data[f"y_{part}"][:n]).long()


def cifar10() -> Path:
    """A folder with ``train.parquet`` and ``test.parquet``."""

    def make(folder: Path) -> None:
        import pyarrow as pa
        from PIL import Image
        from pyarrow import parquet

        folder.mkdir()
        for part, n in (("train", 240), ("test", 160)):
            rows = []
            for x, label in zip(*pictures(n, 32, 3), strict=True):
                Image.fromarray(x).save(file := io.BytesIO(), "png")
                rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": int(label)})
            parquet.write_table(pa.Table.from_pylist(rows), folder / f"{part}.parquet")

    return place("cifar10", make)


def pictures(n: int, side: int, *channels: int) -> tuple[Any, Any]:
    """Patches of 4 x 4 pixels after ten patterns, with noise: ``(n, side, side, *channels)`` uint8 and labels."""
    g, few = np.random.default_rng(n), (side // 4, side // 4, *channels)
    patterns = np.random.default_rng(0).integers(0, 2, (10, *few)) * 200
    labels = np.arange(n) % 10
    x = patterns[labels] + g.integers(0, 56, (n, *few))
    return x.repeat(4, 1).repeat(4, 2).astype(np.uint8), labels.astype(np.uint8)


def captions(part: str) -> Path:
    """One caption a line."""
    return lines(f"text/captions_{part}.txt", part, "a the|man dog child|red old big|runs sits plays|in on near|parks")


def subjectivity(part: str) -> Path:
    """Sentences and their ``label``, objective or subjective; a table."""

    def make(path: Path) -> None:
        words = {"objective": ["a man", "the dog"], "subjective": ["dull", "great"]}
        g = np.random.default_rng(len(part))
        rows = [(f"{g.choice(words[k])} {g.choice(['film', 'plot'])} {i % 7}", k) for i in range(120) for k in words]
        path.write_text("\n".join(["text,label", *map(",".join, rows)]) + "\n")

    return place(f"text/subjectivity_{part}.csv", make)


def molecules(part: str) -> Path:
    """One SMILES a line."""
    return lines(f"molecules/guacamol_{part}.smi", part, "C O N CC CCC|C(=O) CC|N O CN C(F)|c1ccccc1 C1CC1 CCBr")


def lines(name: str, part: str, kinds: str) -> Path:
    """A file of lines; each is made of one word of each kind."""

    def make(path: Path) -> None:
        g = np.random.default_rng(len(part))
        between = "" if path.suffix == ".smi" else " "
        made = [between.join(g.choice(words.split()) for words in kinds.split("|")) for _ in range(PARTS[part])]
        path.write_text("\n".join(made) + "\n")

    return place(name, make)


def shakespeare() -> Path:
    """One long text."""
    return place(
        "text/shakespeare.txt", lambda path: path.write_text("To be, or not to be: that's the question.\n" * 90)
    )


def speech() -> Path:
    """A folder of ``DIGIT_SPEAKER_TAKE.wav`` at 8 kHz; takes 0 to 4 are the test."""

    def make(folder: Path) -> None:
        import soundfile

        folder.mkdir()
        t = np.arange(3000) / 8000
        for digit in range(10):
            for i, speaker in enumerate(("ann", "george")):
                for take in range(9):
                    sound = 0.3 * np.sin(2 * np.pi * (200 + 150 * digit + 100 * i) * t) * np.exp(-take * t)
                    soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", sound[: 2000 + 100 * take], 8000)

    return place("speech", make)
