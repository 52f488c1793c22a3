"""How the C allocator treats large blocks."""

from __future__ import annotations

import torch

LARGEST = 2**25 - 2**16  # bytes: just below the largest block that glibc may keep for reuse


def keep_freed_memory() -> None:
    """Let the allocator reuse large blocks, those of one step for the next.

    By default glibc gives a large block back to the system when it is freed, and the system clears it again page by
    page: a third of the time of an importance-weighted likelihood. Once it has freed a block, it keeps blocks up to
    that size. This one is never touched, so it costs nothing; on other systems it does nothing.
    """
    torch.empty(LARGEST, dtype=torch.uint8)
