"""Where examples and latents are written: a folder of images, a file whose name tells its format, or, of texts, the
terminal."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.files import write_text, written_whole
from fusevae.core.spec import DataSpec
from fusevae.data.molecules import molecule_table
from fusevae.evaluation import pictures
from fusevae.evaluation.molecule_pictures import molecule_grid
from fusevae.evaluation.texts import write_rows

if TYPE_CHECKING:
    from PIL.Image import Image

TABLES = (".npz", ".csv", ".parquet")
TEXTS = (".txt", ".csv", ".jsonl")
FILES = (*TABLES, *TEXTS, ".npy", ".png")


class Output:
    """A place to write to: refused before any work starts where it can't be, and all of it appears at once. Without a
    path texts go to stdout, a line each."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path or os.devnull).expanduser()
        self.none = path is None
        if path is None:
            self.kind = ".txt"
            return
        suffix = self.path.suffix.lower()
        self.kind = suffix if suffix in FILES else ""
        if self.kind and self.path.is_dir():
            raise InputError(f"{path} is a folder: give another --output, or a name without {suffix}")
        if self.kind:
            return
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{path} is a file: give a folder as --output, or a name that ends in {', '.join(FILES)}")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"the folder {path} is not empty: give another --output, or empty it")

    def check(self, data: DataSpec) -> None:
        """Refuse a format that the examples don't have."""
        if data.vocabulary is not None:
            if self.kind not in TEXTS and not (data.is_molecules and self.kind == ".png"):
                raise InputError(f"{self.path} is no place for texts: give a file that ends in {', '.join(TEXTS)}")
            return
        if self.none:
            raise InputError("only texts are printed: give --output, a folder or a file")
        if self.kind in (".txt", ".jsonl"):
            raise InputError(f"{self.path} is for texts, the data have shape {data.shape}: give a .csv, .npz or .png")
        if self.kind == ".png" and not data.is_image:
            raise InputError(
                f"{self.path} is an image, the data have shape {data.shape}: give a .csv, .npz or .parquet"
            )
        self._need_parquet()

    def check_table(self) -> None:
        """Refuse a format that named arrays don't have."""
        if self.kind not in TABLES:
            raise InputError(f"{self.path} is no place for latents: give a file that ends in {', '.join(TABLES)}")
        self._need_parquet()

    def examples(self, x: Tensor, data: DataSpec, sheet: Callable[[], Image]) -> None:
        """Examples in the data's units; ``sheet`` draws all of them as one picture."""
        if self.none:
            return  # they are what is told
        if data.is_molecules and self.kind in (".png", ".csv"):
            self._molecules(data.text(x))
        elif data.vocabulary is not None:
            self.texts(data.text(x))
        elif self.kind == ".png":
            pictures.save_image(sheet(), self.path)
        elif self.kind == ".npy":
            with written_whole(self.path) as beside:
                np.save(beside, x.numpy())
        elif self.kind:
            self.arrays({"x": x.numpy()})
        else:
            self._folder(x, data, sheet)

    def tell(self, as_json: bool, facts: Mapping[str, Any], texts: Callable[[], list[str]] | None = None) -> int:
        """Say on stdout what was written, ``facts`` that include its number ``n``; or print the texts themselves."""
        if self.none and texts is not None:
            found = json.dumps({**facts, "texts": texts()}, ensure_ascii=False) + "\n" if as_json else _lines(texts())
            print(found, end="")
        else:
            told = {"output": str(self.path), **facts}
            print(json.dumps(told) if as_json else f"{facts['n']} written to {self.path}")
        return 0

    def texts(self, texts: Sequence[str]) -> None:
        """Texts, a line each; in a ``.txt`` one that has lines itself is followed by an empty one."""
        if self.kind == ".csv":
            write_rows(self.path, ("text",), ((text,) for text in texts))
        elif self.kind == ".txt":
            write_text(self.path, _lines(texts))
        else:
            rows = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
            write_text(self.path, "".join(rows))

    def _molecules(self, smiles: Sequence[str]) -> None:
        """Molecules as a picture of the first, or as a table with their properties."""
        if self.kind == ".csv":
            self.columns(molecule_table(smiles))
        else:
            pictures.save_image(molecule_grid(smiles[:100]), self.path)

    def arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Named arrays with a row an example: as they are in a .npz, as columns ``name_0 ...`` in a table."""
        if self.kind == ".npz":
            return self.columns(arrays)
        columns = {
            f"{name}_{i}": column
            for name, value in arrays.items()
            for i, column in enumerate(value.reshape(len(value), -1).T)
        }
        self.columns(columns)

    def columns(self, columns: Mapping[str, np.ndarray]) -> None:
        """Columns by name, each ``(n,)``, under these names."""
        with written_whole(self.path) as beside:
            if self.kind == ".npz":
                np.savez(beside, **columns)  # type: ignore[arg-type]
            elif self.kind == ".csv":
                write_csv(columns, beside)
            else:
                write_parquet(columns, beside)

    def _folder(self, x: Tensor, data: DataSpec, sheet: Callable[[], Image]) -> None:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        beside.mkdir(parents=True)
        try:
            if data.is_image:
                width = max(5, len(str(len(x) - 1)))
                for i, image in enumerate(x):
                    pictures.picture(image, data).save(beside / f"{i:0{width}}.png")
                sheet().save(beside / "grid.png")
            else:
                flat = x.flatten(1).numpy()
                write_csv({f"x_{i}": column for i, column in enumerate(flat.T)}, beside / "samples.csv")
            if self.path.exists():
                self.path.rmdir()  # it is empty
            os.replace(beside, self.path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _need_parquet(self) -> None:
        if self.kind == ".parquet":
            try:
                import pyarrow  # noqa: F401
            except ImportError:
                text = f"{self.path} needs pyarrow: pip install 'fusevae[data]', or give a .csv or .npz"
                raise InputError(text) from None


def _lines(texts: Sequence[str]) -> str:
    return "".join(text + ("\n\n" if "\n" in text else "\n") for text in texts)


def write_csv(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write columns by name, a row an example."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([value.item() for value in row])


def write_parquet(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write columns by name, a row an example."""
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({name: np.ascontiguousarray(column) for name, column in columns.items()}), path)
