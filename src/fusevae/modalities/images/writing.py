"""Images written: a folder of PNG, parquet in the Hugging Face layout, arrays, a sheet of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fusevae.core.spec import DataSpec
from fusevae.data.folders import INDEX, NAME
from fusevae.data.given import SHEET as GRID
from fusevae.data.parquet import write_files
from fusevae.data.rows import beside_others, write_columns
from fusevae.modalities.images import pictures

if TYPE_CHECKING:
    from PIL.Image import Image

FLAT = (".npz", ".npy", ".csv", ".parquet")
SHEET = 400  # images at most


def write(x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
    """Images ``(n, channels, h, w)`` as the name of ``path`` says, with what is known beside them.

    A folder holds a PNG each, ``grid.png`` and, where there are columns, ``metadata.csv``; the least and the greatest
    value of the data are black and white, but whole numbers of grey beyond 8 bits stay what they are, in 16. Parquet
    holds values as they are, as PNG, of these, and of grey or colour in bytes; of any others, like ``.csv``, a column
    for each value.
    """
    suffix, beside = path.suffix.lower(), beside_others(beside, ("x", "image", NAME))
    if suffix == ".png":
        pictures.grid(x[:SHEET], spec).save(path, format="PNG")
    elif suffix == ".parquet" and ((spec.dtype == "uint8" and spec.shape[0] in (1, 3)) or is_deep(spec)):
        write_parquet(x, spec, path, beside)
    elif suffix in FLAT:
        write_columns({**beside, "x": x.numpy()}, path)
    else:
        path.mkdir(parents=True, exist_ok=True)
        width = max(5, len(str(len(x) - 1)))
        names = [f"{i:0{width}}.png" for i in range(len(x))]
        for name, image in zip(names, x, strict=True):
            (deep(image) if is_deep(spec) else pictures.picture(image, spec)).save(path / name)
        pictures.grid(x[:SHEET], spec).save(path / GRID)
        if beside:
            write_columns({NAME: names, **beside}, path / INDEX)


def is_deep(spec: DataSpec) -> bool:
    """Whether values are those of grey pictures of 16 bits.

    Example:
        >>> is_deep(DataSpec((1, 8, 8), "int32", 0, 4095)), is_deep(DataSpec((1, 8, 8), "uint8", 0, 255))
        (True, False)
    """
    return spec.shape[0] == 1 and spec.is_discrete and spec.low >= 0 and 255 < spec.high < 2**16


def deep(image: Tensor) -> Image:
    """One of these ``(1, h, w)``, its values as they are; of what isn't whole, such as a mean, the nearest."""
    from PIL import Image

    return Image.fromarray(image[0].float().round().clamp(0, 2**16 - 1).numpy().astype(np.uint16))


def write_parquet(x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
    """Bytes ``(n, 1 or 3, h, w)``, or whole numbers that :func:`is_deep` is of, as a column ``image``."""

    def png(image: Tensor) -> bytes:
        file = BytesIO()
        (deep(image) if is_deep(spec) else pictures.picture(image, spec)).save(file, "PNG")
        return file.getvalue()

    write_files(list(map(png, x)), "image", "Image", spec, path, beside)
