"""A clock, outputs and logs that tests can command, and an interlock wired to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rt_engine.interfaces.devices import CutTrain, PulseCommand
from rt_engine.interfaces.errors import DeviceError, RecordingError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.output_config import Limits, SessionLimits
from rt_engine.interfaces.stimulation import PulseRequest
from rt_engine.safety.interlock import Interlock, Precondition
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.wal import RecordKind, WriteAheadLog
from rt_engine.safety.watchdog import HeartbeatMonitor

MS = 1_000_000
S = 1_000_000_000
LIVE_BOUND_NS = 1 * S
IDLE_BOUND_NS = 10 * S
GRID_PX = 6.0
LAX_SESSION = SessionLimits(max_energy_mj=1e6, max_pulses=10**9)


def limits(**changes: Any) -> Limits:
    """The limits of the virtual rig, with changes."""
    values: dict[str, Any] = {
        "max_power_mw": 20.0,
        "max_width_ms": 10.0,
        "max_rate_hz": 10.0,
        "max_duty": 0.05,
        "duty_window_s": 10.0,
        "max_energy_per_target_mj": 20.0,
        "energy_window_s": 60.0,
        "max_total_energy_mj": 10000.0,
        "min_gap_ms": 100.0,
        "target_refractory_ms": 0.0,
        "max_decision_age_ms": 50.0,
        "max_refused_per_min": 100_000,
        "allowed_phases": ("live",),
        "exclusion_zones": (),
    }
    return Limits.model_validate({**values, **changes})


@dataclass
class FakeClock:
    """`true_ns` is real time; the clock shows it plus `offset_ns`."""

    true_ns: int = 1000 * S
    offset_ns: int = 0

    def now_ns(self) -> int:
        return self.true_ns + self.offset_ns

    def step(self, ns: int) -> None:
        self.true_ns += ns


@dataclass
class FakeOutput:
    """An output that keeps what it fired, takes `delay_ns` for the next train, and fails when told to."""

    name: str
    clock: FakeClock
    is_virtual: bool = True
    armed: bool = False
    failing: bool = False
    delay_ns: int = 0
    watchdog_ms: float = 100.0
    longest_wait_ns: int = 0
    next_due_ns: int | None = None
    fed: list[int] = field(default_factory=list)
    expired: bool = False
    cut: list[CutTrain] = field(default_factory=list)
    fired: list[tuple[int, int, PulseCommand]] = field(default_factory=list)

    def open(self) -> None:
        pass

    def self_test(self) -> bool:
        return not self.failing

    def arm(self) -> None:
        if self.failing:
            raise DeviceError(self.name, "does not answer")
        self.armed = True

    def feed(self, now_ns: int) -> None:
        if self.expired:
            self.safe_state()
            raise DeviceError(self.name, "its watchdog expired")
        self.fed.append(now_ns)

    def cut_trains(self) -> tuple[CutTrain, ...]:
        cut, self.cut = tuple(self.cut), []
        return cut

    def fire(self, command: PulseCommand) -> int:
        called_ns = self.clock.true_ns
        if self.failing:
            raise DeviceError(self.name, "does not answer")
        if not self.armed:
            raise AssertionError("the interlock fired an output that is in its safe state")
        self.clock.step(self.delay_ns)
        self.delay_ns = 0
        t_command_ns = command.last_word()
        self.fired.append((called_ns, self.clock.true_ns, command))
        return t_command_ns

    def safe_state(self) -> None:
        self.armed = False

    def close(self) -> None:
        self.armed = False


class MemoryLog(WriteAheadLog):
    """A log that keeps its records in a list, and is full when told so."""

    def __init__(self) -> None:
        self.records: list[tuple[RecordKind, dict[str, Any]]] = []
        self.full = False
        self.wait_for_intent: Callable[[], None] = lambda: None

    def write(self, kind: RecordKind, fields: dict[str, Any]) -> int:
        if self.full:
            raise RecordingError("no space left on device")
        self.records.append((kind, fields))
        if kind is RecordKind.INTENT:
            self.wait_for_intent()
        return len(self.records) - 1

    def reserve(self) -> None:
        if self.full:
            raise RecordingError("no space left on device")

    def sync(self) -> None:
        self.reserve()


class Rig:
    """An interlock with everything around it under the test's control."""

    def __init__(
        self,
        clock: FakeClock | None = None,
        *,
        outputs: tuple[str, ...] = ("led",),
        virtual: bool = True,
        folder: Path | None = None,
        capacity: int = 1024,
        dry_run: bool = False,
        restarted: bool = False,
        has_stop_line: bool = False,
        session_limits: SessionLimits = LAX_SESSION,
        **changes: Any,
    ) -> None:
        self.clock = clock or FakeClock()
        self.limits = {name: limits(**changes) for name in outputs}
        self.outputs = {name: FakeOutput(name, self.clock, is_virtual=virtual) for name in outputs}
        self.log = MemoryLog()
        self.ledger = DoseLedger(
            self.limits,
            session_limits,
            self.clock.now_ns(),
            folder,
            grid_px=GRID_PX,
            capacity=capacity,
            session_path=None if folder is None else folder / "session.dose",
            wall_ns=lambda: self.clock.true_ns,
        )
        self.heartbeat = HeartbeatMonitor(LIVE_BOUND_NS, IDLE_BOUND_NS)
        self.intent_delay_ns = 0
        self.log.wait_for_intent = lambda: self.clock.step(self.intent_delay_ns)
        self.interlock = Interlock(
            self.limits,
            self.outputs,
            self.clock,
            self.ledger,
            self.log,
            self.heartbeat,
            dry_run=dry_run,
            restarted=restarted,
            has_stop_line=has_stop_line,
        )

    def armed(self, mode: Mode = Mode.LIVE) -> Rig:
        """With every precondition met, armed by an operator."""
        lock = self.interlock
        lock.self_test()
        for name in (Precondition.OPERATOR, Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES):
            lock.set_precondition(name, True)
        self.beat(mode)
        lock.arm()
        return self

    def beat(self, mode: Mode = Mode.LIVE) -> None:
        self.interlock.heartbeat(self.clock.now_ns(), mode)

    def request(self, **changes: Any) -> PulseRequest:
        """A harmless request made now."""
        now_ns = self.clock.now_ns()
        values: dict[str, Any] = {
            "rule": "test",
            "arm": "stim",
            "output": "led",
            "plane": 0,
            "frame": 1,
            "roi_ids": (1,),
            "target_ids": (2,),
            "targets_yx_px": ((50.0, 50.0),),
            "power_mw": 8.0,
            "width_ms": 5.0,
            "t_scan_ns": now_ns - 5 * MS,
            "t_decided_ns": now_ns - MS,
        }
        return PulseRequest(**{**values, **changes})

    @property
    def n_fired(self) -> int:
        return sum(len(output.fired) for output in self.outputs.values())
