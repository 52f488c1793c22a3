"""Tiny runs of each kind of data, with words in them that would be markup, or a formula, if a page let them."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

import fusevae

EVIL = '<img src=x onerror="window.hacked=1"></td><script>window.hacked=1</script>'
FORMULA = '=HYPERLINK("http://evil")&"x"'
QUICK = {"epochs": 1, "batch_size": 16, "patience": None, "mend": False}


def images(folder: Path) -> Path:
    generator = np.random.default_rng(0)
    x = generator.integers(0, 255, (60, 8, 8)).astype(np.uint8)
    labels = np.array([EVIL, "plain", FORMULA])[np.arange(60) % 3]
    np.savez(folder / "pictures.npz", x=x, y=labels)
    return folder / "pictures.npz"


def table(folder: Path) -> Path:
    words = [f'"{EVIL.replace(chr(34), chr(34) * 2)}"', "b", f'"{FORMULA.replace(chr(34), chr(34) * 2)}"']
    lines = ["age,<b>size</b>,kind"]
    lines += [f"{20 + i % 40},{i * 0.37:.2f},{words[i % 3]}" for i in range(60)]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return folder / "rows.csv"


def text(folder: Path) -> Path:
    lines = [f"{EVIL} number {i}" if i % 2 else f"a plain line {i}" for i in range(60)]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
    return folder / "lines.txt"


def molecules(folder: Path) -> Path:
    lines = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "C1CCCCC1", "CC(C)O"] * 10
    (folder / "some.smi").write_text("\n".join(f"{line} {EVIL}" for line in lines) + "\n")
    return folder / "some.smi"


def sound(folder: Path) -> Path:
    clips = folder / "clips"
    clips.mkdir()
    for i in range(20):
        with wave.open(str(clips / f"{i}_<b>.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            wave_ = 8000 * np.sin(np.arange(1600 + 500 * (i % 4)) * (0.1 + 0.02 * i))  # of different lengths
            file.writeframes(wave_.astype("<i2").tobytes())
    return clips


RECIPES = {
    "images": (images, "conditional-vae", {"latent": 3, "hidden": [16]}),
    "table": (table, "table-vae", {"latent": 3, "hidden": [16]}),
    "text": (text, "text-vae", {"latent": 3, "width": 16, "layers": 1, "heads": 2}),
    "molecules": (molecules, "molecules-vae", {"latent": 3, "width": 16, "layers": 1, "heads": 2}),
    "sound": (sound, "mel-vae", {"latent": 3, "width": 16, "blocks": 1}),
}


def make(kind: str, folder: Path) -> Path:
    """A run of a kind of data in a folder of its own; returns its path."""
    data, recipe, options = RECIPES[kind]
    fusevae.fit(recipe, str(data(folder)), training=QUICK, folder=folder / kind, options=options, quiet=True)
    return folder / kind


def coded(folder: Path) -> Path:
    """A tiny model of the images whose latents are codes."""
    return _of_images(folder, "coded", "vq-vae", {"channels": [4, 4], "features": 2, "codes": 8})


def layered(folder: Path) -> Path:
    """A tiny hierarchy of the images."""
    return _of_images(folder, "layered", "ladder-vae", {"levels": [1], "latent": 2, "width": 8, "top": 3})


def framed(folder: Path) -> Path:
    """A tiny model of the sounds that has a latent for every 32 ms."""
    options = {"latent": 2, "width": 8, "prior": "normal"}
    fusevae.fit(
        "speech-vae", str(folder / "clips"), training=QUICK, folder=folder / "framed", options=options, quiet=True
    )
    return folder / "framed"


def _of_images(folder: Path, name: str, recipe: str, options: dict[str, object]) -> Path:
    fusevae.fit(recipe, str(folder / "pictures.npz"), training=QUICK, folder=folder / name, options=options, quiet=True)
    return folder / name
