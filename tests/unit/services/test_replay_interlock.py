"""A replay's interlock judges at the times of the recording, and stands before virtual outputs alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safety_rig import IDLE_BOUND_NS, LAX_SESSION, LIVE_BOUND_NS, MS, FakeClock, FakeOutput, MemoryLog, S, limits
from synthetic_session import SessionMaker

from rt_engine.interfaces.clock import SessionClock
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.stimulation import PulseRequest
from rt_engine.recording.reader import open_session
from rt_engine.recording.recorded_times import RecordedTimes
from rt_engine.safety.interlock import InterlockState, Precondition
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.plane_heartbeats import PlaneHeartbeats
from rt_engine.safety.wal import RecordKind, WalRecord, WriteAheadLog
from rt_engine.safety.watchdog import HeartbeatMonitor
from rt_engine.services.replay_interlock import ReplayInterlock, acts_of

PERIOD_NS = S // 30


class Replay:
    """A replay interlock in memory; `say` collects what it tells."""

    def __init__(
        self,
        times: RecordedTimes | None = None,
        acts: tuple[WalRecord, ...] = (),
        virtual: bool = True,
        planes: tuple[int, ...] = (0,),
    ):
        self.clock, self.said = SessionClock(), []
        bounds = {"led": limits()}
        # An output of the tests advances a clock of its own; time is told by the session clock alone.
        self.output = FakeOutput("led", FakeClock(), is_virtual=virtual)
        self.output.fire = self._fire  # type: ignore[method-assign]
        self.fired_ns: list[int] = []
        self.interlock = ReplayInterlock(
            times,
            list(acts),
            self.clock,
            lambda level, text: self.said.append(text),
            bounds,
            {"led": self.output},
            DoseLedger(bounds, LAX_SESSION, 0),
            MemoryLog(),
            PlaneHeartbeats(LIVE_BOUND_NS, IDLE_BOUND_NS, planes)
            if len(planes) > 1
            else HeartbeatMonitor(LIVE_BOUND_NS, IDLE_BOUND_NS),
        )
        self.interlock.self_test()
        for name in (Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES):
            self.interlock.set_precondition(name, True)

    def _fire(self, command: Any) -> int:
        self.fired_ns.append(command.last_word())
        return self.fired_ns[-1]


def request(frame: int, **changes: Any) -> PulseRequest:
    t_scan_ns = 10 * S + frame * PERIOD_NS
    values: dict[str, Any] = {
        "rule": "test", "arm": "stim", "output": "led", "plane": 0, "frame": frame, "roi_ids": (1,),
        "target_ids": (2,), "targets_yx_px": ((50.0, 50.0),), "power_mw": 8.0, "width_ms": 5.0,
        "t_scan_ns": t_scan_ns, "t_decided_ns": t_scan_ns + MS,
    }  # fmt: skip
    return PulseRequest(**{**values, **changes})


def act(kind: RecordKind, t_ns: int, **fields: Any) -> WalRecord:
    return WalRecord(0, kind, {"t_ns": t_ns, **fields})


def beat(replay: Replay, frame: int) -> None:
    replay.interlock.heartbeat(10 * S + frame * PERIOD_NS + MS, Mode.LIVE)


def recorded(*decisions: tuple[int, int | None, int | None]) -> RecordedTimes:
    """Times as a journal would have told them: (frame, judged after the scan, commanded after it), nanoseconds."""
    times = RecordedTimes.__new__(RecordedTimes)
    times.typical_ns = 2 * MS
    times._judged = {}
    from rt_engine.recording.recorded_times import Judged

    for frame, judged, command in decisions:
        scan_ns = 10 * S + frame * PERIOD_NS
        done = judged if command is None else command
        times._judged[0, frame, scan_ns] = [Judged(scan_ns + judged, scan_ns + done, fired=command is not None)]
    return times


def test_the_time_of_a_recording_never_drives_a_physical_output() -> None:
    with pytest.raises(SafetyError, match="recorded time may not drive the output led"):
        Replay(virtual=False)


def test_a_movie_is_armed_with_its_first_live_message_and_rates_run_in_its_own_time() -> None:
    replay = Replay()
    for frame in range(0, 7, 2):  # 67 ms apart: closer than the gap of 100 ms
        beat(replay, frame)
        replay.interlock.request(request(frame))
    outcomes = {name: n for name, n in replay.interlock.counts.items() if n}
    assert outcomes == {Outcome.DELIVERED: 2, Outcome.REFUSED: 2}
    assert replay.fired_ns == [10 * S + frame * PERIOD_NS + MS for frame in (0, 4)]


def test_a_decision_is_judged_and_fired_when_the_recording_did() -> None:
    replay = Replay(recorded((3, 4 * MS, 5 * MS), (9, 60 * MS, None)))
    beat(replay, 3)
    decision = replay.interlock.request(request(3))
    scan_ns = 10 * S + 3 * PERIOD_NS
    assert (decision.t_judged_ns, decision.t_command_ns) == (scan_ns + 4 * MS, scan_ns + 5 * MS)
    beat(replay, 9)
    late = replay.interlock.request(request(9))
    assert late.outcome is Outcome.LATE
    assert late.reason == "decision_age_ms 60 is beyond its limit 50"


def test_what_turned_late_between_judgement_and_light_turns_late_again() -> None:
    times = recorded((3, 49 * MS, None))
    key = (0, 3, 10 * S + 3 * PERIOD_NS)
    times._judged[key] = [times._judged[key][0]._replace(t_done_ns=key[2] + 51 * MS)]
    replay = Replay(times)
    beat(replay, 3)
    assert replay.interlock.request(request(3)).outcome is Outcome.LATE
    assert replay.fired_ns == []


def test_it_is_armed_tripped_and_reset_when_the_recording_was() -> None:
    at = [10 * S + frame * PERIOD_NS for frame in range(0, 100)]
    acts = (
        act(RecordKind.STATE, at[10], state="armed"),
        act(RecordKind.TRIP, at[20], signal="command", value="trip", limit="-", text="stopped by command"),
        act(RecordKind.STATE, at[30], state="reset", reason="checked"),
        act(RecordKind.STATE, at[40], state="armed"),
        act(RecordKind.STATE, at[50], state="disarmed", reason="pause"),
    )
    replay = Replay(None, acts)
    outcomes = []
    for frame in range(0, 60, 5):
        beat(replay, frame)
        decision = replay.interlock.request(request(frame))
        outcomes.append((frame, decision.outcome.value, decision.reason))
    assert [frame for frame, outcome, _ in outcomes if outcome == "delivered"] == [10, 15, 40, 45]
    assert outcomes[4] == (20, "refused", "interlock is tripped: stopped by command")
    assert outcomes[6] == (30, "refused", "interlock is disarmed: not armed")
    assert replay.said == []


@pytest.mark.parametrize("acts", [(act(RecordKind.STATE, 9 * S, state="armed"),), ()])
def test_planes_that_come_later_keep_nobody_from_arming(acts: tuple[WalRecord, ...]) -> None:
    """A recording is armed before its first live frame, and a movie with it, whichever plane that is of."""
    replay = Replay(None, acts, planes=(0, 1))
    beat(replay, 0)  # of plane 0; plane 1 has said nothing yet
    assert replay.interlock.request(request(0)).outcome is Outcome.DELIVERED
    assert replay.said == []


def test_silence_of_the_recorded_engine_trips_a_recording_without_a_log_of_acts() -> None:
    replay = Replay()
    beat(replay, 0)
    assert replay.interlock.state is InterlockState.ARMED
    beat(replay, 40)  # 1.3 s later
    assert replay.interlock.state is InterlockState.TRIPPED


def test_acts_are_those_of_all_logs_of_the_session(tmp_path: Path) -> None:
    for number, t_ns in ((0, 5), (1, 3)):
        log = WriteAheadLog(tmp_path / f"stim_{number:03d}.wal")
        log.write(RecordKind.STATE, {"state": "armed", "t_ns": t_ns})
        log.write(RecordKind.INTENT, {"decision_id": "x", "t_ns": t_ns})
        log.close()
    assert [(record.kind, record.fields["t_ns"]) for record in acts_of(tmp_path)] == [
        (RecordKind.STATE, 5), (RecordKind.STATE, 3)
    ]  # fmt: skip


def test_times_are_read_from_the_journal(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.spikes(0, mode=Mode.BASELINE)
    for frame in (1, 2, 4):
        maker.spikes(frame, receive_ms=1.5, decide_ms=2.5)
    maker.stim("d1", 2, "delivered", command_ms=3.5)
    maker.stim("d2", 4, "suppressed")
    maker.close()
    times = RecordedTimes(open_session(tmp_path), (0,))
    scan_ns = maker.scan_ns(2)
    assert (times.first_live_frame, times.last_live_frame) == (1, 4)
    assert times.decision(0, 2, 0) == (scan_ns + 3 * MS // 2, scan_ns + 5 * MS // 2, False)
    assert times.decision(0, 0, 0) is None
    assert times.decision(0, 3, 0) is None
    assert times.decision(0, 2, 32) is None
    # This journal is of before the moment of judgement was told: that of the command stands in for it.
    assert times.judged(0, 2, scan_ns, 0) == (scan_ns + 7 * MS // 2, scan_ns + 7 * MS // 2, True)
    assert times.judged(0, 2, scan_ns, 1) is None


def test_inference_tells_recorded_times_and_skips_what_was_skipped(tmp_path: Path) -> None:
    from rt_engine.services.replay_pace import ReplayPace

    maker = SessionMaker(tmp_path)
    maker.spikes(1)
    maker.spikes(3)
    maker.close()
    pace = ReplayPace(RecordedTimes(open_session(tmp_path), (0,)))

    def lines(frame: int) -> Any:
        return SimpleNamespace(plane=0, frame=frame, line0=0, t_scan_ns=maker.scan_ns(frame))

    assert [frame for frame in range(1, 4) if pace.skips(lines(frame))] == [2]
    assert pace.decided(lines(3)) == (maker.scan_ns(3) + MS, maker.scan_ns(3) + 2 * MS, False)
    movie = ReplayPace(None)
    assert not movie.skips(lines(2))
    assert movie.decided(lines(2)) == (maker.scan_ns(2), maker.scan_ns(2), False)


def test_what_was_late_is_late_again_and_nothing_else(tmp_path: Path) -> None:
    """Whether an age was too much is not judged anew: a session whose source waited had no deadline at all."""
    from rt_engine.services.replay_pace import ReplayPace

    maker = SessionMaker(tmp_path)
    maker.spikes(1, decide_ms=900.0)
    maker.spikes(2, decide_ms=900.0, late=True)
    maker.close()
    pace = ReplayPace(RecordedTimes(open_session(tmp_path), (0,)))
    lines = [SimpleNamespace(plane=0, frame=frame, line0=0, t_scan_ns=maker.scan_ns(frame)) for frame in (1, 2)]
    assert [pace.decided(one).late for one in lines] == [False, True]
