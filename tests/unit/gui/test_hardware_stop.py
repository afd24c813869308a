"""The hardware STOP line is told as the rig tells it: whether there is one, whether it is closed, what it did."""

from __future__ import annotations

from typing import Any

import pytest
import wire_samples as wire

from gui.model.hardware_stop import hardware_stop, in_words
from gui.model.live import LiveModel
from gui.theme import scale_for
from rt_engine.interfaces.clock import MonotonicClock

WIRED = {"rig": {"stop_line": {"line": "red button", "closed": "high"}}}


def model_of(config: dict[str, Any], **state: Any) -> LiveModel:
    """A rig with this configuration, in this state."""
    model = LiveModel(MonotonicClock())
    for topic, header, payload in (wire.session(config=config), wire.state(**state)):
        model.take(topic, header, memoryview(payload))
    assert model.n_malformed == 0
    return model


def test_a_rig_without_a_line_says_so_whatever_its_preconditions() -> None:
    stop = hardware_stop(model_of({"rig": {"stop_line": None}}, preconditions={"stop_line_closed": True}))
    assert (stop.line, stop.closed) == (None, None)
    assert "none" in in_words(stop)


@pytest.mark.parametrize(("closed", "word"), [(True, "closed"), (False, "OPEN")])
def test_a_line_is_closed_or_open(closed: bool, word: str) -> None:
    stop = hardware_stop(model_of(WIRED, preconditions={"stop_line_closed": closed}))
    assert (stop.line, stop.closed, stop.has_tripped) == ("red button", closed, False)
    assert word in in_words(stop)
    assert "red button" in in_words(stop)


def test_what_its_opening_did_is_told() -> None:
    trip = {
        "t_ns": 1,
        "signal": "stop_line",
        "value": "open",
        "limit": "closed",
        "text": "x",
        "dark_after_ns": 2_500_000,
    }
    stop = hardware_stop(model_of(WIRED, interlock="tripped", trips=[trip], preconditions={"stop_line_closed": False}))
    assert stop.has_tripped
    assert stop.dark_after_ms == 2.5
    assert "2.5 ms" in in_words(stop)


@pytest.mark.parametrize("dark", [None, "soon", True, -1, 2**70])
def test_a_trip_that_tells_no_time_gives_none(dark: Any) -> None:
    trip = {"signal": "stop_line", "dark_after_ns": dark}
    stop = hardware_stop(model_of(WIRED, trips=[trip], preconditions={}))
    assert stop.has_tripped
    assert stop.closed is None
    assert "ms" not in in_words(stop)


def test_letters_grow_with_a_large_window_and_with_a_fine_screen() -> None:
    assert scale_for(False, 1280, 720, 1080) == 1.0
    assert scale_for(False, 1280, 720, 2160) == 1.5
    assert scale_for(True, 1280, 720, 2160) == 1.0
    assert scale_for(True, 3840, 2160, 2160) == 3.0
    assert scale_for(True, 3840, 720, 2160) == 1.0
