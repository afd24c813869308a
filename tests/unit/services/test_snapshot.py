"""The numbers a person sees are those that can be counted from the messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    HealthHeader,
    LogHeader,
    Mode,
    Outcome,
    Phase,
    SpikesHeader,
    StateHeader,
    StimHeader,
)
from rt_engine.services.snapshot import SnapshotKeeper

S = 1_000_000_000
LIVE_SINCE_NS = 100 * S


def common(source: str) -> dict[str, Any]:
    return {"source": source, "host": "h", "boot_id": "b", "seq": 0, "t_sent_ns": 0}


def spikes(keeper: SnapshotKeeper, frame: int, *, mode: Mode = Mode.LIVE, t_ns: int = 0, roi_ids: Any = ()) -> None:
    events = np.zeros(len(roi_ids), EVENT_DTYPE)
    events["roi_id"], events["n_spikes"], events["probability"] = roi_ids, 2.0, 0.987
    events["z"], events["event_frame"] = 4.56, frame - 2
    header = SpikesHeader(
        **common("inference") | {"t_sent_ns": t_ns}, plane=0, frame=frame, line0=0, n_lines=8, hold_frames=2, mode=mode,
        t_scan_ns=0, t_received_ns=0, t_decided_ns=t_ns, n_events=len(events),
    )  # fmt: skip
    keeper.take("spikes.0", header, [events.tobytes()] if len(events) else [])


def stim(keeper: SnapshotKeeper, outcome: Outcome, phase: Phase = Phase.DONE, **changes: Any) -> None:
    fields: dict[str, Any] = dict(
        decision_id="d", rule="r", arm="stim", reason=None, plane=0, frame=1, roi_ids=[3], pattern_id=None,
        t_scan_ns=0, t_decided_ns=0, t_command_ns=None, t_output_ns=None, output="led", pulses=1, width_us=5000,
        power_uw=[8000, 7500], energy_nj=[1, 1],
    )  # fmt: skip
    header = StimHeader(**common("stimulation"), phase=phase, outcome=outcome, **fields | changes)
    keeper.take("stim", header, [])


def state(keeper: SnapshotKeeper, interlock: str, *texts: str) -> None:
    header = StateHeader(
        **common("stimulation"), interlock=interlock, trips=[{"text": text} for text in texts], preconditions={},
        limits={}, dose={}, protocol=None, protocol_phase=None, trial=0, arm=None, counts={}, effect=None,
    )  # fmt: skip
    keeper.take("state", header, [])


def health(
    keeper: SnapshotKeeper,
    source: str,
    dropped: int,
    fates: dict[str, int] | None = None,
    **latency_ms: dict[str, float],
) -> None:
    header = HealthHeader(
        **common(source), state="live", dropped=dropped, gaps=0, late=0, queue=0, rss_bytes=1, latency_ms=latency_ms,
        fates=fates or {},
    )  # fmt: skip
    keeper.take("health", header, [])


@pytest.fixture
def keeper() -> SnapshotKeeper:
    return SnapshotKeeper()


@pytest.fixture
def live(keeper: SnapshotKeeper) -> SnapshotKeeper:
    keeper.begin_live(LIVE_SINCE_NS, 60.0)
    return keeper


def test_baseline_frames_count_until_the_run_is_live_and_then_begin_again(keeper: SnapshotKeeper) -> None:
    for frame in (0, 1, 2):
        spikes(keeper, frame, mode=Mode.BASELINE)
    assert keeper.snapshot.frames == 3
    keeper.begin_live(LIVE_SINCE_NS, 60.0)
    assert keeper.snapshot.frames == 0
    spikes(keeper, 3, mode=Mode.BASELINE)
    assert keeper.snapshot.frames == 0
    spikes(keeper, 4)
    assert (keeper.snapshot.frames, keeper.snapshot.frames_lost) == (1, 0)


def test_missing_numbers_between_live_frames_are_lost(live: SnapshotKeeper) -> None:
    for frame in (500, 501, 504, 505):
        spikes(live, frame)
    assert (live.snapshot.frames, live.snapshot.frames_lost) == (4, 2)
    assert live.last_frames[0] == 505


def test_a_frame_told_in_parts_counts_once(live: SnapshotKeeper) -> None:
    for frame in (7, 7, 8, 8):
        spikes(live, frame)
    assert (live.snapshot.frames, live.snapshot.frames_lost) == (2, 0)


def test_rates_are_those_of_the_last_five_seconds(live: SnapshotKeeper) -> None:
    for frame in range(100):
        spikes(live, frame, t_ns=LIVE_SINCE_NS + frame * S // 10, roi_ids=[1, 2] if frame % 10 == 0 else [])
    snapshot = live.refresh(LIVE_SINCE_NS + 99 * S // 10)
    assert snapshot.frame_rate_hz == pytest.approx(51 / 5)
    assert snapshot.events_per_s == pytest.approx(10 / 5)
    assert snapshot.seconds == pytest.approx(9.9)
    later = live.refresh(LIVE_SINCE_NS + 20 * S)
    assert (later.frame_rate_hz, later.events_per_s, later.events) == (0.0, 0.0, 20)


def test_rates_of_a_young_run_are_over_its_age_but_no_less_than_a_second(live: SnapshotKeeper) -> None:
    for frame in range(6):
        spikes(live, frame, t_ns=LIVE_SINCE_NS)
    assert live.refresh(LIVE_SINCE_NS + S // 2).frame_rate_hz == pytest.approx(6.0)
    assert live.refresh(LIVE_SINCE_NS + 2 * S).frame_rate_hz == pytest.approx(3.0)


def test_before_going_live_no_time_passes(keeper: SnapshotKeeper) -> None:
    assert keeper.refresh(55 * S).seconds == 0.0


def test_all_events_count_and_the_newest_five_are_told(live: SnapshotKeeper) -> None:
    spikes(live, 10, roi_ids=[1, 2, 3, 4])
    spikes(live, 11, roi_ids=[5, 6, 7])
    assert live.snapshot.events == 7
    assert len(live.snapshot.last_events) == 5
    assert live.snapshot.last_events[-1] == "cell 7: 2 spike(s), p 0.99, z 4.6, frame 9"


def test_a_decision_counts_once_when_it_is_done(live: SnapshotKeeper) -> None:
    stim(live, Outcome.DELIVERED, Phase.INTENT)
    stim(live, Outcome.DELIVERED)
    stim(live, Outcome.DELIVERED, Phase.MEASURED)
    stim(live, Outcome.REFUSED, reason="power_mw 30 is beyond its limit 20", power_uw=None)
    stim(live, Outcome.DELIVERED)
    snapshot = live.refresh(LIVE_SINCE_NS)
    assert snapshot.stim == {"delivered": 2, "refused": 1}
    assert list(snapshot.last_light) == [
        "delivered after cell [3] 8.0 mW",
        "refused after cell [3]  power_mw 30 is beyond its limit 20",
        "delivered after cell [3] 8.0 mW",
    ]


def test_the_reason_of_a_trip_is_shown_as_long_as_it_lasts(live: SnapshotKeeper) -> None:
    state(live, "tripped", "the first", "the last")
    assert (live.snapshot.interlock, live.snapshot.trip) == ("tripped", "the last")
    state(live, "disarmed", "the first", "the last")
    assert (live.snapshot.interlock, live.snapshot.trip) == ("disarmed", "")


def test_losses_are_the_newest_of_each_service_added_up(live: SnapshotKeeper) -> None:
    health(live, "inference", 1)
    health(live, "recording", 5)
    health(live, "inference", 3)
    assert live.refresh(LIVE_SINCE_NS).dropped == 8


def test_latencies_stand_in_the_order_in_which_they_pass(live: SnapshotKeeper) -> None:
    health(live, "stimulation", 0, scan_to_command={"p50": 4.0}, decision_to_command={"p50": 3.0})
    health(live, "inference", 0, receive_to_decision={"p50": 2.0}, something_else={"p50": 9.0})
    health(live, "acquisition", 0, scan_to_receive={"p50": 1.0})
    found = live.refresh(LIVE_SINCE_NS).latency_ms
    assert list(found.items()) == [
        ("scan_to_receive", {"p50": 1.0}),
        ("receive_to_decision", {"p50": 2.0}),
        ("decision_to_command", {"p50": 3.0}),
        ("scan_to_command", {"p50": 4.0}),
    ]


def test_every_sentence_is_handed_out_once(keeper: SnapshotKeeper) -> None:
    for text in ("one", "two"):
        keeper.take("log", LogHeader(**common("inference"), level="warning", text=text, fields={}), [])
    assert keeper.take_logs() == [("warning", "one"), ("warning", "two")]
    assert keeper.take_logs() == []


def test_what_became_of_frames_is_the_sum_of_what_the_engines_of_all_planes_say_last(live: SnapshotKeeper) -> None:
    health(live, "inference.0", 0, {"decided": 1, "late": 1})
    health(live, "inference.0", 0, {"decided": 10, "late": 2})
    health(live, "inference.1", 0, {"decided": 9, "skipped": 4})
    health(live, "recording", 0)
    assert live.refresh(LIVE_SINCE_NS + S).fates == {"decided": 19, "late": 2, "skipped": 4}
