"""Images written: a folder of PNG, parquet in the Hugging Face layout, arrays, a sheet of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.spec import DataSpec
from fusevae.data.folders import INDEX, NAME
from fusevae.data.given import SHEET as GRID
from fusevae.data.parquet import write_files
from fusevae.data.rows import beside_others, write_columns
from fusevae.modalities.images import pictures

FLAT = (".npz", ".npy", ".csv", ".parquet")
SHEET = 400  # images at most


def write(x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
    """Images ``(n, channels, h, w)`` as the name of ``path`` says, with what is known beside them.

    A folder holds a PNG each, ``grid.png`` and, where there are columns, ``metadata.csv``; the least and the greatest
    value of the data are black and white. Parquet holds bytes as they are, as PNG, of grey or colour in 8 bits; of any
    others, like ``.csv``, a column for each value.
    """
    suffix, beside = path.suffix.lower(), beside_others(beside, ("x", "image", NAME))
    if suffix == ".png":
        pictures.grid(x[:SHEET], spec).save(path, format="PNG")
    elif suffix == ".parquet" and spec.dtype == "uint8" and spec.shape[0] in (1, 3):
        write_parquet(x, spec, path, beside)
    elif suffix in FLAT:
        write_columns({**beside, "x": x.numpy()}, path)
    else:
        path.mkdir(parents=True, exist_ok=True)
        width = max(5, len(str(len(x) - 1)))
        names = [f"{i:0{width}}.png" for i in range(len(x))]
        for name, image in zip(names, x, strict=True):
            pictures.picture(image, spec).save(path / name)
        pictures.grid(x[:SHEET], spec).save(path / GRID)
        if beside:
            write_columns({NAME: names, **beside}, path / INDEX)


def write_parquet(x: Tensor, spec: DataSpec, path: Path, beside: Mapping[str, Sequence[Any]]) -> None:
    """Bytes ``(n, 1 or 3, h, w)`` as a column ``image``."""
    from PIL import Image

    def png(image: np.ndarray) -> bytes:
        file = BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0).copy()).save(file, "PNG")
        return file.getvalue()

    write_files(list(map(png, x.numpy())), "image", "Image", spec, path, beside)
