"""What a protocol asks for and what became of it: the two records between protocols, interlock and recorder."""

from __future__ import annotations

import msgspec

from rt_engine.interfaces.messages import Outcome

MAX_TARGETS = 128
"""Most targets of one request, a bound on the memory and time of one decision."""
MAX_PULSES = 1000
"""Most pulses of one train."""


class PulseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger of a protocol, and the light it wants; the interlock decides.

    Attributes
    ----------
    rule, arm : str
        Name of the rule that triggered; arm of the design the trigger was assigned to (empty if none was drawn).
    output : str
        Name of the output in the rig.
    plane, frame : int
        Where and when the events were decided.
    roi_ids : tuple of int
        Cells that triggered.
    target_ids : tuple of int
        Cells to be lit, in the order of `targets_yx_px`.
    targets_yx_px : tuple of (float, float)
        Target positions (y, x) in template coordinates, pixels.
    target_planes : tuple of int
        Plane of every target; empty where all are in plane 0.
    power_mw : float
        Power at the sample for each target.
    width_ms : float
        Width of each pulse.
    pulses : int
    period_ms : float
        From rise to rise; 0 for one pulse.
    t_scan_ns, t_decided_ns : int
        When the last line used had been scanned, and when inference decided; clock of this host.
    t_scan_uncertainty_ns : int
        Bound of the error of `t_scan_ns`; added to the age of the decision.
    withheld : bool
        True for a control trigger: judged like the others, never charged, never fired.
    suppressed : str or None
        Why the protocol itself gives no light (refractory, phase); such a request is only reported.
    sham : bool
        True for a control with light that shall reach no target: judged, charged and fired like any other.
    pattern_id : str or None
        What stands for targets that are no cells.
    trial : int
        Number of the trial it belongs to; -1 for none.
    """

    rule: str
    arm: str
    output: str
    plane: int
    frame: int
    roi_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    targets_yx_px: tuple[tuple[float, float], ...]
    target_planes: tuple[int, ...] = ()
    power_mw: float
    width_ms: float
    pulses: int = 1
    period_ms: float = 0.0
    t_scan_ns: int
    t_decided_ns: int
    t_scan_uncertainty_ns: int = 0
    withheld: bool = False
    suppressed: str | None = None
    sham: bool = False
    pattern_id: str | None = None
    trial: int = -1


class MarkCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A named moment in the record; `t_scan_ns` is the protocol's time."""

    mark: str
    t_scan_ns: int
    frame: int


class MessageCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A message for MQTT, which the telemetry service forwards."""

    topic: str
    text: str
    t_scan_ns: int


ProtocolCommand = PulseRequest | MarkCommand | MessageCommand
"""What a protocol may ask for."""


class Decision(msgspec.Struct, kw_only=True):
    """What the interlock made of one request; the fields of `messages.StimHeader` that it knows.

    `outcome` is None before firing (phase `intent`). `pulses`, `width_us`, `period_us`, `power_uw`, `energy_nj` (the
    last two one entry for each target, energy of the whole train) are None where the request was too absurd to plan;
    `t_command_ns` is None where nothing was fired, `t_judged_ns` where nothing had to be judged: the moment that age,
    dose and rates were taken at. `is_logged`: the write-ahead log has its intent, so that there may have been light.
    """

    decision_id: str
    outcome: Outcome | None
    reason: str | None
    output: str
    pulses: int | None = None
    width_us: int | None = None
    period_us: int | None = None
    power_uw: tuple[int, ...] | None = None
    energy_nj: tuple[int, ...] | None = None
    t_command_ns: int | None = None
    t_judged_ns: int | None = None
    is_logged: bool = False
