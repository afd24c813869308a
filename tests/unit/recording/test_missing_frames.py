"""What the proof of killed processes calls missing: an end that is cut off, holes by number, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from kill_witness import Missing, missing_frames, missing_numbers
from synthetic_session import SessionMaker

from rt_engine.recording.reader import open_session


def heard(frames: list[int], decided: list[int]) -> SimpleNamespace:
    """A witness; frame n was published at 10 n."""
    return SimpleNamespace(frames={n: 10 * n for n in frames}, decided={n: 10 * n + 1 for n in decided})


def test_what_was_published_before_the_kill_and_after_the_last_kept_is_the_end() -> None:
    found = missing_frames(heard([0, 1, 2, 3, 4, 5], [0, 1, 2]), [0, 1, 2], t_kill_ns=45)
    assert found == Missing(at_the_end=[3, 4], inside=[], numbers_skipped=[])


def test_a_hole_is_named_by_its_number_and_told_from_a_number_nobody_published() -> None:
    found = missing_frames(heard([0, 1, 2, 3, 6, 7], [4]), [0, 2, 6, 7], t_kill_ns=1000)
    assert found == Missing(at_the_end=[], inside=[1, 3, 4], numbers_skipped=[5])


def test_a_session_that_kept_nothing_has_lost_all() -> None:
    assert missing_frames(heard([0, 1], []), [], t_kill_ns=1000).at_the_end == [0, 1]


def test_gaps_in_the_numbers_of_a_sender_are_named(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    for frame in range(6):
        maker.spikes(frame)
    maker.close()
    messages = list(open_session(tmp_path).messages())
    assert missing_numbers(messages) == {}
    spikes = [m for m in messages if m.topic == "spikes.0"]
    assert missing_numbers([spikes[0], spikes[3], spikes[5]]) == {"inference spikes.0": [1, 2, 4]}
