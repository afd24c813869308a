"""Whatever an outside program sends, only lines that fit are delivered, and the rest is counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgpack
import numpy as np
import pytest
import zmq

from drivers.microscopes.stream import StreamMicroscope
from rt_engine.interfaces.devices import FrameGeometry, FrameInfo, Microscope
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.stream_config import StreamMicroscope as Config
from rt_engine.transport.free_ports import free_ports

DEADLINE_S = 60.0
T = TypeVar("T")


class Program:
    """The outside program: it knows MessagePack and ZeroMQ, and nothing of spikeloop."""

    def __init__(self) -> None:
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(self.endpoint)
        self.seq = 0

    def wait_for_subscriber(self) -> None:
        assert self.socket.poll(int(DEADLINE_S * 1000)), "nobody subscribed"
        assert self.socket.recv() == b"\x01frame."

    def header(self, frame: int, **changes: Any) -> dict[str, Any]:
        header = {
            "v": 1, "session": "", "source": "mine", "host": "h", "boot_id": "b", "seq": self.seq, "t_sent_ns": 1,
            "plane": 0, "channel": 0, "frame": frame, "volume": None, "line0": 0, "n_lines": 2, "lines_per_frame": 2,
            "pixels_per_line": 3, "dtype": "u2", "adc_max": 4095, "offset": 10.0, "frame_period_ns": 50_000_000,
            "line_period_ns": 1000, "t_scan_ns": 1_000_000 + frame, "t_scan_uncertainty_ns": 7, "t_device_s": 0.5,
            "flags": 0, "blanked": [],
        }  # fmt: skip
        self.seq += 1
        return header | changes

    def send(self, frame: int, pixels: np.ndarray[Any, Any] | None = None, **changes: Any) -> None:
        header = self.header(frame, **changes)
        pixels = np.full((2, 3), frame, "<u2") if pixels is None else pixels
        self.socket.send_multipart([b"frame.0.0", msgpack.packb(header), pixels.tobytes()])

    def close(self) -> None:
        self.socket.close()
        self.context.term()


@pytest.fixture
def program() -> Iterator[Program]:
    one = Program()
    yield one
    one.close()


@pytest.fixture
def microscope(program: Program) -> Iterator[StreamMicroscope]:
    one = StreamMicroscope(Config(driver="stream", endpoint=program.endpoint, um_per_px=0.9))
    assert one.open() is None
    program.wait_for_subscriber()
    yield one
    one.close()


def until(ask: Callable[[], T | None]) -> T:
    """First answer that is not None."""
    end_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < end_s:
        answer = ask()
        if answer is not None:
            return answer
    raise TimeoutError("nothing came")


def geometry_of(microscope: StreamMicroscope) -> FrameGeometry:
    return until(microscope.open)


def next_frame(microscope: StreamMicroscope, buffer: np.ndarray[Any, Any]) -> FrameInfo:
    return until(lambda: microscope.read(buffer, 1.0))


def test_size_and_rate_come_from_the_first_message_which_is_the_first_frame(
    program: Program, microscope: StreamMicroscope
) -> None:
    assert isinstance(microscope, Microscope)
    program.send(41, np.arange(6, dtype="<u2"), flags=2, blanked=[[0, 1]])
    geometry = geometry_of(microscope)
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (2, 3, "u2")
    assert (geometry.frame_rate_hz, geometry.um_per_px) == (20.0, 0.9)
    assert (geometry.adc_max, geometry.offset, geometry.line_period_ns) == (4095, 10.0, 1000)
    microscope.start()
    buffer = np.zeros((2, 3), np.uint16)
    info = next_frame(microscope, buffer)
    assert buffer.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (info.frame, info.t_scan_ns, info.t_scan_uncertainty_ns) == (41, 1_000_041, 7)
    assert (info.flags, info.blanked, info.volume, info.t_device_s) == (2, ((0, 1),), None, 0.5)
    assert microscope.read(buffer, 0.001) is None


def test_frames_come_in_order_and_signed_counts_stay_signed(program: Program, microscope: StreamMicroscope) -> None:
    for frame in range(5):
        program.send(frame, np.full(6, -frame, "<i2"), dtype="i2")
    geometry_of(microscope)
    buffer = np.zeros((2, 3), np.int16)
    found = [(next_frame(microscope, buffer).frame, int(buffer[1, 2])) for _ in range(5)]
    assert found == [(0, 0), (1, -1), (2, -2), (3, -3), (4, -4)]


def test_strips_go_to_their_lines(program: Program, microscope: StreamMicroscope) -> None:
    for line0 in (0, 1):
        program.send(1, np.full(3, 7 + line0, "<u2"), line0=line0, n_lines=1)
    geometry_of(microscope)
    buffer = np.zeros((2, 3), np.uint16)
    infos = [next_frame(microscope, buffer) for _ in range(2)]
    assert buffer.tolist() == [[7, 7, 7], [8, 8, 8]]
    assert [(info.line0, info.n_lines) for info in infos] == [(0, 1), (1, 1)]


@pytest.mark.parametrize(
    ("changes", "n_pixels", "why"),
    [
        ({"dtype": "f4"}, 6, "dtype 'f4' is not u2 or i2"),
        ({"dtype": "i2"}, 6, "dtype i2, but this run began with u2"),
        ({}, 5, "10 bytes are not 2 x 3 pixels of u2"),
        ({"line0": 1}, 6, "lines 1+2 are not within 2"),
        ({"line0": -1}, 6, "lines -1+2 are not within 2"),
        ({"n_lines": 0}, 0, "lines 0+0 are not within 2"),
        ({"lines_per_frame": 4}, 6, "4 x 3 px, but this run began with 2 x 3 px"),
        ({"pixels_per_line": 4}, 8, "2 x 4 px, but this run began with 2 x 3 px"),
    ],
)
def test_lines_that_do_not_fit_are_dropped_counted_and_explained(
    program: Program, microscope: StreamMicroscope, changes: dict[str, Any], n_pixels: int, why: str
) -> None:
    program.send(1)
    geometry_of(microscope)
    program.send(2, np.full(n_pixels, 99, "<u2"), **changes)
    program.send(3)
    buffer = np.zeros((2, 3), np.uint16)
    assert [next_frame(microscope, buffer).frame for _ in range(2)] == [1, 3]
    assert (buffer == 3).all()
    assert microscope.rejected == 1
    assert microscope.why == f"frame 2: {why}"


def test_what_is_no_frame_message_is_dropped_and_counted(program: Program, microscope: StreamMicroscope) -> None:
    incomplete = program.header(1)
    del incomplete["t_scan_ns"]
    pixels = bytes(12)
    program.socket.send_multipart([b"frame.0.0", msgpack.packb(program.header(1))])
    program.socket.send_multipart([b"frame.0.0", b"\xc1", pixels])
    program.socket.send_multipart([b"frame.\xff", msgpack.packb([1, 2]), pixels])
    program.socket.send_multipart([b"frame.0.0", msgpack.packb(incomplete), pixels])
    program.send(5)
    geometry_of(microscope)
    assert next_frame(microscope, np.zeros((2, 3), np.uint16)).frame == 5
    assert microscope.rejected == 4
    assert "t_scan_ns" in microscope.why


def test_a_stream_that_does_not_tell_its_rate_cannot_begin(program: Program, microscope: StreamMicroscope) -> None:
    program.send(1, frame_period_ns=None)
    program.send(2)
    program.send(3, frame_period_ns=None)
    assert geometry_of(microscope).frame_rate_hz == 20.0
    buffer = np.zeros((2, 3), np.uint16)
    assert [next_frame(microscope, buffer).frame for _ in range(2)] == [2, 3]
    assert (microscope.rejected, microscope.why) == (1, "frame 1: frame_period_ns is required from a stream")


def test_messages_missing_by_their_number_are_counted(program: Program, microscope: StreamMicroscope) -> None:
    for frame, seq in ((1, 100), (2, 101), (3, 104), (4, 105), (5, 107)):
        program.send(frame, seq=seq)
    geometry_of(microscope)
    buffer = np.zeros((2, 3), np.uint16)
    assert [next_frame(microscope, buffer).frame for _ in range(5)] == [1, 2, 3, 4, 5]
    assert (microscope.sequence.gaps, microscope.sequence.missing) == (2, 3)
    assert microscope.rejected == 0


def test_reading_before_opening_is_an_error_and_closing_twice_is_none() -> None:
    microscope = StreamMicroscope(Config(driver="stream"))
    with pytest.raises(DeviceError, match="read before open"):
        microscope.read(np.zeros((2, 3), np.uint16), 0.0)
    microscope.open()
    microscope.stop()
    microscope.close()
    microscope.close()


@pytest.mark.parametrize("first", [0, 3])
def test_a_program_that_is_started_anew_goes_on_with_numbers_and_volumes_at_their_place(
    program: Program, first: int
) -> None:
    microscope = StreamMicroscope(Config(driver="stream", endpoint=program.endpoint), (0, 1))
    try:
        assert microscope.open() is None
        program.wait_for_subscriber()
        for boot, frames in (("b", range(7)), ("c", range(first, first + 4))):
            for frame in frames:
                program.send(frame, boot_id=boot, plane=frame % 2, volume=frame // 2)
        geometry_of(microscope)
        buffer = np.zeros((2, 3), "<u2")
        found = [next_frame(microscope, buffer) for _ in range(11)]
    finally:
        microscope.close()
    assert [(info.frame, info.volume) for info in found[:7]] == [(n, n // 2) for n in range(7)]
    again, volumes = found[7:], [info.volume or 0 for info in found[7:]]
    assert [info.frame - again[0].frame for info in again] == [0, 1, 2, 3]
    assert again[0].frame > 7
    assert all(info.frame % 2 == info.plane for info in again)
    assert volumes[0] > 3
    assert volumes == sorted(volumes)
