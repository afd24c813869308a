"""Light for a person at the bench, without a run: the same interlock, limits and log, and a heartbeat of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.output_config import Limits, SessionLimits
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.safety.interlock import Interlock, InterlockState, Precondition
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.wal import WriteAheadLog, next_wal_path
from rt_engine.safety.watchdog import HeartbeatMonitor

_TURN_S = 0.003
_ARMS = 5
"""How often it arms again after a computer that is too busy has tripped it."""


class BenchLight:
    """One output behind an interlock of its own; use it as a context manager.

    The person who asked for the light is the operator; the loop that waits in `run_for` is the engine whose heartbeat
    counts. Every pulse is judged, bounded and logged as in a run.

    Parameters
    ----------
    name : str
    output : Output
    limits : Limits
        Of the rig, or stricter.
    clock : Clock
    folder : Path
        Where the log is written.
    sleep : callable
    """

    def __init__(
        self,
        name: str,
        output: Output,
        limits: Limits,
        clock: Clock,
        folder: Path,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name, self._output, self._clock, self._sleep = name, output, clock, sleep
        folder.mkdir(parents=True, exist_ok=True)
        self._wal = WriteAheadLog(next_wal_path(folder))
        self._limits = limits.model_copy(update={"allowed_phases": ("live",)})
        whole = SessionLimits(max_energy_mj=limits.max_total_energy_mj, max_pulses=1_000_000)
        ledger = DoseLedger({name: self._limits}, whole, clock.now_ns(), None, grid_px=1.0)
        heartbeat = HeartbeatMonitor(NS_PER_S, NS_PER_S)
        self._interlock = Interlock({name: self._limits}, {name: output}, clock, ledger, self._wal, heartbeat)
        self._arms = 0

    def __enter__(self) -> BenchLight:
        """Test the output and arm.

        Raises
        ------
        SafetyError
            It cannot be armed: the sentence says why.
        """
        entered = False
        try:
            self._arm()
            entered = True
        finally:
            if not entered:
                self.__exit__()
        return self

    def __exit__(self, *_: object) -> None:
        """Dark, released."""
        self._interlock.disarm("the bench is done")
        self._output.close()
        self._wal.close()

    def pulse(self, power_mw: float, width_ms: float, *, pulses: int = 1, period_ms: float = 0.0) -> Decision:
        """Ask for a train; what became of it."""
        self._turn()
        if not self._interlock.is_armed:
            self._arm()
        now_ns = self._clock.now_ns()
        return self._interlock.request(
            PulseRequest(
                rule="bench",
                arm="bench",
                output=self._name,
                plane=0,
                frame=0,
                roi_ids=(),
                target_ids=(),
                targets_yx_px=((0.0, 0.0),),
                power_mw=power_mw,
                width_ms=width_ms,
                pulses=pulses,
                period_ms=period_ms,
                t_scan_ns=now_ns,
                t_decided_ns=now_ns,
            )
        )

    def run_for(self, seconds: float) -> None:
        """Keep the watchdog fed for so long.

        Raises
        ------
        SafetyError
            Something has tripped.
        """
        end_ns = self._clock.now_ns() + round(seconds * NS_PER_S)
        while self._clock.now_ns() < end_ns:
            self._turn()
            if self._interlock.state is InterlockState.TRIPPED:
                raise SafetyError(self._interlock.trips[-1].text)
            self._sleep(_TURN_S)

    def rest(self) -> None:
        """Dark and disarmed until the next pulse, which arms again: a person may take all the time there is."""
        self._interlock.disarm("a person is reading a meter")

    def _turn(self) -> None:
        now_ns = self._clock.now_ns()
        self._interlock.heartbeat(now_ns, Mode.LIVE)
        self._interlock.tend(now_ns)

    def _arm(self) -> None:
        if self._interlock.state is InterlockState.TRIPPED:
            self._arms += 1
            if self._arms > _ARMS:
                raise SafetyError(f"tripped {self._arms} times, the last: {self._interlock.trips[-1].text}")
            self._interlock.reset("the person at the bench goes on")
        if not self._interlock.self_test():
            why = self._interlock.trips[-1].text if self._interlock.trips else "its self-test has failed"
            raise SafetyError(f"{self._name} cannot be armed: {why}")
        for name in (Precondition.OPERATOR, Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES):
            self._interlock.set_precondition(name, True)
        self._interlock.heartbeat(self._clock.now_ns(), Mode.LIVE)
        self._interlock.arm()

    @property
    def gap_s(self) -> float:
        """Shortest time from one pulse to the next that the limits allow, with a little to spare."""
        limits = self._limits
        dark_ms = max(limits.min_gap_ms, limits.target_refractory_ms, 1000.0 / limits.max_rate_hz)
        waits_s = self._output.longest_wait_ns / NS_PER_S
        return (dark_ms + 20.0) * NS_PER_MS / NS_PER_S + waits_s
