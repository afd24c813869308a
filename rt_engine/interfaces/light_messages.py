"""Headers of decisions, interlock and light, and of what the virtual sample made of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from rt_engine.interfaces.message_header import Header


class Phase(StrEnum):
    """Stations of one decision on topic `stim`."""

    INTENT = "intent"
    DONE = "done"
    MEASURED = "measured"


class Outcome(StrEnum):
    """What became of a decision."""

    DELIVERED = "delivered"
    WITHHELD = "withheld"
    SHAM = "sham"
    SUPPRESSED = "suppressed"
    REFUSED = "refused"
    LATE = "late"
    FAILED = "failed"
    DRY_RUN = "dry_run"


class StimHeader(Header, kw_only=True):
    """Topic ``stim``: one message for each phase of a decision, also of those refused or withheld."""

    decision_id: str
    phase: Phase
    rule: str
    arm: str
    outcome: Outcome | None
    reason: str | None
    plane: int
    frame: int
    roi_ids: list[int]
    target_ids: list[int] = msgspec.field(default_factory=list)
    target_planes: list[int] = msgspec.field(default_factory=list)
    pattern_id: str | None
    t_scan_ns: int
    t_decided_ns: int
    t_judged_ns: int | None = None
    t_command_ns: int | None
    t_output_ns: int | None
    output: str | None
    pulses: int | None
    width_us: int | None
    power_uw: list[int] | None
    energy_nj: list[int] | None


class StateHeader(Header, kw_only=True):
    """Topic ``state``: the interlock and the protocol as they are now.

    `interlock`: ``disarmed``, ``armed``, ``firing`` or ``tripped``; `inhibited`: armed, dark while the source pauses.

    `trips`: each with `t_ns`, `signal`, `value`, `limit`, `text`, and `dark_after_ns`, the time from its cause until
    every output was dark. `remedies`: what to do about each precondition that does not hold (``reset``: about a trip).
    `heartbeat`: `mode`, `age_ms`, `bound_ms` of the engine. `dose`: for each output the totals, `fractions` of each
    limit that is used, and the `targets` lit last with `y_px`, `x_px`, `energy_mj`, `fraction`; `session_dose`: the
    same over all outputs of this session.
    """

    interlock: str
    inhibited: bool = False
    trips: list[dict[str, Any]]
    preconditions: dict[str, bool]
    remedies: dict[str, str] = msgspec.field(default_factory=dict)
    heartbeat: dict[str, Any] = msgspec.field(default_factory=dict)
    limits: dict[str, dict[str, Any]]
    dose: dict[str, dict[str, Any]]
    session_dose: dict[str, Any] = msgspec.field(default_factory=dict)
    protocol: str | None
    protocol_phase: str | None
    trial: int
    arm: str | None
    counts: dict[str, int]
    effect: dict[str, float] | None


class LightHeader(Header, kw_only=True):
    """Topic ``light``: what an output commanded; the virtual rig answers it. Without `target_planes` it is plane 0."""

    output: str
    t_on_ns: int
    width_us: int
    power_uw: list[int]
    targets_yx_px: list[list[float]]
    target_planes: list[int] = msgspec.field(default_factory=list)


class TruthHeader(Header, kw_only=True):
    """Topic ``truth``: what the virtual sample really did.

    `kind` ``sample`` describes the planted cells (lists of equal length: `cell`, `y_px`, `x_px`, `radius_px`,
    `a_over_sigma`, `rate_hz`, `opsin`) in `sample`; `kind` ``frame`` tells what happened in `frame`: displacement of
    the sample and the spikes since the last frame of the plane (`spike_cell`, `t_spike_ns`, `spike_frame` as a
    fractional frame number, `evoked`), and the light received (`t_light_ns`). Cells are numbered within their plane.
    """

    kind: str
    plane: int
    frame: int
    shift_y_px: float
    shift_x_px: float
    spike_cell: list[int]
    t_spike_ns: list[int]
    spike_frame: list[float]
    evoked: list[bool]
    t_light_ns: list[int]
    sample: dict[str, Any] | None
