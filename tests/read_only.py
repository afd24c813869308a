"""Folders and files that really cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IS_ROOT = sys.platform == "linux" and os.geteuid() == 0
HAS_WAY = sys.platform != "win32"


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Make a folder, with all in it, or a file read-only for a while.

    Modes do not bind root, who gets a read-only mount over the path; for others the modes are taken away.
    """
    if IS_ROOT:
        subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", str(path)], check=True)
            yield
        finally:
            subprocess.run(["umount", str(path)], check=True)
        return
    modes = {one: one.stat().st_mode for one in (path, *path.rglob("*"))}
    for one, mode in modes.items():
        one.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for one, mode in modes.items():
            one.chmod(mode)


@contextmanager
def small_disk(folder: Path, size_mb: float) -> Iterator[None]:
    """Mount a disk of so many MB in memory at `folder`; needs root."""
    size = f"size={round(size_mb * 1024)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
