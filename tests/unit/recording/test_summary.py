"""The summary of a session whose every message is known."""

import json
import re

import numpy as np
import pytest
from synthetic_session import FIELDS, MS, SessionMaker, make_calibration, sample

from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import Mode
from rt_engine.recording.reader import open_session
from rt_engine.recording.report import write_report
from rt_engine.recording.summary import summarize, write_summary

YX = [(10, 10), (10, 40), (40, 10), (40, 40)]


@pytest.fixture
def folder(tmp_path):
    """25 Hz: the tolerance and the burst gap are 2.5 frames. Cells 0..3, cell 3 not found; ROI 9 is no cell."""
    maker = SessionMaker(tmp_path / "session")
    make_calibration(maker.folder / "calibration.h5", [*YX[:3], (55, 55)], roi_ids=[100, 101, 102, 9])
    maker.session()
    planted = {
        20: [(0, 20.5)],  # hit
        21: [(0, 21.9)],  # same burst
        22: [(0, 22.5), (3, 22.5)],  # same burst; not found
        40: [(0, 40.2)],  # missed
        60: [(1, 60.5)],  # hit
        70: [(2, 70.5)],  # missed: the event comes 3 frames later
        5: [(0, 5.0)],  # before going live
    }
    events = {
        24: [(100, 21), (101, 20)],  # 101: false
        26: [(100, 22)],  # the burst has its event already: false
        62: [(101, 61)],
        76: [(102, 74)],  # 74.5 - 70.5 = 4 frames
        80: [(9, 78)],  # no cell: false
    }
    for frame in range(100):
        maker.truth(frame, planted.get(frame, ()), sample(YX, [5, 6, 7, 3]) if frame == 1 else None)
        if frame in (50, 51):
            continue
        mode = Mode.LIVE if frame >= 10 else Mode.BASELINE
        maker.spikes(frame, events.get(frame, ()), mode, receive_ms=1.0 + frame / 100, decide_ms=3.0 + frame / 100)
    maker.stim("a", 24, "delivered", rois=[100], command_ms=4.0, output_ms=5.0)
    maker.stim("b", 62, "delivered", rois=[101], command_ms=6.0)
    maker.stim("c", 76, "withheld", rois=[102])
    maker.stim("d", 80, "refused", rois=[9])
    maker.stim("e", 81, None)
    maker.health("inference", dropped=2, late=1)
    maker.health("recording")
    trip = {"signal": "heartbeat", "text": "silent"}
    maker.state([trip])
    maker.state([trip])
    maker.close()
    return maker.folder


def test_frames_count_from_going_live_and_missing_numbers_are_lost(folder):
    summary = summarize(open_session(folder))
    assert (summary["frames"], summary["frames_lost"], summary["spikes"]) == (88, 2, 6)


def test_every_decision_counts_once_by_its_last_outcome(folder):
    summary = summarize(open_session(folder))
    assert {k: n for k, n in summary["stim"].items() if n} == {"delivered": 2, "withheld": 1, "refused": 1}
    assert summary["stim_unfinished"] == 1


def test_a_later_phase_corrects_the_outcome(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    maker.spikes(0)
    maker.stim("a", 0, "delivered", command_ms=3.0)
    maker.stim("a", 0, "failed")
    maker.close()
    summary = summarize(open_session(maker.folder))
    assert {k: n for k, n in summary["stim"].items() if n} == {"failed": 1}


def test_the_earliest_of_the_spikes_that_triggered_counts(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    make_calibration(maker.folder / "calibration.h5", YX[:3], roi_ids=[100, 101, 102])
    maker.truth(0, [], sample(YX[:3], [5, 5, 5]))
    for frame in range(40):
        maker.truth(frame, {18: [(2, 18.1)], 20: [(0, 20.2), (1, 20.7)]}.get(frame, ()))
        maker.spikes(frame, [(100, 20), (101, 20), (102, 18)] if frame == 22 else ())
    maker.stim("a", 22, "delivered", rois=[100, 101], command_ms=4.0)
    maker.close()
    latency = summarize(open_session(maker.folder))["latency_ms"]
    assert latency["spike_to_command"]["max"] == pytest.approx((23 - 20.2) * 40 + 4)


def test_latencies_are_the_differences_of_the_times_on_the_wire(folder):
    latency = summarize(open_session(folder))["latency_ms"]
    live = np.array([f for f in range(10, 100) if f not in (50, 51)])
    assert latency["scan_to_receive"]["p50"] == pytest.approx(np.median(1 + live / 100), abs=1e-6)
    assert latency["scan_to_receive"]["max"] == pytest.approx(1.99, abs=1e-6)
    assert latency["receive_to_decision"]["p99"] == pytest.approx(2.0, abs=1e-6)
    assert latency["decision_to_command"]["max"] == pytest.approx(4.0)
    assert latency["scan_to_command"]["p50"] == pytest.approx(5.0)
    assert latency["scan_to_output"] == {"p50": 5.0, "p99": 5.0, "p999": 5.0, "max": 5.0, "n": 1}
    # frame 24 is there at 25 periods of 40 ms; the spike of the burst nearest to frame 21.5 is 21.9
    a_ms = (25 - 21.9) * 40 + 4
    b_ms = (63 - 60.5) * 40 + 6
    assert latency["spike_to_command"]["max"] == pytest.approx(a_ms)
    assert latency["spike_to_command"]["p50"] == pytest.approx((a_ms + b_ms) / 2)
    assert latency["spike_to_output"]["max"] == pytest.approx(a_ms + 1)


def test_recall_and_precision_are_those_counted_by_hand(folder):
    summary = summarize(open_session(folder))
    # bursts: cell 0 two (one hit), 1 one (hit), 2 one (missed), 3 one (A/sigma 3, not found)
    assert summary["recall"] == pytest.approx(np.median([1 / 2, 1, 0]))
    assert summary["recall_all"] == pytest.approx(2 / 5)
    # events: cell 0 two (one true), 1 two (one true), 2 one (false), stray one
    assert summary["precision"] == pytest.approx(np.median([1 / 2, 1 / 2, 0]))
    assert summary["precision_all"] == pytest.approx(2 / 6)
    assert summary["truth"]["cells_found"] == 3


def test_losses_trips_and_provenance_are_told(folder):
    summary = summarize(open_session(folder))
    assert summary["services"]["inference"]["dropped"] == 2
    assert summary["trips"] == [{"signal": "heartbeat", "text": "silent"}]
    assert summary["versions"]["spikeloop"] == "0.1.0"
    assert summary["provisional"] is True
    assert summary["journal"]["complete"] is True


def test_what_became_of_frames_is_summed_up_by_plane(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    for frame in range(10):
        maker.spikes(frame)
        maker.activity(frame, np.zeros((len(FIELDS), 2), np.float32))
    for fate, first, n in ((Fate.SKIPPED, 10, 1), (Fate.SKIPPED, 11, 3), (Fate.MISSING, 20, 5), (Fate.LATE, 4, 1)):
        maker.fate(fate, first, n)
    maker.fate(Fate.REFUSED, 3, plane=2)
    maker.close()
    summary = summarize(open_session(maker.folder))
    assert summary["fates"] == {"0": {"decided": 10, "skipped": 4, "missing": 5, "late": 1}, "2": {"refused": 1}}
    text = write_report(maker.folder).read_text(encoding="utf-8")
    cells = re.findall(r"<t[hd][^>]*>([^<]*)", text)
    at = cells.index("of them late") - 2
    assert cells[at : at + 18] == [
        "plane", "decided", "of them late", "of them in own light", "skipped", "missing", "refused", "came twice",
        "out of order", "0", "10", "1", "0", "4", "5", "0", "0", "0",
    ]  # fmt: skip


def test_a_session_without_live_frames_has_no_figures_and_no_errors(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    maker.spikes(0, mode=Mode.BASELINE)
    maker.close()
    summary = summarize(open_session(maker.folder))
    assert (summary["frames"], summary["spikes"], summary["recall"]) == (0, 0, None)
    assert set(summary["latency_ms"].values()) == {None}
    assert len(summary["latency_ms"]) == 7


def test_malformed_messages_are_counted_and_passed_over(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    maker.spikes(0)
    maker.writer.write("spikes.0", b"\xc1garbage", b"", maker.t_ns)
    maker.writer.write("nonsense", b"\x80", b"", maker.t_ns)
    maker.spikes(1, skip_seq=3)
    maker.close()
    summary = summarize(open_session(maker.folder))
    assert summary["frames"] == 2
    assert summary["journal"]["malformed"] == {"spikes.0": 1, "nonsense": 1}
    assert summary["journal"]["gaps"] == {"spikes.0": 3}


def test_frames_in_strips_count_once(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    for frame in (7, 7, 8, 8, 8):
        maker.spikes(frame)
    maker.close()
    summary = summarize(open_session(maker.folder))
    assert (summary["frames"], summary["frames_lost"]) == (2, 0)


def test_the_file_holds_the_same_figures(folder):
    written = write_summary(folder)
    assert json.loads((folder / "summary.json").read_text()) == written
    assert written["duration_s"] == pytest.approx(90 * 40 * MS / 1e9)


def test_a_summary_that_cannot_be_written_names_the_file(tmp_path):
    with pytest.raises(RecordingError, match=r"nowhere.summary\.json"):
        write_summary(tmp_path / "nowhere", {})


def test_frames_come_back_as_arrays_and_misfits_are_counted(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    frames = [np.arange(i, i + 24, dtype="<u2").reshape(4, 6) for i in range(3)]
    for i, lines in enumerate(frames):
        maker.frame(i, lines)
    maker.frame(3, frames[0], channel=1)
    maker.writer.write("frame.0.0", b"\xc1", b"", maker.t_ns)
    maker.close()
    session = open_session(maker.folder)
    found = list(session.frames())
    assert [header.frame for header, _ in found] == [0, 1, 2]
    for (_, lines), expected in zip(found, frames, strict=True):
        np.testing.assert_array_equal(lines, expected)
    assert session.malformed_frames == 1
    with pytest.raises(RecordingError, match=r"no frame\.9\.0 or frame\.9\.1.*there are frame\.0\.0, frame\.0\.1"):
        list(session.frames(9, (0, 1)))
