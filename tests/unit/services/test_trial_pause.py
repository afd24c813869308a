"""Silence between trials is a pause, told well before it would be taken for a fault."""

from __future__ import annotations

import pytest

from rt_engine.safety.watchdog import live_silence_ns
from rt_engine.services.trial_pause import TrialPause

MS = 1_000_000


@pytest.mark.parametrize("period_ms", [10, 33, 500])
def test_silence_between_trials_is_told_once_and_ends_with_the_next_frame(period_ms):
    pause, changes, now_ns = TrialPause(period_ms * MS), [], 0
    for trial in range(3):
        for _ in range(20):
            now_ns += period_ms * MS
            changes += [("frame", trial)] if pause.see(True, now_ns) else []
        last_ns = now_ns
        while now_ns - last_ns < 2 * live_silence_ns(period_ms * MS):
            now_ns += 5 * MS
            if pause.see(False, now_ns):
                changes.append(("silence", trial))
                assert period_ms * MS < now_ns - last_ns < live_silence_ns(period_ms * MS)
    assert changes == [("silence", 0), ("frame", 1), ("silence", 1), ("frame", 2), ("silence", 2)]


def test_time_in_which_nobody_looked_is_no_silence():
    pause = TrialPause(33 * MS)
    pause.see(True, 0)
    pause.forget()
    assert not pause.see(False, 10_000 * MS)
    assert not pause.is_paused
