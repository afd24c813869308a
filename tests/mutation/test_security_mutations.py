"""Every lock, taken off, is missed by a test (opt-in, a quarter of an hour); a test that hangs has missed nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.broken_lines import is_missed, stands_there_once
from mutation.security_mutations import UNLOCKED


@pytest.mark.parametrize("gain", UNLOCKED)
def test_the_lock_stands_there_once(gain: str) -> None:
    assert stands_there_once(UNLOCKED[gain])


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("gain", UNLOCKED)
def test_a_lock_that_is_gone_is_missed(copy: Path, gain: str) -> None:
    assert is_missed(copy, UNLOCKED[gain])
