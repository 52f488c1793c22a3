"""Recordings of any length through a codec, a window at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from fusevae.core.artifact import Artifact
from fusevae.data.examples import Examples


class Streamed(ABC):
    """A modality whose codecs take files of any length in bounded memory."""

    @abstractmethod
    def is_codec(self, artifact: Artifact) -> bool:
        """Whether a model makes codes of files."""

    @abstractmethod
    def compress(self, artifact: Artifact, path: Path, output: Path, stages: int | None) -> dict[str, Any]:
        """Write the codes of a file, and return what is to be told of them."""

    @abstractmethod
    def decompress(self, artifact: Artifact, path: Path, output: Path) -> dict[str, Any]:
        """Write what the codes of a file stand for, and return what is to be told of it."""

    @abstractmethod
    def bits(self, artifact: Artifact, held: Examples, seed: int = 0) -> Any:
        """How many bits the codes of held-out examples take: a :class:`fusevae.evaluation.results.Result`."""
