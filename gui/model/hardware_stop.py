"""The hardware STOP line of a rig, as its messages tell of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gui.model.live import LiveModel

_PRECONDITION, _SIGNAL = "stop_line_closed", "stop_line"


@dataclass(frozen=True, slots=True)
class HardwareStop:
    """What is known of the line.

    Attributes
    ----------
    line : str or None
        Name of the input; None: the rig has no such line, or says nothing of it.
    closed : bool or None
        True: light is allowed; None: not told.
    has_tripped : bool
        The newest trip came of it.
    dark_after_ms : float
        From the opening of the line until every output was dark; NaN if it was not told.
    """

    line: str | None = None
    closed: bool | None = None
    has_tripped: bool = False
    dark_after_ms: float = math.nan


def hardware_stop(live: LiveModel) -> HardwareStop:
    """The line of the rig that is heard."""
    session, header = live.session, live.state.header
    rig = session.config.get("rig") if session is not None else None
    wired = rig.get("stop_line") if isinstance(rig, dict) else None
    name = wired.get("line") if isinstance(wired, dict) else None
    if header is None:
        return HardwareStop(str(name)[:40] if name else None)
    last: dict[str, Any] = header.trips[-1] if header.trips else {}
    tripped = last.get("signal") == _SIGNAL
    dark_ns = last.get("dark_after_ns") if tripped else None
    known = isinstance(dark_ns, int | float) and not isinstance(dark_ns, bool) and 0 <= dark_ns < 1e15
    return HardwareStop(
        str(name)[:40] if name else None,
        header.preconditions.get(_PRECONDITION) if name else None,
        tripped,
        float(dark_ns) / 1e6 if known and dark_ns is not None else math.nan,
    )


def in_words(stop: HardwareStop) -> str:
    """One sentence for people."""
    if stop.line is None:
        return "Hardware STOP: this rig has none that the program reads."
    state = {True: "closed, light is allowed", False: "OPEN, no light can leave", None: "not told yet"}[stop.closed]
    dark = f"; its last opening made everything dark after {stop.dark_after_ms:.1f} ms" if stop.has_tripped else ""
    return f"Hardware STOP ({stop.line}): {state}{dark if math.isfinite(stop.dark_after_ms) else ''}."
