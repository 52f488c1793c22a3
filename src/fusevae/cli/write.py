"""Where a command writes: a folder, a file whose name tells its format, or, of texts, the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusevae.core.errors import InputError
from fusevae.core.files import check_place, named, written_whole
from fusevae.core.spec import DataSpec
from fusevae.data.examples import Examples
from fusevae.data.modality import modalities, modality_of
from fusevae.data.rows import TABLES, beside_others, check_table, write_columns
from fusevae.data.sheet import Sheet


def endings() -> tuple[str, ...]:
    """The endings of files that anything can be written to."""
    return tuple(
        dict.fromkeys([*TABLES, *(suffix for one in modalities().values() for suffix in one.formats if suffix)])
    )


class Output:
    """A place to write to: refused before any work starts where it can't be, and all of it appears at once. Without a
    path texts go to stdout, a line each."""

    def __init__(self, path: str | None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        if self.path is None:
            return
        if not path:
            raise InputError("--output is empty: give a place to write to")
        check_place(self.path)
        suffix = self.path.suffix.lower()
        self.suffix = suffix if suffix in endings() else ""
        if self.suffix and self.path.is_dir():
            raise InputError(f"{path} is a folder: give another --output, or a name without {suffix}")
        if self.suffix:
            return
        if self.path.exists() and not self.path.is_dir():
            raise InputError(
                f"{path} is a file: give a folder as --output, or a name that ends in {', '.join(endings())}"
            )
        if self.path.is_dir() and any(self.path.iterdir()):
            raise InputError(f"the folder {path} is not empty: give another --output, or empty it")

    def check(self, spec: DataSpec) -> None:
        """Refuse a format that the examples don't have."""
        place, kind = self.path, modality_of(spec)
        if place is not None and not self.suffix and "" in kind.formats and guess_type(place.name)[0] is None:
            place = place.with_name(place.name.partition(".")[0] or "folder")  # one with points in its name
        kind.check_output(place, spec)
        if self.path is not None and self.suffix == ".parquet":
            check_table(self.path)

    def check_table(self, picture: bool = False) -> None:
        """Refuse a format that named arrays don't have; a ``picture`` may stand in their place."""
        assert self.path is not None
        if picture and self.suffix not in (".png", *TABLES):
            raise InputError(f"{self.path} is no place for a picture or columns: give a .png, {', '.join(TABLES)}")
        if self.suffix != ".png":
            check_table(self.path)
        elif not picture:
            raise InputError(f"{self.path} is no place for columns: give {', '.join(TABLES)}")

    def examples(
        self,
        x: Tensor,
        spec: DataSpec,
        beside: Mapping[str, Any] | None = None,
        sheet: Callable[[], Sheet] | None = None,
    ) -> None:
        """Examples in the data's own form, with columns that say which is which; ``sheet`` is what a picture shows."""
        if self.path is None:
            return  # they are what is told
        kind, beside = modality_of(spec), dict(beside or {})
        if self.suffix == ".png" and sheet is not None and (drawn := sheet()).suffix == ".png":
            drawn.save(self.path)
        elif self.suffix:
            with written_whole(self.path) as part:
                kind.write(x, spec, part, beside)
        else:
            part = self.path.with_name(f".part-{os.getpid()}")  # a name without an ending: a folder
            part.mkdir(parents=True)
            try:
                with named(self.path):
                    kind.write(x, spec, part, beside)
                    if sheet is not None:
                        sheet().beside(part / "grid")
                if self.path.exists():
                    self.path.rmdir()  # it is empty
                os.replace(part, self.path)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def columns(self, columns: Mapping[str, Any], of: Mapping[str, Any] | None = None) -> list[str]:
        """Columns by name, a row an example, after those that say what they are ``of``; returns the names of all."""
        assert self.path is not None
        whole = {**beside_others(of or {}, columns), **columns}
        with written_whole(self.path) as part:
            write_columns(whole, part)
        return list(whole)

    def tell(
        self, as_json: bool, facts: Mapping[str, Any], x: Tensor | None = None, spec: DataSpec | None = None
    ) -> int:
        """Say on stdout what was written, ``facts`` that include its number ``n``; or print the texts themselves."""
        if self.path is None and x is not None and spec is not None:
            texts = spec.text(x)
            if as_json:
                print(json.dumps({**facts, "texts": texts}, ensure_ascii=False))
            else:
                sys.stdout.write("".join(text + ("\n\n" if "\n" in text else "\n") for text in texts))
        else:
            print(
                json.dumps({"output": str(self.path), **facts}) if as_json else f"{facts['n']} written to {self.path}"
            )
        return 0


def which(examples: Examples) -> dict[str, np.ndarray]:
    """Columns that say which example a row is of: its row in the data, its file or text, its conditions."""
    found, kind = examples.beside(), modality_of(examples.spec)
    parts = [kind.identify(x, examples.spec) for x, _ in examples.batches(examples.evenly(len(examples)).split(1000))]
    for name in parts[0] if parts else ():
        found[name] = np.array([word for part in parts for word in part[name]])
    return found
