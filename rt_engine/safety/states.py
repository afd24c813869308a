"""Words of the interlock: its states, its preconditions, and why it tripped."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class InterlockState(StrEnum):
    """Where the interlock stands; `FIRING` is armed with a train of at least one output under way."""

    DISARMED = "disarmed"
    ARMED = "armed"
    FIRING = "firing"
    TRIPPED = "tripped"


ALLOWING = (InterlockState.ARMED, InterlockState.FIRING)
"""States in which there may be light."""


class Precondition(StrEnum):
    """What must hold before arming and as long as it is armed."""

    OPERATOR = "operator"
    RECORDING_LIVE = "recording_live"
    ENGINE_HEARTBEAT = "engine_heartbeat"
    OUTPUTS_TESTED = "outputs_tested"
    CALIBRATION_MATCHES = "calibration_matches"
    STOP_LINE_CLOSED = "stop_line_closed"


class Trip(NamedTuple):
    """Why the interlock latched; `dark_after_ns` is the time from the cause until every output was dark."""

    t_ns: int
    signal: str
    value: float | str
    limit: float | str
    text: str
    dark_after_ns: int = 0
