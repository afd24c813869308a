"""How the clocks of cards ran against the computer's, as their inputs told it on topic ``log`` of a session."""

from __future__ import annotations

from typing import Any

from rt_engine.interfaces.inputs import ClockTold
from rt_engine.interfaces.messages import LogHeader

CLOCKS_FIELD = "input_clocks"
"""Key of the fields of such a message: input to what is told of its clock."""

InputClocks = dict[str, dict[str, float]]


def told_clocks(header: LogHeader) -> InputClocks:
    """What one message tells; empty of any other."""
    told = header.fields.get(CLOCKS_FIELD)
    if not isinstance(told, dict):
        return {}
    return {str(name): found for name, one in told.items() if (found := _figures(one))}


def worst_clocks(before: InputClocks, now: InputClocks) -> InputClocks:
    """Drift and jitter as told last, `uncertainty_ns` the worst that was told."""
    found = dict(before)
    for name, one in now.items():
        worst_ns = max(one["uncertainty_ns"], before.get(name, one)["uncertainty_ns"])
        found[name] = one | {"uncertainty_ns": worst_ns}
    return found


def figures_told(figures: dict[str, float]) -> ClockTold:
    """The same as the input told it."""
    return ClockTold(
        figures["drift_ppm"], figures["drift_uncertainty_ppm"], figures["jitter_ns"], round(figures["uncertainty_ns"])
    )


def clock_in_words(told: ClockTold) -> str:
    """For people: drift, jitter, and how well times are known."""
    return (
        f"card clock {told.drift_ppm:+.1f} ppm against this computer's (known to {told.drift_uncertainty_ppm:.1f}), "
        f"jitter {told.jitter_ns / 1e3:.1f} us, times known to {told.uncertainty_ns / 1e3:.1f} us"
    )


def _figures(one: Any) -> dict[str, float] | None:
    fields = ClockTold._fields
    if not isinstance(one, dict) or not all(isinstance(one.get(key), int | float) for key in fields):
        return None
    return {key: float(one[key]) for key in fields}
