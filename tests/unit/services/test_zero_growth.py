"""Nothing is kept of a frame: not in the engine, not on its way in, not on the way to the light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
HALF_A_REFERENCE_BYTES = 4.0
"""A frame: a list that one reference is put into grows by 8."""


def kept_bytes_a_frame(what: str, n_settle: int, n_frames: int) -> float:
    """In a process of its own."""
    program = [sys.executable, "-X", "tracemalloc=1", str(TESTS / "kept_memory.py")]
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    done = subprocess.run(
        [*program, what, str(n_settle), str(n_frames)],
        capture_output=True, text=True, timeout=3600, check=False, env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.statistics
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("what", "n_settle", "n_frames"),
    [("engine", 5000, 20_000), ("shared_memory", 20_000, 20_000), ("messages", 20_000, 20_000)],
)
def test_nothing_is_kept_of_a_frame(what: str, n_settle: int, n_frames: int) -> None:
    """The engine; or intake, ring or messages, engine, publisher, protocol, interlock, ledger and log."""
    assert kept_bytes_a_frame(what, n_settle, n_frames) < HALF_A_REFERENCE_BYTES


@pytest.mark.statistics
def test_one_reference_a_frame_would_have_been_seen() -> None:
    assert kept_bytes_a_frame("reference", 5000, 20_000) >= HALF_A_REFERENCE_BYTES
