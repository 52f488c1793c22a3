"""Readers, examples and splits: the same pixels whatever holds them, honest splits, and every bad input."""

import io
import json
import logging
import pickle
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from fusevae.core.description import build, describe
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec
from fusevae.data.examples import InMemory, Streamed
from fusevae.data.source import Source, read_data, read_examples
from fusevae.modalities.images.modality import ImageSchema

REAL = Path(__file__).parents[1] / ".." / "shared" / "data"


@pytest.fixture(autouse=True, scope="module")
def _cache_of_datasets(tmp_path_factory):
    """Hugging Face datasets writes an Arrow copy of what it streams: not into the user's cache."""
    try:
        from datasets import config
    except ImportError:
        yield
        return
    before, config.HF_DATASETS_CACHE = config.HF_DATASETS_CACHE, str(tmp_path_factory.mktemp("datasets"))
    yield
    config.HF_DATASETS_CACHE = before


def pixels(n=12, channels=3, size=(5, 4), seed=0):
    shape = (n, channels, *size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def image_of(x):
    from PIL import Image

    return Image.fromarray(x[0].numpy() if len(x) == 1 else x.permute(1, 2, 0).numpy())


def png(x):
    buffer = io.BytesIO()
    image_of(x).save(buffer, "png")
    return buffer.getvalue()


def write_folder(root, x, names=None):
    for i, image in enumerate(x):
        place = root / (names[i] if names else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{i:03}.png").write_bytes(png(image))
    return root


def write_parquet(path, x, labels=None, names=None):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {"image": [{"bytes": png(v), "path": None} for v in x]}
        | ({"label": list(labels)} if labels is not None else {})
    )
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=5)
    return path


def everything(examples):
    return examples.batch(torch.arange(len(examples)))


def whole(data, **options):
    return everything(read_data(data, validation=0, test=0, **options).train)


class Pairs(Dataset):
    def __init__(self, x, y=None, convert=lambda v: v):
        self.x, self.y, self.convert = x, y, convert

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.convert(self.x[i]) if self.y is None else (self.convert(self.x[i]), self.y[i])


@pytest.mark.parametrize("channels", [1, 3])
def test_every_container_gives_the_same_pixels_and_labels(tmp_path, channels):
    x = pixels(channels=channels)
    words = ["b"] * 4 + ["a"] * 4 + ["c"] * 4
    last = x.permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "last.npz", x=last, y=np.array(words))
    np.savez_compressed(tmp_path / "first.npz", images=x.numpy(), labels=np.array(words))
    np.save(tmp_path / "plain.npy", last)
    np.save(tmp_path / "words.npy", np.array(words))
    (tmp_path / "words.csv").write_text("label\n" + "\n".join(words))
    held = {
        "last.npz": (str(tmp_path / "last.npz"), {}),
        "first.npz": (tmp_path / "first.npz", {}),
        "npy": (tmp_path / "plain.npy", {"conditions": str(tmp_path / "words.npy")}),
        "folder": (write_folder(tmp_path / "flat", x), {"conditions": str(tmp_path / "words.csv")}),
        "parquet": (write_parquet(tmp_path / "p" / "a.parquet", x, words), {}),
        "dataset": (Pairs(x, words), {}),
        "pil dataset": (Pairs(x, words, image_of), {}),
        "numpy dataset": (Pairs(x, words, lambda v: v.numpy()), {}),
        "tensors": ((x, words), {}),
        "mapping": ({"train": (x, words)}, {}),
    }
    for name, (data, options) in held.items():
        for memory in (4.0, 0.0) if name in ("folder", "parquet") else (4.0,):
            splits = read_data(data, validation=0, test=0, memory_gb=memory, **options)
            got, labels = everything(splits.train)
            assert torch.equal(got, x), name
            assert labels.tolist() == [1] * 4 + [0] * 4 + [2] * 4, name
            assert splits.spec.classes == ["a", "b", "c"], name
            assert (splits.spec.shape, splits.spec.dtype) == ((channels, 5, 4), "uint8"), name
            assert (splits.spec.low, splits.spec.high) == (0, 255), name


def test_streamed_is_in_memory_batch_for_batch_with_any_number_of_threads(tmp_path):
    x, folder = pixels(30), tmp_path / "f"
    write_folder(folder, x, ["u", "v", "w"] * 10)
    memory, streamed = read_data(folder, seed=3), read_data(folder, seed=3, memory_gb=0)
    asked = [torch.randint(0, len(memory.train), (4,)) for _ in range(9)]
    expected = [memory.train.batch(i) for i in asked]
    for examples in (memory.train, streamed.train):
        for got, want in zip(examples.batches(iter(asked)), expected, strict=True):
            assert torch.equal(got[0], want[0])
            assert torch.equal(got[1], want[1])
    dataset = [(v, i % 3) for i, v in enumerate(x)]
    plain = InMemory(x, torch.arange(30) % 3)
    for workers in (0, 2):
        lazy = Streamed(dataset, workers=workers)
        for got, want in zip(lazy.batches(asked), plain.batches(asked), strict=True):
            assert torch.equal(got[0], want[0])
            assert torch.equal(got[1], want[1])
    assert describe(lazy.spec) == describe(plain.spec)


def test_reading_ahead_is_bounded_and_stops_with_its_reader():
    seen = []

    class Watched(Pairs):
        def __getitem__(self, i):
            seen.append(i)
            return super().__getitem__(i)

    examples = Streamed(Watched(pixels(4)), spec=InMemory(pixels(4)).spec, workers=2)
    endless = (torch.tensor([i % 4]) for i in iter(int, 1))
    stream = examples.batches(endless)
    next(stream), next(stream)
    stream.close()
    assert len(seen) <= 6


@pytest.mark.parametrize("n", [10, 57])
def test_splits_are_disjoint_cover_everything_and_depend_on_the_seed(n):
    x = torch.arange(n).view(n, 1)
    rows = {}
    for seed in (0, 0, 1):
        splits = read_data(x, validation=0.2, test=0.3, seed=seed)
        parts = [set(everything(part)[0].flatten().tolist()) for part in (splits.train, splits.validation, splits.test)]
        assert sum(map(len, parts)) == n
        assert set.union(*parts) == set(range(n))
        assert len(parts[1]) == round(0.2 * n)
        assert len(parts[2]) == round(0.3 * n)
        assert rows.setdefault(seed, parts) == parts
    assert rows[0] != rows[1]
    none = read_data(x, validation=0, test=0)
    assert (len(none.train), len(none.validation), len(none.test)) == (n, 0, 0)
    assert everything(none.test)[0].shape == (0, 1)


@pytest.mark.parametrize(
    "names", [("x_train", "y_train", "x_test", "y_test"), ("trainImages", "trainLabels", "test_data", "test_y")]
)
def test_own_test_set_is_the_test_split_and_labels_agree(tmp_path, names):
    train, test = pixels(20), pixels(6, seed=1)
    np.savez(tmp_path / "d.npz", **dict(zip(names, (train, np.arange(20) % 4 + 7, test, np.full(6, 9)), strict=True)))
    splits = read_data(tmp_path / "d.npz", validation=0.25, test=0.5)
    x, y = everything(splits.test)
    assert torch.equal(x, test)
    assert y.tolist() == [2] * 6
    assert splits.spec.classes == ["7", "8", "9", "10"]
    assert (len(splits.train), len(splits.validation)) == (15, 5)
    assert torch.equal(everything(read_examples(tmp_path / "d.npz"))[0], test)
    assert (
        everything(read_examples(tmp_path / "d.npz", DataSpec((3, 5, 4), "uint8", 0, 255, ["10", "9"], ImageSchema())))[
            1
        ].tolist()
        == [1] * 6
    )


def test_parquet_pair_with_class_names(tmp_path):
    x = pixels(11)
    names = ["plane", "car", "bird"]
    write_parquet(tmp_path / "train-00000.parquet", x[:6], [2, 0, 1, 2, 0, 1], names)
    write_parquet(tmp_path / "train-00001.parquet", x[6:9], [0, 0, 1], names)
    write_parquet(tmp_path / "test.parquet", x[9:], [2, 2], names)
    for memory in (4, 0):
        splits = read_data(tmp_path, validation=0, memory_gb=memory)
        assert torch.equal(everything(splits.train)[0], x[:9])
        assert torch.equal(everything(splits.test)[0], x[9:])
        assert everything(splits.train)[1].tolist() == [2, 0, 1, 2, 0, 1, 0, 0, 1]
        assert splits.spec.classes == names


def test_folders_called_train_and_test_are_splits(tmp_path):
    x = pixels(6)
    write_folder(tmp_path / "train", x[:4], ["a", "b"] * 2)
    write_folder(tmp_path / "test", x[4:], ["b", "b"])
    splits = read_data(tmp_path, validation=0)
    assert torch.equal(everything(splits.test)[0], x[4:])
    assert everything(splits.test)[1].tolist() == [1, 1]


def test_one_colour_image_makes_all_rgb_and_size_scales_while_reading(tmp_path):
    grey, colour = pixels(4, 1), pixels(2)
    for memory in (4, 0):
        for order, root in (((grey, colour), tmp_path / "g"), ((colour, grey), tmp_path / "c")):
            for k, images in enumerate(order):
                write_folder(root / str(k), images)
            x = whole(root, memory_gb=memory)[0]
            want = torch.cat([v.expand(-1, 3, -1, -1) for v in order])
            assert torch.equal(x, want)
    write_folder(tmp_path / "g", pixels(1, 1, (9, 9)), ["1"])
    assert whole(tmp_path / "g", size=(4, 4))[0].shape[1:] == (3, 4, 4)


def test_damaged_images_are_refused_or_left_out_with_their_labels(tmp_path, caplog):
    x = pixels(5)
    write_folder(tmp_path, x, ["a", "b", "a", "b", "a"])
    bad = tmp_path / "b" / "001.png"
    bad.write_bytes(bad.read_bytes()[:-40])
    np.save(tmp_path.parent / "five.npy", np.arange(5))
    for memory in (4, 0):
        with pytest.raises(InputError, match=r"001\.png .*skip-damaged"):
            read_data(tmp_path, memory_gb=memory)
        with caplog.at_level(logging.WARNING):
            got, y = whole(tmp_path, skip_damaged=True, memory_gb=memory)
        assert torch.equal(got, x[[0, 2, 4, 3]])
        assert y.tolist() == [0, 0, 0, 1]
        assert "left out 1 damaged images of 5" in caplog.text
        options = {"skip_damaged": True, "memory_gb": memory, "conditions": str(tmp_path.parent / "five.npy")}
        assert whole(tmp_path, **options)[1].tolist() == [0, 1, 2, 3]


def test_ranges_floats_from_training_only_integers_from_everything():
    x = torch.arange(100, dtype=torch.float64).view(100, 1)
    for seed in range(4):
        splits = read_data(x, validation=0.3, test=0.3, seed=seed)
        train = everything(splits.train)[0]
        assert (splits.spec.low, splits.spec.high) == (train.min(), train.max())
    assert (splits.spec.low, splits.spec.high) != (0, 99)
    assert splits.spec.dtype == "float32"
    assert splits.test.spec.high == splits.spec.high
    streamed = read_data(Pairs(x), validation=0.3, test=0.3, seed=3)
    assert (streamed.spec.low, streamed.spec.high) == (splits.spec.low, splits.spec.high)
    assert read_data(x.long() + 5, seed=1).spec._arguments["high"] == 104
    assert read_data(x.long() + 5).spec.low == 0
    assert read_data(x.long() - 5).spec.low == -5
    assert read_data((x > 50).to(torch.uint8)).spec.high == 1  # binary images saved as bytes
    assert read_data(x > 50).spec.dtype == "bool"


def test_layouts():
    for shape, want in {
        (4, 8, 8): (1, 8, 8),
        (4, 8, 8, 3): (3, 8, 8),
        (4, 3, 8, 8): (3, 8, 8),
        (4, 8, 8, 4): (4, 8, 8),
        (4, 1, 4, 4): (1, 4, 4),
        (4, 7): (7,),
    }.items():
        assert read_data(np.zeros(shape, "float16")).spec.shape == want
    assert read_data(torch.zeros(4, 3, 8, 3)).spec.shape == (3, 8, 3)
    assert read_data(torch.zeros(4, 16, 8, 8)).spec.shape == (16, 8, 8)
    assert torch.equal(whole(np.arange(6, dtype=">u2").reshape(3, 2))[0], torch.arange(6).view(3, 2).int())


def test_tables(tmp_path):
    (tmp_path / "t.csv").write_text("a,kind,b\n1,x,2.5\n3,y,-4\n1e2,x,0\n")
    x, y = whole(tmp_path / "t.csv", conditions="kind")
    assert x.tolist() == [[1, 2.5], [3, -4], [100, 0]]
    assert y.tolist() == [0, 1, 0]
    (tmp_path / "n.tsv").write_text("1\t2\n3\t4\n")
    assert whole(tmp_path / "n.tsv")[0].tolist() == [[1, 2], [3, 4]]
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1, 2], "label": ["q", "p"], "b": [0.5, 1.5]}), tmp_path / "t.parquet")
    assert whole(tmp_path / "t.parquet")[0].tolist() == [[1, 1, 0.5], [2, 0, 1.5]]
    x, y = whole(tmp_path / "t.parquet", conditions="label")
    assert x.tolist() == [[1, 0.5], [2, 1.5]]
    assert y.tolist() == [1, 0]


def test_source_is_a_description_and_read_data_takes_it_and_splits():
    source = build(describe(Source(validation=0.2, seed=4, size=None)))
    splits = read_data(source)
    assert splits.spec.high == 16
    assert splits.spec.n_classes == 10
    assert read_data(splits) is splits
    again = read_data(Source(validation=0.2, seed=4))
    assert torch.equal(everything(again.test)[0], everything(splits.test)[0])
    assert read_examples(splits) is splits.test
    assert len(read_examples(source)) == 1797
    data = TensorDataset(torch.rand(8, 2), torch.arange(8) % 2)
    assert read_data(data).spec.classes == ["0", "1"]
    pair = read_data({"train": Pairs(pixels(8), [0, 1] * 4), "test": Pairs(pixels(3), [1, 1, 1])}, validation=0)
    assert everything(pair.test)[1].tolist() == [1, 1, 1]
    assert len(pair.train) == 8


class Forever(IterableDataset):
    def __iter__(self):
        yield torch.zeros(2)


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def text(path, content):
    path.write_text(content)
    return path


def raw(path, content):
    path.write_bytes(content)
    return path


def sizes(root):
    write_folder(root / "a", pixels(1))
    write_folder(root / "b", pixels(1, size=(7, 7)))
    return root


def mixed(root):
    write_folder(root, pixels(1))
    write_folder(root / "b", pixels(1))
    return root


NAN = np.array([[0.0, 1], [np.nan, np.inf], [2, np.nan]])
BAD = {
    "missing file": (lambda t: npz(t / "mnist.npz", x=NAN) and t / "minst.npz", r"did you mean 'mnist\.npz'"),
    "missing folder": (lambda t: t / "nowhere" / "x.npz", "'nowhere' doesn't exist"),
    "unknown type": (lambda t: text(t / "x.doc", "hi"), r"'\.doc'.*expected a folder"),
    "pickle by name": (lambda t: raw(t / "x.pkl", pickle.dumps([1])), "pickle"),
    "single image": (lambda t: raw(t / "x.png", png(pixels(1)[0])), "folder that it lies in"),
    "pickle as npy": (lambda t: raw(t / "x.npy", pickle.dumps([1])), "pickle"),
    "pickle as npz": (lambda t: raw(t / "x.npz", pickle.dumps([1])), "no whole .npz"),
    "truncated npz": (
        lambda t: raw(t / "y.npz", npz(t / "x.npz", x=np.ones((9, 9))).read_bytes()[:200]),
        "no whole .npz",
    ),
    "object array": (lambda t: npz(t / "x.npz", x=np.array([{}, {}], dtype=object)), "Python objects"),
    "object array in memory": (lambda t: np.array([["a"], [None]], dtype=object), "expected numbers"),
    "nan": (lambda t: npz(t / "x.npz", x=NAN), "3 values are NaN.*example 1 "),
    "too large for float32": (lambda t: np.full((2, 2), 1e300), "too large"),
    "many arrays": (lambda t: npz(t / "x.npz", a=NAN, b=NAN), "can't tell"),
    "two labels": (lambda t: npz(t / "x.npz", x=NAN, y=[1], labels=[1]), "conditions='y'"),
    "label count": (lambda t: npz(t / "x.npz", x=np.ones((3, 2)), y=[1, 2]), "2 labels for 3"),
    "one-hot": (lambda t: (np.ones((3, 2)), np.eye(3)), "argmax"),
    "ambiguous channels": (lambda t: np.ones((4, 3, 8, 3)), "dimension 1 or 3"),
    "no channels": (lambda t: np.ones((4, 16, 9, 8)), "dimension 1 or 3"),
    "one dimension": (lambda t: np.ones(4), "first dimension"),
    "five dimensions": (lambda t: np.ones((2, 2, 2, 2, 2)), "5 dimensions"),
    "no examples": (lambda t: np.ones((0, 4)), "first dimension"),
    "unlike test": (lambda t: {"x_train": np.ones((9, 4)), "x_test": np.ones((3, 5))}, "test part"),
    "empty folder": (lambda t: t, "no images"),
    "two sizes": (lambda t: sizes(t), r"000\.png is 7x7, .*000\.png is 5x4.*data\.size"),
    "loose image": (lambda t: mixed(t), "beside sub-folders"),
    "not parquet": (lambda t: raw(t / "x.parquet", b"hello"), "no whole parquet"),
    "test parquet and other": (lambda t: write_parquet(t / "test.parquet", pixels(2), ["a", None]), "missing labels"),
    "csv text": (lambda t: text(t / "x.csv", "a,b\n1,2\n3,blue\n"), "row 3, column b is 'blue'"),
    "csv ragged": (lambda t: text(t / "x.csv", "1,2\n3\n"), "row 2 has 1 cells"),
    "csv empty": (lambda t: text(t / "x.csv", ""), "empty"),
    "csv no rows": (lambda t: text(t / "x.csv", "a,b\n"), "no rows"),
    "iterable dataset": (lambda t: Forever(), "map-style"),
    "empty dataset": (lambda t: Pairs([]), "empty"),
    "three in an item": (lambda t: Pairs([(torch.zeros(2), 1, 2)] * 3), "expected x or"),
    "dictionary items": (lambda t: Pairs([{"image": 1}] * 3), "is a dict"),
    "items of two shapes": (lambda t: Pairs([torch.zeros(2), torch.zeros(3)]), "one shape and dtype"),
    "some labels": (lambda t: Pairs([torch.zeros(2), (torch.zeros(2), 1)]), "no label"),
    "nan in a dataset": (lambda t: Pairs([torch.tensor([torch.nan])] * 3), "NaN"),
    "a number": (lambda t: 5, "int was given"),
    "one example": (lambda t: np.ones((1, 3)), "expected some to be left"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_refused_in_one_line_that_helps(tmp_path, name):
    make, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        read_data(make(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 1.0}, "fraction"),
        ({"test": -0.1}, "fraction"),
        ({"validation": 0.5, "test": 0.5}, "below 1"),
        ({"memory_gb": -1.0}, "memory_gb"),
        ({"size": (0, 4)}, "height, width"),
        ({"memory_gb": 0.0}, "more than memory_gb"),
        ({"conditions": "z"}, "no array 'z'"),
        ({"conditions": "absent.csv"}, "no labels at"),
    ],
)
def test_bad_settings_are_refused_in_one_line(tmp_path, settings, message):
    path = npz(tmp_path / "x.npz", x=np.ones((9, 2)), y=np.arange(9))
    with pytest.raises(InputError, match=message) as error:
        read_data(path, **settings)
    assert "\n" not in str(error.value)


def test_unknown_classes_are_refused():
    with pytest.raises(InputError, match="unknown label 'c'; known are a, b"):
        read_examples((torch.rand(2, 2), ["a", "c"]), DataSpec((2,), conditions=["a", "b"]))


def test_deep_images_are_not_called_damaged(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((4, 4), 0.4, np.float32)).save(tmp_path / "deep.tif")
    with pytest.raises(InputError, match="more than 8 bits"):
        read_data(tmp_path, skip_damaged=True)


@pytest.mark.parametrize("missing", ["pyarrow", "datasets"])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, missing):
    path = write_parquet(tmp_path / "x.parquet", pixels(3))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'fusevae\[data\]'"):
        read_data(path, memory_gb=0)


def test_labels_may_be_an_array_or_column_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((4, 2)), shape=[1, 1, 0, 0], y=np.arange(4), shape_test=[5])
    assert whole(tmp_path / "x.npz", conditions="shape")[1].tolist() == [1, 1, 0, 0]
    np.savez(tmp_path / "s.npz", train=np.ones((4, 2)), labels=[3, 3, 1, 1])
    assert whole(tmp_path / "s.npz")[1].tolist() == [1, 1, 0, 0]


def test_real_mnist():
    path = REAL / "mnist.npz"
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    splits = read_data(path)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (54_000, 6_000, 10_000)
    x, y = splits.test.batch(torch.arange(100))
    with np.load(path) as archive:
        assert np.array_equal(x[:, 0].numpy(), archive["x_test"][:100])
        assert np.array_equal(y.numpy(), archive["y_test"][:100])


def test_real_cifar10_parquet_streamed_is_decoded_as_in_memory():
    path = REAL / "cifar10" / "test.parquet"
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    pytest.importorskip("pyarrow")
    examples = read_examples(path)
    x, y = examples.batch(torch.tensor([0, 9_999]))
    import pyarrow.parquet as pq
    from PIL import Image

    rows = pq.read_table(path).slice(9_999).to_pylist()[0]
    assert np.array_equal(x[1].permute(1, 2, 0).numpy(), np.asarray(Image.open(io.BytesIO(rows["image"]["bytes"]))))
    assert y[1] == rows["label"]
    assert examples.spec.shape == (3, 32, 32)
    assert len(examples) == 10_000


# ---------------------------------------------------------------- arrays: read truly, or refused


def test_floats_of_any_kind_are_the_same_numbers(tmp_path):
    x = torch.randn(40, 3, dtype=torch.float64).bfloat16()
    seconds = torch.arange(40.0, dtype=torch.float64)[:, None] + torch.tensor([1.76e9, 0])
    for data in (x, x.float().numpy().astype(">f4"), np.asfortranarray(x.float().numpy()), x.double().numpy()):
        assert torch.equal(whole(data)[0], x.float())
    for data in (seconds, seconds.numpy(), seconds.numpy().astype(">f8"), np.asfortranarray(seconds.numpy())):
        np.save(tmp_path / "x.npy", np.asarray(data))
        for found in (read_data(data), read_data(tmp_path / "x.npy")):
            assert found.spec.dtype == "float64"  # what float32 would not tell apart keeps its digits
            assert len(everything(found.train)[0][:, 0].unique()) == len(found.train)


UNTRUE = {
    "uint64": (np.arange(2**63, 2**63 + 80, dtype=np.uint64).reshape(40, 2), "beyond 2\\^63"),
    "uint64 pictures": (np.full((9, 8, 8), 2**64 - 1, dtype=np.uint64), "beyond 2\\^63"),
    "int64 rows": (np.arange(2**40, 2**40 + 80).reshape(40, 2), "whole numbers up to .*16,777,216"),
    "int32 pictures": (torch.full((9, 1, 8, 8), -(2**30), dtype=torch.int32), "whole numbers up to 1,073,741,824"),
    "masked": (np.ma.masked_array(np.ones((9, 2)), np.eye(9, 2)), "masked array"),
    "sparse": (torch.eye(9).to_sparse(), "layout torch.sparse_coo"),
    "complex": (torch.ones(9, 2) * 1j, "complex64 values"),
    "structured": (np.zeros(9, dtype=[("a", "f4"), ("b", "i4")]), "values: expected numbers"),
    "dates": (np.arange(18).astype("M8[D]").reshape(9, 2), "datetime64"),
    "series": (np.zeros((9, 20, 3), "float32"), "data.modality=images"),
    "series of bytes": (np.zeros((9, 20, 3), "uint8"), "data.modality=images"),
    "series of eight": (np.zeros((9, 20, 8)), "data.modality=images"),
    "a wave": (np.zeros((9, 1, 1, 800)), "data.modality=images"),
}


@pytest.mark.parametrize("name", UNTRUE)
def test_what_would_not_be_read_truly_is_refused_or_asked_about(name):
    data, words = UNTRUE[name]
    with pytest.raises(InputError, match=words) as error:
        read_data(data)
    assert "\n" not in str(error.value)


def test_whole_numbers_that_float32_holds_are_read_as_they_are():
    x = np.array([[2**24, -(2**24)], [3, 4]] * 9)
    for data in (x, x.astype(np.int32), (x + 2**24).astype(np.uint64) // 2):
        assert np.array_equal(whole(data)[0].numpy(), data.astype(np.int64))


@pytest.mark.parametrize("beside", ["weights", "texts", "masks", "z"])
def test_an_array_that_nothing_would_use_is_refused(beside, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (9, 8, 8)).astype(np.uint8)
    more = {"weights": np.ones(9), "texts": np.array(["a cat"] * 9), "masks": x > 9, "z": np.ones(9)}
    arrays = {"x": x, "y": np.arange(9) % 2, beside: more[beside], "note": np.array("made by hand")}
    np.savez(tmp_path / "x.npz", **arrays)
    for data in (tmp_path / "x.npz", {k: v for k, v in arrays.items() if k not in ("note", "texts")}):
        if beside == "texts" and isinstance(data, dict):
            continue
        with pytest.raises(InputError, match=rf"holds {beside} .*data\.conditions=\[{beside}\].*data\.column=x"):
            read_data(data, modality="images")
        found, y = whole(data, column="x", modality="images")
        assert np.array_equal(found[:, 0].numpy(), x) and y.tolist() == arrays["y"].tolist()
    if beside == "weights":
        assert read_data(tmp_path / "x.npz", conditions="weights:number").spec.conditions.names == ["weights"]


def test_labels_of_one_part_alone_are_said(caplog):
    splits = read_data({"train": (np.ones((9, 2)), np.arange(9) % 2), "test": np.ones((3, 2))})
    assert splits.spec.conditions is None
    assert "label is known of the train part alone" in caplog.text


def test_labels_of_an_npz_count_as_memory(tmp_path):
    path = tmp_path / "x.npz"  # 1.6 GB of labels, in a few kilobytes
    zeros = b"\0" * 2**20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w") as member:
            np.lib.format.write_array(member, np.zeros((9, 2)))
        with archive.open("y.npy", "w", force_zip64=True) as member:
            head = {"descr": "|i1", "fortran_order": False, "shape": (200 * len(zeros),)}
            np.lib.format.write_array_header_1_0(member, head)
            for _ in range(200):
                member.write(zeros)
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match=r"takes 1\.7 GB in memory, more than memory_gb=1"):
        read_data(path, memory_gb=1)
    np.savez(tmp_path / "z.npz", x=np.zeros((9, 2)))
    with pytest.raises(InputError, match=r"takes 1\.7 GB in memory"):
        read_data(tmp_path / "z.npz", conditions=str(path), memory_gb=1)


def test_a_file_of_one_array_is_mapped(tmp_path, monkeypatch):
    mapped = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **more: mapped.append(load(*args, **more)) or mapped[-1])
    colour = np.random.default_rng(0).integers(0, 256, (9, 3, 8, 7)).astype(np.uint8)
    arrays = {"first": colour, "last": colour.transpose(0, 2, 3, 1).copy(), "floats": np.ones((9, 8, 8), "float32")}
    for name, x in arrays.items():
        np.save(tmp_path / f"{name}.npy", x)
        found = read_data(tmp_path / f"{name}.npy", validation=0, test=0, memory_gb=0)
        assert isinstance(mapped[-1], np.memmap) and mapped[-1].ctypes.data == found.train.whole.x.data_ptr(), name
        assert np.array_equal(everything(found.train)[0], colour if name != "floats" else x[:, None])


def test_many_classes_are_read_in_a_moment():
    n = 100_000
    started = time.perf_counter()
    found = read_data((torch.zeros(n, 1), [f"class {i}" for i in range(n)]))
    assert len(found.spec.classes) == n and time.perf_counter() - started < 20


# ---------------------------------------------------------------- folders: nothing is left out in silence


def test_linked_folders_are_read_and_a_broken_link_is_no_image(tmp_path):
    for name in ("a", "b"):
        write_folder(tmp_path / "real" / name, pixels(4))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").symlink_to(tmp_path / "real" / "a")
    (tmp_path / "data" / "c").symlink_to(tmp_path / "real" / "b")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data")  # leads back
    x, y = whole(tmp_path / "data")
    assert len(x) == 8 and y.tolist() == [0] * 4 + [1] * 4
    (tmp_path / "real" / "a" / "009.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match=r"009\.png can't be decoded"):
        read_data(tmp_path / "data")


def test_files_that_are_no_images_are_said(tmp_path, caplog):
    write_folder(tmp_path, pixels(9))
    for name in ("Thumbs.db", ".DS_Store", "._000.png", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    read_data(tmp_path)
    assert not caplog.records
    for name in ("1.heic", "2.heic", "labels.csv"):
        (tmp_path / name).write_text("x,1\n")
    read_data(tmp_path)
    (said,) = caplog.records
    assert "left out 3 files that are no images (.csv, .heic), such as 1.heic" in said.getMessage()
    assert f"data.conditions={tmp_path / 'labels.csv'} takes what it says" in said.getMessage()


def test_a_table_of_names_of_files_says_how_the_files_are_read_and_its_folder_how_it_is_used(tmp_path, caplog):
    write_folder(tmp_path, pixels(9))
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    table = tmp_path / "labels.csv"
    table.write_text("file,kind,size\n" + "".join(f"{name},{'ab'[i % 2]},{i}.5\n" for i, name in enumerate(names)))
    read_data(table)
    (said,) = [r.getMessage() for r in caplog.records if "names of files" in r.getMessage()]
    assert "give their folder as data, with this table as data.conditions" in said
    caplog.clear()
    found = read_data(tmp_path, conditions=str(table))  # as both lines say
    assert [column.name for column in found.spec.conditions.columns] == ["kind", "size"]
    assert not any("data.conditions" in r.getMessage() for r in caplog.records)
    found = read_data(tmp_path, conditions="labels.csv")  # as it is called from there
    assert [column.name for column in found.spec.conditions.columns] == ["kind", "size"]


def test_a_column_of_a_table_beside_files_is_asked_for_by_its_name(tmp_path, caplog):
    write_folder(tmp_path / "img", pixels(9))
    names = sorted(path.name for path in (tmp_path / "img").glob("*.png"))
    rows = "".join(f"img/{name},{i}.5,{'ab'[i % 2]}\n" for i, name in reversed(list(enumerate(names))))
    (tmp_path / "attributes.csv").write_text("path,size,kind\n" + rows)
    (tmp_path / "notes.tsv").write_text("")
    train = read_data(
        tmp_path, conditions=["size"], validation=0, test=0
    ).train  # which was taken for the name of the classes img
    (column,) = train.spec.conditions.columns
    assert column.name == "size" and column.mean == pytest.approx(4.5)
    labels = train.batch(torch.arange(9))[1]
    assert train.spec.conditions.numbers(labels)[:, 0].tolist() == pytest.approx([i + 0.5 for i in range(9)])
    assert any("rows belong to the files that its column path names" in r.getMessage() for r in caplog.records)
    with pytest.raises(InputError, match=r"no column 'szie' for the conditions; did you mean 'size'"):
        read_data(tmp_path, conditions=["szie"])
    (tmp_path / "attributes.csv").write_text("size,kind\n" + "1.5,a\n" * 9)
    with pytest.raises(InputError, match=r"attributes\.csv has a column 'size' and none that names the files"):
        read_data(tmp_path, conditions=["size"])


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (["train", "test"], True),
        (["train", "val", "test"], True),
        (["train", "test", "extra"], None),
        (["test", "val"], None),
        (["cat", "test"], False),
        (["test"], False),
    ],
)
def test_sub_folders_are_splits_or_classes_and_never_both(folders, splits, tmp_path):
    for name in folders:
        write_folder(tmp_path / name, pixels(12))
    if splits is None:
        with pytest.raises(InputError, match="are they splits or classes"):
            read_data(tmp_path)
    else:
        assert (read_data(tmp_path).spec.classes is None) == splits


@pytest.mark.parametrize("suffix", ["jfif", "jp2", "avif", "tga", "PNG", "TIFF", "pbm"])
def test_every_kind_of_picture_that_pillow_reads(suffix, tmp_path):
    from PIL import Image, features

    if suffix in ("avif", "jp2") and not features.check({"avif": "avif", "jp2": "jpg_2000"}[suffix]):
        pytest.skip("this Pillow was built without it")
    for i in range(6):
        square = np.zeros((16, 16), bool)
        square[4:12, 4:12] = True
        picture = Image.fromarray(square) if suffix == "pbm" else Image.fromarray(np.uint8(square * 255)).convert("RGB")
        picture.save(tmp_path / f"{i}.{suffix}")
    x, _ = whole(tmp_path)
    assert len(x) == 6 and x[:, :, 6:10, 6:10].min() > 240 and x[:, :, 0, 0].max() < 15


def test_what_an_archive_leaves_around_a_folder_is_no_class(tmp_path, caplog):
    from PIL import Image

    for i in range(12):
        place = tmp_path / "data" / "ab"[i % 2] / "xyz"[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 20 * i, np.uint8)).save(place / f"{i}.png")
    found = read_data(tmp_path, validation=0, test=0)
    assert found.spec.classes == ["a", "b"] and "all images lie in data" in caplog.text
    assert "those below, as of a/x/0.png, are not told apart" in caplog.text
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir()
        (tmp_path / "data" / "ab"[split == "test"]).rename(tmp_path / "data" / split / "one")
    found = read_data(tmp_path, validation=0)
    assert (len(found.train), len(found.test)) == (6, 6) and found.spec.classes == ["one"]
    (tmp_path / "data" / "train" / "metadata.csv").write_text("image,label\n0.png,a\n")
    read_data(tmp_path, validation=0)
    assert "has no column file_name" in caplog.text


class Items(torch.utils.data.Dataset):
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 12

    def __getitem__(self, i):
        return self.item(i)


def test_items_and_tensors_are_read_truly_or_refused():
    assert read_data(Items(lambda i: np.full((8, 6, 3), 20 * i, np.uint8))).spec.shape == (3, 8, 6)
    pictures = torch.utils.data.TensorDataset(torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8))
    assert len(read_data(torch.utils.data.ConcatDataset([pictures, pictures]), validation=0, test=0).train) == 24
    assert read_data(torch.arange(60).view(20, 3).to(torch.uint16)).spec.high == 59
    for data, says in (
        (Items(lambda i: (torch.zeros(1, 8, 8), torch.eye(3)[i % 3])), "a label of shape .3,.: expected one value"),
        (torch.utils.data.DataLoader(pictures), "what it draws batches from, its dataset"),
        ([np.zeros((8, 8))] * 3, "a list of 3 that begins with a ndarray .*numpy.stack"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "one shape for all"),
        (torch.empty(5, 3, device="meta"), "no values"),
        ({"a": np.arange(9.0), "b": np.arange(9.0)}, "give columns as a DataFrame"),
    ):
        with pytest.raises(InputError, match=says):
            read_data(data)


def test_an_order_of_dimensions_that_may_be_another_is_said(caplog):
    read_data(np.random.default_rng(0).integers(0, 256, (8, 8, 30), np.uint8), validation=0, test=0)
    assert "read as 8 images of 8 x 30" in caplog.text
    read_data(np.random.default_rng(0).integers(0, 256, (30, 784), np.uint8), validation=0, test=0)
    assert "784 columns hold whole numbers from 0 to 255: if they are pixels, give an array (N, 28, 28)" in caplog.text


def test_classes_that_a_model_does_not_know_are_refused_where_it_uses_them(caplog):
    x, y = torch.randint(0, 256, (12, 1, 8, 8), dtype=torch.uint8), ["good"] * 6 + ["fair"] * 6
    known = read_data((x, y), validation=0, test=0).spec
    other = (x, ["good"] * 9 + ["crack"] * 3)
    with pytest.raises(InputError, match=r"unknown label 'crack'.*3 of 12 examples are of such"):
        read_examples(other, known)
    found = read_examples(other, known, used=False)
    assert found.batch(torch.arange(12))[1].tolist() == [1] * 9 + [-1] * 3
    assert "of which the model makes no use" in caplog.text
