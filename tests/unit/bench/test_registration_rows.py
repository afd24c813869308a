"""The rows of the pixel benchmark for registration. Nothing here depends on speed."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from rt_engine.bench import pixels
from rt_engine.bench.registration_cost import PlantedField, registration_rows, shift_errors_px
from rt_engine.bench.rounds import Row, Spread
from rt_engine.cli import main
from rt_engine.interfaces.errors import SpikeloopError


def test_planted_shifts_are_known_to_0p08_px_at_0p9_photons() -> None:
    errors = shift_errors_px(PlantedField(3), 30)
    assert np.sqrt((errors**2).mean(axis=0)).max() <= 0.08
    assert np.abs(errors).max() <= 2.0


def test_every_row_is_there_and_is_judged_by_its_bound() -> None:
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed (extra bench)")
    pytest.importorskip("skimage", reason="scikit-image is not installed (extra bench)")
    rows = {row.name: row for row in registration_rows(1, 5)}
    assert rows["shift, OpenCV matchTemplate over ours"].bound == (">=", 8.0)
    assert rows["shift, scikit-image phase correlation over ours"].bound == (">=", 8.0)
    assert rows["shift, rms error at 0.9 photons/px"].met
    assert all(row.value.lowest > 0 for row in rows.values())


def test_a_row_is_met_by_its_median() -> None:
    value = Spread(2.0, 1.0, 9.0)
    assert Row("a", "x", value, (">=", 2.0)).met is True
    assert Row("a", "x", value, (">=", 2.1)).met is False
    assert Row("a", "x", value, ("<=", 2.0)).met is True
    assert Row("a", "x", value).met is None


def test_figures_are_json_and_a_table(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [Row("fast", "x", Spread(3.0, 2.0, 4.0), (">=", 8.0)), Row("time", "us", Spread(1.0, 1.0, 1.0))]
    monkeypatch.setattr(pixels, "PARTS", (("part", lambda n_rounds: rows),))
    target = tmp_path / "p.json"
    assert main(["bench", "pixels", "--json", str(target)]) == 0
    figures = json.loads(target.read_text())
    assert figures["rows"]["fast"] == {"unit": "x", "value": [3.0, 2.0, 4.0], "bound": ">= 8", "met": False}
    assert "fast" in capsys.readouterr().out
    assert main(["bench", "pixels", "-o", str(tmp_path / "p.png")]) == 2


def test_missing_opencv_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SpikeloopError, match=r"opencv.*spikeloop\[bench\]"):
        registration_rows(1, 1)
