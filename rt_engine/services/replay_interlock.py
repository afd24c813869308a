"""The interlock of a replay: it judges at the times of the recording, and is armed when it was armed then."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S, Clock, SessionClock
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.recording.recorded_times import Judged, RecordedTimes, recorded_times
from rt_engine.safety.interlock import Interlock, InterlockState
from rt_engine.safety.states import Precondition
from rt_engine.safety.wal import RecordKind, WalRecord, read_wal
from rt_engine.safety.watchdog import live_silence_ns

_MOST_KEPT = 256
"""Moments whose requests are counted: those of all planes and of spikes and activity lie closer together."""

Say = Callable[[str, str], None]


class ReplayInterlock(Interlock):
    """An `Interlock` whose clock is that of the recording; it stands only before virtual outputs.

    Parameters
    ----------
    times : RecordedTimes or None
        None for a movie: there, every request is judged at the very time of its decision.
    acts : list of WalRecord
        What people and circumstances did to the interlock of the recording; without any it is armed with the first
        live message.
    clock : SessionClock
    say : callable
        Told a level and a sentence.
    *args, **kwargs
        As for `Interlock`, from `ledger` on.
    """

    def __init__(
        self,
        times: RecordedTimes | None,
        acts: list[WalRecord],
        clock: SessionClock,
        say: Say,
        limits: Any,
        outputs: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._times = times
        self._acts = deque(sorted(acts, key=_time_of))
        self._follows_acts = self._was_armed = bool(acts)
        self._session_clock = clock
        self._say = say
        self._n_asked: dict[tuple[int, int, int], int] = {}
        self._judged = Judged(0, 0, fired=False)
        self._n_looks = 0
        super().__init__(limits, outputs, clock, *args, **kwargs)

    def check(self, now_ns: int) -> InterlockState:
        """Look at heartbeat and clock as of the recording; the time given is that of the machine, and not asked for."""
        return super().check(self._session_clock.now_ns())

    def tend(self, now_ns: int) -> InterlockState:
        """Go on with trains in the time of the recording."""
        return super().tend(self._session_clock.now_ns())

    def set_protocol_limits(self, tighter: Mapping[str, Mapping[str, Any]]) -> None:
        """As `Interlock.set_protocol_limits`; while it replays, the disarming comes when it came in the recording."""
        if self._heartbeat.mode is None or not self._follows_acts:
            super().set_protocol_limits(tighter)
        else:
            self._bind(tighter)

    def heartbeat(self, t_ns: int, mode: Mode, plane: int = 0) -> None:
        """Let the time of the recording come to a message of the engine, and do what was done until then."""
        first = self._heartbeat.mode is None
        if not first:
            self._act_until(t_ns)
        self._session_clock.advance(t_ns)
        if not self._follows_acts and not first:
            super().check(self._session_clock.now_ns())
        super().heartbeat(t_ns, mode, plane)
        if first:
            # The recording had heard every engine by now: it was armed before the first frame that is replayed.
            self._heartbeat.beat_all(t_ns, mode)
            self._act_until(t_ns)
        if not self._was_armed and mode is Mode.LIVE:
            self._was_armed = True
            self._arm()

    def request(self, request: PulseRequest) -> Decision:
        """Judge one request at the time at which the recording did."""
        self._judged = self._recorded(request)
        self._n_looks = 0
        self._act_until(self._judged.t_judged_ns)
        self._session_clock.advance(self._judged.t_judged_ns)
        return super().request(request)

    def _recorded(self, request: PulseRequest) -> Judged:
        if self._times is None:
            return Judged(request.t_decided_ns, request.t_decided_ns, fired=True)
        key = request.plane, request.frame, request.t_scan_ns
        if len(self._n_asked) > _MOST_KEPT and key not in self._n_asked:
            self._n_asked.clear()
        index = self._n_asked[key] = self._n_asked.get(key, -1) + 1
        found = self._times.judged(*key, index)
        at_ns = request.t_decided_ns + self._times.typical_ns
        return found or Judged(at_ns, at_ns, fired=True)

    def _late(self, request: PulseRequest, dose: Any, now_ns: int) -> str | None:
        """Age at the judgement, then again just before light, which the recording had not seen pass if it fired."""
        self._n_looks += 1
        if self._n_looks > 1:
            now_ns = self._judged.t_judged_ns if self._judged.fired else self._judged.t_done_ns
            self._session_clock.advance(self._judged.t_done_ns)
        return super()._late(request, dose, now_ns)

    def _act_until(self, t_ns: int) -> None:
        while self._acts and _time_of(self._acts[0]) <= t_ns:
            act = self._acts.popleft()
            self._session_clock.advance(_time_of(act))
            self._act(act)

    def _act(self, act: WalRecord) -> None:
        fields = act.fields
        if act.kind is RecordKind.TRIP:
            if self.state is not InterlockState.TRIPPED:
                self.trip(fields["signal"], fields["value"], fields["limit"], fields["text"])
        elif fields.get("state") == "armed":
            self._arm()
        elif fields.get("state") == "disarmed":
            self.disarm(str(fields.get("reason")))
        elif fields.get("state") == "reset":
            self.reset(str(fields.get("reason")))

    def _arm(self) -> None:
        self._held[Precondition.OPERATOR] = True
        try:
            self.arm(automatic=True)
        except SafetyError as error:
            self._say("warning", f"the recording was armed here, the replay cannot be: {error.message}")


def interlock_clock(rig: RigConfig, clock: Clock) -> Clock:
    """The clock that the interlock of a rig judges by: the machine's, or that of the recording in a replay."""
    return SessionClock() if isinstance(rig.microscope, ReplayMicroscope) else clock


def make_interlock(rig: RigConfig, clock: Clock, say: Say) -> Callable[..., Interlock]:
    """What makes the interlock for a clock from `interlock_clock`; takes the arguments of `Interlock`.

    Raises
    ------
    RecordingError
        The recorded session cannot be read.
    """
    if not isinstance(clock, SessionClock) or not isinstance(rig.microscope, ReplayMicroscope):
        return Interlock
    microscope = rig.microscope
    times = recorded_times(microscope.path, rig.planes_inferred)
    acts = acts_of(Path(microscope.path)) if times is not None else []

    def make(limits: Any, outputs: Any, clock: SessionClock, *args: Any, **kwargs: Any) -> Interlock:
        return ReplayInterlock(times, acts, clock, say, limits, outputs, *args, **kwargs)

    return make


def silence_bounds_ns(rig: RigConfig, *, lossless: bool) -> tuple[int, int]:
    """Longest silence of the engine while live, and otherwise; a replay has that of its recording.

    Where the source waits for the engine, silence says nothing, and the longer bound holds throughout.
    """
    microscope = rig.microscope
    idle_ns = round(rig.max_idle_s * NS_PER_S)
    if isinstance(microscope, ReplayMicroscope):
        return idle_ns if microscope.live_silence_s is None else round(microscope.live_silence_s * NS_PER_S), idle_ns
    rate_hz = getattr(microscope, "frame_rate_hz", None) or 1.0
    rate_hz /= getattr(microscope, "frames_per_volume", 1)
    return idle_ns if lossless else live_silence_ns(round(NS_PER_S / rate_hz)), idle_ns


def acts_of(folder: Path) -> list[WalRecord]:
    """What was done to the interlock of a session: trips, arming, disarming, resets.

    Raises
    ------
    RecordingError
        A log cannot be read.
    """
    found = []
    for path in sorted(folder.glob("stim_*.wal")):
        for record in read_wal(path).records:
            if record.kind in (RecordKind.TRIP, RecordKind.STATE) and isinstance(record.fields.get("t_ns"), int):
                found.append(record)
    return found


def _time_of(record: WalRecord) -> int:
    return int(record.fields["t_ns"])
