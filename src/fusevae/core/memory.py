"""What the allocator of the C library does with freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import re
from pathlib import Path

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of glibc's settings
LARGEST = 2**25  # bytes: the largest block that glibc may keep for reuse
KEPT = 2**30  # bytes at the end of the heap that stay with the process


def keep_freed_memory() -> None:
    """Let the allocator reuse freed memory, that of one step for the next.

    By default glibc gives large blocks, and the end of the heap, back to the system when they are freed, and the system
    clears them again page by page: a third of the time of an importance-weighted likelihood, two thirds of a training
    with a VampPrior. On other systems this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(MMAP_THRESHOLD, LARGEST)
    mallopt(TRIM_THRESHOLD, KEPT)


def free_memory() -> int | None:
    """Bytes that the system can still give, at most what the group of processes that this one is confined to may have;
    None where it doesn't say."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        about = Path("/proc/meminfo").read_text(encoding="utf-8")
        found += [1024 * int(number) for number in re.findall(r"^MemAvailable: +(\d+) kB", about, re.MULTILINE)]
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")))  # or the word max
    return min(found, default=None)
