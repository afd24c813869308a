"""Space on the disk: one warning in time, then the end of frames, with room for events."""

from __future__ import annotations

from pathlib import Path

import pytest

from rt_engine.services.disk_watch import RESERVE_FILE, DiskWatch

S = 1_000_000_000


class Disk:
    def __init__(self, free_mb: float) -> None:
        self.free_mb = free_mb

    def __call__(self, folder: Path) -> float:
        return self.free_mb


def test_plenty_of_space_is_not_worth_a_word_and_looked_at_once_a_second(tmp_path: Path) -> None:
    disk = Disk(50_000.0)
    watch = DiskWatch(tmp_path, 500.0, disk)
    assert [watch.look(t * S // 2) for t in range(20)] == [None] * 20
    disk.free_mb = 1.0
    assert watch.look(19 * S // 2 + 1) is None  # not due yet
    assert watch.look(11 * S) == "end"


def test_one_warning_comes_at_twice_the_bound_then_the_end(tmp_path: Path) -> None:
    disk = Disk(1100.0)
    watch = DiskWatch(tmp_path, 500.0, disk)
    said = []
    for second in range(65):
        said.append(watch.look(second * S))
        disk.free_mb -= 10.0
    warnings = [(second, text) for second, text in enumerate(said) if text not in (None, "end")]
    assert len(warnings) == 1
    second, text = warnings[0]
    assert 1000 - 10 * 2 <= 1100 - 10 * second <= 1100
    assert "frames end at 500 MB, events go on" in text
    assert said.index("end") == 61


def test_events_are_warned_of_five_minutes_before_there_is_no_room_for_them_either(tmp_path: Path) -> None:
    disk = Disk(501.0)
    watch = DiskWatch(tmp_path, 500.0, disk)
    watch.look(0)
    said = []
    for second in range(1, 500):
        disk.free_mb -= 1.5 if said else 2.0
        said.append(watch.look(second * S))
    told = [(index, text) for index, text in enumerate(said) if text is not None]
    assert told[0][1] == "end"
    (index, text) = told[1]
    assert 499 - 1.5 * index == pytest.approx(1.5 * 300, abs=3)
    assert "MB are left for events, at this rate for 5 min; then the journal ends, and light trips" in text
    assert len(told) == 2


def test_a_fast_writer_is_warned_by_the_time_left(tmp_path: Path) -> None:
    disk = Disk(40_000.0)
    watch = DiskWatch(tmp_path, 500.0, disk)
    said = []
    for second in range(40):
        said.append(watch.look(second * S))
        disk.free_mb -= 200.0
    first = next(text for text in said if text is not None)
    assert "at this rate for 3 min" in first
    assert said.index(first) == 10  # as soon as the rate is known


def test_the_room_for_events_is_held_and_given_back(tmp_path: Path) -> None:
    watch = DiskWatch(tmp_path, 500.0, Disk(100.0))
    assert (tmp_path / RESERVE_FILE).stat().st_size == 10_000_000
    watch.release()
    watch.release()
    assert not (tmp_path / RESERVE_FILE).exists()
