"""Every lock, taken off, is missed by a test (opt-in, a quarter of an hour); a test that hangs has missed nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutation.security_mutations import UNLOCKED, Unlocked

ROOT = Path(__file__).parents[2]
FAILED = 1
PATIENCE_S = 300.0


@pytest.mark.parametrize("gain", UNLOCKED)
def test_the_lock_stands_there_once(gain: str) -> None:
    one = UNLOCKED[gain]
    assert (ROOT / one.file).read_text(encoding="utf-8").count(one.old) == 1
    assert all((ROOT / "tests" / test).exists() for test in one.tests)


def is_missed(copy: Path, one: Unlocked) -> bool:
    """True if one of the tests fails; they are run in order, up to the first that does."""
    for test in one.tests:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{test}"]
        environment = os.environ | {"PYTHONPATH": str(copy)}
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        if done.returncode == FAILED:
            return True
    return False


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("gain", UNLOCKED)
def test_a_lock_that_is_gone_is_missed(copy: Path, gain: str) -> None:
    one = UNLOCKED[gain]
    path = copy / one.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(one.old, one.new), encoding="utf-8")
    try:
        assert is_missed(copy, one)
    finally:
        path.write_text(source, encoding="utf-8")
