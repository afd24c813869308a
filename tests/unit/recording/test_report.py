"""The report holds together for every kind of session, needs no network, and shows what was recorded."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from synthetic_session import FIELDS, SessionMaker, make_calibration, make_rich_session

from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.messages import Mode
from rt_engine.recording.activity_table import ActivityTable
from rt_engine.recording.performance_figures import binned_fraction
from rt_engine.recording.reader import open_session
from rt_engine.recording.report import write_report
from rt_engine.recording.report_figures import outline

SECTIONS = ["Field of view", "Example cells", "Activity of all cells", "Stimulation", "Light and interlock"]
SECTIONS += ["Latency", "Latency over the session", "Accuracy against the truth", "Data quality", "Losses and trips"]
SECTIONS += ["Versions and configuration"]


def titles(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


def assert_stands_alone(text):
    assert not re.search(r'(src|href)="(?!#|data:)', text)
    assert "<script" not in text
    assert "@import" not in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rich") / "session"
    make_rich_session(folder, n_frames=700)
    return folder


def test_a_full_session_has_every_section_and_needs_no_network(rich):
    text = write_report(rich).read_text(encoding="utf-8")
    assert titles(text) == SECTIONS
    assert text.count("<svg") == 10
    assert_stands_alone(text)
    assert "prefers-color-scheme: dark" in text
    assert "minus withheld" in text
    assert "engine silent" not in text
    assert "provisional" in text


def test_the_same_session_gives_the_same_report(rich):
    assert write_report(rich).read_bytes() == write_report(rich).read_bytes()


def test_two_stimulated_arms_are_two_curves_each_with_its_own_test(tmp_path):
    """Arm `strong` raises its target, `weak` does nothing; pooled, both would look half as strong."""
    rng = np.random.default_rng(3)
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    arms = ("strong", "weak", "withheld")
    onset = {frame: arms[i % 3] for i, frame in enumerate(range(60, 2300, 60))}
    lit = 0
    for frame in range(2400):
        maker.spikes(frame)
        lit = 25 if onset.get(frame) == "strong" else lit - 1
        values = np.zeros((8, 3), np.float32)
        values[2] = rng.normal(0, 0.05, 3)
        values[2, 2] += 0.4 * (lit > 0)
        maker.activity(frame, values)
        if (arm := onset.get(frame)) is not None:
            outcome = "withheld" if arm == "withheld" else "delivered"
            maker.stim(f"d{frame}", frame, outcome, command_ms=None if arm == "withheld" else 3.0, arm=arm)
    maker.close()
    make_calibration(maker.folder / "calibration.h5", [(10, 10), (20, 20), (30, 30)])
    text = write_report(maker.folder).read_text(encoding="utf-8")
    rows = {
        cells[0]: cells
        for row in re.findall(r"<tr>(.*?)</tr>", text.partition("p (Welch)")[2].partition("</table>")[0])
        if (cells := re.findall(r"<td[^>]*>(.*?)</td>", row))
    }
    assert list(rows) == ["strong", "weak", "withheld"]
    assert float(rows["strong"][5]) == pytest.approx(0.4, abs=0.08)
    assert rows["strong"][7] == "&lt; 0.0001"
    assert abs(float(rows["weak"][5])) < 0.05
    assert float(rows["weak"][7]) > 0.01
    assert rows["withheld"][5:] == ["–", "–", "–"]
    assert "Effect of the light, whose randomisation test" in text


def test_a_truncated_session_is_reported_and_said_to_be_incomplete(rich, tmp_path):
    data = (rich / "session_000.mcap").read_bytes()
    (tmp_path / "session_000.mcap").write_bytes(data[: len(data) * 2 // 3])
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "The session is not complete" in text
    assert "no calibration" in text
    assert_stands_alone(text)


def test_a_session_whose_activity_was_all_before_going_live_is_reported(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    make_calibration(maker.folder / "calibration.h5", [(20, 20), (40, 40)])
    maker.session()
    for frame in range(30):
        maker.spikes(frame, mode=Mode.BASELINE)
        maker.activity(frame, np.zeros((len(FIELDS), 2), np.float32))
    maker.state()
    maker.close()
    assert_stands_alone(write_report(tmp_path / "session").read_text(encoding="utf-8"))


def test_a_session_without_events_light_or_truth_is_reported(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    make_calibration(maker.folder / "calibration.h5", [(20, 20), (40, 40)], n_baseline_frames=4000)
    maker.session()
    for frame in range(40):
        maker.spikes(frame)
        maker.activity(frame, np.zeros((len(FIELDS), 2), np.float32))
    maker.close()
    text = write_report(maker.folder).read_text(encoding="utf-8")
    assert titles(text) == [name for name in SECTIONS if not name.startswith(("Accuracy", "Light"))]
    assert "No stimulation was decided" in text
    assert "provisional" not in text.split("<details>")[0]
    assert_stands_alone(text)


@pytest.mark.parametrize("with_calibration", [False, True])
def test_a_session_that_never_went_live_is_reported(tmp_path, with_calibration):
    maker = SessionMaker(tmp_path / "session")
    if with_calibration:
        make_calibration(maker.folder / "calibration.h5", [])
    maker.spikes(0, mode=Mode.BASELINE)
    maker.close()
    text = write_report(maker.folder).read_text(encoding="utf-8")
    assert "never went live" in text
    assert_stands_alone(text)


def test_invalid_traces_and_unknown_cells_do_not_stop_the_report(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    make_calibration(maker.folder / "calibration.h5", [(20, 20)])
    for frame in range(40):
        maker.spikes(frame, [(77, frame)])
        maker.activity(frame, np.full((len(FIELDS), 1), np.nan, np.float32))
    maker.stim("a", 20, "delivered", rois=[77], targets=[88], command_ms=3.0)
    maker.close()
    assert_stands_alone(write_report(maker.folder).read_text(encoding="utf-8"))


def test_what_people_wrote_cannot_become_markup(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    maker.spikes(0)
    maker.log("<script>alert(1)</script>")
    maker.state([{"signal": "<b>x</b>", "text": "<i>y</i>"}])
    maker.close()
    text = write_report(maker.folder).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<i>y</i>" not in text
    assert "&lt;script&gt;" in text


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="session_000"):
        write_report(tmp_path)


def test_traces_stay_within_their_memory_and_say_so(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    n_frames, n_rois = 5000, 4
    for frame in range(n_frames):
        maker.activity(frame, np.full((len(FIELDS), n_rois), frame, np.float32))
    maker.close()
    whole, small = ActivityTable(), ActivityTable(budget_bytes=40_000)
    for message in open_session(maker.folder).messages("activity"):
        whole.see(message, message.header)
        small.see(message, message.header)
    assert whole.stride == 1
    np.testing.assert_array_equal(whole.frame, np.arange(n_frames))
    np.testing.assert_array_equal(whole.dff[:, 2], np.arange(n_frames))
    assert small.stride == 8
    np.testing.assert_array_equal(small.frame, np.arange(0, n_frames, 8))
    np.testing.assert_array_equal(small.calcium[:, 3], np.arange(0, n_frames, 8))


def test_cells_added_later_are_missing_before(tmp_path):
    maker = SessionMaker(tmp_path / "session")
    for frame in range(4):
        maker.activity(frame, np.ones((len(FIELDS), 1 + frame // 2), np.float32))
    maker.close()
    table = ActivityTable()
    for message in open_session(maker.folder).messages():
        table.see(message, message.header)
    np.testing.assert_array_equal(table.dff, [[1, np.nan], [1, np.nan], [1, 1], [1, 1]])


def test_an_outline_is_the_boundary_of_the_cell(tmp_path):
    calibration = make_calibration(tmp_path / "c.h5", [(10, 10), (0, 0)], radius_px=1)
    # a plus of five pixels has twelve sides; the quarter of it in the corner of the image has eight
    for index, n_sides in ((0, 12), (1, 8)):
        edges = outline(calibration, index)
        assert len(edges) == n_sides
        assert all(abs(x0 - x1) + abs(y0 - y1) == 1 for (x0, y0), (x1, y1) in edges)


def test_pooled_fractions_carry_the_wilson_interval():
    x, fraction, error = binned_fraction(np.array([4.2, 4.8, 20.0]), np.array([3, 5, 0]), np.array([4, 6, 0]))
    np.testing.assert_allclose(x, [4.5])
    np.testing.assert_allclose(fraction, [0.8])
    # Wilson score interval of 8 of 10: 0.4902 to 0.9433 (Brown, Cai & DasGupta 2001)
    np.testing.assert_allclose(fraction - error[0], [0.4902], atol=1e-4)
    np.testing.assert_allclose(fraction + error[1], [0.9433], atol=1e-4)


def test_frames_that_were_to_be_kept_and_were_not_are_told_at_the_top(tmp_path):
    def text_of(name, n_kept, recording):
        maker = SessionMaker(tmp_path / name)
        maker.session()
        for frame in range(50):
            maker.spikes(frame)
            if frame < n_kept:
                maker.frame(frame, np.zeros((4, 4), "<u2"))
        maker.close()
        (tmp_path / name / "config.yaml").write_text(f"rig: {{recording: {recording}}}\n", encoding="utf-8")
        return write_report(tmp_path / name).read_text(encoding="utf-8")

    told = "Only 20 of 50 frame messages are in the journal"
    assert told in text_of("fewer", 20, "{frames: all, every_nth_frame: 1}")
    for name, n_kept, recording in (
        ("all", 50, "{frames: all, every_nth_frame: 1}"),
        ("none", 0, "{frames: none}"),
        ("some", 5, "{frames: all, every_nth_frame: 10}"),
    ):
        assert "frame messages are in the journal" not in text_of(name, n_kept, recording)
