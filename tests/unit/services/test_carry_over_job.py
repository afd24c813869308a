"""`calibrate --from` shows what became of the cells, asks, and writes only with consent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_days import two_days

from rt_engine.cli import main
from rt_engine.interfaces.calibration import load_calibration
from rt_engine.services import carry_over_job

SHIFT = (7.3, -4.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Movies of both days, and the calibration of the first."""
    folder = tmp_path_factory.mktemp("days")
    days = two_days(SHIFT, size=128, n_cells=18, n_frames=300, n_gone=3, n_new=3, n_silent=2)
    np.save(folder / "first.npy", days.first)
    np.save(folder / "second.npy", days.second)
    np.save(folder / "other.npy", days.first[:, ::-1])
    np.save(folder / "small.npy", days.first[:, :100])
    assert calibrate(folder, "first", "old") == 0
    return folder


def calibrate(folder: Path, movie: str, target: str, *more: str | Path) -> int:
    arguments = ["calibrate", folder / f"{movie}.npy", "--frame-rate-hz", 30, "-o", folder / f"{target}.h5", *more]
    return main([str(part) for part in arguments])


def test_with_consent_the_cells_keep_their_identity_and_all_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = folder / "old.h5"
    assert calibrate(folder, "second", "new", "--from", old, "--yes", "--json", folder / "figures.json") == 0
    said = capsys.readouterr().out
    figures: dict[str, Any] = json.loads((folder / "figures.json").read_text())
    before, after = load_calibration(old), load_calibration(folder / "new.h5")
    both = set(before.roi_id.tolist()) & set(after.roi_id.tolist())
    assert figures["n_carried_over"] == len(both) > 5
    assert figures["n_old"] == before.n_rois == len(both) + len(figures["lost_roi_id"])
    assert figures["n_rois"] == after.n_rois == len(both) + figures["n_new"]
    fates = [figures[name] for name in ("n_found", "n_silent", "n_not_seen", "n_outside")]
    assert sum(fates) == before.n_rois
    assert (figures["shift_y_px"], figures["shift_x_px"]) == pytest.approx(SHIFT, abs=0.6)
    assert figures["f0_counts"][1] == pytest.approx(figures["f0_counts"][0], rel=0.2)
    for part in ("field: moved by (7.", "are found again", "lost: roi", "F0:", "picture:"):
        assert part in said
    assert (folder / "new-from.png").read_bytes()[:4] == b"\x89PNG"


def test_without_a_terminal_and_without_yes_it_refuses_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(folder, "second", "none", "--from", folder / "old.h5") == 2
    assert "old.h5: taking over its cells needs consent" in capsys.readouterr().err
    assert not (folder / "none.h5").exists()


@pytest.mark.parametrize(
    ("answer", "taken"), [("y", True), ("YES ", True), ("", False), ("n", False), ("maybe", False)]
)
def test_only_a_yes_is_consent(answer: str, taken: bool) -> None:
    said: list[str] = []
    assert carry_over_job.ask(said.append, lambda question: answer) is taken
    assert said == ([] if taken else ["not taken: nothing was written"])


def test_the_end_of_input_is_no_consent() -> None:
    def closed(question: str) -> str:
        raise EOFError

    assert not carry_over_job.ask(lambda text: None, closed)


def test_a_person_who_says_no_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(carry_over_job, "ask", lambda say: False)
    assert calibrate(folder, "second", "declined", "--from", folder / "old.h5") == 1
    assert not (folder / "declined.h5").exists()


@pytest.mark.parametrize(
    ("movie", "more", "message"),
    [
        ("other", (), "not the field of the old calibration"),
        ("small", (), "frames are 100 x 128 px, the calibration was made for 128 x 128"),
        ("second", ("--indicator", "GCaMP6s"), "the indicator is GCaMP6s, the calibration was made for jGCaMP8m"),
        ("second", ("--rois", "cells.zip"), "leave out --rois, or --from"),
    ],
)
def test_another_field_size_or_indicator_is_refused_in_one_line(
    folder: Path, movie: str, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(folder, movie, "refused", "--from", folder / "old.h5", "--yes", *more) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (folder / "refused.h5").exists()


def test_a_calibration_that_is_missing_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate(folder, "second", "refused", "--from", folder / "nowhere.h5", "--yes") == 2
    assert "nowhere.h5" in capsys.readouterr().err
