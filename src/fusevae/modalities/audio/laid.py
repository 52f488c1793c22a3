"""Where the samples of many clips lie: in memory, or on disk where they are more than that is to hold."""

from __future__ import annotations

import tempfile
from typing import IO

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.parts import Options


class Laid:
    """Samples, one clip after the other: in memory up to ``options.memory`` bytes, all of them in a file beyond that.
    The file has no name and goes with what reads it; what is read of it is cached by the system as memory allows.

    Args:
        options: that say how many bytes may lie in memory.
        where: the data, in words.

    Example:
        >>> laid = Laid(Options(), "clips")
        >>> laid.add(np.ones(2, np.float32)), laid.add(np.zeros(1, np.float32))
        (None, None)
        >>> laid.whole()
        array([1., 1., 0.], dtype=float32)
    """

    def __init__(self, options: Options, where: str) -> None:
        self.options, self.where = options, where
        self.clips: list[np.ndarray] = []
        self.size = 0
        self.file: IO[bytes] | None = None

    def add(self, samples: np.ndarray) -> None:
        """Lay a clip ``(n,)`` after the others."""
        self.size += 4 * len(samples)
        self.clips.append(np.asarray(samples, np.float32))
        if self.file is None and self.size <= self.options.memory:
            return
        if self.file is None:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115 (lasts as long as what is mapped)
        try:
            for clip in self.clips:
                self.file.write(clip.data)
            self.file.flush()
        except OSError as error:
            raise InputError(
                f"{self.where} takes more than memory_gb={self.options.memory_gb:g}, and {tempfile.gettempdir()} can't "
                f"hold its samples ({error.strerror}): set TMPDIR to where there is room, or raise memory_gb "
                "(--set data.memory_gb=...)"
            ) from None
        self.clips = []

    def whole(self) -> np.ndarray:
        """All samples ``(n,)`` float32."""
        if self.file is None:
            return np.concatenate([*self.clips, np.empty(0, np.float32)])
        return np.memmap(self.file, np.float32, "r+")
