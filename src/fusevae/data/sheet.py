"""Sheets: what a modality draws, to be saved, or set into a page as it is."""

from __future__ import annotations

import base64
import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusevae.core.files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


class Sheet(ABC):
    """Examples side by side. ``suffix`` is the ending of its file."""

    suffix: str

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write it, whole."""

    @abstractmethod
    def html(self, alt: str = "") -> str:
        """The sheet within a page, which needs nothing from outside."""

    @abstractmethod
    def parts(self) -> list[dict[str, Any]]:
        """The sheet as plain data, from which a page is built without any markup: pictures ``{"png": base64}``, tables
        ``{"names": [...], "rows": [[...], ...]}`` (with ``"drawn": True`` where a picture shows what they hold), sounds
        ``{"wav": base64, "name": a word}``."""

    def beside(self, stem: Path) -> Path:
        """Save it as ``stem`` with its own ending; returns the path."""
        path = stem.with_suffix(self.suffix)
        self.save(path)
        return path


class Picture(Sheet):
    """A picture.

    Args:
        image: of Pillow.
    """

    suffix = ".png"

    def __init__(self, image: Image) -> None:
        self.image = image

    @classmethod
    def of(cls, figure: Figure) -> Picture:
        """What matplotlib draws."""
        from PIL import Image

        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=110)
        return cls(Image.open(file))

    def save(self, path: Path) -> None:
        with written_whole(path) as beside:
            self.image.save(beside, format="PNG")

    def html(self, alt: str = "") -> str:
        return f'<img alt="{escape(alt)}" src="data:image/png;base64,{self._png()}">'

    def parts(self) -> list[dict[str, Any]]:
        return [{"png": self._png()}]

    def _png(self) -> str:
        file = io.BytesIO()
        self.image.save(file, format="PNG")
        return base64.b64encode(file.getvalue()).decode()


class Rows(Sheet):
    """A table of words.

    Args:
        names: of the columns.
        rows: cells, each row as long as the names.
    """

    suffix = ".csv"

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.names, self.rows = list(names), [list(row) for row in rows]

    def save(self, path: Path) -> None:
        with written_whole(path) as beside, open(beside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.names)
            writer.writerows(self.rows)

    def html(self, alt: str = "") -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.names)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
        return f'<div class="texts"><table><tr>{head}</tr>{body}</table></div>'

    def parts(self) -> list[dict[str, Any]]:
        return [{"names": self.names, "rows": self.rows}]

    @classmethod
    def read(cls, path: Path) -> Rows:
        """What :meth:`save` wrote."""
        with open(path, newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        return cls(names, rows)
