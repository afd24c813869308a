"""Every line that keeps a session whole, broken, is missed by a test (opt-in, ten minutes)."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutation.recording_mutations import BROKEN
from mutation.test_security_mutations import is_missed

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("loss", BROKEN)
def test_the_line_stands_there_once(loss: str) -> None:
    one = BROKEN[loss]
    assert (ROOT / one.file).read_text(encoding="utf-8").count(one.old) == 1
    assert all((ROOT / "tests" / test).exists() for test in one.tests)


@pytest.mark.mutation
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("loss", BROKEN)
def test_a_loss_that_nobody_tells_is_missed(copy: Path, loss: str) -> None:
    one = BROKEN[loss]
    path = copy / one.file
    source = path.read_text(encoding="utf-8")
    path.write_text(source.replace(one.old, one.new), encoding="utf-8")
    try:
        assert is_missed(copy, one)
    finally:
        path.write_text(source, encoding="utf-8")
