"""What a session can be yoked to is kept in memory that does not grow, and what does not fit is told."""

from __future__ import annotations

import tracemalloc

from safety_rig import Rig

from protocols.running.pulse_times import PulseTimes


def test_pulses_stand_by_block_and_without_sham_or_blocks_of_the_program() -> None:
    rig, times = Rig(), PulseTimes(10)
    own, given = rig.request(), rig.request(roi_ids=())
    for place, request in (((2, 0.5), own), ((0, 1.0), own), ((1, 9.0), given), ((0, 2.0), own)):
        times.note(place, request)
    times.note((0, 3.0), rig.request(sham=True))
    assert times.as_dict()["blocks_s"] == [[1.0, 2.0], [0.5]]
    assert "n_beyond" not in times.as_dict()


def test_what_does_not_fit_is_counted() -> None:
    times, request = PulseTimes(3), Rig().request()
    for second in range(5):
        times.note((0, float(second)), request)
    assert times.as_dict()["blocks_s"] == [[0.0, 1.0, 2.0]]
    assert times.as_dict()["n_beyond"] == 2


def test_twenty_thousand_pulses_cost_no_memory() -> None:
    times, request = PulseTimes(), Rig().request()
    times.note((0, 0.0), request)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            times.note((0, number * 0.1), request)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 2000
