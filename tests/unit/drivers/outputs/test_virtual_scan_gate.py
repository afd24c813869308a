"""Virtual light that is held to some lines: it leaves in them only, and the virtual frames show it in them only."""

from __future__ import annotations

import random

import numpy as np
import pytest
from safety_rig import MS, FakeClock, Rig, S
from system_rig import small_rig, write_rig

from drivers.microscopes.virtual import VirtualMicroscope
from drivers.outputs.virtual import HeldBack, VirtualOutput
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.rig_config import VirtualMicroscope as Config
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.scan_gate_config import VirtualScanGate
from rt_engine.safety.interlock import InterlockState

RATE_HZ = 30.0
PERIOD_NS = S / RATE_HZ
FLYBACK = {"after_ms": 31.0, "window_ms": 2.0, "give_up_ms": 70.0}
LINES = {"after_ms": 10.0, "window_ms": 6.0, "give_up_ms": 70.0}
N_LINES = 64


def light_rig(gate, clock=None):
    """An interlock with a virtual output behind a scanner, and what it has emitted."""
    rig = Rig(clock or FakeClock(), max_width_ms=gate["window_ms"])
    rig.emitted = []
    held = HeldBack(VirtualScanGate.model_validate(gate), LineClock(RATE_HZ))
    output = VirtualOutput("led", rig.clock, rig.emitted.append, 1000.0, held_back=held)
    rig.outputs["led"] = rig.interlock._outputs["led"] = output
    return rig.armed()


def turn(rig, ms):
    for _ in range(ms):
        rig.clock.step(MS)
        rig.beat()
        rig.interlock.tend(rig.clock.now_ns())


@pytest.mark.parametrize("rate_hz", [30.0, 15.03, 7.5, 60.0, 1000.0])
@pytest.mark.parametrize("t0_ns", [0, 123_456_789])
def test_frames_begin_at_whole_multiples_of_their_period(rate_hz, t0_ns):
    clock, draw = LineClock(rate_hz, t0_ns), random.Random(7)
    for _ in range(200):
        t_ns = draw.randrange(10**16)
        edge_ns = clock.next_edge_ns(t_ns)
        assert 0 <= edge_ns - t_ns <= S / rate_hz + 8
        number = (edge_ns - t0_ns) * rate_hz / S
        assert abs(number - round(number)) < 1e-3
        assert clock.next_edge_ns(edge_ns) == edge_ns


@pytest.mark.parametrize("gate", [FLYBACK, LINES], ids=["flyback", "lines"])
def test_light_leaves_in_its_lines_only(gate):
    rig, draw = light_rig(gate), random.Random(3)
    for n in range(20):
        turn(rig, 200 + draw.randrange(40))
        decision = rig.interlock.request(rig.request(width_ms=gate["window_ms"]))
        assert decision.outcome is Outcome.DELIVERED
        turn(rig, 80)
        assert len(rig.emitted) == n + 1
        since_ns = rig.emitted[-1]["t_on_ns"] % PERIOD_NS
        assert since_ns == pytest.approx(gate["after_ms"] * MS, abs=10)
        assert 0 <= rig.emitted[-1]["t_on_ns"] - decision.t_command_ns <= PERIOD_NS + gate["after_ms"] * MS
    assert rig.interlock.take_cut_trains() == []


def test_what_the_scanner_holds_for_too_long_is_recalled_and_told():
    rig = light_rig(LINES | {"give_up_ms": 20.0})
    came = cut = 0
    for i in range(40):
        turn(rig, 201 + i % 5)
        before, now_ns = len(rig.emitted), rig.clock.now_ns()
        decision = rig.interlock.request(rig.request(width_ms=6.0))
        edge_ns = LineClock(RATE_HZ).next_edge_ns(now_ns)
        in_time = edge_ns + 16 * MS <= now_ns + 20 * MS
        turn(rig, 60)
        assert len(rig.emitted) - before == in_time
        told = rig.interlock.take_cut_trains()
        assert [(one.decision_id, one.emitted) for one in told] == ([] if in_time else [(decision.decision_id, 0)])
        came, cut = came + in_time, cut + (not in_time)
    assert min(came, cut) >= 3
    assert rig.interlock.state in (InterlockState.ARMED, InterlockState.FIRING)


def test_a_trip_while_the_scanner_holds_light_back_leaves_none():
    rig = light_rig(FLYBACK)
    decision = rig.interlock.request(rig.request(width_ms=2.0))
    assert rig.interlock._outputs["led"].next_due_ns > decision.t_command_ns
    rig.interlock.trip("operator", "stop", "go", "a person stopped it")
    turn(rig, 100)
    assert rig.emitted == []
    assert [one.emitted for one in rig.outputs["led"].cut_trains()] == [0]


def test_a_train_that_does_not_fit_into_the_lines_is_refused_by_the_output():
    rig = light_rig(LINES)
    decision = rig.interlock.request(rig.request(pulses=2, period_ms=150.0, width_ms=5.0))
    assert decision.outcome is Outcome.FAILED
    assert "a train of 155 ms does not fit into scan_gate.window_ms 6" in decision.reason
    assert rig.emitted == []


class SleepingClock(FakeClock):
    def sleep(self, seconds):
        self.step(max(1, round(seconds * S)))


def shown(gate, delay_ms, flyback_ms=0.0, *, pace="real_time", latest_draw_ms=0.0):
    """Lines that are lit in the frames after one gated pulse, commanded `delay_ms` into a frame; and the truth."""
    clock = SleepingClock()
    config = Config(
        driver="virtual", n_lines=N_LINES, pixels_per_line=64, pace=pace, frame_flyback_ms=flyback_ms,
        sample={"n_cells": 6, "spontaneous": False},
    )  # fmt: skip
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    microscope.open()
    microscope._render_ns = int(latest_draw_ms * MS)
    rig = light_rig(gate, clock)
    microscope.start()
    cells, buffer = microscope.describe_sample(), np.zeros((N_LINES, 64), np.uint16)
    targets = tuple(zip(cells["y_px"], cells["x_px"], strict=True))
    commanded, blanked, spikes, lights, sent, frames_after = False, [], 0, [], 0, 0
    for _ in range(2000):
        info = microscope.read(buffer, 0.001)
        rig.beat()
        rig.interlock.tend(clock.now_ns())
        for light in rig.emitted[sent:]:
            args = light["t_on_ns"], light["width_us"], light["power_uw"], light["targets_yx_px"]
            microscope.receive_light(*args, after_frame_start_ms=gate["after_ms"])
        sent = len(rig.emitted)
        if info is not None:
            truth = microscope.take_truth()
            blanked += [(info.frame, *span) for span in info.blanked]
            spikes += len(truth["spike_cell"])
            lights += truth["t_light_ns"]
        if pace == "max":
            clock.step(MS)
        elif not commanded and clock.now_ns() % PERIOD_NS < delay_ms * MS:
            continue
        if (not commanded and info is None) or (pace == "max" and not commanded):
            commanded = True
            request = rig.request(width_ms=gate["window_ms"], power_mw=20.0, targets_yx_px=targets)
            assert rig.interlock.request(request).outcome is Outcome.DELIVERED
        frames_after += info is not None and bool(lights)
        if frames_after == 3:
            break
    return blanked, spikes, lights, [light["t_on_ns"] for light in rig.emitted]


@pytest.mark.parametrize("delay_ms", [1, 12, 29])
@pytest.mark.parametrize("latest_draw_ms", [1.0, 10.0, 20.0])
def test_light_in_the_flyback_reaches_the_cells_and_no_line(delay_ms, latest_draw_ms):
    blanked, spikes, lights, commanded = shown(FLYBACK, delay_ms, 2.5, latest_draw_ms=latest_draw_ms)
    assert blanked == []
    assert spikes == 6
    assert lights == pytest.approx(commanded, abs=20)


@pytest.mark.parametrize("pace", ["real_time", "max"])
@pytest.mark.parametrize("flyback_ms", [0.0, 2.5])
@pytest.mark.parametrize("latest_draw_ms", [1.0, 22.0])
def test_light_in_some_lines_is_seen_in_these(pace, flyback_ms, latest_draw_ms):
    blanked, spikes, lights, commanded = shown(LINES, 5, flyback_ms, pace=pace, latest_draw_ms=latest_draw_ms)
    line_ms = (PERIOD_NS / MS - flyback_ms) / N_LINES
    first, last = int(10.0 / line_ms), int(np.ceil(16.0 / line_ms)) - 1
    assert [(line0, n) for _, line0, n in blanked] == [(first, last - first + 1)]
    assert (len(lights), len(commanded), spikes) == (1, 1, 6)


def test_without_the_gate_the_same_light_falls_on_other_lines():
    """What the tests above would see of a twin that does not hold light back."""
    clock = SleepingClock()
    config = Config(driver="virtual", n_lines=N_LINES, pixels_per_line=64, sample={"n_cells": 6, "spontaneous": False})
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    microscope.open()
    microscope.start()
    buffer = np.zeros((N_LINES, 64), np.uint16)
    while microscope.read(buffer, 0.001) is None:
        pass
    microscope.receive_light(clock.now_ns() + 20 * MS, 6000, [20_000], [[32.0, 32.0]])
    while (info := microscope.read(buffer, 0.001)) is None:
        pass
    assert info.blanked[0][0] == int(20 / (PERIOD_NS / MS / N_LINES))


def test_the_flyback_of_a_frame_is_time_without_lines():
    clock = SleepingClock()
    config = Config(driver="virtual", n_lines=N_LINES, pixels_per_line=64, frame_flyback_ms=5.0, strip_lines=16)
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    assert microscope.open().line_period_ns == pytest.approx((PERIOD_NS - 5 * MS) / N_LINES, abs=1)
    microscope.start()
    buffer, stamps = np.zeros((N_LINES, 64), np.uint16), []
    while len(stamps) < 8:
        info = microscope.read(buffer, 0.001)
        if info is not None:
            stamps.append(info.t_scan_ns)
    quarter_ns = (PERIOD_NS - 5 * MS) / 4
    steps = np.diff(stamps)
    np.testing.assert_allclose(steps[[0, 1, 2, 4, 5, 6]], quarter_ns, atol=2)
    assert steps[3] == pytest.approx(quarter_ns + 5 * MS, abs=2)
    end_ns = stamps[3] + 5 * MS
    assert LineClock(RATE_HZ).next_edge_ns(end_ns - 20) == pytest.approx(end_ns, abs=20)


def rig_file(folder, gate, **changes):
    limits = {"max_decision_age_ms": 150.0, "max_width_ms": 2.0}
    rig = small_rig(microscope__pace="real_time", outputs__led__scan_gate=gate, **changes)
    rig["outputs"]["led"]["limits"] |= limits
    return write_rig(folder, rig)


def test_the_section_of_a_card_can_stay_as_it_is(tmp_path):
    rig = load_rig(rig_file(tmp_path, FLYBACK | {"terminal": "PFI1"}))
    assert rig.outputs["led"].longest_wait_ms == 70.0


@pytest.mark.parametrize(("gate", "changes", "words"), [
    ({"after_ms": 32.0}, {}, "after_ms 32 and window_ms 2 end at 34 ms, when the next frame has begun: .* 33.33 ms"),
    ({"give_up_ms": 160.0}, {}, "give_up_ms 160: after it a decision is older than"),
    ({"give_up_ms": 30.0}, {}, "give_up_ms 30 is over before"),
    ({"window_ms": 1.0}, {}, "max_width_ms 2 is longer than scan_gate.window_ms 1"),
    ({}, {"outputs__led__shutter": {"lead_ms": 31.0, "lag_ms": 0.0}}, "leaves no time for shutter.lead_ms"),
    ({}, {"microscope": {"driver": "replay", "path": "m.tif"}}, "driver: virtual}` only"),
    ({}, {"microscope__frame_flyback_ms": 17.0}, "more than half a frame, 33.33 ms"),
    ({"lines": [0, 10]}, {}, "not a known key"),
])  # fmt: skip
def test_what_cannot_be_held_to_lines_is_refused(gate, changes, words, tmp_path):
    if "microscope" not in changes:
        path = rig_file(tmp_path, FLYBACK | gate, **changes)
    else:
        rig = small_rig(outputs__led__scan_gate=FLYBACK | gate)
        rig["outputs"]["led"]["limits"] |= {"max_decision_age_ms": 150.0, "max_width_ms": 2.0}
        path = write_rig(tmp_path, rig | changes)
    with pytest.raises(ConfigError, match=words):
        load_rig(path)
