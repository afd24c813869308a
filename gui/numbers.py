"""Numbers as people read them; what is no number becomes a dash."""

from __future__ import annotations

import math

NONE = "–"


def number(value: object, digits: int = 3, unit: str = "") -> str:
    """`value` to `digits` significant digits with its unit; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NONE
    if isinstance(value, int) and abs(value) < 10**9:
        return f"{value:,}{unit and ' ' + unit}"
    try:
        as_float = float(value)
    except OverflowError:
        return "huge"
    if not math.isfinite(as_float):
        return NONE
    if abs(as_float) >= 1e9:
        return f"{as_float:.2e}{unit and ' ' + unit}"
    if abs(as_float) >= 10 ** (digits - 1):
        return f"{as_float:,.0f}{unit and ' ' + unit}"
    return f"{as_float:.{digits}g}{unit and ' ' + unit}"


def fixed(value: float | None, decimals: int, unit: str = "") -> str:
    """`value` with a fixed number of decimals, so that it does not jump; a dash where there is none."""
    if value is None or not math.isfinite(value) or abs(value) > 1e9:
        return NONE
    return f"{value:,.{decimals}f}{unit and ' ' + unit}"


def percent(fraction: object) -> str:
    """A fraction as whole percent."""
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not math.isfinite(fraction):
        return NONE
    return f"{100 * fraction:.0f} %"


def age(seconds: float) -> str:
    """How old something is."""
    if not math.isfinite(seconds) or seconds < 0:
        return NONE
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def clock_time(seconds: float) -> str:
    """Time since a start, ``m:ss`` or ``h:mm:ss``."""
    if not math.isfinite(seconds) or seconds < 0 or seconds > 1e7:
        return NONE
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def size(n_bytes: float) -> str:
    """Bytes as MB or GB."""
    if not math.isfinite(n_bytes) or n_bytes < 0 or n_bytes > 1e18:
        return NONE
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
