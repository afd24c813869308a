"""Replay delivers every frame once, in order, at its time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from drivers.microscopes.replay import ReplayMicroscope
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.errors import DeviceError, MovieError, SourceEnded
from rt_engine.interfaces.rig_config import ReplayMicroscope as Config


class FakeClock:
    def __init__(self) -> None:
        self.t_ns = 5_000_000_000

    def now_ns(self) -> int:
        return self.t_ns

    def wait(self, seconds: float) -> None:
        self.t_ns += round(seconds * 1e9)


class FakeMovie:
    n_frames, n_lines, pixels_per_line, dtype = 6, 4, 5, "u2"
    frame_rate_hz: float | None = 10.0
    um_per_px = 0.8
    adc_max = 4095

    def __init__(self) -> None:
        self.closed = 0

    def require_frame_rate(self) -> float:
        if self.frame_rate_hz is None:
            raise MovieError("no rate")
        return self.frame_rate_hz

    def read(self, index: int) -> np.ndarray[Any, Any]:
        return np.full((4, 5), index, np.uint16)

    def close(self) -> None:
        self.closed += 1


def replay(clock: FakeClock, movie: FakeMovie, *, start_frame: int = 0, **config: Any) -> ReplayMicroscope:
    return ReplayMicroscope(
        Config(driver="replay", path="m.tif", **config),
        clock,
        lambda path: movie,
        start_frame=start_frame,
        wait=clock.wait,
    )


def test_it_is_a_microscope_with_the_movies_geometry() -> None:
    microscope = replay(FakeClock(), FakeMovie())
    assert isinstance(microscope, Microscope)
    geometry = microscope.open()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (4, 5, "u2")
    assert (geometry.frame_rate_hz, geometry.um_per_px, geometry.adc_max) == (10.0, 0.8, 4095)


def test_what_the_config_says_goes_before_the_file() -> None:
    geometry = replay(FakeClock(), FakeMovie(), frame_rate_hz=30.0, um_per_px=0.5).open()
    assert (geometry.frame_rate_hz, geometry.um_per_px) == (30.0, 0.5)


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_frames_come_at_absolute_deadlines(speed: float) -> None:
    clock, buffer = FakeClock(), np.zeros((4, 5), np.uint16)
    microscope = replay(clock, FakeMovie(), speed=speed)
    microscope.open()
    microscope.start()
    start_ns = clock.t_ns
    for frame in range(6):
        asked_ns = clock.t_ns
        info = microscope.read(buffer, 1.0)
        assert info is not None
        assert info.frame == frame
        assert np.all(buffer == frame)
        assert clock.t_ns == max(asked_ns, start_ns + round((frame + 1) * 1e8 / speed))
        assert info.t_scan_ns == (frame + 1) * 100_000_000
        clock.t_ns += 30_000_000 if frame != 2 else 170_000_000
    with pytest.raises(SourceEnded):
        microscope.read(buffer, 1.0)


def test_nothing_comes_before_its_time() -> None:
    clock, buffer = FakeClock(), np.zeros((4, 5), np.uint16)
    microscope = replay(clock, FakeMovie())
    microscope.open()
    microscope.start()
    assert microscope.read(buffer, 0.04) is None
    assert microscope.read(buffer, 0.04) is None
    assert microscope.read(buffer, 0.04) is not None


def test_at_max_speed_nothing_waits() -> None:
    clock, buffer = FakeClock(), np.zeros((4, 5), np.uint16)
    microscope = replay(clock, FakeMovie(), speed="max", start_frame=4)
    microscope.open()
    microscope.start()
    before_ns = clock.t_ns
    infos = [microscope.read(buffer, 1.0), microscope.read(buffer, 1.0)]
    assert [info.frame for info in infos if info is not None] == [4, 5]
    assert clock.t_ns == before_ns


def test_a_pause_goes_on_with_the_next_frame() -> None:
    clock, buffer = FakeClock(), np.zeros((4, 5), np.uint16)
    microscope = replay(clock, FakeMovie())
    microscope.open()
    microscope.start()
    microscope.read(buffer, 1.0)
    microscope.stop()
    clock.wait(10.0)
    microscope.start()
    resumed_ns = clock.t_ns
    info = microscope.read(buffer, 1.0)
    assert info is not None
    assert (info.frame, info.t_scan_ns) == (1, 200_000_000)
    assert clock.t_ns == resumed_ns + 100_000_000


def test_reading_before_opening_is_an_error_and_closing_twice_is_none() -> None:
    movie = FakeMovie()
    microscope = replay(FakeClock(), movie)
    with pytest.raises(DeviceError):
        microscope.read(np.zeros((4, 5), np.uint16), 1.0)
    microscope.open()
    microscope.close()
    microscope.close()
    microscope.stop()
    assert movie.closed == 1


def test_an_unknown_rate_is_refused_at_opening() -> None:
    movie = FakeMovie()
    movie.frame_rate_hz = None
    with pytest.raises(MovieError):
        replay(FakeClock(), movie).open()
