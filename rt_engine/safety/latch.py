"""The states of the interlock: what must hold before light, what ends it, and that a trip stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from rt_engine.interfaces.clock import NS_PER_MS, Clock, SessionClock
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import DeviceError, RecordingError, SafetyError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.output_config import LONGEST_WATCHDOG_MS
from rt_engine.safety.states import ALLOWING, InterlockState, Precondition, Trip
from rt_engine.safety.wal import RecordKind, WriteAheadLog
from rt_engine.safety.watchdog import HeartbeatMonitor

MAX_TRIPS_KEPT = 64
_SETTABLE = (Precondition.OPERATOR, Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES)


class SafetyLatch:
    """Disarmed, armed, firing or tripped; outputs can fire while it is armed, the source not paused, and never else.

    It can make no command: the judgement of requests, and the token, are `interlock.Interlock`'s, which is built on
    this class. All methods belong to one thread, the stimulation loop.

    Parameters
    ----------
    outputs : mapping of str to Output
        By name. In a dry run they are never touched.
    clock : Clock
    wal : WriteAheadLog
    heartbeat : HeartbeatMonitor
    dry_run : bool
        Touch no output.
    restarted : bool
        True for a service that comes back: it starts tripped.
    has_stop_line : bool
        True where a stop line is wired: it must have been read, and be closed.

    Attributes
    ----------
    inhibited : bool
        Armed, but the source has paused by design: outputs dark until it goes on.

    Raises
    ------
    SafetyError
        The clock is that of a recording and an output is not virtual; or a real output has no watchdog of at most
        100 ms.
    """

    def __init__(
        self,
        outputs: Mapping[str, Output],
        clock: Clock,
        wal: WriteAheadLog,
        heartbeat: HeartbeatMonitor,
        *,
        dry_run: bool,
        restarted: bool,
        has_stop_line: bool = False,
    ) -> None:
        self._outputs = dict(outputs)
        real = [name for name, output in outputs.items() if not output.is_virtual]
        if isinstance(clock, SessionClock) and real:
            raise SafetyError(f"recorded time may not drive the output {real[0]}", "replay on virtual outputs")
        for name in real:
            watchdog_ms = outputs[name].watchdog_ms
            if not 0 < watchdog_ms <= LONGEST_WATCHDOG_MS:
                raise SafetyError(
                    f"output {name}: watchdog_ms {watchdog_ms:g} is not within {LONGEST_WATCHDOG_MS:g} ms",
                    "a real output goes dark by itself when the decision loop is silent for so long",
                )
        self._clock, self._wal, self._heartbeat = clock, wal, heartbeat
        self.dry_run = dry_run
        self.state = InterlockState.DISARMED
        self.trips: deque[Trip] = deque(maxlen=MAX_TRIPS_KEPT)
        self.n_trips = 0
        self._held = dict.fromkeys(Precondition, False)
        self._held[Precondition.STOP_LINE_CLOSED] = not has_stop_line
        self.inhibited = False
        self._firing_until_ns = 0
        self._last_now_ns = clock.now_ns()
        if restarted:
            self.trip("restart", "restarted", "never while running", "the stimulation service was restarted")

    @property
    def is_armed(self) -> bool:
        """True if there may be light, or is."""
        return self.state in ALLOWING

    @property
    def all_virtual(self) -> bool:
        """True if no output can emit real light."""
        return all(output.is_virtual for output in self._outputs.values())

    def self_test(self) -> bool:
        """Open and test every output while disarmed; sets the precondition. A dry run touches none and passes."""
        if self.is_armed:
            self.disarm("self-test")
        passed = True
        if not self.dry_run:
            try:
                for output in self._outputs.values():
                    output.open()
                    passed = output.self_test() and passed
            except DeviceError as error:
                passed = False
                self.trip("output", error.device, "self-test", str(error))
        self._held[Precondition.OUTPUTS_TESTED] = passed
        return passed

    def set_precondition(self, name: Precondition, ok: bool) -> None:
        """Say whether a precondition holds; losing one while armed trips or disarms.

        Parameters
        ----------
        name : Precondition
            `OPERATOR`, `RECORDING_LIVE` or `CALIBRATION_MATCHES`. Loss of the recorder trips, the others disarm.
        ok : bool

        Raises
        ------
        SafetyError
            The interlock finds this one out by itself (`heartbeat`, `self_test`, `stop_line`).
        """
        if name not in _SETTABLE:
            raise SafetyError(f"precondition {name.value} is found out by the interlock, not set")
        self._held[name] = ok
        if ok or not self.is_armed:
            return
        if name is Precondition.RECORDING_LIVE:
            self.trip(name.value, "lost", "required while armed", f"{name.value} no longer holds")
        else:
            self.disarm(f"{name.value} no longer holds")

    def preconditions(self) -> dict[str, bool]:
        """Every precondition as it is now."""
        held = {name.value: ok for name, ok in self._held.items()}
        held[Precondition.ENGINE_HEARTBEAT.value] = self._heartbeat.fresh(self._clock.now_ns())
        return held

    def arm(self, *, automatic: bool = False) -> None:
        """Allow light.

        Parameters
        ----------
        automatic : bool
            Without an operator; only where every output is virtual, or in a dry run.

        Raises
        ------
        SafetyError
            Tripped, a precondition is missing, arming by itself with a real output, or an output failed.
        """
        self.check(self._clock.now_ns())
        if automatic:
            if not (self.all_virtual or self.dry_run):
                raise SafetyError("a real output is never armed automatically", "arm as an operator")
            self._held[Precondition.OPERATOR] = True
        if self.state is InterlockState.TRIPPED:
            raise SafetyError(f"tripped: {self.trips[-1].text}", "reset first, with a reason")
        missing = [name for name, ok in self.preconditions().items() if not ok]
        if missing:
            self._held[Precondition.OPERATOR] = False
            raise SafetyError(f"cannot arm: {', '.join(missing)} missing")
        if self.is_armed:
            return
        self._arm_outputs()
        self.inhibited = self._heartbeat.mode is Mode.PAUSED
        if self.inhibited:
            self._make_safe()
        self.state = InterlockState.ARMED
        self._note({"state": "armed", "automatic": automatic})
        if not self.is_armed:
            raise SafetyError(f"cannot arm: {self.trips[-1].text}")

    def _arm_outputs(self) -> None:
        if self.dry_run:
            return
        armed = False
        try:
            for output in self._outputs.values():
                output.arm()
            armed = True
        except DeviceError as error:
            self._fail(error, "arms")
            raise SafetyError(f"cannot arm: {error}") from error
        finally:
            if not armed:
                self._make_safe()

    def disarm(self, reason: str) -> None:
        """Dark, and no light until armed again; a trip stays latched."""
        self._make_safe()
        self.inhibited = False
        self._held[Precondition.OPERATOR] = False
        if self.is_armed:
            self.state = InterlockState.DISARMED
            self._note({"state": "disarmed", "reason": reason})

    def trip(
        self, signal: str, value: float | str, limit: float | str, text: str, *, t_cause_ns: int | None = None
    ) -> None:
        """Dark at once and latched until `reset`; never refused. A repetition of the last trip is only counted.

        Parameters
        ----------
        signal : str
            What tripped.
        value, limit : float or str
            What it was, and what it may be.
        text : str
            One sentence for people.
        t_cause_ns : int or None
            When the cause arose, if that is known to be earlier than now; on the clock of this host.
        """
        repeated = self.state is InterlockState.TRIPPED and bool(self.trips) and self.trips[-1].signal == signal
        t_ns = self._clock.now_ns()
        self.state = InterlockState.TRIPPED
        self._held[Precondition.OPERATOR] = False
        self._make_safe()
        self.inhibited = False
        self.n_trips += 1
        if repeated:
            return
        begun_ns = t_ns if t_cause_ns is None else min(t_cause_ns, t_ns)
        trip = Trip(t_ns, signal, value, limit, text, self._clock.now_ns() - begun_ns)
        self.trips.append(trip)
        try:
            self._wal.write(RecordKind.TRIP, trip._asdict())
        except RecordingError:
            self._held[Precondition.RECORDING_LIVE] = False

    def reset(self, reason: str) -> None:
        """Leave the tripped state for disarmed; the engine has to show itself again before arming.

        Parameters
        ----------
        reason : str
            Typed by a person.

        Raises
        ------
        SafetyError
            No reason given, or the log cannot be written.
        """
        if not reason.strip():
            raise SafetyError("a reset needs a reason", "type why light may be allowed again")
        if self.state is not InterlockState.TRIPPED:
            return
        try:
            self._wal.write(RecordKind.STATE, {"state": "reset", "reason": reason, "t_ns": self._clock.now_ns()})
        except RecordingError as error:
            raise SafetyError(f"cannot reset: {error}") from error
        self._last_now_ns = self._clock.now_ns()
        self._heartbeat.forget()
        self.state = InterlockState.DISARMED

    def heartbeat(self, t_ns: int, mode: Mode, plane: int = 0) -> None:
        """Take a sign of life of the engine of a plane (`t_decided_ns` of every `spikes` message)."""
        now_ns = self._clock.now_ns()
        if t_ns > now_ns:
            self.trip("engine_heartbeat", (now_ns - t_ns) / NS_PER_MS, 0, "the engine's clock is ahead of ours")
            return
        self._heartbeat.beat(t_ns, mode, plane)

    def stop_line(self, closed: bool, t_ns: int, line: str = "stop line") -> None:
        """Take what was read from the hardware stop line; an open one trips and keeps from arming.

        Parameters
        ----------
        closed : bool
            True if light is allowed.
        t_ns : int
            When it was so, on the clock of this host.
        line : str
            Its name, for the message.
        """
        was_closed = self._held[Precondition.STOP_LINE_CLOSED]
        self._held[Precondition.STOP_LINE_CLOSED] = closed
        if not closed and (was_closed or self.is_armed):
            self.trip("stop_line", "open", "closed", f"{line} has been opened", t_cause_ns=t_ns)

    def check(self, now_ns: int) -> InterlockState:
        """Look at the clock, the heartbeat and the pause of the source; part of `tend` and of every request."""
        if now_ns < self._last_now_ns:
            self.trip("clock_ms", (now_ns - self._last_now_ns) / NS_PER_MS, 0, "the clock went backwards")
        self._last_now_ns = max(now_ns, self._last_now_ns)
        if not self.is_armed:
            return self.state
        if not self._heartbeat.fresh(now_ns):
            age_ms, bound_ms = self._heartbeat.age_ns(now_ns) / NS_PER_MS, self._heartbeat.bound_ns / NS_PER_MS
            text = f"no sign of {self._heartbeat.silent(now_ns)} for {age_ms:.0f} ms, {bound_ms:.0f} are allowed"
            lost_ns = now_ns - self._heartbeat.age_ns(now_ns) + self._heartbeat.bound_ns
            self.trip("engine_heartbeat", age_ms, bound_ms, text, t_cause_ns=lost_ns)
        elif self.inhibited != (self._heartbeat.mode is Mode.PAUSED):
            self._inhibit(not self.inhibited)
        elif self.state is InterlockState.FIRING and now_ns >= self._firing_until_ns:
            self.state = InterlockState.ARMED
        return self.state

    def tend(self, now_ns: int) -> InterlockState:
        """Check, and hold off the watchdogs of the outputs if all is well.

        Call it in every turn of the decision loop, at least every few milliseconds: nothing else feeds a watchdog.
        """
        self.check(now_ns)
        if not self.is_armed or self.inhibited or self.dry_run:
            return self.state
        try:
            for output in self._outputs.values():
                output.feed(now_ns)
        except DeviceError as error:
            self._fail(error, "lives")
        return self.state

    def _inhibit(self, paused: bool) -> None:
        """Dark while the source pauses by design; able to fire again as soon as it goes on."""
        self.inhibited = paused
        self.state = InterlockState.ARMED
        if paused:
            self._make_safe()
        else:
            with suppress(SafetyError):
                self._arm_outputs()
        if self.is_armed:
            self._note({"state": "inhibited" if paused else "armed", "reason": "the source has paused or goes on"})

    def _fail(self, error: DeviceError, limit: str) -> None:
        """An output has failed: its self-test has to be passed again."""
        self._held[Precondition.OUTPUTS_TESTED] = False
        self.trip("output", error.device, limit, str(error))

    def _make_safe(self) -> None:
        """Every output dark, also if one of them misbehaves."""
        if self.dry_run:
            return
        with ExitStack() as stack:
            for output in self._outputs.values():
                stack.callback(output.safe_state)

    def _note(self, fields: dict[str, Any]) -> None:
        try:
            self._wal.write(RecordKind.STATE, {**fields, "t_ns": self._clock.now_ns()})
        except RecordingError as error:
            self.trip("stimulation_log", "failed", "every change is logged", str(error))
