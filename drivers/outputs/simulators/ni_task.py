"""One task of a simulated card: what it is made of, what it holds, and what it puts out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

NS_PER_S = 1_000_000_000


class Kind(StrEnum):
    """What a task does."""

    NONE = "none"
    DO = "do"
    DI = "di"
    AO = "ao"
    AI = "ai"
    CO = "co"
    CI = "ci"
    WATCHDOG = "watchdog"


class TaskState(StrEnum):
    """How far a task has come."""

    MADE = "made"
    COMMITTED = "committed"
    RUNNING = "running"


@dataclass(slots=True)
class SimulatedTask:
    """A task; times in nanoseconds of this host."""

    name: str
    kind: Kind = Kind.NONE
    channels: list[str] = field(default_factory=list)
    state: TaskState = TaskState.MADE
    rate_hz: float | None = None
    finite: bool = True
    samples: int = 0
    clock_source: str = ""
    trigger: str | None = None
    retriggerable: bool = False
    buffer: list[float] = field(default_factory=list)
    high_s: float = 0.0
    low_s: float = 0.0
    delay_s: float = 0.0
    pulses: int = 1
    range_v: tuple[float, float] = (-10.0, 10.0)
    started_ns: int = 0
    ends_ns: int | None = None
    failure: int = 0
    read_from: int = 0
    edges_term: str = ""
    timeout_s: float = 0.0
    fed_ns: int = 0
    expired_ns: int | None = None
    states: dict[str, float] = field(default_factory=dict)

    @property
    def is_timed(self) -> bool:
        """True if samples follow a clock of the card."""
        return self.rate_hz is not None or self.kind is Kind.CO

    @property
    def is_output(self) -> bool:
        """True if it drives something."""
        return self.kind in (Kind.DO, Kind.AO, Kind.CO)

    def needs(self) -> set[str]:
        """What of the card it reserves: its channels, and the clock of its kind where it is timed."""
        held = {f"{self.kind}:{channel}" for channel in self.channels}
        if self.kind in (Kind.CO, Kind.CI):
            held = {f"counter:{channel}" for channel in self.channels}
        elif self.is_timed:
            held.add(f"{self.kind}:clock")
        elif self.kind is Kind.WATCHDOG:
            held = {"watchdog"}
        return held

    def steps(self, t0_ns: int) -> list[tuple[int, float]]:
        """What it puts out on its first channel when it starts at `t0_ns`; the last step ends it."""
        if self.kind is Kind.CO:
            period_s = self.high_s + self.low_s
            found = []
            for pulse in range(self.pulses):
                rise_s = self.delay_s + pulse * period_s
                found += [(t0_ns + round(rise_s * NS_PER_S), 1.0)]
                found += [(t0_ns + round((rise_s + self.high_s) * NS_PER_S), 0.0)]
            return found
        rate_hz = self.rate_hz or 1.0
        found, before = [], None
        for i, level in enumerate(self.buffer):
            if level != before:
                found.append((t0_ns + round(i * NS_PER_S / rate_hz), level))
                before = level
        return found

    def end_ns(self, t0_ns: int) -> int:
        """When all samples are out."""
        if self.kind is Kind.CO:
            return t0_ns + round((self.delay_s + self.pulses * (self.high_s + self.low_s)) * NS_PER_S)
        return t0_ns + round(len(self.buffer) * NS_PER_S / (self.rate_hz or 1.0))
