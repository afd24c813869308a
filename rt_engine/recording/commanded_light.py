"""Which decision commanded a pulse of light, and the light of commands of which the journal holds none."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rt_engine.interfaces.clock import NS_PER_US
from rt_engine.interfaces.messages import LightHeader, StimHeader


@dataclass(slots=True)
class Decision:
    """One decision of the stimulation service, its phases merged; times in monotonic nanoseconds."""

    first: StimHeader
    outcome: str | None = None
    reason: str | None = None
    t_command_ns: int | None = None
    t_output_ns: int | None = None
    energy_nj: list[int] = field(default_factory=list)
    pulses: int | None = None

    @property
    def has_trigger(self) -> bool:
        """False where only the end of it was saved: what triggered it, and when that was scanned, is lost."""
        return self.first.t_scan_ns > 0


def add_phase(decisions: dict[str, Decision], header: StimHeader) -> None:
    """Merge one `stim` message into its decision."""
    decision = decisions.setdefault(header.decision_id, Decision(header))
    if header.outcome is not None:
        decision.outcome, decision.reason = header.outcome.value, header.reason
    if header.t_command_ns is not None:
        decision.t_command_ns = header.t_command_ns
    if header.t_output_ns is not None:
        decision.t_output_ns = header.t_output_ns
    if header.energy_nj is not None:
        decision.energy_nj = header.energy_nj
    if header.pulses is not None:
        decision.pulses = header.pulses


class Commands:
    """Which decision commanded a pulse: the last of its output before it, for as many pulses as it asked for."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._decisions: dict[str, list[tuple[int, Decision]]] = {}
        self._n_told: dict[str, int] = {}
        for one in decisions:
            if one.t_command_ns is not None and one.first.output is not None:
                self._decisions.setdefault(one.first.output, []).append((one.t_command_ns, one))
        for commanded in self._decisions.values():
            commanded.sort(key=lambda pair: pair[0])

    def of(self, light: LightHeader) -> Decision | None:
        """None for light that no decision of the session commanded; to be asked in the order of time."""
        commanded = self._decisions.get(light.output, [])
        at = bisect_right(commanded, light.t_on_ns, key=lambda pair: pair[0])
        if not at:
            return None
        decision = commanded[at - 1][1]
        n = self._n_told[decision.first.decision_id] = self._n_told.get(decision.first.decision_id, 0) + 1
        return decision if n <= max(decision.first.pulses or 1, 1) else None

    def untold(self) -> list[Decision]:
        """Commands of which no pulse has been asked about, in the order of output and time."""
        every = (decision for commanded in self._decisions.values() for _, decision in commanded)
        return [one for one in every if one.first.decision_id not in self._n_told]


def without_light(decisions: Iterable[Decision], lights: Iterable[LightHeader]) -> list[Decision]:
    """Decisions whose command reached an output and of which the journal holds no light."""
    commands = Commands(decisions)
    for light in sorted(lights, key=lambda one: one.t_on_ns):
        commands.of(light)
    return commands.untold()


def light_of(
    decision: Decision,
    period_us: int | None = None,
    targets_yx_px: Iterable[Iterable[float]] = (),
    **stamp: Any,
) -> list[LightHeader]:
    """The pulses that a command stands for.

    Parameters
    ----------
    decision : Decision
        With a command.
    period_us : int, optional
        From pulse to pulse, microseconds; without it, only the first pulse of a train can be placed.
    targets_yx_px : iterable of pairs of float
        Places in the template, pixels; empty where they are not known.
    **stamp
        Fields that every header begins with, instead of those of the decision.

    Returns
    -------
    list of LightHeader
        Empty where width or power is not known.
    """
    first = decision.first
    if decision.t_command_ns is None or first.width_us is None or not first.power_uw or first.output is None:
        return []
    own = {name: getattr(first, name) for name in ("session", "source", "host", "boot_id", "seq")}
    n = max(decision.pulses or first.pulses or 1, 1) if period_us else 1
    step_ns = (period_us or 0) * NS_PER_US
    return [
        LightHeader(
            **({**own, "t_sent_ns": decision.t_command_ns} | stamp),
            output=first.output,
            t_on_ns=decision.t_command_ns + pulse * step_ns,
            width_us=first.width_us,
            power_uw=list(first.power_uw),
            targets_yx_px=[[float(v) for v in place] for place in targets_yx_px],
            target_planes=list(first.target_planes),
        )
        for pulse in range(n)
    ]
