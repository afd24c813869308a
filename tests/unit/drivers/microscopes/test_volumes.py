"""Drivers of volumes say which plane, volume and frame each picture is, and how often a plane is seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import tifffile
import zmq

from drivers.microscopes.movie_volume import VolumeMovie, open_volume
from drivers.microscopes.replay import ReplayMicroscope
from drivers.microscopes.stream import StreamMicroscope
from drivers.microscopes.virtual import VirtualMicroscope
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError, MovieError, SourceEnded
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.rig_config import ReplayMicroscope as ReplayConfig
from rt_engine.interfaces.rig_config import StreamMicroscope as StreamConfig
from rt_engine.interfaces.rig_config import VirtualMicroscope as VirtualConfig

DEADLINE_S = 60.0


class FakeClock:
    def __init__(self) -> None:
        self.t_ns = 5_000_000_000

    def now_ns(self) -> int:
        return self.t_ns

    def sleep(self, seconds: float) -> None:
        self.t_ns += max(1, round(seconds * 1e9))


def test_the_virtual_microscope_scans_planes_and_flyback_by_one_clock() -> None:
    clock = FakeClock()
    config = VirtualConfig(
        driver="virtual", frame_rate_hz=60.0, n_lines=64, pixels_per_line=64, n_planes=2, n_flyback_frames=1,
        sample={"n_cells": 4},
    )  # fmt: skip
    microscope = VirtualMicroscope(config, clock, clock.sleep)
    geometry = microscope.open()
    assert (geometry.frame_rate_hz, geometry.frames_per_volume) == (60.0, 3)
    t0_ns = clock.t_ns
    microscope.start()
    buffer = np.zeros((64, 64), np.uint16)
    infos = []
    while len(infos) < 9:
        info = microscope.read(buffer, 0.005)
        if info is None:
            continue
        infos.append(info)
        truth = microscope.take_truth()
        assert all(info.frame - 2 <= f < info.frame + 1 for f in truth["spike_frame"])
    assert [(i.frame, i.volume, i.plane) for i in infos] == [(n, n // 3, n % 3) for n in range(9)]
    assert [bool(i.flags & FrameFlag.DISCARD) for i in infos] == [False, False, True] * 3
    for info in infos:
        assert abs(info.t_scan_ns - t0_ns - round((info.frame + 1) * 1e9 / 60)) <= 2
    assert len(microscope.describe_sample(1)["cell"]) == 4
    assert microscope.describe_sample(0)["y_px"] != microscope.describe_sample(1)["y_px"]


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """Five volumes of three planes; every pixel says volume and plane."""
    frames = np.zeros((5, 3, 4, 6), np.uint16)
    frames += np.arange(5, dtype=np.uint16)[:, None, None, None] * 10 + np.arange(3, dtype=np.uint16)[:, None, None]
    path = tmp_path / "volume.tif"
    tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TZYX", "fps": 8.0})
    return path


def replay(path: Path, planes: tuple[int, ...], **config: Any) -> ReplayMicroscope:
    return ReplayMicroscope(
        ReplayConfig(driver="replay", path=str(path), speed="max", plane=planes[0], **config),
        FakeClock(),
        lambda name: open_volume(name, planes, frame_rate_hz=config.get("frame_rate_hz")),
        planes=planes,
    )


@pytest.mark.parametrize(("stated_hz", "rate_hz"), [(None, 16.0), (5.0, 10.0)])
def test_a_movie_of_a_volume_is_delivered_plane_by_plane(movie: Path, stated_hz: float | None, rate_hz: float) -> None:
    microscope = replay(movie, (0, 2), frame_rate_hz=stated_hz)
    geometry = microscope.open()
    assert (geometry.frame_rate_hz, geometry.frames_per_volume) == (pytest.approx(rate_hz), 2)
    microscope.start()
    buffer, found = np.zeros((4, 6), np.uint16), []
    for _ in range(10):
        info = microscope.read(buffer, 0.0)
        assert info is not None
        found.append((info.frame, info.volume, info.plane, int(buffer[0, 0]), int(buffer.std())))
    with pytest.raises(SourceEnded):
        microscope.read(buffer, 0.0)
    microscope.close()
    assert found == [(2 * v + i, v, plane, 10 * v + plane, 0) for v in range(5) for i, plane in enumerate((0, 2))]


def test_one_plane_of_it_is_delivered_as_a_movie_without_volumes(movie: Path) -> None:
    microscope = replay(movie, (1,))
    geometry = microscope.open()
    assert (geometry.frame_rate_hz, geometry.frames_per_volume) == (pytest.approx(8.0), 1)
    microscope.start()
    buffer = np.zeros((4, 6), np.uint16)
    infos = [microscope.read(buffer, 0.0) for _ in range(5)]
    microscope.close()
    assert [(i.frame, i.volume, i.plane) for i in infos if i is not None] == [(n, None, 1) for n in range(5)]


def test_a_plane_that_the_file_has_not_leaves_nothing_open(movie: Path) -> None:
    with pytest.raises(MovieError, match="there is no plane 3, the file has 3"):
        open_volume(movie, (0, 3))
    volume = open_volume(movie, (0, 1))
    assert isinstance(volume, VolumeMovie)
    volume.close()


class Program:
    """A program outside; sends what it is told."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.seq = 0

    def send(self, plane: int, frame: int, volume: int | None, channel: int = 0, **changes: Any) -> None:
        header = {
            "v": 1, "session": "", "source": "mine", "host": "h", "boot_id": "b", "seq": self.seq, "t_sent_ns": 1,
            "plane": plane, "channel": channel, "frame": frame, "volume": volume, "line0": 0, "n_lines": 2,
            "lines_per_frame": 2, "pixels_per_line": 3, "dtype": "u2", "adc_max": None, "offset": None,
            "frame_period_ns": 10_000_000, "line_period_ns": None, "t_scan_ns": 1 + frame,
            "t_scan_uncertainty_ns": None, "t_device_s": None, "flags": 0, "blanked": [],
        } | changes  # fmt: skip
        self.seq += 1
        topic = f"frame.{plane}.{channel}".encode()
        self.socket.send_multipart([topic, msgpack.packb(header), np.full((2, 3), abs(frame), "<u2").tobytes()])

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def program() -> Iterator[Program]:
    one = Program()
    yield one
    one.close()


Connect = Callable[..., StreamMicroscope]


@pytest.fixture
def connect(program: Program) -> Iterator[Connect]:
    """Makes microscopes that are subscribed to the program; closes them."""
    made: list[StreamMicroscope] = []

    def one(planes: tuple[int, ...], channel: int = 0) -> StreamMicroscope:
        microscope = StreamMicroscope(StreamConfig(driver="stream", endpoint=program.endpoint), planes, channel)
        made.append(microscope)
        assert microscope.open() is None
        assert program.socket.poll(int(DEADLINE_S * 1000))
        program.socket.recv()
        return microscope

    yield one
    for microscope in made:
        microscope.close()


def geometry_of(microscope: StreamMicroscope) -> FrameGeometry:
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        if (geometry := microscope.open()) is not None:
            return geometry
    raise TimeoutError("no geometry")


def all_frames(microscope: StreamMicroscope, n: int) -> list[FrameInfo]:
    buffer, found, end_s = np.zeros((2, 3), np.uint16), [], time.monotonic() + DEADLINE_S
    while len(found) < n and time.monotonic() < end_s:
        info = microscope.read(buffer, 0.01)
        if info is not None:
            assert buffer[0, 0] == info.frame
            found.append(info)
    return found


def test_the_rate_of_a_plane_comes_from_two_volumes_and_nothing_after_its_first_frame_is_lost(
    program: Program, connect: Connect
) -> None:
    microscope = connect((0, 2))
    sent = [(plane, 4 * volume + plane, volume) for volume in range(7, 10) for plane in range(4)]
    for plane, frame, volume in sent:
        program.send(plane, frame, volume)
    geometry = geometry_of(microscope)
    assert (geometry.frame_rate_hz, geometry.frames_per_volume) == (100.0, 4)
    found = all_frames(microscope, len(sent))
    assert [(i.plane, i.frame, i.volume) for i in found] == sent


def test_without_volumes_a_counter_that_runs_through_all_planes_is_recognised(
    program: Program, connect: Connect
) -> None:
    microscope = connect((0, 1))
    for frame in range(60):
        program.send(frame % 3, 30 + frame, None)
    geometry = geometry_of(microscope)
    assert geometry.frames_per_volume == 3
    found = all_frames(microscope, 60)
    assert [(i.plane, i.frame, i.volume) for i in found] == [(n % 3, 30 + n, n // 3) for n in range(60)]


def test_without_volumes_counters_of_each_plane_are_left_alone(program: Program, connect: Connect) -> None:
    microscope = connect((0, 1))
    for frame in range(40):
        for plane in (0, 1):
            program.send(plane, frame, None)
    geometry = geometry_of(microscope)
    assert geometry.frames_per_volume == 1
    assert [(i.plane, i.frame, i.volume) for i in all_frames(microscope, 80)] == [
        (plane, frame, None) for frame in range(40) for plane in (0, 1)
    ]


def test_a_volume_that_never_moves_on_is_taken_for_none(program: Program, connect: Connect) -> None:
    microscope = connect((0,))
    for frame in range(80):
        program.send(0, frame, 0)
    assert geometry_of(microscope).frames_per_volume == 1
    assert {i.volume for i in all_frames(microscope, 80)} == {None}


def test_planes_and_channels_that_are_not_asked_for_are_passed_on(program: Program, connect: Connect) -> None:
    microscope = connect((1,), channel=2)
    for frame in range(3):
        for plane, channel in ((1, 2), (1, 0), (7, 2)):
            program.send(plane, frame, None, channel)
    assert geometry_of(microscope).channels == (2,)
    found = [(i.plane, i.channel, i.frame) for i in all_frames(microscope, 9)]
    assert found == [(plane, channel, f) for f in range(3) for plane, channel in ((1, 2), (1, 0), (7, 2))]


def test_if_nothing_that_is_asked_for_comes_it_is_said_what_does(program: Program, connect: Connect) -> None:
    microscope = connect((0, 1), channel=1)
    for frame in range(220):
        program.send(frame % 2, frame, frame // 2, channel=3)
    with pytest.raises(DeviceError, match=r"plane\.channel 0\.3, 1\.3, none of 0\.1"):
        geometry_of(microscope)


@pytest.mark.parametrize("changes", [{"plane": -1}, {"frame": -5}])
def test_negative_numbers_are_refused(program: Program, connect: Connect, changes: dict[str, int]) -> None:
    microscope = connect((0,))
    program.send(**{"plane": 0, "frame": 0, "volume": None} | changes)
    program.send(0, 1, None)
    geometry_of(microscope)
    assert microscope.rejected == 1
    assert "none may be negative" in microscope.why
