"""A run that waits in vain for the interlock says what is missing and what to do about it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from safety_rig import FakeClock, Rig, S

from rt_engine.interfaces.errors import ServiceError
from rt_engine.services.session_run import SessionRun


def test_what_is_missing_is_named_with_its_remedy() -> None:
    lock = Rig().interlock
    lock.self_test()
    clock = FakeClock()

    def asked(service: str, cmd: str) -> dict[str, Any]:
        return {"interlock": lock.state.value, "preconditions": lock.preconditions()}

    waiting = SimpleNamespace(_clock=clock, _supervisor=SimpleNamespace(request=asked), _turn=lambda: clock.step(S))
    with pytest.raises(ServiceError) as error:
        SessionRun._await(waiting, lambda: False, 20.0, "the interlock")  # type: ignore[arg-type]
    told = str(error.value)
    assert "missing: recording_live, engine_heartbeat, calibration_matches" in told
    assert "start the microscope" in told
    assert "operator" not in told
