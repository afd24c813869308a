"""Drawing a cell, taking an edit back, and remembering what was set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from skimage.draw import polygon2mask

from gui.edits import EditHistory
from gui.polygon import pixels_inside
from gui.settings import DEFAULTS, Settings


def test_pixels_of_an_outline_are_those_of_another_library() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.uniform(3, 57, (7, 2))
        mine = np.zeros(60 * 64, np.bool_)
        mine[pixels_inside([(float(y), float(x)) for y, x in corners], (60, 64))] = True
        theirs = polygon2mask((60, 64), corners - 0.5)
        assert (mine.reshape(60, 64) ^ theirs).mean() < 0.002


def test_two_corners_hold_nothing() -> None:
    assert pixels_inside([(1.0, 1.0), (5.0, 5.0)], (10, 10)) == []


def test_a_square_holds_its_pixels() -> None:
    assert pixels_inside([(1, 1), (1, 3), (3, 3), (3, 1)], (5, 5)) == [6, 7, 11, 12]


def test_an_edit_is_taken_back_by_its_opposite() -> None:
    history = EditHistory()
    history.done({"action": "tag", "tag": "a", "roi_ids": [1]}, {"roi_ids": []}, {})
    history.done({"action": "remove", "roi_ids": [4]}, {"roi_ids": []}, {4: [7, 8]})
    history.done({"action": "merge", "roi_ids": [1, 2]}, {"roi_ids": [9]}, {1: [1], 2: [2]})
    history.done({"action": "add", "pixels": [1]}, {"candidate_id": 10_001, "state": "watched"}, {})
    assert history.take_undo() == [{"action": "reject", "candidate_id": 10_001}]
    assert history.take_undo() == [
        {"action": "remove", "roi_ids": [9]},
        {"action": "add", "pixels": [1]},
        {"action": "add", "pixels": [2]},
    ]
    assert history.take_undo() == [{"action": "add", "pixels": [7, 8]}]
    assert history.take_undo() == [{"action": "tag", "tag": "a", "roi_ids": [1]}]
    assert not history.can_undo
    assert history.take_undo() == []


def test_settings_come_back_and_rubbish_does_not(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "window.json"
    settings = Settings(path)
    settings["large"] = True
    assert settings.save() == ""
    assert Settings(path)["large"] is True
    path.write_text('{"large": "yes", "theme": 7, "unknown": 1, "page": 3}')
    assert (Settings(path)["large"], Settings(path)["theme"], Settings(path)["page"]) == (False, "dark", 3)
    path.write_text("[1, 2")
    assert Settings(path)["theme"] == DEFAULTS["theme"]
