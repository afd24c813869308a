"""Names of shared memory: who lives holds his, and those of the dead are removed at the next start.

A segment loses its name as soon as both sides have it (`frame_ring`). One whose writer was killed before that, together
with all that it had started, keeps its name, and its memory, on Linux until somebody removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

if sys.platform == "linux":
    import fcntl

FOLDER = Path("/dev/shm")
"""Where Linux keeps shared memory."""
PREFIX = "spikeloop-"
_TRIES = 5


class Claim:
    """Held on a name for as long as its writer lives, however he ends; nothing where there is no folder to look into.

    Attributes
    ----------
    is_there : bool
        False: somebody has taken it for that of a dead one, before it was claimed.
    """

    def __init__(self, name: str) -> None:
        self._file: int | None = None
        self.is_there = True
        if sys.platform != "linux":
            return
        try:
            self._file = os.open(FOLDER / name, os.O_RDONLY)
            fcntl.flock(self._file, fcntl.LOCK_SH)
            self.is_there = (FOLDER / name).exists()
        except FileNotFoundError:
            self.is_there = False

    def release(self) -> None:
        """Let go of it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def create_segment(n_bytes: int) -> tuple[SharedMemory, Claim]:
    """Make a segment under a new name.

    Raises
    ------
    OSError
        There is no such memory.
    """
    for _ in range(_TRIES):
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(3)}"
        memory = SharedMemory(name, create=True, size=n_bytes)
        claim = Claim(name)
        if claim.is_there:
            return memory, claim
        claim.release()
        memory.close()
    raise OSError(0, f"names of shared memory in {FOLDER} are removed by another program")


def remove_abandoned() -> list[str]:
    """Remove every segment of spikeloop that nobody holds, where there is a folder of them; their names."""
    removed: list[str] = []
    if sys.platform != "linux":
        return removed
    for path in FOLDER.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, held, or gone meanwhile
            file = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed.append(path.name)
            finally:
                os.close(file)
    return removed
