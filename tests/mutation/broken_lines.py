"""A line made wrong on a copy, and whether a test misses it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FAILED = 1
_PATIENCE_S = 300.0


class BrokenLine(NamedTuple):
    """`old` stands exactly once in `file`; with `new` in its place at least one of `tests` (below `tests/`) fails."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def stands_there_once(one: BrokenLine) -> bool:
    """True if the line stands once in the repository, and all of its tests are there."""
    is_once = (ROOT / one.file).read_text(encoding="utf-8").count(one.old) == 1
    return is_once and all((ROOT / "tests" / test).exists() for test in one.tests)


def is_missed(copy: Path, one: BrokenLine) -> bool:
    """Break the line in a copy of the repository for a while; true if one of its tests, run in order, fails.

    Raises
    ------
    subprocess.TimeoutExpired
        A test hangs: it has missed nothing.
    """
    path = copy / one.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(one.old, one.new), encoding="utf-8")
    try:
        return any(_fails(copy, test) for test in one.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def _fails(copy: Path, test: str) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}"]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    return done.returncode == _FAILED
