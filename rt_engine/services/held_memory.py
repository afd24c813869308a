"""Memory for messages that may have to wait: taken at the start and kept, so that a process does not grow later."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of glibc's ``mallopt`` (malloc.h)."""
_LARGEST_FROM_HEAP = 32 << 20
"""glibc takes no more. A message from the heap finds pages that are there; one of its own `mmap` faults every page."""
_NEVER_TRIMMED = 1 << 30
_PIECE = 1 << 20


def hold_memory(n_bytes: int) -> bool:
    """Take `n_bytes` for the heap, touch them and never give them back; all threads to come share that heap.

    Without this the allocator gives every thread a heap of its own, which grows when ZeroMQ's thread receives more than
    the service takes, and does not shrink again: whoever watches the process cannot tell that from a leak.

    Parameters
    ----------
    n_bytes : int

    Returns
    -------
    bool
        False where the allocator is not glibc's (Windows, macOS, musl); then nothing has been done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    kept = mallopt(_ARENA_MAX, 1) and mallopt(_TRIM_THRESHOLD, _NEVER_TRIMMED)
    if not (kept and mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)):
        return False
    pieces = [b"\1" * _PIECE for _ in range(0, n_bytes, _PIECE)]  # not zeros, for those the system need not have pages
    del pieces
    return True
