"""Frames of a movie and of a session are read alike, again and again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_session import SessionMaker

from drivers.microscopes.movie_file import MovieRequest
from rt_engine.interfaces.errors import MovieError
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.services.frame_sources import FrameSource, movie_source, session_source

N_FRAMES, SHAPE = 6, (4, 5)


def numbers(source: FrameSource) -> list[int]:
    """The number that fills each frame."""
    found = []
    for frame in source.open_frames():
        assert frame.shape == SHAPE
        found.append(int(frame[0, 0]))
        assert (frame == found[-1]).all()
    return found


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "movie.npy"
    np.save(path, np.arange(N_FRAMES, dtype=np.uint16)[:, None, None] * np.ones((1, *SHAPE), np.uint16))
    return path


def record(folder: Path, frames: Any = range(N_FRAMES), **changes: Any) -> Path:
    maker = SessionMaker(folder)
    for frame in frames:
        fields = dict(
            plane=0, channel=0, frame=frame, volume=None, line0=0, n_lines=SHAPE[0], lines_per_frame=SHAPE[0],
            pixels_per_line=SHAPE[1], dtype="u2", adc_max=4095, offset=99.5, frame_period_ns=maker.period_ns,
            line_period_ns=None, t_scan_ns=maker.scan_ns(frame), t_scan_uncertainty_ns=None, t_device_s=None, flags=0,
        ) | changes  # fmt: skip
        pixels = np.full((fields["n_lines"], SHAPE[1]), frame, "<u2")
        maker.send(f"frame.0.{fields['channel']}", FrameHeader, "acquisition", pixels.tobytes(), **fields)
    maker.close()
    return folder


def test_a_movie_is_read_whole_and_again(movie: Path) -> None:
    source = movie_source(movie, MovieRequest(15.0))
    assert (source.n_frames, source.n_lines, source.pixels_per_line) == (6, 4, 5)
    assert (source.path, source.frame_rate_hz, source.offset_counts) == (movie, 15.0, None)
    assert numbers(source) == [0, 1, 2, 3, 4, 5]
    assert numbers(source) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("asked", "given"), [(2, [0, 1]), (6, [0, 1, 2, 3, 4, 5]), (99, [0, 1, 2, 3, 4, 5])])
def test_of_a_movie_no_more_frames_come_than_asked_for_or_there(movie: Path, asked: int, given: list[int]) -> None:
    source = movie_source(movie, MovieRequest(15.0), asked)
    assert source.n_frames == len(given)
    assert numbers(source) == given


def test_a_movie_whose_rate_nobody_knows_is_refused(movie: Path) -> None:
    with pytest.raises(MovieError, match="rate"):
        movie_source(movie, MovieRequest())


def test_a_session_is_read_whole_and_again(tmp_path: Path) -> None:
    source = session_source(record(tmp_path), 0)
    assert (source.n_frames, source.n_lines, source.pixels_per_line) == (6, 4, 5)
    assert (source.frame_rate_hz, source.adc_max, source.offset_counts) == (25.0, 4095, 99.5)
    assert source.um_per_px is None
    assert numbers(source) == [0, 1, 2, 3, 4, 5]
    assert numbers(source) == [0, 1, 2, 3, 4, 5]


def test_a_session_ends_with_the_frame_it_is_told_also_over_a_gap(tmp_path: Path) -> None:
    folder = record(tmp_path, (10, 11, 15, 16))
    for until_frame, given in ((11, [10, 11]), (13, [10, 11]), (15, [10, 11, 15]), (99, [10, 11, 15, 16])):
        source = session_source(folder, 0, until_frame=until_frame)
        assert source.n_frames == len(given)
        assert numbers(source) == given


def test_the_pixel_size_of_a_session_is_that_of_its_config(tmp_path: Path) -> None:
    record(tmp_path)
    (tmp_path / "config.yaml").write_text("rig: {microscope: {um_per_px: 0.8}}\n", encoding="utf-8")
    assert session_source(tmp_path, 0).um_per_px == 0.8


def test_an_unknown_rate_of_a_session_stays_unknown(tmp_path: Path) -> None:
    assert session_source(record(tmp_path, frame_period_ns=None), 0).frame_rate_hz is None


def test_channels_are_kept_apart(tmp_path: Path) -> None:
    folder = record(tmp_path, (1, 2), channel=1)
    assert numbers(session_source(folder, 1)) == [1, 2]
    with pytest.raises(MovieError, match="no frames of channel 0"):
        session_source(folder, 0)


def test_a_session_with_no_frame_before_the_last_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MovieError, match="no frames of channel 0"):
        session_source(record(tmp_path, (10, 11)), 0, until_frame=9)


def test_strips_that_never_make_a_whole_frame_are_no_frames(tmp_path: Path) -> None:
    with pytest.raises(MovieError, match="no frames"):
        session_source(record(tmp_path, (1,), line0=2, n_lines=2), 0)
