"""Every line that keeps a session whole, broken, is missed by a test (opt-in, ten minutes)."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.broken_lines import is_missed, stands_there_once
from mutation.recording_mutations import BROKEN


@pytest.mark.parametrize("loss", BROKEN)
def test_the_line_stands_there_once(loss: str) -> None:
    assert stands_there_once(BROKEN[loss])


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loss", BROKEN)
def test_a_loss_that_nobody_tells_is_missed(copy: Path, loss: str) -> None:
    assert is_missed(copy, BROKEN[loss])
