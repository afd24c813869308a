"""Sources that hand out strips: the lines of a frame, each when it has been scanned, and the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.microscopes.replay import ReplayMicroscope
from drivers.microscopes.virtual import VirtualMicroscope
from rt_engine.interfaces.devices import FrameInfo
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.rig_config import ReplayMicroscope as ReplayConfig
from rt_engine.interfaces.rig_config import VirtualMicroscope as VirtualConfig

PERIOD_NS = 1e9 / 30


class FakeClock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.t_ns = 5_000_000_000

    def now_ns(self) -> int:
        return self.t_ns

    def sleep(self, seconds: float) -> None:
        self.t_ns += max(1, round(seconds * 1e9))


def _virtual(clock: FakeClock, strip_lines: int | None, pace: Any = "real_time") -> VirtualMicroscope:
    config = VirtualConfig.model_validate(
        {"driver": "virtual", "n_lines": 64, "pixels_per_line": 64, "pace": pace, "strip_lines": strip_lines,
         "sample": {"n_cells": 6}}
    )  # fmt: skip
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    microscope.open()
    microscope.start()
    return microscope


def _next(microscope: Any, buffer: NDArray[np.uint16]) -> FrameInfo:
    for _ in range(1000):
        info = microscope.read(buffer, 0.01)
        if info is not None:
            assert isinstance(info, FrameInfo)
            return info
    raise AssertionError("nothing came")


@pytest.mark.parametrize("pace", ["real_time", "max"])
def test_strips_of_the_virtual_sample_are_the_lines_of_its_frames(pace: str) -> None:
    whole, strips = _virtual(FakeClock(), None, pace), _virtual(FakeClock(), 24, pace)
    frame, assembled = np.zeros((64, 64), np.uint16), np.zeros((64, 64), np.uint16)
    for k in range(6):
        _next(whole, frame)
        seen = []
        while not seen or seen[-1][0] + seen[-1][1] < 64:
            buffer = np.full((64, 64), 7, np.uint16)
            info = _next(strips, buffer)
            assert info.frame == k
            end = info.line0 + info.n_lines
            assembled[info.line0 : end] = buffer[info.line0 : end]
            assert np.all(buffer[: info.line0] == 7)
            assert np.all(buffer[end:] == 7)
            seen.append((info.line0, info.n_lines))
        assert seen == [(0, 24), (24, 24), (48, 16)]
        np.testing.assert_array_equal(assembled, frame)
        assert strips.take_truth()["spike_cell"] == whole.take_truth()["spike_cell"]


def test_a_strip_is_scanned_as_long_as_its_lines_take() -> None:
    clock = FakeClock()
    microscope, buffer = _virtual(clock, 16), np.zeros((64, 64), np.uint16)
    t0_ns = clock.t_ns
    for k in range(5):
        for strip in range(4):
            info = _next(microscope, buffer)
            assert info.t_scan_ns == pytest.approx(t0_ns + (k + (strip + 1) / 4) * PERIOD_NS, abs=2)
            assert info.t_scan_ns <= clock.t_ns


def test_light_marks_the_strips_that_it_fell_on_and_no_other() -> None:
    clock = FakeClock()
    microscope, buffer = _virtual(clock, 16), np.zeros((64, 64), np.uint16)
    for _ in range(4):
        _next(microscope, buffer)
    microscope.receive_light(clock.t_ns + round(1.4 * PERIOD_NS), 1000, [5000], [[32.0, 32.0]])
    flags = []
    for _ in range(12):
        info = _next(microscope, buffer)
        assert bool(info.flags & FrameFlag.ARTEFACT) == bool(info.blanked)
        for line0, n_lines in info.blanked:
            assert info.line0 <= line0
            assert line0 + n_lines <= info.line0 + info.n_lines
        flags.append(bool(info.blanked))
    assert 1 <= sum(flags) <= 3


class FakeMovie:
    n_frames, n_lines, pixels_per_line, dtype = 3, 10, 5, "u2"
    frame_rate_hz, um_per_px, adc_max = 10.0, 0.8, 4095

    def require_frame_rate(self) -> float:
        return self.frame_rate_hz

    def read(self, index: int) -> NDArray[np.uint16]:
        return np.arange(50, dtype=np.uint16).reshape(10, 5) + np.uint16(100 * index)

    def close(self) -> None:
        """Nothing to release."""


def test_a_movie_comes_in_strips_at_their_time() -> None:
    clock, movie = FakeClock(), FakeMovie()
    config = ReplayConfig(driver="replay", path="m.tif", strip_lines=4)
    microscope = ReplayMicroscope(config, clock, lambda path: movie, wait=clock.sleep)
    microscope.open()
    microscope.start()
    buffer = np.zeros((10, 5), np.uint16)
    for k in range(3):
        for line0, end in ((0, 4), (4, 8), (8, 10)):
            info = _next(microscope, buffer)
            assert (info.frame, info.line0, info.n_lines) == (k, line0, end - line0)
            assert info.t_scan_ns == round((k + end / 10) * 1e8)
            np.testing.assert_array_equal(buffer[line0:end], movie.read(k)[line0:end])
