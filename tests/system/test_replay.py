"""A real movie and a recorded session through the same engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from recorded_events import recorded_events
from scipy.ndimage import gaussian_filter, maximum_filter
from system_rig import DATA, Start, small_rig, spikeloop, summary_of

from rt_engine.recording.reader import open_session

MOVIE = DATA / "movies" / "cortex_mesoscope_128x128x1000_15hz.tif"
needs_movie = pytest.mark.skipif(not MOVIE.is_file(), reason=f"missing {MOVIE.name} in $SPIKELOOP_DATA/movies")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calibration of the real movie with the cells of a label image: discs on the brightest spots of the mean."""
    folder = tmp_path_factory.mktemp("labelled")
    mean = gaussian_filter(tifffile.imread(MOVIE).astype(np.float32).mean(0), 1.5)
    peaks = np.argwhere((mean == maximum_filter(mean, 9)) & (mean > np.percentile(mean, 80)))
    peaks = peaks[((peaks > 8) & (peaks < 119)).all(axis=1)][:20]
    yy, xx = np.mgrid[:128, :128]
    labels = np.zeros((128, 128), np.uint16)
    for label, (y, x) in enumerate(peaks, start=1):
        labels[(yy - y) ** 2 + (xx - x) ** 2 <= 9] = label
    tifffile.imwrite(folder / "labels.tif", labels)
    calibration = folder / "calibration.h5"
    arguments = ("--rois", folder / "labels.tif", "--indicator", "GCaMP6s", "-o", calibration)
    done = spikeloop("calibrate", MOVIE, *arguments)
    assert done.returncode == 0, done.stderr
    assert f"{len(np.unique(labels)) - 1} cells from 1000 frames" in done.stdout
    return calibration


@needs_movie
def test_at_full_speed_no_frame_of_the_real_movie_is_lost(labelled: Path, tmp_path: Path) -> None:
    session = tmp_path / "replay"
    done = spikeloop("replay", MOVIE, "--calibration", labelled, "--speed", "max", "--output", session)
    assert done.returncode == 0, done.stderr
    summary = summary_of(session)
    assert summary["frames"] == 1000
    assert summary["frames_lost"] == 0
    assert summary["spikes"] > 20
    assert open_session(session).is_complete
    recorded = [lines.copy() for _, lines in open_session(session).frames()]
    np.testing.assert_array_equal(recorded, tifffile.imread(MOVIE))


@needs_movie
def test_without_a_calibration_the_first_half_is_the_baseline(tmp_path: Path) -> None:
    session = tmp_path / "replay"
    done = spikeloop("replay", MOVIE, "--indicator", "GCaMP6s", "--speed", "max", "--output", session)
    assert done.returncode == 0, done.stderr
    assert summary_of(session)["frames"] == 500
    assert (session / "calibration.h5").is_file()


def test_a_recorded_session_replays_to_the_same_events_bit_for_bit(
    start: Start, small_calibration: Path, tmp_path: Path
) -> None:
    run = start(small_rig(), "--calibration", small_calibration, "--duration", "40")
    assert run.wait() == 0, run.output()
    for name in ("first", "second"):
        done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / name)
        assert done.returncode == 0, done.stderr
    live = recorded_events(run.session)
    assert len(live) > 1200 * 8
    assert recorded_events(tmp_path / "first") == live
    assert recorded_events(tmp_path / "second") == live
