"""A real movie and a recorded session through the same engine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, maximum_filter
from system_rig import DATA, Start, small_rig, spikeloop, summary_of, write_rig

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
    rig = write_rig(tmp_path, small_rig())
    options = ("--calibration", labelled, "--rig", rig, "--speed", "max", "--output", session)
    done = spikeloop("replay", MOVIE, *options)
    assert done.returncode == 0, done.stderr
    summary = summary_of(session)
    assert summary["frames"] == 1000
    assert summary["frames_lost"] == 0
    assert summary["spikes"] > 20
    # Refractory time and age are those of the movie: 66 s at one trigger a second or less, and nothing is late.
    assert summary["stim"]["late"] == 0
    assert summary["stim"]["delivered"] > 5
    assert open_session(session).is_complete
    recorded = [lines.copy() for _, lines in open_session(session).frames()]
    np.testing.assert_array_equal(recorded, tifffile.imread(MOVIE))


@needs_movie
def test_without_a_calibration_the_first_half_is_the_baseline(tmp_path: Path) -> None:
    session = tmp_path / "replay"
    rig = write_rig(tmp_path, small_rig())
    options = ("--indicator", "GCaMP6s", "--rig", rig, "--speed", "max", "--output", session)
    done = spikeloop("replay", MOVIE, *options)
    assert done.returncode == 0, done.stderr
    assert summary_of(session)["frames"] == 500
    assert (session / "calibration.h5").is_file()


PROTOCOL = """
schema_version: 2
name: quick
description: Every event of any cell lights that cell; a third of the triggers is withheld.
cells:
  watched: {select: all}
triggers:
  spike: {when: event, cells: watched, refractory_ms: 200.0}
actions:
  pulse: {do: pulse, output: led, targets: triggering, power_mw: 8.0, width_ms: 5.0}
phases:
  watch:
    reactions:
      - {trigger: spike, do: [pulse], trial: true}
design:
  seed: 2
  arms:
    stim: {kind: stim, share: 0.7}
    withheld: {kind: withheld, share: 0.3}
limits: {}
"""


@pytest.fixture
def recorded(start: Start, small_calibration: Path, tmp_path: Path) -> Path:
    """A run with decisions of several outcomes."""
    protocol = tmp_path / "quick.yaml"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    rig = small_rig(outputs__led__limits__max_decision_age_ms=500.0)  # light is to come of it on a busy machine, too
    run = start(rig, "--calibration", small_calibration, "--protocol", protocol, "--duration", "40")
    assert run.wait() == 0, run.output()
    protocol.unlink()  # the session keeps its own
    stim = summary_of(run.session)["stim"]
    assert sum(stim.values()) > 10, stim
    return run.session


def test_a_recorded_session_replays_to_the_same_or_says_what_would_have_happened(
    recorded: Path, tmp_path: Path
) -> None:
    for name, of in (("first", recorded), ("second", tmp_path / "first")):
        done = spikeloop("replay", of, "--speed", "max", "--output", tmp_path / name)
        assert done.returncode == 0, done.stderr
        found = spikeloop("diff", recorded, tmp_path / name, "--json", tmp_path / f"{name}.json")
        assert found.returncode == 0, found.stdout
        counts = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["n_compared"]
        assert counts["spikes"] == 1200
        assert counts["decisions"] > 10
        assert counts["light"] > 0
        assert summary_of(tmp_path / name)["stim"] == summary_of(recorded)["stim"]
    with_other_thresholds_it_tells_what_would_have_happened(recorded, tmp_path)
    what_the_run_had_written_is_made_again_from_its_journal(recorded)


def what_the_run_had_written_is_made_again_from_its_journal(recorded: Path) -> None:
    """The run's own files are the expectation: as if it had been killed before it wrote them."""
    left = {name: (recorded / name).read_text(encoding="utf-8") for name in ("trials.csv", "pulse_times.json")}
    before = summary_of(recorded)
    assert sum(before["effects"]["arms"]["stim"].values()) > 2
    for name in (*left, "summary.json", "report.html"):
        (recorded / name).unlink()
    done = spikeloop("recover", recorded)
    assert done.returncode == 0, done.stderr
    clean = recorded / "recovered"
    assert {name: (clean / name).read_text(encoding="utf-8") for name in left} == left
    after = summary_of(clean)
    assert after.pop("ended") != before.pop("ended")
    assert (after.pop("journal")["complete"], before.pop("journal")["complete"]) == (True, True)
    assert after == before
    done = spikeloop("report", recorded)
    assert done.returncode == 0, done.stderr
    assert "Trials by arm" in (recorded / "report.html").read_text(encoding="utf-8")
    assert not (recorded / "summary.json").exists(), "it would say that the run has ended in order"


@pytest.mark.realtime
@pytest.mark.parametrize("in_strips", [{"strip_lines": 32}, {"strip_lines": 16, "pace": "real_time"}])
def test_a_session_in_strips_replays_to_the_same(in_strips: dict[str, Any], start: Start, tmp_path: Path) -> None:
    """Bit for bit, shifts and traces too: the engine knows of the strips before the first comes."""
    protocol, rig = tmp_path / "quick.yaml", small_rig()
    protocol.write_text(PROTOCOL, encoding="utf-8")
    rig["microscope"] |= in_strips
    run = start(rig, "--baseline", "60", "--protocol", protocol, "--duration", "30")
    assert run.wait() == 0, run.output()
    done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    found = spikeloop("diff", run.session, tmp_path / "again", "--json", tmp_path / "diff.json")
    assert found.returncode == 0, found.stdout
    counts = json.loads((tmp_path / "diff.json").read_text(encoding="utf-8"))["n_compared"]
    assert counts["spikes"] == 900 * 128 // in_strips["strip_lines"]
    assert counts["decisions"] > 5


@pytest.mark.realtime
def test_the_replay_of_a_session_with_a_hole_says_that_it_need_not_be_the_same(recorded: Path, tmp_path: Path) -> None:
    path = recorded / "session_000.mcap"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 400_000] = bytes(400_000)
    path.write_bytes(data)
    (recorded / "summary.json").unlink()
    done = spikeloop("recover", recorded, "--json", tmp_path / "recovery.json")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "recovery.json").read_text(encoding="utf-8"))
    assert told["n_lost"]["spikes.0"] > 3
    clean, again = recorded / "recovered", tmp_path / "again"
    assert not summary_of(clean)["journal"]["complete"]
    done = spikeloop("replay", clean, "--speed", "max", "--output", again)
    assert done.returncode == 0, done.stderr
    assert "need not be what was recorded" in done.stdout
    assert f"{told['n_lost']['spikes.0']} messages of spikes.0 between frames" in summary_of(again)["replay"]["hole"]
    assert "need not be what was recorded" in (again / "report.html").read_text(encoding="utf-8")


def with_other_thresholds_it_tells_what_would_have_happened(recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    done = spikeloop("replay", recorded, "--speed", "max", "--false-alarms-per-min", "20", "--output", other)
    assert done.returncode == 0, done.stderr
    replay = summary_of(other)["replay"]
    assert replay["what_would_have_happened"] is True
    assert replay["differs"] == ["20 false events per minute and cell"]
    assert summary_of(other)["spikes"] > summary_of(recorded)["spikes"]
    found = spikeloop("diff", recorded, other)
    assert found.returncode == 1
    assert "B is a replay with 20 false events per minute and cell" in found.stdout
    assert "events first differ in frame" in found.stdout


@pytest.mark.realtime
def test_a_session_that_kept_no_frames_replays_from_its_traces_to_the_same(
    start: Start, small_calibration: Path, tmp_path: Path
) -> None:
    protocol = tmp_path / "quick.yaml"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    rig = small_rig(recording={"frames": "none"})
    run = start(rig, "--calibration", small_calibration, "--protocol", protocol, "--duration", "15")
    assert run.wait() == 0, run.output()
    assert not list(open_session(run.session).frames()), "a calibration was given, so there is no baseline to keep"
    assert sum(summary_of(run.session)["stim"].values()) > 3
    done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "starts from the recorded traces" in done.stdout
    assert summary_of(tmp_path / "again")["replay"]["starts_from"] == "traces"
    assert not list(open_session(tmp_path / "again").frames())
    found = spikeloop("diff", run.session, tmp_path / "again")
    assert found.returncode == 0, found.stdout
    assert "B is a replay that began at the recorded traces" in found.stdout


@pytest.mark.realtime
def test_a_session_whose_protocol_was_changed_live_replays_to_the_same(
    start: Start, small_calibration: Path, tmp_path: Path
) -> None:
    first = tmp_path / "quick.yaml"
    first.write_text(PROTOCOL, encoding="utf-8")
    run = start(
        small_rig(microscope__pace="real_time"),
        "--calibration",
        small_calibration,
        "--protocol",
        first,
        "--duration",
        "40",
    )
    run.live()
    for name in ("activity_clamp", "spike_triggered"):  # the first of them hears activity, the others do not
        time.sleep(8.0)
        run.ctl("set_protocol", name)
        run.ctl("arm", "tester")
    assert run.wait() == 0, run.output()
    loads = [m.header.name for m in open_session(run.session).messages("input") if m.header.kind == "load"]
    assert loads == ["quick", "activity_clamp", "spike_triggered"]
    done = spikeloop("replay", run.session, "--speed", "max", "--output", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "the protocol is changed where the session changed it: quick, then activity_clamp" in done.stdout
    found = spikeloop("diff", run.session, tmp_path / "again", "--json", tmp_path / "diff.json")
    assert found.returncode == 0, found.stdout
    counts = json.loads((tmp_path / "diff.json").read_text(encoding="utf-8"))["n_compared"]
    assert counts["decisions"] > 10
    again = open_session(tmp_path / "again")
    changed_after = [m.header.after[0] for m in again.messages("input") if m.header.kind == "load"]
    frames = [m.header.frame for m in again.messages("stim")]
    assert min(frames) < changed_after[1] < changed_after[2] < max(frames), "the first and the last have decided"
