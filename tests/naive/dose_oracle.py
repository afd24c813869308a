"""Brute-force judge of delivered light: keeps every pulse and looks at every window."""

from __future__ import annotations

from dataclasses import dataclass

from rt_engine.interfaces.output_config import Limits, SessionLimits

SLACK = 1 + 1e-9


@dataclass(frozen=True)
class Pulse:
    """One pulse on one or more targets; seconds, milliwatt, pixels.

    Pulses of one `train` follow one another without a refractory time of the place. Positions of another `epoch` were
    given in another template: any of its places may be any of ours.
    """

    onset_s: float
    width_s: float
    power_mw: float
    targets: tuple[tuple[float, float], ...]
    train: int = 0
    epoch: int = 0

    @property
    def end_s(self) -> float:
        return self.onset_s + self.width_s

    def overlap_s(self, start_s: float, end_s: float) -> float:
        return max(0.0, min(self.end_s, end_s) - max(self.onset_s, start_s))


def broken_limits(pulses: list[Pulse], limits: Limits, reach_px: float) -> list[str]:
    """Names of the limits that a list of delivered pulses breaks.

    Targets within `reach_px` of one another count as the same place.
    """
    broken = set()
    pulses = sorted(pulses, key=lambda pulse: pulse.onset_s)
    rate_window_s = max(1.0, 1 / limits.max_rate_hz)
    for i, pulse in enumerate(pulses):
        if pulse.power_mw > limits.max_power_mw * SLACK:
            broken.add("power")
        if pulse.width_s * 1e3 > limits.max_width_ms * SLACK:
            broken.add("width")
        if i and pulse.onset_s - pulses[i - 1].end_s < limits.min_gap_ms / 1e3 - 1e-7:
            broken.add("gap")
        started = sum(0 <= other.onset_s - pulse.onset_s < rate_window_s - 1e-7 for other in pulses)
        if started > max(1.0, limits.max_rate_hz * rate_window_s * SLACK):
            broken.add("rate")
        for start_s in (pulse.onset_s, pulse.end_s - limits.duty_window_s):
            on_s = sum(other.overlap_s(start_s, start_s + limits.duty_window_s) for other in pulses)
            if on_s > limits.max_duty * limits.duty_window_s + 1e-7:
                broken.add("duty")
        for zone in limits.exclusion_zones:
            if any((y - zone.y_px) ** 2 + (x - zone.x_px) ** 2 <= zone.radius_px**2 for y, x in pulse.targets):
                broken.add("zone")
        for other in pulses[:i]:
            rested = pulse.onset_s - other.end_s >= limits.target_refractory_ms / 1e3 - 1e-7
            if not rested and other.train != pulse.train and _share_a_place(pulse, other, reach_px):
                broken.add("refractory")
    total_mj = sum(pulse.power_mw * pulse.width_s * len(pulse.targets) for pulse in pulses)
    if total_mj > limits.max_total_energy_mj * SLACK:
        broken.add("total")
    for last in pulses:
        if _most_lit_mj(pulses, last.end_s - limits.energy_window_s, last.end_s, reach_px) > (
            limits.max_energy_per_target_mj * SLACK
        ):
            broken.add("target")
    return sorted(broken)


def _most_lit_mj(pulses: list[Pulse], start_s: float, end_s: float, reach_px: float) -> float:
    """Energy of the most lit place in a window; the most lit places of all epochs may be the same."""
    energy_mj = 0.0
    inside = [(pulse, pulse.overlap_s(start_s, end_s)) for pulse in pulses]
    inside = [(pulse, on_s) for pulse, on_s in inside if on_s > 0]
    for epoch in {pulse.epoch for pulse, _ in inside}:
        own = [(pulse, on_s) for pulse, on_s in inside if pulse.epoch == epoch]
        places = {place for pulse, _ in own for place in pulse.targets}
        energy_mj += max(
            sum(
                pulse.power_mw * on_s * sum((ty - y) ** 2 + (tx - x) ** 2 <= reach_px**2 for ty, tx in pulse.targets)
                for pulse, on_s in own
            )
            for y, x in places
        )
    return energy_mj


def _share_a_place(one: Pulse, other: Pulse, reach_px: float) -> bool:
    if one.epoch != other.epoch:
        return True
    return any((y - v) ** 2 + (x - u) ** 2 <= reach_px**2 for y, x in one.targets for v, u in other.targets)


def broken_session(pulses: list[Pulse], limits: SessionLimits) -> list[str]:
    """Names of the limits of the session that the pulses of all outputs break together."""
    energy_mj = sum(pulse.power_mw * pulse.width_s * len(pulse.targets) for pulse in pulses)
    broken = ["energy"] if energy_mj > limits.max_energy_mj * SLACK else []
    return broken + (["pulses"] if len(pulses) > limits.max_pulses else [])
