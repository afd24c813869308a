"""What the report tells over time: dose, states, movement; from messages whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_session import MS, T_MONO_NS, SessionMaker, make_rich_session

from rt_engine.recording.course_figures import dose_figure
from rt_engine.recording.quality_table import QualityTables
from rt_engine.recording.reader import open_session
from rt_engine.recording.report import write_report
from rt_engine.recording.session_tables import collect


def test_energy_and_movement_are_gathered(tmp_path) -> None:
    maker = SessionMaker(tmp_path)
    for frame in range(5):
        maker.spikes(frame)
        maker.activity(frame, np.zeros((8, 2), np.float32))
    maker.light(T_MONO_NS + 50 * MS, [[1.0, 2.0], [3.0, 4.0]])
    maker.state()
    maker.state()
    maker.close()
    quality = QualityTables()
    collect(open_session(tmp_path), (quality,))
    [(t_ns, mj)] = quality.energy["led"]
    assert t_ns == T_MONO_NS + 50 * MS
    assert mj == pytest.approx(2 * 8.0 * 5e-3)  # two targets, 8 mW, 5 ms
    np.testing.assert_array_equal(quality.of(0), [[frame, 0, 0, 1] for frame in range(5)])
    assert quality.of(3).shape == (0, 4)
    assert [state for _, state in quality.states] == ["armed"]


def test_memory_is_bounded_by_leaving_out_every_second_row(monkeypatch) -> None:
    from types import SimpleNamespace

    from rt_engine.recording import quality_table

    monkeypatch.setattr(quality_table, "_MOST_ROWS", 100)
    rows = quality_table._Rows()
    for frame in range(1000):
        rows.add(SimpleNamespace(frame=frame, shift_y_px=0.0, shift_x_px=0.0, quality=1.0))
    kept = np.frombuffer(rows.values, np.float64).reshape(-1, 4)[:, 0]
    assert 50 <= len(kept) <= 100
    assert np.all(np.diff(kept) == kept[1] - kept[0])
    assert kept[-1] > 900


def test_the_report_has_the_sections_over_time(tmp_path) -> None:
    make_rich_session(tmp_path, n_frames=600)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    for title in ("Light and interlock", "Latency over the session", "Data quality"):
        assert f"<h2>{title}</h2>" in text


def test_dose_is_drawn_where_no_state_of_the_interlock_is_known() -> None:
    pulses = {"led": (np.array([1.0, 2.0]), np.array([0.5, 0.25]))}
    drawn = dose_figure(pulses, [], {"led": 3.0}, (0.0, 10.0))
    [label] = drawn.axes[0].get_legend_handles_labels()[1]
    assert label == "led: 0.75 mJ of 3 mJ allowed"
    assert len(drawn.axes[1].patches) == 0


def test_every_state_lasts_until_the_next_and_the_last_until_the_end() -> None:
    states = [(-5.0, "disarmed"), (2.0, "armed"), (7.0, "tripped")]
    spans = dose_figure({}, states, {}, (0.0, 10.0)).axes[1].patches
    assert [(one.get_x(), one.get_x() + one.get_width()) for one in spans] == [(0.0, 2.0), (2.0, 7.0), (7.0, 10.0)]
