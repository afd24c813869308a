"""A run that begins with the stop button pressed watches in the dark, says why, and can be armed later.

Opt-in: ``pytest -m realtime tests/system/test_open_stop_line.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from system_rig import Start, small_rig, summary_of

pytestmark = pytest.mark.realtime


def test_with_the_stop_button_pressed_it_goes_on_dark_and_can_be_armed_later(
    start: Start, small_calibration: Path
) -> None:
    rig = small_rig(microscope__pace="real_time")
    rig["inputs"] = {"red button": {"driver": "virtual", "level": "low"}}
    rig["stop_line"] = {"line": "red button", "closed": "high"}
    run = start(rig, "--calibration", small_calibration, "--no-gui")
    run.live()
    run.wait_for_output("disarmed, no light: release the stop button")
    before = run.ctl("status")["frames"]
    status = run.wait_for("half a minute of watching", lambda status: status["frames"] >= before + 900)
    assert status["interlock"] == "disarmed"
    assert status["stim"].get("delivered", 0) == 0
    run.ctl("press", "red button")
    run.ctl("arm", "Ada")
    run.wait_for("being armed", lambda status: status["interlock"] in ("armed", "firing"))
    run.wait_for("light", lambda status: status["stim"].get("delivered", 0) > 0)
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    assert summary_of(run.session)["trips"] == []
