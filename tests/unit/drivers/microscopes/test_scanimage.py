"""ScanImage by TCP: every frame once, whoever starts, restarts, hangs or talks nonsense."""

from __future__ import annotations

import socket
import time

import msgpack
import numpy as np
import pytest

from drivers.microscopes.scanimage.microscope import ScanImageMicroscope
from drivers.microscopes.scanimage.wire import FrameNote, Unpacker, pack
from drivers.microscopes.simulators.scanimage import SimulatedScanImage
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.devices import Microscope
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.microscope_config import ScanImageMicroscope as Config
from rt_engine.transport.free_ports import free_ports

SHAPE = (2, 24, 40)
RATE_HZ = 30.0


def picture(frame):
    """Pixels that tell channel, line, pixel and frame."""
    channel, line, pixel = np.indices(SHAPE)
    return (channel * 10_000 + line * 100 + pixel + frame % 7 - 300).astype(np.int16)


class Bench:
    """A driver and a way to wait for what comes."""

    def __init__(self, **changes):
        self.port = free_ports(1)[0]
        self.microscope = ScanImageMicroscope(
            Config.model_validate({"driver": "scanimage", "port": self.port} | changes), MonotonicClock()
        )
        self.buffer = None

    def source(self):
        return SimulatedScanImage(self.port, RATE_HZ, (1, 2))

    def until(self, holds):
        end_s = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end_s
            time.sleep(0.002)

    def begin(self, source, frame=1):
        """Geometry from a first frame; what comes after is delivered."""
        self.microscope.open()
        source.send(frame, frame / RATE_HZ, picture(frame))
        self.until(lambda: self.microscope.open() is not None)
        geometry = self.microscope.open()
        self.buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), np.int16)
        self.microscope.start()
        return geometry

    def read(self):
        info = self.microscope.read(self.buffer, 0.0)
        return None if info is None else (info, self.buffer.copy())

    def take(self, n):
        found = []
        self.until(lambda: (one := self.read()) is None or found.append(one) or len(found) >= n)
        while len(found) < n:
            self.until(lambda: (one := self.read()) is not None and (found.append(one) or True))
        return found


@pytest.fixture
def bench():
    bench = Bench()
    yield bench
    bench.microscope.close()


def test_every_channel_of_every_frame_comes_with_its_numbers(bench):
    assert isinstance(bench.microscope, Microscope)
    source = bench.source()
    geometry = bench.begin(source)
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (24, 40, "i2")
    assert (geometry.frame_rate_hz, geometry.channels) == (RATE_HZ, (0, 1))
    found = []
    for frame in range(2, 40):
        source.send(frame, frame / RATE_HZ, picture(frame))
        found += bench.take(2)
    source.close()
    assert [(info.frame, info.channel) for info, _ in found] == [(f, c) for f in range(2, 40) for c in (0, 1)]
    assert all((pixels == picture(info.frame)[info.channel]).all() for info, pixels in found)
    assert [info.t_device_s for info, _ in found[::2]] == pytest.approx([f / RATE_HZ for f in range(2, 40)])
    assert all(info.flags == 0 and info.t_scan_ns <= time.perf_counter_ns() for info, _ in found)


def test_a_turned_picture_is_turned_back():
    bench = Bench(transposed=True)
    try:
        source = bench.source()
        geometry = bench.begin(source)
        assert (geometry.n_lines, geometry.pixels_per_line) == (40, 24)
        source.send(2, 0.1, picture(2))
        (_, pixels), *_ = bench.take(2)
        assert (pixels == picture(2)[0].T).all()
        source.close()
    finally:
        bench.microscope.close()


def test_scanimage_may_start_first_be_restarted_or_begin_again_and_numbers_go_on(bench):
    early = bench.source()
    assert not early.send(1, 0.0, picture(1))
    assert early.skipped == 1
    bench.begin(early, 5)
    early.send(6, 6 / RATE_HZ, picture(6))
    numbers = [info for info, _ in bench.take(2)][::2]
    early.close()
    again = bench.source()
    for frame in (1, 2):
        bench.until(again.connect)
        again.send(frame, frame / RATE_HZ, picture(frame))
        numbers += [info for info, _ in bench.take(2)][::2]
    again.send(1, 0.0, picture(1))
    numbers += [info for info, _ in bench.take(2)][::2]
    again.close()
    assert [info.frame for info in numbers] == [6, 8, 9, 11]
    assert [bool(info.flags & FrameFlag.LOST_BEFORE) for info in numbers] == [False, True, False, True]
    assert bench.microscope.connections == 2


def test_volumes_go_on_as_well_and_a_plane_stays_at_its_place(bench):
    source, found = bench.source(), []
    more = {"n_planes": 3, "n_flyback": 1}
    bench.begin(source)
    for frame in (6, 7, 8, 9, 1, 2, 4, 5):
        place = (frame - 1) % 4
        volume = {"plane": min(place, 2), "volume": (frame - 1) // 4, "flyback": place == 3}
        source.send(frame, frame / RATE_HZ, picture(frame), **(more | volume))
        found += [info for info, _ in bench.take(2)][::2]
    source.close()
    assert [info.frame for info in found] == [6, 7, 8, 9, 13, 14, 16, 17]
    assert [info.volume for info in found] == [1, 1, 1, 2, 3, 3, 3, 4]
    assert [bool(info.flags & FrameFlag.DISCARD) for info in found] == [False, False, True, False] * 2


def test_what_the_sender_left_out_is_a_gap_and_is_told(bench):
    source = bench.source()
    bench.begin(source)
    source.skipped = 3
    source.send(5, 5 / RATE_HZ, picture(5))
    (info, _), _ = bench.take(2)
    assert info.frame == 5
    assert bench.microscope.skipped == 3
    source.close()


def test_a_driver_that_hangs_keeps_the_newest_and_counts_the_rest(bench):
    source = bench.source()
    bench.begin(source)
    for frame in range(2, 202):
        bench.until(source.flush)
        source.send(frame, frame / RATE_HZ, picture(frame))
    bench.until(lambda: source.flush() and bench.microscope._queue and bench.microscope._queue[-1].note.frame == 201)
    found = [info.frame for info, _ in bench.take(128)][::2]
    assert found == list(range(138, 202))
    assert bench.microscope.overrun == 136
    source.close()


def test_the_sender_never_waits_for_a_side_that_does_not_read():
    listener = socket.create_server(("127.0.0.1", 0))
    source = SimulatedScanImage(listener.getsockname()[1], RATE_HZ)
    pixels = np.zeros((1, 1024, 1024), np.int16)
    sent = [source.send(frame, frame / RATE_HZ, pixels) for frame in range(30)]
    assert sent[0]
    assert source.skipped == sent.count(False) > 0
    source.close()
    listener.close()


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n" * 3, b"SLF1" + b"\xff" * 20, b"SLF1\x01\0\0\0\0\0\0\0\xc1"]
)
def test_strangers_on_the_port_are_refused_and_the_next_is_heard(bench, nonsense):
    bench.microscope.open()
    with socket.create_connection(("127.0.0.1", bench.port)) as stranger:
        stranger.sendall(nonsense)
        bench.until(lambda: bench.microscope.why)
    source = bench.source()
    bench.begin(source)
    source.close()


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("127.0.0.1", 0)) as other:
        microscope = ScanImageMicroscope(Config(driver="scanimage", port=other.getsockname()[1]), MonotonicClock())
        with pytest.raises(DeviceError, match="another `port`"):
            microscope.open()


@pytest.mark.parametrize("cut", [1, 7, 64, 1000, 10_000])
def test_messages_are_found_however_the_bytes_are_cut(cut):
    notes = [
        FrameNote(boot="b", seq=i, frame=i, t_s=i / 30, n_lines=24, n_pixels=40, channels=[1, 2], frame_rate_hz=30.0)
        for i in range(3)
    ]
    stream = b"".join(pack(note, picture(note.frame)) for note in notes)
    unpacker, found = Unpacker(), []
    for at in range(0, len(stream), cut):
        found += list(unpacker.take(stream[at : at + cut]))
    assert [note for note, _ in found] == notes
    assert all((pixels.transpose(0, 2, 1) == picture(note.frame)).all() for note, pixels in found)


def test_the_map_is_what_the_matlab_function_writes():
    """Its encodings: str 8, uint 32, float 64, fixarray, bool, nil; read here by an independent MessagePack."""
    header = bytes([0x80 + 14])

    def text(s):
        return b"\xd9" + bytes([len(s)]) + s.encode()

    def whole(n):
        return b"\xce" + n.to_bytes(4, "big")

    def real(x):
        return b"\xcb" + np.array(x, ">f8").tobytes()

    values = {
        "boot": text("u"), "seq": whole(3), "frame": whole(9), "t_s": real(0.3), "n_lines": whole(2),
        "n_pixels": whole(3), "channels": b"\x91" + whole(1), "frame_rate_hz": real(30.0), "n_planes": whole(1),
        "n_flyback": whole(0), "plane": whole(0), "volume": b"\xc0", "flyback": b"\xc2", "skipped": whole(0),
    }  # fmt: skip
    for key, value in values.items():
        header += text(key) + value
    assert msgpack.unpackb(header)["channels"] == [1]
    payload = np.arange(6, dtype="<i2").tobytes()
    lengths = len(header).to_bytes(4, "little") + len(payload).to_bytes(4, "little")
    ((note, pixels),) = Unpacker().take(b"SLF1" + lengths + header + payload)
    assert (note.frame, note.t_s, note.volume, note.flyback) == (9, 0.3, None, False)
    assert pixels[0].T.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_multiple_rois_are_refused_for_nobody_says_where_they_lie(bench):
    source = bench.source()
    bench.microscope.open()
    source.send(1, 1 / RATE_HZ, picture(1), mroi=True)
    bench.until(lambda: bool(bench.microscope._queue))
    with pytest.raises(DeviceError, match=r"multiple ROIs.*scanimage_file"):
        bench.microscope.open()
    source.close()


def test_multiple_rois_that_are_switched_on_in_a_run_are_not_delivered(bench):
    source = bench.source()
    bench.begin(source)
    source.send(2, 2 / RATE_HZ, picture(2), mroi=True)
    bench.until(lambda: bench.microscope.read(bench.buffer, 0.0) is None and bench.microscope.rejected == 1)
    assert "multiple ROIs" in bench.microscope.why
    source.send(3, 3 / RATE_HZ, picture(3))
    bench.until(lambda: (info := bench.microscope.read(bench.buffer, 0.0)) is not None and info.frame == 3)
    source.close()
