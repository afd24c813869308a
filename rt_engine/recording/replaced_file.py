"""A file that is written beside the earlier one and then takes its place: a full disk costs the new one alone."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from rt_engine.interfaces.errors import RecordingError


def write_beside(path: Path, data: bytes) -> None:
    """Write `data` to `path`; what stood there stays until all of it is written.

    Raises
    ------
    RecordingError
        The disk refused, or the file that stands there is write-protected.
    """
    if path.exists() and not os.access(path, os.W_OK):  # replacing it would not ask
        raise RecordingError(f"{path}: cannot be written: Read-only; it is as it was", "take its write protection away")
    beside = path.with_name(f"{path.name}.partial")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        earlier = "; the earlier one is as it was" if path.exists() else ""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free space on this disk" if is_full else "may this account write there, and has a program it open?"
        raise RecordingError(f"{path}: cannot be written: {error.strerror}{earlier}", remedy) from error
