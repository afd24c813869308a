"""Who waits for services to start is told once what they may be doing."""

from __future__ import annotations

from safety_rig import FakeClock, S

from rt_engine.services.slow_start import SlowStart


def test_a_slow_start_is_explained_once_and_a_fast_one_is_not() -> None:
    clock, said = FakeClock(), []
    slow = SlowStart(clock, said.append)
    clock.step(10 * S)
    slow.look(["inference"])
    assert said == []
    clock.step(10 * S)
    slow.look([])
    assert said == []
    slow.look(["inference", "recording"])
    slow.look(["inference"])
    assert len(said) == 1
    assert "inference, recording" in said[0]
    assert "compiled" in said[0]
