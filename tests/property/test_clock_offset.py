"""The true offset between two clocks always lies within what is told of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rt_engine.transport.clock_offset import DRIFT_PPM, OffsetEstimator

SECOND = 1_000_000_000
WAY = st.integers(0, 2 * SECOND)
TRIPS = st.lists(st.tuples(st.integers(0, 30 * SECOND), WAY, WAY), min_size=1, max_size=90)
"""Pause before a question, and how long question and answer were under way: as unequal as can be."""
APART = st.integers(-(10**15), 10**15)
DRIFT = st.integers(-(DRIFT_PPM - 1), DRIFT_PPM - 1)


class There:
    """A clock that stands `apart_ns` from ours and runs `ppm` faster."""

    def __init__(self, apart_ns: int, ppm: int) -> None:
        self.apart_ns, self.ppm = apart_ns, ppm

    def at(self, here_ns: int) -> int:
        return here_ns + self.apart_ns + here_ns * self.ppm // 1_000_000


@given(trips=TRIPS, apart_ns=APART, ppm=DRIFT)
def test_the_truth_lies_within_the_uncertainty(trips: list[tuple[int, int, int]], apart_ns: int, ppm: int) -> None:
    there, estimator, now_ns = There(apart_ns, ppm), OffsetEstimator(), 0
    for pause_ns, to_ns, back_ns in trips:
        sent_ns = now_ns + pause_ns
        asked_ns, now_ns = sent_ns + to_ns, sent_ns + to_ns + back_ns
        estimator.add(sent_ns, there.at(asked_ns), now_ns)
        told = estimator.offset
        assert told is not None
        true_ns = there.at(asked_ns) - asked_ns
        assert abs(told.offset_ns - true_ns) <= told.uncertainty_ns
        assert told.uncertainty_ns <= (to_ns + back_ns) // 2 + 1, "half of the round trip is the most"
        later_ns = asked_ns + 7 * SECOND
        drifted_ns = there.at(later_ns) - later_ns
        assert abs(told.offset_ns - drifted_ns) <= told.uncertainty_at(there.at(later_ns))
    assert estimator.n_forgotten == 0


@given(apart_ns=APART, jump_ns=st.integers(SECOND, 10**12), to_ns=st.integers(0, SECOND // 4))
def test_a_clock_that_jumps_is_believed_anew(apart_ns: int, jump_ns: int, to_ns: int) -> None:
    estimator = OffsetEstimator()
    for i in range(10):
        estimator.add(i * SECOND, i * SECOND + to_ns + apart_ns, i * SECOND + 2 * to_ns)
    estimator.add(10 * SECOND, 10 * SECOND + to_ns + apart_ns + jump_ns, 10 * SECOND + 2 * to_ns)
    told = estimator.offset
    assert told is not None
    assert abs(told.offset_ns - apart_ns - jump_ns) <= told.uncertainty_ns <= to_ns + 1
    assert estimator.n_forgotten == 1


def test_a_round_trip_that_was_held_up_spoils_nothing() -> None:
    estimator = OffsetEstimator()
    estimator.add(0, 1000, 2000)
    estimator.add(10_000, 10_000 + SECOND, 10_000 + SECOND)
    told = estimator.offset
    assert told is not None
    widened_ns = 1000 + (SECOND + 9_000) * DRIFT_PPM // 1_000_000 + 1
    assert told.uncertainty_ns <= widened_ns


def test_answers_before_their_questions_are_passed_over() -> None:
    estimator = OffsetEstimator()
    estimator.add(5, 1, 4)
    assert estimator.offset is None
