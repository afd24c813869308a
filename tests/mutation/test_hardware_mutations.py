"""Every line that bounds light at a card, or tells the truth of one, broken, is missed by a test (opt-in)."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.broken_lines import is_missed, stands_there_once
from mutation.hardware_mutations import BROKEN


@pytest.mark.parametrize("fault", BROKEN)
def test_the_line_stands_there_once(fault: str) -> None:
    assert stands_there_once(BROKEN[fault])


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", BROKEN)
def test_a_fault_that_nobody_would_tell_is_missed(copy: Path, fault: str) -> None:
    assert is_missed(copy, BROKEN[fault])
