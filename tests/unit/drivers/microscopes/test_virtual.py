"""The virtual microscope keeps absolute deadlines, honours timeouts, and tells the truth in host time."""

import numpy as np
import pytest

from drivers.microscopes.virtual import VirtualMicroscope
from rt_engine.interfaces.devices import AnswersLight, Microscope
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.rig_config import VirtualMicroscope as Config

PERIOD_NS = 1e9 / 30


class FakeClock:
    """Time passes only when somebody sleeps."""

    def __init__(self):
        self.t_ns = 5_000_000_000
        self.slept_s = []

    def now_ns(self):
        return self.t_ns

    def sleep(self, seconds):
        assert seconds >= 0
        self.slept_s.append(seconds)
        self.t_ns += max(1, round(seconds * 1e9))


def make(pace="real_time", **sample):
    clock = FakeClock()
    config = Config(driver="virtual", n_lines=64, pixels_per_line=64, pace=pace, sample={"n_cells": 6, **sample})
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    microscope.open()
    return microscope, clock, np.zeros((64, 64), dtype="<u2")


def next_frame(microscope, buffer, timeout_s=0.01):
    for _ in range(100):
        info = microscope.read(buffer, timeout_s)
        if info is not None:
            return info
    raise AssertionError("no frame came")


def test_it_is_a_microscope_whose_sample_answers_light():
    microscope, _, _ = make()
    assert isinstance(microscope, Microscope)
    assert isinstance(microscope, AnswersLight)


def test_geometry_is_that_of_the_config():
    microscope, _, _ = make()
    geometry = microscope.open()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (64, 64, "u2")
    assert (geometry.adc_max, geometry.offset, geometry.um_per_px) == (4095, 100.0, 0.8)
    assert geometry.line_period_ns == round(PERIOD_NS / 64)


@pytest.mark.parametrize("timeout_s", [0.0005, 0.005, 1.0])
def test_frames_come_when_their_scan_ends_and_never_earlier(timeout_s):
    microscope, clock, buffer = make()
    microscope.start()
    t0_ns = clock.t_ns
    for k in range(40):
        info = next_frame(microscope, buffer, timeout_s)
        assert info.frame == k
        assert info.t_scan_ns == round(t0_ns + (k + 1) * PERIOD_NS)
        assert info.t_scan_ns <= clock.t_ns <= info.t_scan_ns + 10


def test_a_read_returns_nothing_when_its_time_is_over():
    microscope, clock, buffer = make()
    microscope.start()
    before_ns = clock.t_ns
    assert microscope.read(buffer, 0.004) is None
    assert clock.t_ns == pytest.approx(before_ns + 4_000_000, abs=10)
    assert not buffer.any()


def test_it_never_spins():
    microscope, clock, buffer = make()
    microscope.start()
    for _ in range(30):
        next_frame(microscope, buffer, 0.005)
    assert len(clock.slept_s) < 30 * 12


def test_a_reader_up_to_a_second_late_gets_every_frame_stamped_when_it_was_drawn():
    microscope, clock, buffer = make()
    microscope.start()
    next_frame(microscope, buffer)
    clock.t_ns += 500_000_000
    late_ns = clock.t_ns
    infos = [next_frame(microscope, buffer) for _ in range(30)]
    assert [info.frame for info in infos] == list(range(1, 31))
    assert infos[0].t_scan_ns == late_ns
    assert infos[-1].t_scan_ns == round(5_000_000_000 + 31 * PERIOD_NS)


def test_after_a_pause_the_numbers_go_on():
    microscope, clock, buffer = make()
    microscope.start()
    next_frame(microscope, buffer)
    clock.t_ns += 20_000_000_000
    resumed_ns = clock.t_ns
    info = next_frame(microscope, buffer)
    assert info.frame == 1
    assert info.t_scan_ns == pytest.approx(resumed_ns + PERIOD_NS, abs=2)


def test_slow_drawing_is_late_and_says_so(monkeypatch):
    microscope, clock, buffer = make()
    microscope.start()
    draw = microscope._volume.render

    def slow(frame, out):
        clock.t_ns += 50_000_000
        return draw(frame, out)

    monkeypatch.setattr(microscope._volume, "render", slow)
    info = next_frame(microscope, buffer)
    assert info.t_scan_ns > 5_000_000_000 + PERIOD_NS
    assert info.t_scan_ns == clock.t_ns


def test_at_pace_max_nobody_waits():
    microscope, clock, buffer = make("max")
    microscope.start()
    infos = [microscope.read(buffer, 0.0) for _ in range(20)]
    assert [info.frame for info in infos] == list(range(20))
    assert clock.slept_s == []
    assert {info.t_scan_ns for info in infos} == {clock.t_ns}


def test_both_paces_show_the_same_frames():
    (slow, _, a), (fast, _, b) = make(), make("max")
    slow.start()
    fast.start()
    for _ in range(10):
        next_frame(slow, a)
        next_frame(fast, b)
        np.testing.assert_array_equal(a, b)


def test_light_in_host_time_shows_in_the_frame_being_scanned():
    microscope, clock, buffer = make(spontaneous=False)
    microscope.start()
    t0_ns = clock.t_ns
    for _ in range(3):
        next_frame(microscope, buffer)
    assert microscope.read(buffer, 0.008) is None
    t_on_ns = clock.t_ns
    cells = microscope.describe_sample()
    targets = [[y, x] for y, x in zip(cells["y_px"], cells["x_px"], strict=True)]
    microscope.receive_light(t_on_ns, 5000, [30_000] * 6, targets)
    info = next_frame(microscope, buffer)
    truth = microscope.take_truth()
    assert info.flags == 4
    assert info.blanked[0][0] == int((t_on_ns - t0_ns - 3 * PERIOD_NS) / PERIOD_NS * 64)
    assert truth["t_light_ns"] == pytest.approx([t_on_ns], abs=5)
    assert sorted(truth["spike_cell"]) == list(range(6))
    assert all(truth["evoked"])
    for t_ns, frame in zip(truth["t_spike_ns"], truth["spike_frame"], strict=True):
        assert 500_000 <= t_ns - t_on_ns <= 16_000_000
        assert t_ns == pytest.approx(t0_ns + frame * PERIOD_NS, abs=5)
    assert next_frame(microscope, buffer).flags == 0


def test_at_pace_max_light_acts_at_the_end_of_the_last_frame():
    microscope, _, buffer = make("max", spontaneous=False)
    microscope.start()
    for _ in range(4):
        microscope.read(buffer, 0.0)
    cells = microscope.describe_sample()
    microscope.receive_light(123, 5000, [30_000], [[cells["y_px"][0], cells["x_px"][0]]])
    info = microscope.read(buffer, 0.0)
    truth = microscope.take_truth()
    assert info.blanked[0][0] == 0
    assert 4 < truth["spike_frame"][0] < 5
    assert truth["t_spike_ns"][0] == pytest.approx(info.t_scan_ns + (truth["spike_frame"][0] - 5) * PERIOD_NS, abs=5)


def test_truth_names_the_fields_of_the_message():
    microscope, _, buffer = make("max")
    microscope.start()
    with pytest.raises(DeviceError, match="no frame"):
        microscope.take_truth()
    microscope.read(buffer, 0.0)
    truth = microscope.take_truth()
    assert set(truth) == {
        "shift_y_px", "shift_x_px", "spike_cell", "t_spike_ns", "spike_frame", "evoked", "t_light_ns",
    }  # fmt: skip
    cells = microscope.describe_sample()
    assert set(cells) >= {"cell", "y_px", "x_px", "radius_px", "a_over_sigma", "rate_hz", "opsin"}
    assert {len(values) for values in cells.values()} == {6}


def test_reading_before_open_or_start_is_an_error_and_closing_twice_is_not():
    microscope, _, buffer = make()
    with pytest.raises(DeviceError, match="before start"):
        microscope.read(buffer, 0.0)
    microscope.stop()
    microscope.close()
    microscope.close()
    with pytest.raises(DeviceError, match="not open"):
        microscope.read(buffer, 0.0)
