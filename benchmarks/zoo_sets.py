"""The zoo: small sets of every kind of data, each cut to a size at which minutes of one core say something.

A set is one declaration. Its examples come from ``../shared/data``, from scikit-learn, or from a formula; they are told
apart by their values, put in an order by a fixed seed and cut into training, validation and test. ``Set.write`` puts
them into files, from which they are read like a user's own.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from inputs import FOLDER

SPLITS = ("train", "validation", "test")
#: examples, one after another: an array, a list of texts, or rows of numbers; and columns beside them by name
Made = tuple[Any, Mapping[str, Sequence[Any]]]


@dataclass(frozen=True)
class Set:
    """One set of the zoo.

    Attributes:
        name: of the set, and of the folder of its results.
        modality: as what it is to be recognised.
        what: is in it.
        why: it is here.
        make: gives all examples, and columns beside them.
        sizes: of training, validation and test.
        conditions: columns that a conditional recipe is given.
        reading: settings of ``fusevae.Source``, in place of the recipe's own.
        joined: whether a part is one long text.
        needs: a file of ``../shared/data``.
    """

    name: str
    modality: str
    what: str
    why: str
    make: Callable[[], Made]
    sizes: tuple[int, int, int]
    conditions: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    joined: bool = False
    needs: str = ""

    @property
    def absent(self) -> str | None:
        """Why the set can't be made here."""
        return f"no {FOLDER / self.needs}" if self.needs and not (FOLDER / self.needs).exists() else None

    def parts(self, most: int | None = None) -> dict[str, Made]:
        """Examples of each split, and what stands beside them; of ``most`` examples in all."""
        examples, beside = self.make()
        first: dict[Any, int] = {}  # of examples that are equal one is kept, so that no split has another's
        for i, each in enumerate(examples):
            first.setdefault(each if isinstance(each, str) else np.asarray(each).tobytes(), i)
        order = np.random.default_rng(0).permutation(np.array(list(first.values())))
        sizes = self.sizes if most is None else (most - 2 * (most // 4), most // 4, most // 4)
        if sum(sizes) > len(order):
            raise ValueError(f"{self.name} has {len(order)} different examples: expected {sum(sizes)}")
        cuts = np.split(order, np.cumsum(sizes))[:3]
        return {
            split: (_at(examples, rows), {name: _at(column, rows) for name, column in beside.items()})
            for split, rows in zip(SPLITS, cuts, strict=True)
        }

    def write(self, folder: Path, most: int | None = None) -> Path:
        """Files of the three splits, as a user would have them; the path to give to ``fusevae.Source``."""
        folder.mkdir(parents=True, exist_ok=True)
        parts = self.parts(most)
        if self.modality == "images":
            arrays = {f"x_{split}": x for split, (x, _) in parts.items()}
            arrays |= {f"{name}_{split}": v for split, (_, b) in parts.items() for name, v in b.items()}
            np.savez(folder / "data.npz", **arrays)
            return folder / "data.npz"
        for split, (examples, beside) in parts.items():
            if self.modality == "molecules" or (not beside and self.modality == "text"):
                ending = "smi" if self.modality == "molecules" else "txt"
                text = ("\n\n" if self.joined else "\n").join(examples) + "\n"
                (folder / f"{split}.{ending}").write_text(text, encoding="utf-8")
                continue
            rows = [[each] for each in examples] if self.modality == "text" else np.asarray(examples).tolist()
            names = ["text"] if self.modality == "text" else [f"column {i + 1}" for i in range(len(rows[0]))]
            with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow([*names, *beside])
                writer.writerows([*row, *more] for row, *more in zip(rows, *beside.values(), strict=True))
        return folder


def _at(values: Any, rows: np.ndarray) -> Any:
    return values[rows] if isinstance(values, np.ndarray) else [values[i] for i in rows]


# ---------------------------------------------------------------- pictures


@functools.cache
def _mnist(n: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    with np.load(FOLDER / "mnist.npz") as file:
        rows = np.random.default_rng(1).permutation(60_000)[:n]
        return file["x_train"][rows], file["y_train"][rows].astype(np.int64)


@functools.cache
def _omniglot() -> tuple[np.ndarray, np.ndarray]:
    with np.load(FOLDER / "omniglot_small.npz") as file:
        return file["x"], file["y"]


def omniglot() -> Made:
    x, y = _omniglot()
    return x, {"y": y}


def hundred() -> Made:
    """The first hundred characters, twenty of each, one after another in the file."""
    x, _ = _omniglot()
    return 255 - x[:2000], {"y": np.arange(2000) // 20}


def digits_of_mnist(n: int = 6000) -> Made:
    x, y = _mnist()
    return x[:n], {"y": y[:n]}


def inverted() -> Made:
    x, y = _mnist()
    return 255 - x, {"y": y}


def one_class() -> Made:
    """Threes alone, each pixel black or white."""
    x, y = _mnist(20_000)
    x = (x[y == 3] > 127).astype(np.uint8)
    return x, {"y": np.zeros(len(x), np.int64)}


def as_colour() -> Made:
    x, y = _mnist()
    return np.repeat(x[..., None], 3, axis=3), {"y": y}


def small_digits() -> Made:
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images.astype(np.uint8), {"y": found.target}


@functools.cache
def _patches(side: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Squares of scikit-learn's two photographs, none over another."""
    from sklearn.datasets import load_sample_images

    found, labels = [], []
    for label, photo in enumerate(load_sample_images().images):
        height, width = (n // side * side for n in photo.shape[:2])
        squares = photo[:height, :width].reshape(height // side, side, width // side, side, 3)
        squares = squares.transpose(0, 2, 1, 3, 4).reshape(-1, side, side, 3)
        found.append(squares)
        labels.append(np.full(len(squares), label))
    return np.concatenate(found), np.concatenate(labels)


def textures() -> Made:
    x, y = _patches()
    return x, {"y": y}


def floats() -> Made:
    """The same in grey, as numbers from 0 to 1."""
    x, y = _patches()
    return (x.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32) / 255)[..., None], {"y": y}


def coloured_shapes(n: int = 3000, side: int = 24) -> Made:
    """Circles and squares in ten hues and five sizes, anywhere on dark noise: a hundred classes."""
    draw = np.random.default_rng(2)
    label = np.arange(n) % 100
    hue, square, size = label % 10, label // 10 % 2, label // 20
    radius = (3 + size)[:, None, None]
    place = radius[:, :, 0] + 1 + draw.random((n, 2)) * (side - 2 * radius[:, :, 0] - 2)
    y, x = np.mgrid[:side, :side] + 0.5
    across, down = abs(x - place[:, :1, None]), abs(y - place[:, 1:, None])
    inside = np.where(
        square[:, None, None] == 1, np.maximum(across, down) <= 0.9 * radius, across**2 + down**2 <= radius**2
    )
    turn = 2 * np.pi * (hue[:, None] / 10 + np.array([0, 1 / 3, 2 / 3]))
    colour = 140 + 100 * np.cos(turn)
    picture = draw.integers(0, 30, (n, side, side, 3)).astype(float)
    picture = np.where(inside[..., None], colour[:, None, None, :], picture)
    return picture.round().astype(np.uint8), {"y": label}


def flat(n: int = 1500, side: int = 16) -> Made:
    """One of four grey levels all over, with a single speck."""
    draw = np.random.default_rng(3)
    x = np.repeat(draw.integers(126, 130, n), side * side).reshape(n, -1).astype(np.uint8)
    x[np.arange(n), draw.integers(0, side * side, n)] = draw.integers(0, 256, n)
    return x.reshape(n, side, side), {}


def photographs(n: int = 4000) -> Made:
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    rows = pq.read_table(FOLDER / "cifar10/test.parquet").slice(0, n).to_pydict()
    x = np.stack([np.asarray(Image.open(io.BytesIO(each["bytes"])).convert("RGB")) for each in rows["image"]])
    return x, {"y": np.array(rows["label"])}


# ---------------------------------------------------------------- texts and molecules


def captions() -> Made:
    return (FOLDER / "text/captions_train.txt").read_text(encoding="utf-8").splitlines()[:6000], {}


def opinions() -> Made:
    with (FOLDER / "text/subjectivity_train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if len(row["text"]) <= 160]
    return [row["text"] for row in rows], {"label": [row["label"] for row in rows]}


def plays() -> Made:
    """Speeches of plays."""
    return (FOLDER / "text/shakespeare.txt").read_text(encoding="utf-8").strip().split("\n\n"), {}


def molecules() -> Made:
    return (FOLDER / "molecules/guacamol_train.smi").read_text().split()[:8000], {}


# ---------------------------------------------------------------- tables


def census() -> Made:
    """The numbers of the census, of which two are nearly always 0 and sometimes 99,999."""
    names = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
    with (FOLDER / "tables/adult_train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:6000]
    return np.array([[float(row[n]) for n in names] for row in rows]), {"income": [row["income"] for row in rows]}


def heavy(n: int = 4000) -> Made:
    draw = np.random.default_rng(4)
    tails = draw.standard_t([1.5, 2, 3], (n, 3))
    return np.column_stack([tails, np.exp(2 * draw.standard_normal(n)), tails[:, 0] + draw.standard_normal(n)]), {}


def correlated(n: int = 4000) -> Made:
    """Two hidden numbers, seen bent in eight columns."""
    draw = np.random.default_rng(5)
    a, b = draw.uniform(-2, 2, (2, n))
    seen = [a, b, a * b, np.sin(2 * a), a**2, np.tanh(a + b), np.hypot(a, b), np.cos(3 * b)]
    return np.column_stack(seen) + 0.05 * draw.standard_normal((n, 8)), {}


def wide(n: int = 200) -> Made:
    """Sixty columns of five hidden numbers and noise."""
    draw = np.random.default_rng(6)
    return draw.standard_normal((n, 5)) @ draw.standard_normal((5, 60)) + draw.standard_normal((n, 60)), {}


def _of_sklearn(name: str, classes: bool = True) -> Made:
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return found.data, {"kind": [str(found.target_names[i]) for i in found.target]} if classes else {}


_CLASS, _KIND = ("y",), ("kind",)
# fmt: off
SETS = [
    Set("omniglot", "images", "characters of five alphabets", "strokes, on which nothing was tuned",
        omniglot, (1900, 220, 600), needs="omniglot_small.npz"),
    Set("mnist", "images", "hand-written digits", "what most defaults were found on",
        digits_of_mnist, (4000, 400, 600), _CLASS, needs="mnist.npz"),
    Set("few", "images", "200 digits", "few examples",
        lambda: digits_of_mnist(900), (200, 100, 600), _CLASS, needs="mnist.npz"),
    Set("inverted", "images", "digits, dark on light", "the background is the larger value",
        inverted, (4000, 400, 600), needs="mnist.npz"),
    Set("one-class", "images", "threes in black and white", "one class; pixels of 0 and 1",
        one_class, (1200, 150, 500), needs="mnist.npz"),
    Set("hundred", "images", "characters, dark on light", "a hundred classes, 13 examples of each",
        hundred, (1300, 150, 500), _CLASS, needs="omniglot_small.npz"),
    Set("as-colour", "images", "grey digits stored as colour", "three channels that are equal",
        as_colour, (3000, 300, 500), needs="mnist.npz"),
    Set("digits", "images", "scikit-learn's digits", "8 x 8 pixels, 17 of 256 grey values",
        small_digits, (1100, 180, 500), _CLASS),
    Set("textures", "images", "squares of two photographs", "colour and texture, no object",
        textures, (1500, 180, 400)),
    Set("shapes", "images", "coloured circles and squares", "a hundred classes of colour, shape and size",
        coloured_shapes, (2000, 250, 500), _CLASS),
    Set("flat", "images", "one grey level and a speck", "nearly constant images",
        flat, (900, 100, 400)),
    Set("photographs", "images", "CIFAR-10, re-coded", "objects in colour",
        photographs, (3000, 300, 500), needs="cifar10/test.parquet"),
    Set("floats", "images", "grey squares of two photographs", "real numbers from 0 to 1",
        floats, (1500, 180, 400)),
    Set("captions", "text", "captions of pictures", "short sentences, alike",
        captions, (5000, 300, 500), needs="text/captions_train.txt"),
    Set("few-captions", "text", "300 captions", "few examples",
        captions, (300, 100, 500), needs="text/captions_train.txt"),
    Set("opinions", "text", "sentences on films, objective or subjective", "longer sentences, two classes",
        opinions, (5000, 300, 500), ("label",), needs="text/subjectivity_train.csv"),
    Set("plays", "text", "Shakespeare by characters", "one long text in windows of 64",
        plays, (1500, 100, 150), (), {"tokens": "characters", "stream": 64}, True, needs="text/shakespeare.txt"),
    Set("molecules", "molecules", "SMILES of ChEMBL", "a grammar; numbers asked for",
        molecules, (4000, 300, 500), ("qed", "logp"), needs="molecules/guacamol_train.smi"),
    Set("few-molecules", "molecules", "300 SMILES", "few examples",
        molecules, (300, 100, 500), needs="molecules/guacamol_train.smi"),
    Set("census", "tables", "six numbers of a census", "columns that are nearly always 0",
        census, (4000, 400, 600), ("income",), needs="tables/adult_train.csv"),
    Set("heavy", "tables", "Student's t and a log-normal", "heavy tails",
        heavy, (2800, 300, 600)),
    Set("correlated", "tables", "two hidden numbers in eight columns", "columns that depend on each other",
        correlated, (2800, 300, 600)),
    Set("wide", "tables", "sixty columns, 110 rows", "more columns than the rows can tell of",
        wide, (110, 30, 60)),
    Set("cancer", "tables", "breast cancer", "thirty columns of very different scales",
        lambda: _of_sklearn("breast_cancer"), (380, 60, 120), _KIND),
    Set("wine", "tables", "wine", "thirteen columns, 110 rows",
        lambda: _of_sklearn("wine"), (110, 20, 48), _KIND),
    Set("diabetes", "tables", "diabetes", "ten columns, one of two values",
        lambda: _of_sklearn("diabetes", False), (300, 50, 90)),
    Set("iris", "tables", "iris", "150 rows of four columns",
        lambda: _of_sklearn("iris"), (90, 20, 39), _KIND),
]
# fmt: on
BY_NAME = {one.name: one for one in SETS}
