"""What became of the triggers, and the state of interlock and protocol."""

from __future__ import annotations

import itertools
import re
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from rt_engine.interfaces.messages import LightHeader, Phase, StateHeader, StimHeader

MAX_REASONS = 100
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
"""Reasons that differ in a measured value alone are one reason."""


class LightMark(NamedTuple):
    """Light that was delivered: when, and at which cells and places."""

    t_ns: int
    roi_ids: tuple[int, ...]
    targets_yx_px: tuple[tuple[float, float], ...]
    power_mw: float
    planes: tuple[int, ...]
    """One for each place; empty: all in plane 0."""

    def places_in(self, plane: int) -> list[tuple[float, float]]:
        """The places in one plane."""
        if len(self.planes) != len(self.targets_yx_px):
            return list(self.targets_yx_px) if plane == 0 else []
        return [place for place, of in zip(self.targets_yx_px, self.planes, strict=True) if of == plane]


@dataclass(slots=True)
class Decisions:
    """The last decisions, and how many there were of each kind.

    Attributes
    ----------
    recent : deque of StimHeader
        Phase `done`, newest last.
    outcomes : Counter of str
    reasons : Counter of tuple of str
        (outcome, reason), as far as a reason was given.
    lights : deque of LightMark
    """

    recent: deque[StimHeader] = field(default_factory=lambda: deque(maxlen=300))
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    lights: deque[LightMark] = field(default_factory=lambda: deque(maxlen=2000))
    n_taken: int = 0
    n_lights: int = 0

    def take_stim(self, header: StimHeader) -> None:
        """Take one phase of one decision."""
        self.n_taken += 1
        if header.phase is not Phase.DONE or header.outcome is None:
            return
        self.recent.append(header)
        self.outcomes[header.outcome.value] += 1
        if header.reason:
            key = (header.outcome.value, _NUMBER.sub("…", header.reason[:120]))
            if key in self.reasons or len(self.reasons) < MAX_REASONS:
                self.reasons[key] += 1

    def take_light(self, header: LightHeader) -> None:
        """Take what an output emitted."""
        places = tuple((float(one[0]), float(one[1])) for one in header.targets_yx_px[:500] if len(one) == 2)
        power_mw = max(header.power_uw, default=0) / 1000
        roi_ids = self.recent[-1].target_ids if self.recent else ()
        self.n_lights += 1
        self.lights.append(
            LightMark(header.t_on_ns, tuple(roi_ids), places, power_mw, tuple(header.target_planes[:500]))
        )

    def newest_lights(self, n: int) -> list[LightMark]:
        """The last `n` of them, oldest first."""
        return list(itertools.islice(self.lights, max(0, len(self.lights) - n), None)) if n > 0 else []


@dataclass(slots=True)
class RigState:
    """The newest `state`, and when it came."""

    header: StateHeader | None = None
    t_heard_ns: int = 0

    @property
    def interlock(self) -> str:
        """State of the interlock as it was acknowledged; "unknown" before the first message."""
        return self.header.interlock if self.header else "unknown"
