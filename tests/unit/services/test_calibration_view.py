"""What `calibrate` prints and draws: every cell in the figures, few in a long table, and the truth in both."""

import io
import json
from dataclasses import fields, replace

import matplotlib.image
import numpy as np
import pytest
import tifffile
from rich.console import Console
from synthetic_session import make_calibration

from rt_engine.cli import main
from rt_engine.interfaces.calibration import load_calibration
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty
from rt_engine.recording.calibration_figure import save_calibration_figure
from rt_engine.services.calibration_view import (
    LONGEST_TABLE,
    cell_figures,
    notes,
    overlap_figures,
    overlap_words,
    print_calibration,
)


def calibration(tmp_path, n, n_baseline_frames=5000):
    places = [(8 + 7 * (i // 16), 8 + 7 * (i % 16)) for i in range(n)]
    made = make_calibration(tmp_path / "c.h5", places, size=128, n_baseline_frames=n_baseline_frames)
    small = {field.name: np.full(n, 0.05, np.float32) for field in fields(TraceUncertainty)}
    known = TraceUncertainty(
        **small
        | {
            "has_dynamics": np.arange(n) != 1,
            "noise_disputed": np.arange(n) == 2,
            "n_isolated_events": np.full(n, 3),
            "f0_change": np.where(np.arange(n) == 3, -0.4, -0.1).astype(np.float32),
            "valid_fraction": np.full(n, 0.5, np.float32),
            "neuropil_fit": np.full(n, 0.7, np.float32),
        }
    )
    detection = np.linspace(0.1, 0.95, n).astype(np.float32)
    return replace(made, expected_detection=detection, uncertainty=known, photon_gain_counts=20.0)


def text_of(made):
    out = io.StringIO()
    print_calibration(made, Console(file=out, width=120))
    return out.getvalue()


def test_a_short_table_shows_every_cell_the_best_first(tmp_path):
    made = calibration(tmp_path, 5)
    lines = [line.split() for line in text_of(made).splitlines() if line.strip()[:1].isdigit()]
    assert [line[0] for line in lines] == ["4", "3", "2", "1", "0"]
    text = text_of(made)
    for words in ("no calcium dynamics", "disputed noise", "F0 fell 40%", "300 ± 50", "50 ± 5", "median"):
        assert words in text


def test_a_long_table_shows_the_best_the_worst_and_medians(tmp_path):
    text = text_of(calibration(tmp_path, 100))
    assert f"{100 - LONGEST_TABLE} cells between" in text
    shown = [int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert shown == [*range(99, 99 - LONGEST_TABLE // 2, -1), *range(LONGEST_TABLE // 2 - 1, -1, -1)]
    assert "1 without dynamics, 1 disputed" in text


def test_figures_are_all_there_and_false_events_count_valid_time(tmp_path):
    rows = cell_figures(calibration(tmp_path, 40, n_baseline_frames=100))
    assert len(rows) == 40
    # 0.5 a minute, samples half of the time.
    assert rows[0]["false_events_per_hour"] == pytest.approx(15)
    assert rows[1]["notes"] == ["provisional", "no calcium dynamics"]
    assert rows[0]["tau_se_s"] == pytest.approx(0.05)
    json.dumps(rows, allow_nan=False)


def test_where_cost_decides_every_cell_has_its_own_false_events(tmp_path):
    of_cells = np.linspace(0, 2, 40, dtype=np.float32)
    by_cost = {"false_event_cost": 3.0, "false_alarms_per_min": np.nan, "false_events_per_min": of_cells}
    made = replace(calibration(tmp_path, 40), **by_cost)
    told = [row["false_events_per_hour"] for row in cell_figures(made)]
    assert told == pytest.approx(30 * of_cells)  # samples half of the time
    assert "nan" not in text_of(made)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("gain", [20.0, float("nan")])
def test_the_picture_is_drawn_whatever_is_known(tmp_path, known, gain):
    made = replace(calibration(tmp_path, 12), photon_gain_counts=gain)
    made = made if known else replace(made, uncertainty=None)
    save_calibration_figure(tmp_path / "c.png", made)
    picture = matplotlib.image.imread(tmp_path / "c.png")
    assert picture.shape[0] > 500
    assert np.ptp(picture[..., :3], axis=2).max() > 0.5  # there is colour
    assert text_of(made)


def test_the_command_writes_calibration_picture_and_figures(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 64))
    labels = np.zeros((64, 64), np.uint16)
    for i, (cy, cx) in enumerate([(16, 16), (44, 40)], start=1):
        labels[np.hypot(y - cy, x - cx) < 6] = i
    light = 3.0 + 2.0 * rng.random((64, 64)) + 6.0 * (labels > 0)
    glow = np.ones(200)
    glow[60:] += 2 * np.exp(-np.arange(140) / 6)
    frames = [20 * rng.poisson(np.where(labels == 1, light * g, light)) + 100 for g in glow]
    tifffile.imwrite(tmp_path / "m.tif", np.array(frames, np.uint16))
    np.save(tmp_path / "rois.npy", labels)
    arguments = ["calibrate", str(tmp_path / "m.tif"), "--frame-rate-hz", "30", "--rois", str(tmp_path / "rois.npy")]
    assert main([*arguments, "-o", str(tmp_path / "cal.h5"), "--json", str(tmp_path / "cal.json")]) == 0
    printed = capsys.readouterr().out
    assert "told (%)" in printed
    assert (tmp_path / "cal.png").read_bytes()[:4] == b"\x89PNG"
    found = load_calibration(tmp_path / "cal.h5")
    cells = json.loads((tmp_path / "cal.json").read_text())["cells"]
    assert [cell["roi_id"] for cell in cells] == found.roi_id.tolist()
    assert "provisional" in cells[0]["notes"]
    # 20 counts a photon were planted.
    assert found.photon_gain_counts == pytest.approx(20, rel=0.15)
    assert main([*arguments, "-o", str(tmp_path / "cal.png")]) == 2


def test_inseparable_cells_are_named_in_words_notes_and_figures(tmp_path):
    made = make_calibration(tmp_path / "c.h5", [(20, 20), (21, 20), (40, 40)], roi_ids=[4, 7, 9])
    twins = replace(made, inseparable_roi_id=np.array([[4, 7]], np.uint32), condition_number=12.34)
    words = " ".join(overlap_words(twins))
    assert "7 (takes the values of 4)" in words
    assert "condition number 12.3" in words
    assert overlap_figures(twins) == {"condition_number": 12.34, "inseparable_roi_id": [[4, 7]]}
    assert "= cell 4" in notes(twins, 1)
    assert not any(note.startswith("=") for note in notes(twins, 0))
    assert overlap_words(made) == []
    assert overlap_figures(made) == {"condition_number": None, "inseparable_roi_id": []}


def test_the_page_is_drawn_with_and_without_what_older_files_lack(tmp_path):
    made = make_calibration(tmp_path / "c.h5", [(20, 20), (21, 20), (40, 40)], roi_ids=[4, 7, 9])
    rich = replace(
        made,
        inseparable_roi_id=np.array([[4, 7]], np.uint32),
        baseline_shift_px=np.random.default_rng(0).normal(0, 1, (500, 2)).astype(np.float32),
        neuropil_coefficient_se=np.full(3, 0.1, np.float32),
        photon_gain_counts=20.0,
    )
    for name, calibration in (("old", made), ("rich", rich)):
        save_calibration_figure(tmp_path / f"{name}.png", calibration)
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
