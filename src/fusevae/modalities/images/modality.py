"""Images: pictures of any number of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec, Schema
from fusevae.data import npz, parquet
from fusevae.data.arrays import check_finite
from fusevae.data.examples import Examples, dataset_parts
from fusevae.data.given import Given, is_hugging_face
from fusevae.data.modality import Choice, Modality
from fusevae.data.parts import Options, Part
from fusevae.data.rows import write_columns
from fusevae.data.sheet import Picture, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.fidelity import reconstruction_quality
from fusevae.evaluation.judge import Judge
from fusevae.evaluation.quality import Reference
from fusevae.evaluation.results import Result
from fusevae.modalities.images import pictures
from fusevae.modalities.images.decode import SUFFIXES, read_folder, read_parquet
from fusevae.modalities.images.extractor import extractor_for
from fusevae.modalities.images.layout import as_images, channels_first, looks_like_images
from fusevae.training.fit import pick_device

LABELS = ("label", "labels", "fine_label", "class", "target", "y")  # columns beside images that are taken unasked


class ImageSchema(Schema):
    """Channels and depth stand in the shape and the range of the data; a value that is missing has no place."""

    modality = "images"

    def about(self, spec: DataSpec) -> str:
        channels, height, width = spec.shape
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
        return f"{height} x {width} pixels, {kind}, {spec.dtype} in [{spec.low:g}, {spec.high:g}]"


class Images(Modality):
    """Pictures ``(channels, height, width)``: folders, parquet in the Hugging Face layout, arrays, datasets."""

    name = "images"
    what = "images"
    schema = ImageSchema
    formats = ("", ".png", ".npz", ".npy", ".parquet", ".csv")
    means = by_class = True

    def claims(self, given: Given, options: Options) -> bool:
        if given.suffix in SUFFIXES:
            raise InputError(f"{given.path} is a single image: give the folder that it lies in")
        if given.arrays:
            return any(looks_like_images(array.shape, array.dtype) for array in given.arrays.values())
        if given.is_dataset and not is_hugging_face(given.data):
            item = given.item
            return hasattr(item, "getbands") or (hasattr(item, "shape") and len(item.shape) in (2, 3))
        folder = bool(given.inside & set(SUFFIXES)) and not given.is_saved
        return folder or "image" in given.columns.values()

    def shows(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        if given.suffix == ".npz":
            return npz.read_npz(given.path, options, self._part)  # type: ignore[arg-type]
        if given.suffix == ".npy":
            return npz.read_npy(given.path, options, self._part)  # type: ignore[arg-type]
        if given.path is not None and "image" in given.columns.values():
            return read_parquet(parquet.splits(given.path), options, LABELS)
        if given.path is not None and given.path.is_dir():
            return read_folder(given.path, options)
        if given.is_dataset:
            return dataset_parts(given.data, given.name)
        if given.path is not None:
            raise InputError(f"{given.path} holds no images: expected a folder of them, .npz, .npy or .parquet")
        return npz.parts_of(given.data, options, given.name, self._part)

    def layout(self, x: Tensor, name: str) -> Tensor:
        return channels_first(x, name, sure=True) if x.dim() in (3, 4) else x

    def _part(self, x: Any, name: str) -> Part:
        images = as_images(x, name)
        check_finite(images, name)
        return Part(images, total=len(images))

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        suffix = path.suffix.lower()
        if suffix == ".png":
            pictures.grid(x[:400], spec).save(path, format="PNG")
        elif suffix:
            write_columns({**beside, "x": x.numpy()}, path)
        else:
            path.mkdir(parents=True, exist_ok=True)
            width = max(5, len(str(len(x) - 1)))
            for i, image in enumerate(x):
                pictures.picture(image, spec).save(path / f"{i:0{width}}.png")
            pictures.grid(x[:400], spec).save(path / "grid.png")

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        return Picture(pictures.sheet(rows, spec))

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        return Picture(pictures.pairs(x, again, spec))

    def reference(self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool) -> Judge:
        return Reference(extractor_for(data, extractor, device, quiet).to(pick_device(device)), held, data.train, n)

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return reconstruction_quality(artifact, held, seed=seed)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return []
