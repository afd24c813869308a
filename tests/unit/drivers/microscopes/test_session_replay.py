"""A recorded session comes again as it came: its live frames, with their numbers, flags, gaps and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_session import T_MONO_NS, SessionMaker

from drivers.microscopes.session_replay import SessionReplay
from rt_engine.interfaces.devices import FrameInfo, Microscope
from rt_engine.interfaces.errors import DeviceError, MovieError, RecordingError, SourceEnded
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FateHeader, FrameHeader, Mode
from rt_engine.interfaces.rig_config import ReplayMicroscope as Config

MS = 1_000_000
PERIOD_NS = 40 * MS
SHAPE = (4, 6)
BASELINE = (0, 1, 2)
LIVE = (3, 4, 5, 8, 9)
FLAGS = {8: 1, 9: 4}


class FakeClock:
    def __init__(self) -> None:
        self.t_ns = 5_000_000_000

    def now_ns(self) -> int:
        return self.t_ns

    def wait(self, seconds: float) -> None:
        self.t_ns += round(seconds * 1e9)


def lines(maker: SessionMaker, frame: int, *, line0: int = 0, n_lines: int = SHAPE[0], **changes: Any) -> None:
    """Journal lines that hold the number of their frame."""
    fields = dict(
        plane=0, channel=0, frame=frame, volume=None, line0=line0, n_lines=n_lines, lines_per_frame=SHAPE[0],
        pixels_per_line=SHAPE[1], dtype="u2", adc_max=8191, offset=12.5, frame_period_ns=PERIOD_NS,
        line_period_ns=9 * MS, t_scan_ns=maker.scan_ns(frame), t_scan_uncertainty_ns=1000, t_device_s=frame / 25,
        flags=FLAGS.get(frame, 0), blanked=[[1, 2]] if frame in FLAGS else [],
    )  # fmt: skip
    fields |= changes
    pixels = np.full((n_lines, SHAPE[1]), frame, "<u2")
    maker.send(f"frame.0.{fields['channel']}", FrameHeader, "acquisition", pixels.tobytes(), **fields)


def record(folder: Path, *, live: tuple[int, ...] = LIVE, **changes: Any) -> None:
    maker = SessionMaker(folder)
    for frame in (*BASELINE, *live):
        lines(maker, frame, **changes)
        maker.spikes(frame, mode=Mode.LIVE if frame in live else Mode.BASELINE)
    maker.close()


def test_frames_that_were_skipped_before_the_first_decision_come_again(tmp_path: Path) -> None:
    """Going live began with them: their time passed for the cells without a sample, and must do so again."""
    maker = SessionMaker(tmp_path)
    for frame in range(8):
        lines(maker, frame)
        if frame not in (3, 4, 6):
            maker.spikes(frame, mode=Mode.LIVE if frame > 4 else Mode.BASELINE)
    for first in (3, 4, 6):
        maker.send("fate.0", FateHeader, "inference", plane=0, fate=Fate.SKIPPED, first=first, n=1, reason="behind")
    maker.close()
    found = read_all(opened(tmp_path), np.zeros(SHAPE, np.uint16))
    assert [info.frame for info, _ in found] == [3, 4, 5, 6, 7]


def replay(folder: Path, clock: FakeClock | None = None, **config: Any) -> SessionReplay:
    clock = clock or FakeClock()
    return SessionReplay(Config(driver="replay", path=str(folder), **config), clock, clock.wait)


def read_all(microscope: SessionReplay, buffer: np.ndarray[Any, Any]) -> list[tuple[FrameInfo, np.ndarray[Any, Any]]]:
    found = []
    while True:
        try:
            info = microscope.read(buffer, 10.0)
        except SourceEnded:
            return found
        assert info is not None
        found.append((info, buffer.copy()))


def opened(folder: Path, clock: FakeClock | None = None, **config: Any) -> SessionReplay:
    microscope = replay(folder, clock, **config)
    microscope.open()
    microscope.start()
    return microscope


def test_it_is_a_microscope_with_the_geometry_of_the_session(tmp_path: Path) -> None:
    record(tmp_path)
    microscope = replay(tmp_path, um_per_px=0.8)
    assert isinstance(microscope, Microscope)
    geometry = microscope.open()
    microscope.close()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.dtype) == (4, 6, "u2")
    assert (geometry.frame_rate_hz, geometry.um_per_px) == (25.0, 0.8)
    assert (geometry.adc_max, geometry.offset, geometry.line_period_ns) == (8191, 12.5, 9 * MS)


@pytest.mark.parametrize("speed", [1.0, "max"])
def test_from_the_first_live_frame_on_numbers_flags_and_pixels_are_those_recorded(tmp_path: Path, speed: Any) -> None:
    record(tmp_path)
    microscope = opened(tmp_path, speed=speed)
    found = read_all(microscope, np.zeros(SHAPE, np.uint16))
    microscope.close()
    assert [info.frame for info, _ in found] == [3, 4, 5, 8, 9]
    assert [info.flags for info, _ in found] == [0, 0, 0, 1, 4]
    assert [info.blanked for info, _ in found] == [(), (), (), ((1, 2),), ((1, 2),)]
    assert [info.t_device_s for info, _ in found] == [0.12, 0.16, 0.2, 0.32, 0.36]
    assert all(info.t_scan_uncertainty_ns == 1000 for info, _ in found)
    assert [info.t_scan_ns for info, _ in found] == [T_MONO_NS + (frame + 1) * PERIOD_NS for frame in LIVE]
    assert all((pixels == info.frame).all() for info, pixels in found)


@pytest.mark.parametrize(("speed", "due_ms"), [(1.0, [40, 80, 120, 240, 280]), (2.0, [20, 40, 60, 120, 140])])
def test_a_gap_lasts_as_long_as_it_did(tmp_path: Path, speed: float, due_ms: list[int]) -> None:
    record(tmp_path)
    clock = FakeClock()
    microscope = opened(tmp_path, clock, speed=speed)
    start_ns = clock.t_ns
    came_ms = []
    for _ in due_ms:
        assert microscope.read(np.zeros(SHAPE, np.uint16), 10.0) is not None
        came_ms.append((clock.t_ns - start_ns) / MS)
    microscope.close()
    assert came_ms == due_ms


def test_nothing_comes_before_its_time(tmp_path: Path) -> None:
    record(tmp_path)
    microscope, buffer = opened(tmp_path), np.zeros(SHAPE, np.uint16)
    assert microscope.read(buffer, 0.03) is None
    assert not buffer.any()
    info = microscope.read(buffer, 0.03)
    microscope.close()
    assert info is not None
    assert info.frame == 3


def test_at_max_speed_nothing_waits(tmp_path: Path) -> None:
    record(tmp_path)
    clock = FakeClock()
    before_ns = clock.t_ns
    microscope = opened(tmp_path, clock, speed="max")
    found = read_all(microscope, np.zeros(SHAPE, np.uint16))
    microscope.close()
    assert len(found) == 5
    assert clock.t_ns == before_ns


def test_a_pause_goes_on_with_the_next_frame_one_period_later(tmp_path: Path) -> None:
    record(tmp_path)
    clock, buffer = FakeClock(), np.zeros(SHAPE, np.uint16)
    microscope = opened(tmp_path, clock)
    microscope.read(buffer, 1.0)
    microscope.stop()
    with pytest.raises(DeviceError):
        microscope.read(buffer, 1.0)
    clock.wait(30.0)
    microscope.start()
    resumed_ns = clock.t_ns
    info = microscope.read(buffer, 1.0)
    microscope.close()
    assert info is not None
    assert (info.frame, clock.t_ns) == (4, resumed_ns + PERIOD_NS)


def test_strips_go_to_their_lines(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    for line0 in (0, 2):
        lines(maker, 3, line0=line0, n_lines=2, t_scan_ns=maker.scan_ns(3) + line0 * 9 * MS)
    maker.spikes(3)
    maker.close()
    microscope, buffer = opened(tmp_path), np.zeros(SHAPE, np.uint16)
    first = microscope.read(buffer, 1.0)
    assert buffer[:, 0].tolist() == [3, 3, 0, 0]
    second = microscope.read(buffer, 1.0)
    microscope.close()
    assert buffer[:, 0].tolist() == [3, 3, 3, 3]
    assert first is not None
    assert second is not None
    assert [(info.line0, info.n_lines) for info in (first, second)] == [(0, 2), (2, 2)]
    assert second.t_scan_ns - first.t_scan_ns == 18 * MS


def test_only_the_channel_asked_for_comes(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    for frame in LIVE:
        for channel in (0, 1):
            lines(maker, frame, channel=channel, flags=channel)
        maker.spikes(frame)
    maker.close()
    microscope = opened(tmp_path, channel=1)
    found = read_all(microscope, np.zeros(SHAPE, np.uint16))
    microscope.close()
    assert [(info.frame, info.channel, info.flags) for info, _ in found] == [(frame, 1, 1) for frame in LIVE]


def test_the_end_is_said_again_and_again_until_closed(tmp_path: Path) -> None:
    record(tmp_path, live=(3,))
    microscope, buffer = opened(tmp_path, speed="max"), np.zeros(SHAPE, np.uint16)
    assert microscope.read(buffer, 1.0) is not None
    for _ in range(2):
        with pytest.raises(SourceEnded):
            microscope.read(buffer, 1.0)
    microscope.close()
    microscope.close()
    with pytest.raises(DeviceError):
        microscope.read(buffer, 1.0)


def test_a_session_that_never_went_live_is_refused(tmp_path: Path) -> None:
    record(tmp_path, live=())
    with pytest.raises(MovieError, match="never went live"):
        replay(tmp_path).open()


def test_frames_after_the_last_decision_are_left_out(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    for frame in (3, 4, 5, 6):
        lines(maker, frame)
    maker.spikes(3)
    maker.spikes(5)
    maker.close()
    microscope = opened(tmp_path, speed="max")
    found = read_all(microscope, np.zeros(SHAPE, np.uint16))
    microscope.close()
    assert [info.frame for info, _ in found] == [3, 4, 5]  # 4 is skipped by inference, which knows of it


def test_a_live_session_without_its_frames_is_refused(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    lines(maker, 0)
    maker.spikes(3)
    maker.close()
    with pytest.raises(MovieError, match="holds no live frames"):
        replay(tmp_path).open()


def test_an_unknown_rate_and_a_folder_without_a_journal_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "s", frame_period_ns=None)
    with pytest.raises(MovieError, match="frame rate"):
        replay(tmp_path / "s").open()
    with pytest.raises(RecordingError):
        replay(tmp_path).open()
