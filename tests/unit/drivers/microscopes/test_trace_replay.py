"""A session without frames comes again by the times and blanked lines in its journal, with dark pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_session import SessionMaker, make_calibration

from drivers.microscopes.session_replay import SessionReplay
from drivers.microscopes.trace_replay import dark_lines
from rt_engine.interfaces.errors import MovieError, SourceEnded
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FateHeader, Mode, SpikesHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.recording.kept_frames import kept_frames
from rt_engine.recording.reader import open_session

SIZE = 64
LIVE, WITHOUT_TRACES, BLANKED = (3, 4, 5, 8, 9), 5, 8


def record(folder: Path, *, traces: bool = True, spans: str = "[[10, 20]]") -> SessionMaker:
    maker = SessionMaker(folder)
    for frame in (1, 2, *LIVE):
        live = frame in LIVE
        maker.spikes(frame, mode=Mode.LIVE if live else Mode.BASELINE)
        if live and traces and frame != WITHOUT_TRACES:
            maker.activity(frame, np.ones((8, 1), np.float32))
    maker.send(
        "fate.0", FateHeader, "inference", plane=0, fate=Fate.BLANKED, first=BLANKED, n=1, reason=f"lines {spans}"
    )
    maker.close()
    make_calibration(folder / "calibration.h5", [(20, 20)], size=SIZE)
    return maker


def test_frames_have_their_numbers_times_and_blanked_lines_and_no_light(tmp_path: Path) -> None:
    maker = record(tmp_path)
    found = list(dark_lines(open_session(tmp_path), (0,), (0,)))
    assert [header.frame for header, _ in found] == list(LIVE)
    assert [header.t_scan_ns for header, _ in found] == [maker.scan_ns(frame) for frame in LIVE]
    assert {header.frame_period_ns for header, _ in found} == {maker.period_ns}
    assert [header.flags for header, _ in found] == [0, 0, FrameFlag.DISCARD, FrameFlag.ARTEFACT, 0]
    assert {header.frame: header.blanked for header, _ in found if header.blanked} == {BLANKED: [[10, 20]]}
    assert all(lines.shape == (SIZE, SIZE) and not lines.any() for _, lines in found)


def test_the_microscope_of_a_replay_delivers_them(tmp_path: Path) -> None:
    record(tmp_path)
    config: dict[str, Any] = {"driver": "replay", "path": str(tmp_path), "speed": "max"}
    with pytest.raises(MovieError, match=r"no live frames\. replay it with --from traces"):
        SessionReplay(ReplayMicroscope(**config), _Clock()).open()
    microscope = SessionReplay(ReplayMicroscope(**config, from_traces=True), _Clock())
    geometry = microscope.open()
    assert (geometry.n_lines, geometry.pixels_per_line, geometry.frame_rate_hz) == (SIZE, SIZE, 25.0)
    microscope.start()
    buffer = np.ones((SIZE, SIZE), np.uint16)
    info = microscope.read(buffer, 0.0)
    assert info is not None
    assert info.frame == LIVE[0]
    assert not buffer.any()


def test_where_the_frames_end_dark_ones_follow(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    for frame in range(8):
        if frame < 4:
            maker.frame(frame, np.full((SIZE, SIZE), 100 + frame, np.uint16))
        maker.spikes(frame, mode=Mode.LIVE if frame > 1 else Mode.BASELINE)
        maker.activity(frame, np.ones((8, 1), np.float32))
    maker.close()
    make_calibration(tmp_path / "calibration.h5", [(20, 20)], size=SIZE)
    kept = kept_frames(open_session(tmp_path), (0,), (0,))
    assert (kept.first_live, kept.first_without, kept.last_live) == (2, 4, 7)
    config = ReplayMicroscope(driver="replay", path=str(tmp_path), speed="max", traces_from_frame=4)
    microscope = SessionReplay(config, _Clock())
    microscope.open()
    microscope.start()
    buffer, found = np.zeros((SIZE, SIZE), np.uint16), []
    for _ in range(6):
        info = microscope.read(buffer, 0.0)
        assert info is not None
        found.append((info.frame, int(buffer[5, 5]), info.t_scan_ns == maker.scan_ns(info.frame)))
    assert found == [(2, 102, True), (3, 103, True), (4, 0, True), (5, 0, True), (6, 0, True), (7, 0, True)]
    with pytest.raises(SourceEnded):
        microscope.read(buffer, 0.0)


def test_of_two_channels_the_structural_one_comes_first(tmp_path: Path) -> None:
    record(tmp_path)
    found = [header.channel for header, _ in dark_lines(open_session(tmp_path), (0,), (0, 1))]
    assert found == [1, 0] * len(LIVE)


def test_frames_of_volumes_keep_them_and_the_flyback_bears_no_sample(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    for frame in range(6):
        volume = None if frame % 2 else frame // 2
        maker.send(
            "spikes.0", SpikesHeader, "inference", b"", plane=0, frame=frame, volume=volume, line0=0, n_lines=SIZE,
            hold_frames=2, mode=Mode.LIVE, t_scan_ns=frame, t_received_ns=frame, t_decided_ns=frame, n_events=0,
        )  # fmt: skip
    maker.activity(0, np.ones((8, 1), np.float32))
    maker.close()
    make_calibration(tmp_path / "calibration.h5", [(20, 20)], size=SIZE)
    headers = [header for header, _ in dark_lines(open_session(tmp_path), (0,), (0,))]
    assert [header.volume for header in headers] == [0, 0, 1, 1, 2, 2]
    assert [bool(header.flags & FrameFlag.DISCARD) for header in headers] == [False, True, True, True, True, True]
    assert {header.frame_period_ns for header in headers} == {20_000_000}  # two frames in each 40 ms of a volume


def test_words_that_are_no_lines_blank_nothing(tmp_path: Path) -> None:
    record(tmp_path, spans="some")
    assert not any(header.blanked for header, _ in dark_lines(open_session(tmp_path), (0,), (0,)))


def test_without_traces_or_cells_it_is_refused(tmp_path: Path) -> None:
    record(tmp_path / "dark", traces=False)
    with pytest.raises(MovieError, match="neither frames nor traces"):
        next(dark_lines(open_session(tmp_path / "dark"), (0,), (0,)))
    record(tmp_path / "bare")
    (tmp_path / "bare" / "calibration.h5").unlink()
    with pytest.raises(MovieError, match=r"holds no calibration\.h5"):
        next(dark_lines(open_session(tmp_path / "bare"), (0,), (0,)))


class _Clock:
    def now_ns(self) -> int:
        return 0
