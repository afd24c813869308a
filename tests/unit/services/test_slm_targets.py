"""Cells become patterns that the output takes, and places on the SLM by the map; none beyond what was looked at."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
import yaml
from ni_rig import settings
from pattern_rig import BY_LINES, pattern_settings
from synthetic_session import make_calibration

from rt_engine.cli import main
from rt_engine.interfaces.calibration_planes import load_plane, number_cells, save_planes
from rt_engine.interfaces.slm_registration import Spot
from rt_engine.services.slm_registration import register

MATRIX = np.array([[0.0, 2.0, 10.0], [-3.0, 0.0, 700.0]])
CELLS = [(30.0, 40.0), (64.0, 90.0), (100.0, 20.0), (5.0, 5.0)]


def files(tmp_path, spread=(20.0, 110.0)):
    places = [(y, x) for y in (*spread, 64.0) for x in (10.0, 64.0, 118.0)]
    spots = [Spot(*(MATRIX @ (y, x, 1.0)), y, x) for y, x in places]
    table, _ = register(spots, "me", 1.0)
    (tmp_path / "slm.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    make_calibration(tmp_path / "c.h5", CELLS, size=128, rate_hz=30.0, radius_px=4)
    return ["slm-targets", str(tmp_path / "c.h5"), "--registration", str(tmp_path / "slm.yaml")]


def test_what_is_printed_is_taken_by_the_output_and_what_is_written_is_the_map(tmp_path, capsys):
    command = files(tmp_path)
    assert main([*command, "--cells", "2,0", "--cells", "1", "-o", str(tmp_path / "p.csv")]) == 0
    printed = yaml.safe_load(capsys.readouterr().out.partition("rig file:\n")[2])["patterns"]
    config = pattern_settings(settings(1).model_dump(mode="json"), BY_LINES, patterns=printed, primed=1)
    assert config.pattern_of((CELLS[0], CELLS[2])).number == 1
    assert config.pattern_of((CELLS[1],)).number == 2
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["pattern"], row["roi_id"]) for row in rows] == [("1", "2"), ("1", "0"), ("2", "1")]
    for row, cell in zip(rows, (2, 0, 1), strict=True):
        y, x = CELLS[cell]
        # 10 + 2 x, 700 - 3 y
        assert (float(row["slm_x"]), float(row["slm_y"])) == pytest.approx((10 + 2 * x, 700 - 3 * y), abs=1.5)


@pytest.mark.parametrize(("cells", "words"), [
    ("9", "there is no cell 9. there are 0 to 3 in plane 0"),
    ("0,3", "cell 3 at (5.0, 5.0) lies outside the spots"),
])  # fmt: skip
def test_a_cell_that_is_not_there_or_lies_where_nobody_looked_is_refused(cells, words, tmp_path, capsys):
    assert main([*files(tmp_path), "--cells", cells, "-o", str(tmp_path / "p.csv")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "p.csv").exists()


def test_cells_of_several_planes_are_targets_in_their_planes(tmp_path, capsys):
    command = files(tmp_path)
    flat = load_plane(tmp_path / "c.h5", 0)
    save_planes(tmp_path / "c.h5", [flat, number_cells(replace(flat, plane=1))])
    assert main([*command, "--cells", "2,1000001", "--cells", "1", "-o", str(tmp_path / "p.csv")]) == 0
    printed = yaml.safe_load(capsys.readouterr().out.partition("rig file:\n")[2])["patterns"]
    config = pattern_settings(settings(1).model_dump(mode="json"), BY_LINES, patterns=printed, primed=1)
    assert config.pattern_of((CELLS[2], CELLS[1]), (0, 1)).number == 1
    assert config.pattern_of((CELLS[2], CELLS[1]), (1, 0)) is None
    assert config.pattern_of((CELLS[1],)).number == 2
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert [row["plane"] for row in csv.DictReader(file)] == ["0", "1", "0"]
