"""What a person must know about the interlock: what is missing and what to do, and how much of each limit is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.safety.states import InterlockState, Precondition
from rt_engine.safety.watchdog import HeartbeatMonitor

_REMEDIES = {
    Precondition.OPERATOR: "arm with your name: `spikeloop ctl arm NAME`",
    Precondition.RECORDING_LIVE: "the recorder is silent: look at its messages and at the free disk space",
    Precondition.ENGINE_HEARTBEAT: "the engine is silent: start the microscope, then wait for the first frame",
    Precondition.OUTPUTS_TESTED: "an output failed: check its power and cable, then `spikeloop ctl reset REASON`",
    Precondition.CALIBRATION_MATCHES: "calibrate this field, or load its calibration",
    Precondition.STOP_LINE_CLOSED: "release the stop button; if it is released, look at its wiring and its input",
}


def remedies(preconditions: Mapping[str, bool], state: InterlockState) -> dict[str, str]:
    """What to do about each precondition that does not hold, and about a trip (key ``reset``).

    Parameters
    ----------
    preconditions : mapping of str to bool
        Names of `Precondition`.
    state : InterlockState

    Returns
    -------
    dict of str to str
        Empty if light is allowed, or needs nothing but arming.
    """
    found = {name: _REMEDIES[Precondition(name)] for name, holds in preconditions.items() if not holds}
    if state is InterlockState.TRIPPED:
        found["reset"] = "look at why it tripped, then `spikeloop ctl reset REASON`"
    return found


def heartbeat_fields(heartbeat: HeartbeatMonitor, now_ns: int) -> dict[str, Any]:
    """The engine as the interlock hears it: `mode` and `age_ms` (None before its first word), and `bound_ms`."""
    heard = heartbeat.mode is not None
    return {
        "mode": heartbeat.mode.value if heartbeat.mode is not None else None,
        "age_ms": heartbeat.age_ns(now_ns) / NS_PER_MS if heard else None,
        "bound_ms": heartbeat.bound_ns / NS_PER_MS,
    }
