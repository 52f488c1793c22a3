"""Images: pictures of any number of channels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusevae.core.artifact import Artifact
from fusevae.core.errors import InputError
from fusevae.core.spec import DataSpec, Schema
from fusevae.data import npz, parquet
from fusevae.data.arrays import check_finite, check_whole
from fusevae.data.examples import Examples, dataset_parts, split_item
from fusevae.data.given import Given
from fusevae.data.modality import Choice, Modality
from fusevae.data.parts import Options, Part
from fusevae.data.sheet import Picture, Sheet
from fusevae.data.splits import Splits
from fusevae.evaluation.fidelity import reconstruction_quality
from fusevae.evaluation.judge import Judge, enough
from fusevae.evaluation.results import Result
from fusevae.modalities.images import columns, folders, pictures, writing
from fusevae.modalities.images.decode import SUFFIXES, background
from fusevae.modalities.images.extractor import extractor_for, kept_at, training_seconds
from fusevae.modalities.images.layout import as_images, channels_first, item_looks_like_image, looks_like_images
from fusevae.modalities.images.levels import used
from fusevae.modalities.images.quality import PictureReference
from fusevae.modalities.images.recommend import choices
from fusevae.training.prepare import pick_device

LOOKED_AT = 500  # pictures whose values are looked at
FEW = 4  # pictures, or channels

logger = logging.getLogger("fusevae")


class ImageSchema(Schema):
    """Channels and depth stand in the shape and the range of the data; a value that is missing has no place.

    Args:
        ink: part of the values that are nearly black or nearly white, where it was measured.
        used: the whole numbers that the values are, where these are few of all that they could be.
    """

    modality = "images"

    def __init__(self, ink: float | None = None, used: tuple[int, ...] | None = None) -> None:
        self.ink, self.used = ink, used

    def about(self, spec: DataSpec) -> str:
        channels, height, width = spec.shape
        shown = ", ".join(str(band + 1) for band in dict.fromkeys(pictures.bands(channels)))
        kind = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels (of which {shown} are drawn)")
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
            if options.pages != "each":
                raise InputError(
                    f"{given.path} is a single image: give the folder that it lies in, or, where its pages are the "
                    "examples, data.pages=each (pages='each')"
                )
            return True
        if given.arrays:
            return any(looks_like_images(array.shape, array.dtype) for array in given.arrays.values())
        if given.is_dataset and not given.columns:
            return item_looks_like_image(given.item)
        if given.path is not None and given.is_saved:
            return parquet.saved_holds(given.path, "Image")
        kinds = given.columns
        return bool(given.inside & set(SUFFIXES)) or "image" in (
            [kinds.get(options.column)] if options.column else kinds.values()
        )

    def check_options(self, options: Options) -> None:
        background(options.background)

    def shows(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3

    def read(self, given: Given, options: Options) -> dict[str, Part]:
        path = given.path
        if path is None:
            if "image" in given.columns.values():
                return columns.read_datasets(given.data, options, given.name)
            if given.is_dataset:
                return dataset_parts(given.data, given.name)
            if not given.arrays:
                raise InputError(
                    f"{given.name} holds no images: expected arrays or tensors (N, channels, height, width)"
                )
            return npz.parts_of(given.data, options, given.name, self._part)
        if given.suffix == ".npz":
            return npz.read_npz(path, options, self._part)
        if given.suffix == ".npy":
            return npz.read_npy(path, options, self._part)
        if given.suffix in SUFFIXES:
            return folders.read_file(path, options)
        if given.is_saved:
            return columns.read_saved(path, options)
        if "image" in given.columns.values():
            return columns.read_parquet(parquet.splits(path), options)
        if path.is_dir():
            return folders.read_folder(path, options)
        how = "; pixels in columns are wanted as an array (N, height, width)" if given.tables else ""
        raise InputError(f"{path} holds no images: expected a folder of them, .npz, .npy or .parquet{how}")

    def schema_of(self, part: Part, options: Options) -> Schema:
        some = range(0, len(part), max(1, len(part) // LOOKED_AT))
        given = torch.stack([split_item(part.x[i], f"item {i}")[0] for i in some])
        x = given.float()
        low, high = x.aminmax()
        near = ((x - low).minimum(high - x) <= 0.1 * (high - low)).double().mean().item()
        return ImageSchema(round(near, 3), None if given.is_floating_point() else used(given))

    def layout(self, x: Tensor, name: str) -> Tensor:
        return channels_first(x, name, sure=True) if x.dim() in (3, 4) else x

    def _part(self, x: Any, name: str) -> Part:
        images = as_images(x, name)
        check_finite(images, name)
        check_whole(images, name)
        shape, (n, channels, height, width) = tuple(x.shape), images.shape
        if (len(shape) == 3 and shape[0] == shape[1] != shape[2]) or (n <= FEW < channels):
            text = "%s has shape %s, read as %d images of %d x %d with %d channels: if the last dimension counts them, "
            logger.warning(text + "move it to the front", name, shape, n, height, width, channels)
        return Part(images, total=len(images))

    def write(self, x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
        writing.write(x, spec, path, beside)

    def draw(self, rows: Sequence[tuple[str, Tensor]], spec: DataSpec) -> Sheet:
        return Picture(pictures.sheet(rows, spec))

    def paintable(self, x: Tensor, spec: DataSpec) -> tuple[Sheet, tuple[int, ...]]:
        return Picture(pictures.picture(x[0], spec)), tuple(spec.shape[1:])

    def pairs(self, x: Tensor, again: Tensor, spec: DataSpec) -> Sheet:
        return Picture(pictures.pairs(x, again, spec))

    def reference_seconds(self, data: Splits, extractor: str | None, device: str) -> float:
        return 0.0 if extractor or kept_at(data).exists() else training_seconds(data, device)

    def reference(
        self, held: Examples, data: Splits, n: int, extractor: str | None, device: str, quiet: bool, part: float = 1.0
    ) -> Judge:
        n = enough(n, len(held) // 2)  # before an extractor is trained
        return PictureReference(
            extractor_for(data, extractor, device, quiet, part=part).to(pick_device(device)), held, data.train, n
        )

    def reconstruction(self, artifact: Artifact, held: Examples, seed: int = 0) -> Result:
        return reconstruction_quality(artifact, held, seed=seed)

    def recommend(self, spec: DataSpec, n: int, seconds: float | None = None) -> list[Choice]:
        return choices(spec, n, seconds)
