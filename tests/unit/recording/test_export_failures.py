"""An export that cannot be written leaves nothing behind, says why in a few words, and can be tried again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from read_only import IS_ROOT, small_disk
from synthetic_session import SessionMaker, make_calibration

from rt_engine.interfaces.calibration_planes import load_planes
from rt_engine.interfaces.errors import CalibrationError, RecordingError
from rt_engine.interfaces.hdf5_reason import hdf5_reason
from rt_engine.recording import frame_tiff
from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb
from rt_engine.recording.reader import Session, open_session

SIZE, N = 64, 600


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """4.9 MB of frames that no disk can make smaller."""
    maker, random = SessionMaker(tmp_path / "session"), np.random.default_rng(1)
    maker.session()
    for frame in range(N):
        maker.frame(frame, random.integers(0, 60_000, (SIZE, SIZE)).astype("<u2"))
        maker.spikes(frame)
    maker.close()
    return open_session(tmp_path / "session")


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    """A folder for the export, on a disk of 35 MB, of which 32 MiB are left free."""
    if not IS_ROOT:
        pytest.skip("mounting a small disk in memory needs Linux and root")
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder, 35.0):
        yield folder


@pytest.mark.parametrize("frames", [Frames.INTERNAL, Frames.EXTERNAL])
def test_a_full_disk_is_told_in_one_line_and_keeps_no_half_file(session: Session, target: Path, frames: Frames) -> None:
    for _ in range(2):  # the second attempt meets the same, not what the first has left
        with pytest.raises(RecordingError) as refused:
            export_nwb(session, NwbPlan(target / "x.nwb", frames), lambda *_: None)
        assert refused.value.message.endswith("cannot be written: No space left on device")
        assert "make room" in refused.value.remedy
        assert list(target.iterdir()) == []


def test_frames_that_somebody_has_already_are_refused_and_left(session: Session, tmp_path: Path) -> None:
    movie = tmp_path / "x_plane0_channel0.tif"
    movie.write_bytes(b"precious")
    with pytest.raises(RecordingError, match=r"x_plane0_channel0\.tif exists"):
        export_nwb(session, NwbPlan(tmp_path / "x.nwb", Frames.EXTERNAL), lambda *_: None)
    assert movie.read_bytes() == b"precious"
    assert not (tmp_path / "x.nwb").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_an_export_that_is_broken_off_leaves_no_frames_behind(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """The disk, and the person, are injected here: a disk that gets full after so many frames is not portable."""

    class Failing(tifffile.TiffWriter):
        n = 0

        def write(self, *arguments, **more):
            Failing.n += 1
            if Failing.n > 5:
                raise error
            return super().write(*arguments, **more)

    monkeypatch.setattr(frame_tiff.tifffile, "TiffWriter", Failing)
    with pytest.raises((RecordingError, KeyboardInterrupt)):
        export_nwb(session, NwbPlan(tmp_path / "x.nwb", Frames.EXTERNAL), lambda *_: None)
    assert [path.name for path in tmp_path.iterdir()] == ["session"]


def test_the_words_of_hdf5_are_made_short(tmp_path: Path) -> None:
    make_calibration(tmp_path / "whole.h5", [(8, 8)], size=16)
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "torn.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("no such thing")
    said = {
        "none.h5": "there is no such file. give a file that `spikeloop calibrate` has made",
        "torn.h5": "cannot be read: it is torn: its end is missing. calibrate again",
        "text.h5": "cannot be read: it is no HDF5 file. calibrate again",
    }
    for name, words in said.items():
        with pytest.raises(CalibrationError) as refused:
            load_planes(tmp_path / name)
        assert str(refused.value) == f"{tmp_path / name}: {words}"
    with pytest.raises(OSError, match="o such file") as missing:
        h5py.File(tmp_path / "none.h5", "r")
    assert hdf5_reason(missing.value) == os.strerror(errno.ENOENT)
    assert hdf5_reason(OSError(errno.EROFS, os.strerror(errno.EROFS))) == os.strerror(errno.EROFS)
    assert hdf5_reason(RuntimeError("something else\nand more")) == "something else"
