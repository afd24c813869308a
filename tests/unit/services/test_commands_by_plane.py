"""A command about cells reaches the engine of their plane, and no other."""

from __future__ import annotations

import pytest

from rt_engine.interfaces.errors import ConfigError
from rt_engine.services.commands_by_plane import by_plane


def test_with_one_plane_everything_is_for_its_engine_whatever_the_numbers_of_the_cells() -> None:
    args = {"action": "remove", "roi_ids": [3, 2_000_001]}
    assert by_plane("rois_edit", args, {2: "inference"}) == {2: args}


def test_the_cells_say_the_plane() -> None:
    args = {"action": "merge", "roi_ids": [1_000_001, 1_000_007]}
    assert by_plane("rois_edit", args, (0, 1)) == {1: args}


def test_thresholds_are_dealt_out_and_a_rate_is_for_all() -> None:
    args = {"thresholds": {"5": 3.0, "1000002": 4.0, "7": 5.0}, "dry": True}
    assert by_plane("set_threshold", args, (0, 1, 2)) == {
        0: {"thresholds": {"5": 3.0, "7": 5.0}, "dry": True},
        1: {"thresholds": {"1000002": 4.0}, "dry": True},
    }
    rate = {"false_alarms_per_min": 0.5}
    assert by_plane("set_threshold", rate, (0, 1)) == {0: rate, 1: rate}
    assert by_plane("set_threshold", rate | {"plane": 1}, (0, 1)) == {1: rate | {"plane": 1}}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"action": "add", "candidate_id": 4}, r"several planes are inferred.*say which is meant: \[0, 1\]"),
        ({"action": "merge", "roi_ids": [1, 1_000_001]}, r"lie in the planes \[0, 1\]"),
        ({"action": "remove", "roi_ids": [3_000_001]}, "no plane 3 is inferred"),
        ({"action": "remove", "roi_ids": ["x"]}, "'x' is no cell"),
        ({"action": "add", "candidate_id": 4, "plane": 9}, "no plane 9 is inferred"),
    ],
)
def test_what_cannot_be_told_is_refused(args: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        by_plane("rois_edit", args, (0, 1))


@pytest.mark.parametrize(
    "args",
    [{"plane": [1]}, {"plane": {}}, {"plane": "1"}, {"roi_ids": 5}, {"roi_ids": [float("inf")]}, {"roi_ids": [None]}],
    ids=str,
)
def test_what_makes_no_sense_is_said_and_ends_nothing(args: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        by_plane("rois_edit", args, {0: "inference.0", 1: "inference.1"})
