"""What a protocol asks for, as integers, or the reason why it makes no sense."""

from __future__ import annotations

import math

from rt_engine.interfaces.stimulation import MAX_PULSES, MAX_TARGETS, PulseRequest
from rt_engine.safety.train import Train

_ABSURD_UW = 1_000_000_000
_ABSURD_US = 3_600_000_000
_ABSURD_PX = 100_000.0


def plan_train(request: PulseRequest) -> Train | str:
    """Integers of a request.

    Parameters
    ----------
    request : PulseRequest
        As it came; nothing about it is trusted.

    Returns
    -------
    Train or str
        The train, or the reason why the request cannot be one.
    """
    numbers = (request.power_mw, request.width_ms, request.period_ms)
    for name, value in zip(("power_mw", "width_ms", "period_ms"), numbers, strict=True):
        if not _is_number(value):
            return f"{name} {value!r} is not a finite number"
    if not _is_count(request.pulses) or not 1 <= request.pulses <= MAX_PULSES:
        return f"pulses {request.pulses!r} is not a whole number from 1 to {MAX_PULSES}"
    if not 1 <= len(request.targets_yx_px) <= MAX_TARGETS:
        return f"{len(request.targets_yx_px)} targets, not 1 to {MAX_TARGETS}"
    targets = request.targets_yx_px
    if type(targets) is not tuple or not all(map(_is_plain, targets)):
        for position in targets:
            if len(position) != 2 or not all(_is_number(p) and abs(p) <= _ABSURD_PX for p in position):
                return f"target position {position!r} px is not in any field"
        targets = tuple((float(y_px), float(x_px)) for y_px, x_px in targets)
    if not (0 < request.power_mw <= _ABSURD_UW / 1e3 and 0 < request.width_ms <= _ABSURD_US / 1e3):
        return f"power_mw {request.power_mw:g} and width_ms {request.width_ms:g} must be positive and possible"
    power_uw, width_us = max(1, round(request.power_mw * 1e3)), max(1, round(request.width_ms * 1e3))
    period_us = 0
    if request.pulses > 1:
        if not request.width_ms <= request.period_ms <= _ABSURD_US / 1e3:
            return f"period_ms {request.period_ms:g} is shorter than width_ms {request.width_ms:g}, or absurd"
        period_us = round(request.period_ms * 1e3)
    return Train(request.pulses, width_us, period_us, power_uw, targets)


def time_fault(request: PulseRequest, now_ns: int) -> str | None:
    """Reason why the times of a request cannot be; None if they can."""
    times = (request.t_scan_ns, request.t_decided_ns, request.t_scan_uncertainty_ns)
    if not all(_is_count(t) and t >= 0 for t in times):
        return f"times {times!r} are not whole nanoseconds"
    if now_ns - request.t_scan_ns < -request.t_scan_uncertainty_ns:
        return f"decision_age_ms {(now_ns - request.t_scan_ns) / 1e6:g} is negative"
    if now_ns < request.t_decided_ns:
        return f"time since decision, ms, {(now_ns - request.t_decided_ns) / 1e6:g} is negative"
    return None


def _is_plain(position: tuple[float, ...]) -> bool:
    """True for a tuple of two floats inside any field: what nearly every position is."""
    if type(position) is not tuple or len(position) != 2:
        return False
    y_px, x_px = position
    floats = type(y_px) is float and type(x_px) is float
    return floats and -_ABSURD_PX <= y_px <= _ABSURD_PX and -_ABSURD_PX <= x_px <= _ABSURD_PX


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
