"""A Micro-Manager camera: the real core with its compiled demo camera delivers every frame, numbered and timed."""

from __future__ import annotations

import time

import numpy as np
import pytest

from drivers.microscopes.arrival_times import ArrivalTimes
from drivers.microscopes.micromanager.microscope import MicroManagerMicroscope
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import Microscope, TellsVersions
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import MicroManagerMicroscope as Config

MS = 1_000_000


def config(**changes):
    values = {"driver": "micromanager", "config_file": "demo", "exposure_ms": 10.0, "frame_rate_hz": 100.0}
    fast = {"OnCameraCCDXSize": "128", "OnCameraCCDYSize": "96"}
    return Config.model_validate(values | {"properties": fast} | changes)


def opened(microscope):
    while (geometry := microscope.open()) is None:
        pass
    return geometry


@pytest.fixture
def microscope():
    pytest.importorskip("mm_test_adapters", reason="the demo camera of Micro-Manager is not installed")
    microscope = MicroManagerMicroscope(config(), MonotonicClock())
    yield microscope
    microscope.stop()
    microscope.close()


def take(microscope, n):
    geometry = opened(microscope)
    buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), np.uint16)
    found, end_s = [], time.monotonic() + 120
    while len(found) < n and time.monotonic() < end_s:
        info = microscope.read(buffer, 0.05)
        if info is not None:
            found.append((info, time.perf_counter_ns(), buffer.copy()))
    return found


def test_every_frame_of_the_real_core_comes_numbered_and_timed(microscope):
    assert isinstance(microscope, Microscope)
    assert isinstance(microscope, TellsVersions)
    assert microscope.versions == {}
    geometry = opened(microscope)
    assert "MMCore version" in microscope.versions["MMCore"]
    assert "Device API version" in microscope.versions["MMCore"]
    assert "DemoCamera" in microscope.versions["camera"]
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype, geometry.adc_max) == (96, 128, "u2", 65535)
    microscope.start()
    found = take(microscope, 60)
    assert [info.frame for info, _, _ in found] == list(range(60))
    times = np.array([info.t_scan_ns for info, _, _ in found])
    assert (np.diff(times) > 0).all()
    assert all(info.t_scan_ns <= arrived for info, arrived, _ in found)
    device = np.array([info.t_device_s for info, _, _ in found])
    steps_s = np.diff((times - times[0]) / 1e9 - device)
    assert steps_s.max() < 1e-6, "word that is late moves no frame: only word that is quicker than any before does"
    assert np.median(np.abs(steps_s)) < 1e-6
    assert found[0][2].any()


def test_a_camera_that_has_stopped_by_itself_is_started_again_and_the_gap_is_flagged(microscope):
    opened(microscope)
    microscope.start()
    before = take(microscope, 5)
    microscope._core.stopSequenceAcquisition()
    after = take(microscope, 30)
    numbers = [info.frame for info, _, _ in before + after]
    assert microscope.restarts == 1
    assert numbers == sorted(set(numbers))
    flagged = [info for info, _, _ in after if info.flags & FrameFlag.LOST_BEFORE]
    assert len(flagged) == 1


def test_a_buffer_that_ran_over_leaves_a_gap_in_the_numbers():
    microscope = MicroManagerMicroscope(config(buffer_mb=16, exposure_ms=1.0), MonotonicClock())
    try:
        opened(microscope)
        microscope.start()
        take(microscope, 3)
        most, end_s = 0, time.monotonic() + 120
        while (there := microscope._core.getRemainingImageCount()) >= most and time.monotonic() < end_s:
            most = there
            time.sleep(0.02)
        numbers = [info.frame for info, _, _ in take(microscope, 20)]
        assert numbers == sorted(set(numbers))
        assert numbers[0] >= 3 + 1
        assert numbers[-1] - numbers[0] == len(numbers) - 1
    finally:
        microscope.stop()
        microscope.close()


@pytest.mark.parametrize(("changes", "words"), [
    ({"config_file": "/nowhere/my.cfg"}, ["there is no file", "Micro-Manager"]),
    ({"properties": {"NoSuch": "1"}}, ["NoSuch", "Micro-Manager"]),
    ({"properties": {"PixelType": "32bitRGB"}}, ["components", "16 bit grey"]),
])  # fmt: skip
def test_what_is_wrong_is_said_with_a_remedy(changes, words):
    pytest.importorskip("mm_test_adapters", reason="the demo camera of Micro-Manager is not installed")
    microscope = MicroManagerMicroscope(config(**changes), MonotonicClock())
    try:
        with pytest.raises(DeviceError) as caught:
            opened(microscope)
        assert all(word in str(caught.value) for word in words), str(caught.value)
    finally:
        microscope.close()


def test_late_word_of_a_frame_does_not_move_the_frame():
    random, times = np.random.default_rng(1), ArrivalTimes()
    errors = []
    for i in range(400):
        device_ns, delay_ns = i * 33 * MS, int(2 * MS + random.exponential(3 * MS))
        errors.append(times.happened_ns(device_ns, 7_000 * MS + device_ns + delay_ns) - 7_000 * MS - device_ns)
    assert max(errors[100:]) < 2.2 * MS
    assert min(errors) >= 2 * MS
    assert MS < times.uncertainty_ns < 4 * MS
