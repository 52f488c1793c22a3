"""Laws of images: read as they are shown or refused in a line, written and read back the same, always drawn."""

import io
import json
import logging
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch.utils.data import Dataset

from fusevae.cli import main
from fusevae.core.artifact import Artifact
from fusevae.core.conditional import Conditional
from fusevae.core.conditions import Conditions, Label, Number
from fusevae.core.errors import InputError
from fusevae.core.levels import Level
from fusevae.core.spec import DataSpec
from fusevae.data.examples import InMemory
from fusevae.data.modality import modality
from fusevae.data.source import read_data
from fusevae.evaluation.features import Columns
from fusevae.evaluation.quality import Reference
from fusevae.modalities.images import pictures
from fusevae.modalities.images.levels import levels_of
from fusevae.modalities.images.modality import ImageSchema
from fusevae.modalities.images.views import Binarize
from fusevae.training.fit import fit
from fusevae.training.recipes import find, recipes
from fusevae.training.settings import Training

IMAGES = modality("images")


@pytest.fixture(autouse=True, scope="module")
def _cache_of_datasets(tmp_path_factory):
    """Hugging Face datasets writes an Arrow copy of what it streams: not into the user's cache."""
    config = pytest.importorskip("datasets").config
    before, config.HF_DATASETS_CACHE = config.HF_DATASETS_CACHE, str(tmp_path_factory.mktemp("datasets"))
    yield
    config.HF_DATASETS_CACHE = before


def pixels(n=12, channels=3, size=(6, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, *size), dtype=torch.uint8, generator=generator)


def picture(x):
    return Image.fromarray(x[0].numpy() if len(x) == 1 else x.permute(1, 2, 0).contiguous().numpy())


def encoded(image, kind="png", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def folder(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def parquet(path, images, columns=None, features=None):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": [{"bytes": v, "path": None} for v in images], **(columns or {})})
    if features:
        about = {"info": {"features": {"image": {"_type": "Image"}, **features}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pq.write_table(table, path, row_group_size=4)
    return path


def whole(data, **options):
    """Examples, conditions and all else of data that are not split."""
    train = read_data(data, validation=0, test=0, **options).train
    return *train.batch(torch.arange(len(train))), train


def deep_png(values, kind=2):
    """A PNG of 16 bits a channel, which Pillow can't write in colour."""
    import struct
    import zlib

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", *values.shape[1::-1], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---------------------------------------------------------------- read as they are shown

STORED = {  # how an upright image lies in a file with each orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("memory", [4, 0])
@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
def test_every_orientation_is_read_upright(tmp_path, kind, memory):
    x = pixels(1)[0]
    files = {}
    for orientation, stored in STORED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = picture(x) if stored is None else picture(x).transpose(stored)
        options = {"lossless": True} if kind == "webp" else {}
        files[f"{orientation}.{kind}"] = encoded(image, kind, exif=exif, **options)
    got, _, _ = whole(folder(tmp_path, files), memory_gb=memory)
    assert torch.equal(got, x.expand(8, *x.shape))


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_turned_too(tmp_path, dtype, kind):
    x = np.random.default_rng(0).integers(0, 256, (6, 5)).astype(dtype)  # Pillow maps the file of a TIFF, garbled
    exif = Image.Exif()
    exif[0x0112] = 6
    folder(tmp_path, {f"{i}.{kind}": encoded(Image.fromarray(np.rot90(x)), kind, exif=exif) for i in range(2)})
    assert np.array_equal(whole(tmp_path)[0][0, 0].numpy(), x)


def transparent(mode):
    """An image that is half clear, and what it holds where it is opaque: the left half is 200."""
    alpha = np.zeros((4, 4), np.uint8)
    alpha[:, :2] = 255
    noise = np.random.default_rng(0).integers(0, 256, (4, 4), dtype=np.uint8)
    grey = np.where(alpha > 0, 200, noise).astype(np.uint8)
    if mode == "RGBA":
        return encoded(Image.fromarray(np.stack([grey, grey, grey, alpha], -1)))
    if mode == "LA":
        return encoded(Image.fromarray(np.stack([grey, alpha], -1)))
    image = Image.fromarray((alpha > 0).astype(np.uint8))
    image.putpalette([0, 0, 0, 200, 200, 200])
    return encoded(image, transparency=0)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_a_background_and_is_counted_once(tmp_path, caplog, mode):
    folder(tmp_path, {f"{i}.png": transparent(mode) for i in range(3)})
    with caplog.at_level(logging.WARNING, "fusevae"):
        got = whole(tmp_path)[0]
    assert got.shape[1] == (1 if mode == "LA" else 3)
    assert (got[..., :2] == 200).all() and (got[..., 2:] == 255).all()
    assert [r.message for r in caplog.records if "3 of 3 images are transparent" in r.message] == [
        caplog.records[0].message
    ]
    got = whole(tmp_path, background="#102030", memory_gb=0)[0]
    assert got[0, :, 0, 0].tolist() == [200] * 3 and got[0, :, 0, 3].tolist() == [16, 32, 48]


def test_an_opaque_alpha_channel_is_no_transparency(tmp_path, caplog):
    x = pixels(2)
    full = torch.full((2, 1, 6, 5), 255, dtype=torch.uint8)
    folder(tmp_path, {f"{i}.png": encoded(picture(v)) for i, v in enumerate(torch.cat([x, full], 1))})
    assert torch.equal(whole(tmp_path)[0], x)
    assert not caplog.records
    with pytest.raises(InputError, match=r"background='clear'.*#202020"):
        read_data(tmp_path, background="clear")


DEEP = {
    "colour.png": lambda v: deep_png(np.stack([v] * 3, -1)),
    "alpha.png": lambda v: deep_png(np.stack([v] * 4, -1), 6),
    "clear.png": lambda v: encoded(Image.fromarray(v), transparency=0),
    "negative.tif": lambda v: encoded(Image.fromarray(v), "tiff", tiffinfo={262: 0}),
    "signed.tif": lambda v: encoded(Image.fromarray(v.astype(np.int32)), "tiff"),
    "float.tif": lambda v: encoded(Image.fromarray(v.astype(np.float32)), "tiff"),
    "colour.ppm": lambda v: b"P6\n4 4\n65535\n" + np.stack([v] * 3, -1).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP)
def test_more_than_8_bits_are_never_cut(tmp_path, name):
    folder(tmp_path, {name: DEEP[name](np.linspace(0, 4000, 16).reshape(4, 4).astype(np.uint16))})
    with pytest.raises(InputError, match=rf"{name} has more than 8 bits a channel \((16|32)\).*\.npz") as error:
        read_data(tmp_path, skip_damaged=True)
    assert "\n" not in str(error.value)


def deep(n=9, most=4000):
    x = np.random.default_rng(1).integers(0, most, (n, 6, 5), dtype=np.uint16)
    x[0, 0, 0] = most
    return x


@pytest.mark.parametrize("memory", [4, 0])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_grey_of_16_bits_keeps_its_values(tmp_path, kind, memory):
    x = deep()
    folder(tmp_path, {f"{i}.{kind}": encoded(Image.fromarray(v), kind) for i, v in enumerate(x)})
    got, _, examples = whole(tmp_path, memory_gb=memory)
    assert got.dtype == torch.int32 and np.array_equal(got[:, 0].numpy(), x)
    assert (examples.spec.low, examples.spec.high) == (0, 4000)  # 12 bits in 16 are common
    constant = np.full((6, 4), 3001, np.uint16)
    folder(tmp_path / "flat", {f"{i}.{kind}": encoded(Image.fromarray(constant), kind) for i in range(9)})
    assert (whole(tmp_path / "flat", size=(3, 2))[0] == 3001).all()


def test_two_depths_are_refused(tmp_path):
    folder(tmp_path, {"a.png": encoded(Image.fromarray(deep()[0])), "b.png": encoded(picture(pixels(1)[0]))})
    with pytest.raises(InputError, match=r"b\.png has 8 bits a channel, .*a\.png 16: expected one depth"):
        read_data(tmp_path)


@pytest.mark.parametrize("name", ["folder", "x.parquet"])
def test_grey_of_16_bits_is_written_with_its_values(tmp_path, name):
    x = deep(300)
    np.savez(tmp_path / "x.npz", x=x)
    tensor, _, examples = whole(tmp_path / "x.npz", modality="images")
    IMAGES.write(tensor, examples.spec, tmp_path / name, {})
    assert np.array_equal(whole(tmp_path / name)[0][:, 0].numpy(), x)


def test_16_bits_in_an_array_keep_all_levels(tmp_path):
    x = np.random.default_rng(0).integers(0, 65536, (9, 4, 4), dtype=np.uint16)
    np.savez(tmp_path / "x.npz", x=x)
    got = whole(tmp_path / "x.npz")[0]
    assert got.dtype == torch.int32 and np.array_equal(got[:, 0].numpy(), x)


@pytest.mark.parametrize(("kind", "options"), [("tiff", {}), ("gif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_pages_are_an_example_each_or_refused(tmp_path, kind, options):
    x = pixels(6, 1)
    for i in (0, 3):
        frames = [picture(v) for v in x[i : i + 3]]
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        folder(tmp_path, {f"{i}.{kind}": content})
    with pytest.raises(InputError, match=rf"0\.{kind} has 3 pages or frames: .*data\.pages=each"):
        read_data(tmp_path, skip_damaged=True)
    np.save(tmp_path.parent / f"{kind}.npy", np.array(["a", "b"]))
    for memory in (4, 0):
        got, y, train = whole(tmp_path, pages="each", memory_gb=memory, conditions=str(tmp_path.parent / f"{kind}.npy"))
        assert torch.equal(got, x.expand(-1, got.shape[1], -1, -1))
        assert y.tolist() == [0, 0, 0, 1, 1, 1]
        assert train.ids[2:4] == [f"0.{kind} page 3", f"3.{kind} page 1"]
        assert torch.equal(whole(tmp_path, pages="first", memory_gb=memory)[0][:, :1], x[[0, 3]])
    alone = tmp_path / f"0.{kind}"
    with pytest.raises(InputError, match=r"single image: .*data\.pages=each"):
        read_data(alone)
    assert torch.equal(whole(alone, pages="each")[0][:, :1], x[:3])
    with pytest.raises(InputError, match=r"pages='all' was given"):
        read_data(alone, pages="all")


def test_colours_of_another_space_are_read_as_they_are_shown(tmp_path, caplog):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = bytearray(srgb)  # red and green are each other
    for i in range(132, 132 + 12 * int.from_bytes(srgb[128:132]), 12):
        swapped[i : i + 4] = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}.get(srgb[i : i + 4], srgb[i : i + 4])
    for i, profile in enumerate([srgb, bytes(swapped), b"damaged", None]):
        Image.new("RGB", (4, 4), (200, 100, 50)).save(tmp_path / f"{i}.png", icc_profile=profile)
    x = read_data(tmp_path, validation=0, test=0).train.batch(torch.arange(4))[0][:, :, 0, 0]
    assert x[[0, 2, 3]].tolist() == [[200, 100, 50]] * 3
    assert torch.allclose(x[1].float(), torch.tensor([100.0, 200.0, 50.0]), atol=3)
    assert "1 of 4 images are in another colour space" in caplog.text


def test_the_preview_in_a_photo_is_no_page(tmp_path):
    small = Image.new("RGB", (4, 4))
    content = encoded(Image.new("RGB", (8, 8), "red"), "mpo", save_all=True, append_images=[small])
    assert whole(folder(tmp_path, {"0.jpg": content, "1.jpg": content}))[0].shape == (2, 3, 8, 8)


def test_an_image_of_too_many_pixels_is_refused_for_its_size(tmp_path, monkeypatch):
    folder(tmp_path, {"0.png": encoded(picture(pixels(1)[0]))})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(InputError, match=r"0\.png is too large .*30 pixels.*scale it down"):
        read_data(tmp_path, skip_damaged=True)


# ---------------------------------------------------------------- conditions, names, what is left out


def test_conditions_in_the_names_of_files_and_of_a_folder(tmp_path):
    files = {
        f"{digit}_{who}_{take}.png": encoded(picture(pixels(1)[0]))
        for digit in range(3)
        for who in ("ann", "bo")
        for take in range(2)
    }
    _, y, train = whole(folder(tmp_path / "flat", files), conditions="{digit}_{speaker}_{take}")
    assert train.spec.conditions.names == ["digit", "speaker", "take"]
    words = [train.spec.conditions.words(row) for row in y]
    assert words == [f"digit={d},speaker={s},take={t}" for d, s, t in (name[:-4].split("_") for name in sorted(files))]
    nested = folder(tmp_path / "nested", {name.replace("_", "/", 1): v for name, v in files.items()})
    assert torch.equal(whole(nested, conditions="{digit}/{speaker}_{take}")[1], y)
    _, y, train = whole(nested, conditions=["species"])
    assert train.spec.conditions.names == ["species"] and y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    with pytest.raises(InputError, match=r"not named as conditions="):
        read_data(nested, conditions="{a}_{b}_{c}")


def test_a_file_of_metadata_names_images_and_conditions(tmp_path, caplog):
    x = pixels(4)
    folder(tmp_path, {f"{i}.png": encoded(picture(v)) for i, v in enumerate(x)})
    (tmp_path / "metadata.csv").write_text("year,file_name,label\n1999,2.png,b\n,0.png,a\n2001,1.png,\n")
    got, y, train = whole(tmp_path)
    assert torch.equal(got, x[:3]) and y.tolist() == [0, -1, 1]
    assert "left out 1 images" in caplog.text and train.ids == ["0.png", "1.png", "2.png"]
    _, y, train = whole(tmp_path, conditions=["year:number"])
    assert y[1:, 0].tolist() == [2001, 1999] and y[0].isnan().all()
    with pytest.raises(InputError, match=r"no column 'yaer'.*'year'"):
        read_data(tmp_path, conditions=["yaer"])
    (tmp_path / "metadata.csv").write_text("file_name\n9.png\n")
    with pytest.raises(InputError, match=r"names '9\.png', which isn't there"):
        read_data(tmp_path)


@pytest.mark.parametrize("memory", [4, 0])
def test_what_is_left_out_moves_no_name_and_no_condition(tmp_path, memory):
    x = pixels(8)
    content = [encoded(picture(v)) for v in x]
    content[2], content[5] = b"no image", content[5][:-30]
    kept = [0, 1, 3, 4, 6, 7]
    labels = ["a", "b"] * 4
    path = parquet(tmp_path / "x.parquet", content, {"label": labels, "year": list(range(8))})
    got, y, train = whole(path, skip_damaged=True, memory_gb=memory, conditions=["label", "year:number"])
    assert torch.equal(got, x[kept]) and y.tolist() == [[i % 2, i] for i in kept]
    assert train.ids == [f"row {i}" for i in kept]
    folder(tmp_path / "f", {f"{labels[i]}/{i}.png": v for i, v in enumerate(content)})
    splits = read_data(tmp_path / "f", skip_damaged=True, memory_gb=memory, validation=0.3, test=0.3)
    for part in (splits.train, splits.validation, splits.test):
        got, y = part.batch(torch.arange(len(part)))
        numbers = [int(name[2:-4]) for name in part.ids]
        assert torch.equal(got, x[numbers]) and y.tolist() == [i % 2 for i in numbers]
        assert part.beside()["file"].tolist() == list(part.ids)
        assert part.subset(torch.tensor([1])).ids == [part.ids[1]]


def test_parquet_with_several_columns_and_the_names_of_classes(tmp_path):
    x = pixels(6)
    names = ["plane", "car", "bird"]
    columns = {
        "kind": [2, 0, 1, -1, 0, 1],
        "year": [1990.0, None, 1992.5, 1993.0, 1994.0, 1995.0],
        "who": list("abcabc"),
    }
    features = {"kind": {"names": names, "_type": "ClassLabel"}}
    path = parquet(tmp_path / "x.parquet", [encoded(picture(v)) for v in x], columns, features)
    _, y, train = whole(path, conditions=["kind", "year", "who"])
    assert train.spec.conditions.columns[0].classes == names
    assert train.spec.conditions.words(y[0]) == "kind=bird,year=1990,who=a"
    assert y[3, 0].isnan() and y[1, 1].isnan()
    with pytest.raises(InputError, match=r"no column 'knd'.*'kind'"):
        read_data(path, conditions=["knd"])
    double = parquet(
        tmp_path / "two.parquet",
        [encoded(picture(v)) for v in x],
        {"mask": [{"bytes": encoded(picture(v)), "path": None} for v in 255 - x]},
    )
    with pytest.raises(InputError, match=r"columns image, mask: .*data\.column"):
        read_data(double)
    assert torch.equal(whole(double, column="mask")[0], 255 - x)


def test_datasets_in_memory(tmp_path):
    datasets = pytest.importorskip("datasets")
    x = pixels(6)
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["q", "p"]), year=datasets.Value("int64")
    )
    rows = {"image": [picture(v) for v in x], "label": [0, 1] * 3, "year": list(range(6))}
    data = datasets.Dataset.from_dict(rows, features)
    got, y, train = whole(data)
    assert torch.equal(got, x) and y.tolist() == [0, 1] * 3 and train.spec.classes == ["q", "p"]
    assert whole(data, memory_gb=0, conditions=["year:number", "label"])[1].tolist() == [[i, i % 2] for i in range(6)]
    both = read_data(datasets.DatasetDict(train=data, test=data.select([3])), validation=0)
    assert torch.equal(both.test.batch(torch.tensor([0]))[0], x[3:4])
    data.save_to_disk(str(tmp_path / "saved"))
    assert torch.equal(whole(tmp_path / "saved", modality="images")[0], x)


class Items(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_pillow_in_a_dataset_is_read_truly_or_refused():
    x = pixels(4)
    assert torch.equal(whole(Items([picture(v) for v in x]))[0], x)
    values = np.linspace(0, 60000, 64).reshape(4, 4, 4).astype(np.uint16)
    assert np.array_equal(whole(Items([Image.fromarray(v) for v in values]))[0][:, 0].numpy(), values)
    with pytest.raises(InputError, match=r"item 0 of .* is transparent"):
        read_data(Items([Image.open(io.BytesIO(transparent("RGBA")))] * 4))


@pytest.mark.parametrize("data", [np.zeros((50, 1, 800), np.float32), Items([torch.zeros(1, 800)] * 9)])
def test_a_waveform_is_asked_about(data):
    with pytest.raises(InputError, match=r"1, 800\), which may be anything: .*data\.modality=images") as error:
        read_data(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.npz", "x.parquet", "folder", "texts", "table"])
def test_another_kind_is_refused_in_a_line(tmp_path, name):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "folder").mkdir()
    for place in ("x.txt", "folder/x.txt"):
        (tmp_path / place).write_text("a cat\na dog\n")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    np.savez(tmp_path / "x.npz", x=np.ones((9, 4)))
    pq.write_table(pa.table({"a": [1, 2], "b": [0.5, 1.5]}), tmp_path / "x.parquet")
    given = {"texts": ["a cat", "a dog"], "table": np.ones((9, 4))}.get(name, tmp_path / name)
    with pytest.raises(InputError, match="images") as error:
        read_data(given, modality="images")
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------- write, draw

BESIDE = Conditions([Label("digit", ["zero", "one", "two"]), Number("year", 2000, 5)])


def spec_of(channels=3, low=0.0, high=255.0, dtype="uint8", conditions=None):
    return DataSpec((channels, 6, 5), dtype, low, high, conditions, ImageSchema())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("place", ["samples", "x.npz", "x.npy", "x.parquet"])
def test_what_is_written_reads_back_the_same(tmp_path, place, channels):
    x, spec = pixels(7, channels), spec_of(channels, conditions=BESIDE)
    y = BESIDE.tensor(
        {"digit": ["two", "zero", None, "zero", "two", "zero", "two"], "year": [1990, 1991.5, 3, 4, float("nan"), 5, 6]}
    )
    IMAGES.write(x, spec, tmp_path / place, {"file": [f"{i}.png" for i in range(7)], **BESIDE.values(y)})
    if place == "x.npy":  # holds the array alone
        assert torch.equal(whole(tmp_path / place)[0], x)
        return
    got, again, train = whole(tmp_path / place, conditions=["digit", "year:number"])
    assert got.dtype == torch.uint8 and torch.equal(got, x)
    assert (train.spec.low, train.spec.high) == (0, 255)
    values = train.spec.conditions.values(again)
    wanted = BESIDE.values(y)
    assert values["digit"].tolist() == wanted["digit"].tolist()
    assert np.array_equal(values["year"].astype(float), wanted["year"].astype(float), equal_nan=True)
    if place == "x.parquet":  # as every reader of that layout knows it
        datasets = pytest.importorskip("datasets")
        rows = datasets.Dataset.from_parquet(str(tmp_path / place))
        assert rows.features["digit"].names == BESIDE.columns[0].classes
        assert np.array_equal(np.asarray(rows[3]["image"]), np.asarray(picture(x[3])))
        assert train.spec.conditions.columns[0].classes == BESIDE.columns[0].classes


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 255), ("bool", 0, 1), ("int32", -9, 40000), ("float32", -1e-9, 3e8), ("float32", 2, 2)],
)
@pytest.mark.parametrize("n", [1, 5])
def test_drawing_never_fails(tmp_path, channels, dtype, low, high, n):
    spec = spec_of(channels, low, high, dtype)
    generator = torch.Generator().manual_seed(0)
    spread = low + (high - low) * torch.rand(n, *spec.shape, generator=generator)
    for x in (spread, torch.full_like(spread, low)):
        x = x.to(getattr(torch, dtype))
        sheets = [
            IMAGES.draw([("", x)], spec),
            IMAGES.draw([("one", x), ("two", x[:1])], spec),
            IMAGES.pairs(x, x, spec),
        ]
        for sheet in [*sheets, *IMAGES.portrait(x, x, spec).values()]:
            assert sheet.html().startswith("<img")
            sheet.save(tmp_path / "sheet.png")
            assert np.asarray(Image.open(tmp_path / "sheet.png")).std() >= 0
        for place in ("sheet2.png", "folder", "x.npz", "x.csv", "x.parquet"):
            IMAGES.write(x, spec, tmp_path / place, {})


def test_bands_are_drawn_as_red_green_and_blue_and_named():
    x = torch.arange(8, dtype=torch.uint8).view(1, 8, 1, 1).expand(1, 8, 2, 2) * 36
    assert pictures.pixels(x, spec_of(8))[0, 0, 0].tolist() == [0, 4 * 36, 7 * 36]
    assert "8 channels (of which 1, 5, 8 are drawn)" in spec_of(8).schema.about(spec_of(8))
    assert pictures.pixels(x[:, :3], spec_of(3))[0, 0, 0].tolist() == [0, 36, 72]


# ---------------------------------------------------------------- levels, binarization, baseline, judge


@pytest.mark.parametrize("name", ["conv-vae", "logistic-vae", "vq-vae", "fsq-vae", "pixel-cnn-pp"])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.9)])
def test_recipes_over_whole_numbers_refuse_floats_and_name_what_fits(name, low, high):
    with pytest.raises(InputError, match="whole numbers: take ") as error:
        find(name)(DataSpec((1, 16, 16), "float32", low, high, None, ImageSchema()))
    assert "\n" not in str(error.value)
    named = str(error.value).split("take ")[1].split(", or give")[0].replace(" or ", ", ").split(", ")
    assert set(named) <= set(recipes())
    for fitting in named:
        experiment = find(fitting)(DataSpec((1, 16, 16), "float32", low, high, None, ImageSchema()))
        artifact = Artifact(experiment.model, DataSpec((1, 16, 16), "float32", low, high, None, ImageSchema()))
        assert artifact.support.startswith("density")


def test_levels():
    assert levels_of(DataSpec((1, 8, 8), "uint8", 0, 16)) == 17
    assert levels_of(DataSpec((1, 8, 8), "bool", 0, 1)) == 2
    with pytest.raises(InputError, match="take 100001 values"):
        levels_of(DataSpec((1, 8, 8), "int32", 0, 100_000))


def test_grey_pictures_that_are_binarized_are_said_once(caplog):
    from fusevae import MLP, VAE, Bernoulli, Flat, Gaussian, Normal

    def trained(x):
        caplog.clear()
        vae = VAE(Flat(Normal(2), Gaussian(MLP((1, 6, 5), 4))), Bernoulli(MLP(2, (1, 6, 5))))
        artifact = fit(vae, x, [Binarize()], training=Training(epochs=1, batch_size=8), quiet=True)
        Artifact(artifact.distribution, artifact.data, [Binarize()])
        return [r.message for r in caplog.records if "neither black nor white" in r.message]

    assert len(trained(pixels(40, 1))) == 1
    assert trained((pixels(40, 1) > 99).to(torch.uint8) * 255) == []
    assert trained((pixels(40, 1) > 99).float()) == []


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 1), (-3, 4)])
def test_the_baseline_is_a_distribution(low, high):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(low, high + 1, (50, 1, 1, 1), generator=generator).float()
    spec = spec_of(1, low, high, "int32")
    every = torch.arange(low, high + 1).float().view(-1, 1, 1, 1)
    assert IMAGES.baseline(x, spec, "mass").log_prob(every).exp().sum().item() == pytest.approx(1)
    ends = (low - 20 * (high - low), high + 20 * (high - low))
    grid = torch.linspace(*ends, 200_001, dtype=torch.float64).view(-1, 1, 1, 1)
    density = IMAGES.baseline(x, spec, "density").log_prob(grid).exp()
    assert (density.sum() * (grid[1] - grid[0]).item()).item() == pytest.approx(1, abs=1e-4)


class Drawn(torch.distributions.Distribution):
    """Examples of a set, each as likely."""

    def __init__(self, x):
        self.x = x
        super().__init__((), x.shape[1:], validate_args=False)

    def sample(self, sample_shape=()):
        return self.x[torch.randperm(len(self.x))[: math.prod(sample_shape)]].view(*sample_shape, *self.x.shape[1:])


class Real(Conditional):
    """A model whose samples are real examples."""

    level = Level.SAMPLES

    def __init__(self, x):
        super().__init__()
        self.x = x

    def forward(self, *given):
        return Drawn(self.x)


def test_real_examples_are_at_the_floor_of_each_figure():
    splits = read_data(None, validation=0, test=0.6)
    held, fresh = splits.test, splits.train
    spec = splits.spec
    flat = InMemory(fresh.batch(torch.arange(len(fresh)))[0].flatten(1))
    columns = Columns(flat)
    columns_features = columns.features
    columns.features = lambda x: columns_features(x.flatten(1))
    reference = Reference(columns, held, None, n=256)
    real = fresh.batch(torch.arange(len(fresh)))[0].float()
    worse = (real + 3 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 16)
    good, bad = (reference.judge(Artifact(Real(x), spec), "sample") for x in (real, worse))
    assert good.fid < 1.3 * good.real.fid and good.energy < 3 * good.real.energy + 0.02
    assert abs(good.kid - good.real.kid) < 5 * (good.kid_stderr or 0.01)
    for name in ("precision", "recall", "coverage"):
        assert getattr(good, name) == pytest.approx(getattr(good.real, name), abs=0.07), name
    assert bad.fid > 2 * good.fid and bad.precision < good.precision - 0.1


# ---------------------------------------------------------------- from end to end


def command(*arguments):
    return main([str(a) for a in arguments])


def test_a_class_without_training_examples_and_several_labels(tmp_path, capsys):
    y = np.zeros(200, int)
    y[90:199], y[199] = 1, 2
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "rare.npz", x=x, y=y)
    np.savez(tmp_path / "multi.npz", x=x, y=generator.integers(0, 2, (200, 5)))
    train = ["--set", "training.epochs=1", "--set", "recipe.hidden=[16]", "--device", "cpu"]
    recipe = "conditional-vae"
    seed = next(s for s in range(99) if read_data(tmp_path / "rare.npz", seed=s).spec.conditions.columns[0].without)
    capsys.readouterr()
    assert (
        command(
            "train",
            recipe,
            "--data",
            tmp_path / "rare.npz",
            "--set",
            f"data.seed={seed}",
            "--output",
            tmp_path / "r",
            *train,
        )
        == 0
    )
    assert "1 of 3 classes have no training example: 2" in (said := capsys.readouterr().err) and "neither black" in said
    assert command("sample", tmp_path / "r", "-n", 2, "--label", 2, "--output", tmp_path / "s.npz") == 2
    assert "'2' had no training example" in capsys.readouterr().err
    assert command("sample", tmp_path / "r", "-n", 2, "--label", 1, "--output", tmp_path / "s.npz") == 0
    assert command("train", recipe, "--data", tmp_path / "multi.npz", "--output", tmp_path / "m", *train) == 0
    for place in ("x.parquet", "samples"):
        given = ("--label", "label_0=1,label_3=0", "--output", tmp_path / place)
        assert command("sample", tmp_path / "m", "-n", 3, *given) == 0
        _, y, again = whole(tmp_path / place, conditions=["label_0:label", "label_3:label"])
        assert [again.spec.conditions.words(row) for row in y] == ["label_0=1,label_3=0"] * 3
