"""Faults around the real stimulation service in its own process: light goes off within its bounds and stays off."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np
import psutil
import pytest
from naive.dose_oracle import Pulse, broken_limits
from stimulation_bench import StimulationBench
from system_rig import small_rig

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Mode, Outcome, Phase
from rt_engine.safety.wal import RecordKind
from rt_engine.safety.watchdog import live_silence_ns

POSIX = pytest.mark.skipif(os.name == "nt", reason="kills and freezes processes by POSIX signals")
TRAIN = {"pulses": 40, "period_ms": 250.0}


class Make(Protocol):
    """The fixture `make`."""

    def __call__(self, rig: dict[str, Any] | None = None, **action: Any) -> StimulationBench:
        """A bench with its service started."""
        ...


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    benches: list[StimulationBench] = []

    def begin(rig: dict[str, Any] | None = None, **action: Any) -> StimulationBench:
        benches.append(StimulationBench(tmp_path, rig, **action))
        benches[-1].start()
        return benches[-1]

    yield begin
    for bench in benches:
        bench.close()


def light_rig(**limits: Any) -> dict[str, Any]:
    """The small rig; `limits` of its output, `watchdog_ms` among them, are changed."""
    rig = small_rig(microscope__pace="real_time")
    rig["outputs"]["led"]["watchdog_ms"] = limits.pop("watchdog_ms", 20_000.0)
    rig["outputs"]["led"]["limits"] |= {"max_refused_per_min": 100_000, **limits}
    return rig


def light_up(bench: StimulationBench, n: int = 3) -> None:
    """Arm, and ask for light until `n` pulses have come."""
    bench.arm()
    bench.pump(lambda: bench.events() or len(bench.lights) >= n)


def keep_asking(bench: StimulationBench, seconds: float) -> None:
    """An engine that goes on sending events."""
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        bench.events()
        bench.pump(0.002)


def tripped(bench: StimulationBench) -> dict[str, Any]:
    """Wait for the trip, and return what the log holds about it."""
    bench.pump(lambda: any(record.kind is RecordKind.TRIP for record in bench.wal()))
    return next(record.fields for record in bench.wal() if record.kind is RecordKind.TRIP)


def require_honest(bench: StimulationBench) -> None:
    """Every pulse has an intent in the log, none was refused, none came twice, and none breaks a limit."""
    intents = {record.fields["decision_id"]: record for record in bench.wal() if record.kind is RecordKind.INTENT}
    last: dict[str, Outcome | None] = {}
    for _, stim in bench.stims:
        if stim.phase is Phase.DONE:
            last[stim.decision_id] = stim.outcome
    delivered = [name for name, outcome in last.items() if outcome is Outcome.DELIVERED]
    assert set(delivered) <= set(intents)
    onsets = Counter(light.t_on_ns for _, light in bench.lights)
    assert max(onsets.values(), default=1) == 1, "a pulse was delivered twice"
    assert len(bench.lights) <= sum(record.fields["pulses"] for record in intents.values())
    pulses = [
        Pulse(
            (light.t_on_ns - bench.lights[0][1].t_on_ns) / NS_PER_S,
            light.width_us / 1e6,
            light.power_uw[0] / 1e3,
            tuple((y, x) for y, x in light.targets_yx_px),
            train=index,
        )
        for index, (_, light) in enumerate(bench.lights)
    ]
    assert broken_limits(pulses, bench.rig.outputs["led"].limits, 5.0 / 0.8) == []


def lights_after(bench: StimulationBench, t_ns: int) -> list[int]:
    """Onsets of the pulses that began after `t_ns`."""
    return [light.t_on_ns for _, light in bench.lights if light.t_on_ns > t_ns]


@POSIX
@pytest.mark.parametrize("action", [{}, TRAIN], ids=["pulses", "a train"])
def test_killed_it_is_dark_and_comes_back_tripped_with_its_dose(make: Make, action: dict[str, Any]) -> None:
    bench = make(light_rig(), **action)
    light_up(bench)
    assert bench.process is not None
    bench.process.kill()
    bench.process.wait()
    t_dead_ns = bench.clock.now_ns()
    used = sum(light.width_us * sum(light.power_uw) for _, light in bench.lights) / 1e9
    keep_asking(bench, 1.0)
    assert lights_after(bench, t_dead_ns) == []
    bench.start()
    bench.pump(lambda: bench.states[-1][0] > t_dead_ns and bench.states[-1][1].session_dose != {})
    state = bench.states[-1][1]
    assert state.interlock == "tripped"
    assert state.trips[0]["signal"] == "restart"
    assert state.dose["led"]["total_energy_mj"] >= used * (1 - 1e-9) > 0
    assert state.session_dose["energy_mj"] >= used * (1 - 1e-9)
    keep_asking(bench, 1.0)
    assert lights_after(bench, t_dead_ns) == []
    bench.ask("reset", {"reason": "the process was killed on purpose"})
    assert bench.interlock() == "disarmed"
    light_up(bench, len(bench.lights) + 1)
    require_honest(bench)


@POSIX
def test_stopped_for_longer_than_its_watchdog_it_trips_and_lets_nothing_old_out(make: Make) -> None:
    bench = make(light_rig(watchdog_ms=300.0), **TRAIN)
    light_up(bench)
    assert bench.process is not None
    child = psutil.Process(bench.process.pid)
    os.kill(child.pid, signal.SIGSTOP)
    while child.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)
    t_stopped_ns = bench.clock.now_ns()
    keep_asking(bench, 1.0)
    os.kill(child.pid, signal.SIGCONT)
    assert tripped(bench)["t_ns"] > t_stopped_ns
    keep_asking(bench, 0.5)
    assert lights_after(bench, t_stopped_ns) == []
    require_honest(bench)


def test_a_silent_engine_is_dark_within_the_bound_of_its_frame_rate(make: Make) -> None:
    bench = make(light_rig(), **TRAIN)
    light_up(bench)
    bench.beating = False
    t_last_ns = bench.clock.now_ns()
    trip = tripped(bench)
    assert trip["signal"] == "engine_heartbeat"
    bound_ns = live_silence_ns(round(NS_PER_S / 30))
    assert trip["limit"] == bound_ns / NS_PER_MS
    bench.pump(0.5)
    assert lights_after(bench, trip["t_ns"]) == []
    assert lights_after(bench, t_last_ns + bound_ns) == []
    require_honest(bench)


def test_a_silent_recorder_trips_and_nothing_is_lit_unrecorded(make: Make) -> None:
    bench = make(light_rig())
    light_up(bench)
    bench.recording = False
    bench.pump(lambda: bench.events() or any(record.kind is RecordKind.TRIP for record in bench.wal()))
    trip = tripped(bench)
    assert trip["signal"] == "recording_live"
    keep_asking(bench, 0.5)
    assert lights_after(bench, trip["t_ns"]) == []
    require_honest(bench)


def test_a_recorder_whose_queue_is_full_trips(make: Make) -> None:
    bench = make(light_rig())
    light_up(bench)
    assert bench.inlet is not None
    bench.inlet.close()
    bench.inlet = None

    def flooded() -> bool:
        for _ in range(20):
            bench.events()
        return any(record.kind is RecordKind.TRIP for record in bench.wal())

    bench.pump(flooded)
    trip = tripped(bench)
    assert trip["signal"] == "recording_live"
    assert "queue" in trip["text"]
    keep_asking(bench, 0.5)
    assert lights_after(bench, trip["t_ns"]) == []
    require_honest(bench)


@pytest.mark.parametrize(("text", "signal_"), [("stop", "engine_heartbeat"), ("5000000000", None)])
def test_a_clock_that_stands_still_or_jumps_back_trips(make: Make, text: str, signal_: str | None) -> None:
    bench = make(light_rig(), **TRAIN)
    light_up(bench)
    bench.clock_file.write_text(text, encoding="utf-8")
    trip = tripped(bench)
    assert trip["signal"] in ((signal_,) if signal_ else ("clock_ms", "engine_heartbeat"))
    t_noticed_ns = bench.clock.now_ns()
    keep_asking(bench, 0.5)
    assert [t_ns for t_ns, light in bench.lights if t_ns > t_noticed_ns + NS_PER_S] == []
    n_lights = len(bench.lights)
    keep_asking(bench, 0.5)
    assert len(bench.lights) == n_lights
    require_honest(bench)


@pytest.mark.parametrize("ahead", ["t_scan_ns", "t_decided_ns"])
def test_a_time_from_the_future_trips_and_gives_no_light(make: Make, ahead: str) -> None:
    bench = make(light_rig())
    bench.arm()
    events = np.zeros(1, EVENT_DTYPE)
    events["probability"] = 0.9
    bench.spikes(events, **{ahead: bench.clock.now_ns() + 3600 * NS_PER_S})
    trip = tripped(bench)
    assert trip["signal"] == ("decision_time" if ahead == "t_scan_ns" else "engine_heartbeat")
    keep_asking(bench, 0.3)
    assert bench.lights == []


def test_garbage_from_the_engine_is_counted_and_lights_nothing(make: Make) -> None:
    bench = make(light_rig())
    bench.arm()
    random = Random(1)
    whole = np.zeros(2, EVENT_DTYPE)
    whole["probability"] = 0.9
    for _ in range(300):
        bench.raw(b"spikes.0", random.randbytes(random.randrange(200)), random.randbytes(random.randrange(90)))
        bench.raw(b"spikes.0", random.randbytes(20))
        bench.raw(b"spikes.0")
        bench.raw(b"rois", random.randbytes(50), random.randbytes(50))
        bench.raw(random.randbytes(5).replace(b"\0", b"x"), b"")
        bench.spikes(whole, n_events=random.choice((1, 3, 10**9)))
    nan = np.nan
    for fields in (
        {"probability": nan},
        {"probability": -1.0},
        {"probability": nan, "amplitude": np.inf, "z": nan, "n_spikes": nan},
        {"roi_id": 4_000_000_000},
        {"probability": nan, "t_event_ns": -(2**63)},
    ):
        bench.events(**fields)
    bench.pump(0.5)
    assert bench.lights == []
    assert bench.interlock() == "armed"
    bench.pump(lambda: bench.events() or len(bench.lights) >= 2)
    require_honest(bench)


def test_ten_times_the_events_stay_within_every_limit_and_trip_as_a_runaway(make: Make) -> None:
    bench = make(light_rig(max_refused_per_min=400))
    bench.arm()
    bench.pump(lambda: bench.events(n=3) or any(record.kind is RecordKind.TRIP for record in bench.wal()))
    trip = tripped(bench)
    assert "more than 400 requests refused within a minute" in trip["text"]
    assert trip["signal"] in ("gap_ms", "rate_hz", "target_refractory_ms", "duty")
    keep_asking(bench, 0.5)
    assert lights_after(bench, trip["t_ns"]) == []
    assert len(bench.lights) > 1
    require_honest(bench)


@pytest.mark.parametrize(("age_ms", "uncertainty_ms"), [(51, None), (30, 25)])
def test_old_decisions_are_late_and_never_fired(make: Make, age_ms: int, uncertainty_ms: int | None) -> None:
    """Also where the frame before was younger, and where only the uncertainty makes it old."""
    bench = make(light_rig())
    bench.arm()
    bench.uncertainty_ns = None if uncertainty_ms is None else uncertainty_ms * NS_PER_MS
    bench.pump(lambda: bench.events(age_ns=age_ms * NS_PER_MS) or len(bench.stims) > 20)
    assert {stim.outcome for _, stim in bench.stims} == {Outcome.LATE}
    assert bench.lights == []


@pytest.mark.parametrize("how", ["viewer", "source", "service", "line"])
def test_everybody_can_stop_it_and_the_rest_of_a_train_is_recalled(make: Make, how: str) -> None:
    rig = light_rig()
    rig["inputs"] = {"stop": {"driver": "virtual"}}
    rig["stop_line"] = {"line": "stop", "closed": "high"}
    bench = make(rig, **TRAIN)
    bench.line = "high"
    light_up(bench)
    if how == "line":
        t_ns = bench.press("stop", "falling")
    else:
        t_ns = bench.clock.now_ns()
        bench.control._role = type(bench.control._role)(how)
        bench.ask("trip", {"text": "stop!", "t_asked_ns": t_ns})
    trip = tripped(bench)
    assert trip["signal"] == ("stop_line" if how == "line" else "command")
    assert trip["dark_after_ns"] >= trip["t_ns"] - t_ns >= 0
    keep_asking(bench, 0.7)
    assert lights_after(bench, trip["t_ns"]) == []
    cut = [stim for _, stim in bench.stims if stim.outcome is Outcome.FAILED]
    assert [stim.pulses for stim in cut] == [len(bench.lights)]
    assert "the train ended after" in str(cut[0].reason)
    require_honest(bench)


def test_a_stop_line_that_is_not_read_any_more_counts_as_open(make: Make) -> None:
    rig = light_rig()
    rig["inputs"] = {"stop": {"driver": "virtual"}}
    rig["stop_line"] = {"line": "stop", "closed": "high"}
    bench = make(rig)
    bench.line = "high"
    light_up(bench)
    bench.line = None
    assert "not read" in tripped(bench)["text"]


def test_after_the_end_of_a_run_a_stop_line_that_is_let_go_of_is_no_trip_and_nobody_arms(make: Make) -> None:
    rig = light_rig()
    rig["inputs"] = {"stop": {"driver": "virtual"}}
    rig["stop_line"] = {"line": "stop", "closed": "high"}
    bench = make(rig)
    bench.line = "high"
    light_up(bench)
    bench.ask("conclude")
    bench.line = None
    bench.pump(3.0)
    assert bench.interlock() == "disarmed"
    assert not any(record.kind is RecordKind.TRIP for record in bench.wal())
    with pytest.raises(ServiceError, match="the run has ended"):
        bench.ask("arm", {"operator": "Ada"})


def test_a_pause_by_design_is_dark_without_a_trip_and_ends_by_itself(make: Make) -> None:
    bench = make(light_rig(), **TRAIN)
    light_up(bench)
    bench.mode = Mode.PAUSED
    bench.spikes()
    bench.pump(lambda: bool(bench.states) and bench.states[-1][1].inhibited)
    t_paused_ns = bench.clock.now_ns()
    keep_asking(bench, 1.0)
    assert lights_after(bench, t_paused_ns) == []
    assert bench.interlock() == "armed"
    bench.mode = Mode.LIVE
    bench.pump(lambda: bench.events() or bool(lights_after(bench, t_paused_ns)))
    assert not any(record.kind is RecordKind.TRIP for record in bench.wal())
    require_honest(bench)


@pytest.mark.parametrize("change", ["cells", "engine"])
def test_other_cells_and_an_engine_without_cells_disarm(make: Make, change: str) -> None:
    bench = make(light_rig())
    light_up(bench)
    if change == "cells":
        bench.send_rois(rev=2, threshold=3.0)
    else:
        bench.reboot_engine()
    bench.pump(lambda: bench.interlock() == "disarmed")
    n_lights = len(bench.lights)
    keep_asking(bench, 0.5)
    assert len(bench.lights) == n_lights
