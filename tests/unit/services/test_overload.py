"""A frame takes longer than the scanner, or did once: light is given in time again, by real engine and interlock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from driver_bench import Wire
from inference_bench import PERIOD_NS, SIDE_PX, InferenceBench, planted_field
from safety_rig import Rig as SafetyRig

from rt_engine.bench.loop.bench_rig import PROTOCOL
from rt_engine.bench.loop.field import PlantedLoop
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.services.protocol_driver import ProtocolDriver

DEADLINE_MS = 50.0
ANSWERED_S = 60.0


@pytest.fixture(scope="module")
def planted() -> PlantedLoop:
    return planted_field()


Make = Callable[..., InferenceBench]


@pytest.fixture(params=list(FrameWay))
def make(planted: PlantedLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes the service, as often as wanted."""
    made: list[InferenceBench] = []

    def one(**keys: Any) -> InferenceBench:
        keys = {"deadline_ms": DEADLINE_MS, "max_backlog_frames": 32} | keys
        made.append(InferenceBench(planted, tmp_path, request.param, **keys))
        return made[-1]

    yield one
    for bench in made:
        bench.close()


class Scanner:
    """Sends every frame (or strip) when the clock says that it has been scanned; the engine's work moves the clock."""

    def __init__(self, bench: InferenceBench, cost_ms: Callable[[int], float]) -> None:
        self.bench, self.cost_ms = bench, cost_ms
        self.first = self.next = bench.next
        self.t0_ns = bench.clock.now_ns()
        self.line0 = 0
        engine = bench.service._engine
        assert engine is not None
        self._process = engine.process_lines
        engine.process_lines = self._work  # type: ignore[method-assign]

    def _work(self, frame: Any, number: int, end_line: int, *rest: Any) -> int:
        n_events = self._process(frame, number, end_line, *rest)
        self._pass(round(self.cost_ms(number - self.first) * NS_PER_MS * self.bench.strip_lines / SIDE_PX))
        return n_events

    def _due_ns(self) -> int:
        end_line = self.line0 + self.bench.strip_lines
        return self.t0_ns + (self.next - self.first) * PERIOD_NS + PERIOD_NS * end_line // SIDE_PX

    def _pass(self, ns: int) -> None:
        """Time passes, and what has been scanned by then comes."""
        self.bench.clock.step(ns)
        now_ns, sent = self.bench.clock.now_ns(), False
        while (due_ns := self._due_ns()) <= now_ns:
            n_lines = self.bench.strip_lines
            self.bench.send(self.next, line0=self.line0, n_lines=n_lines, age_ms=(now_ns - due_ns) / NS_PER_MS)
            self.line0 = (self.line0 + n_lines) % SIDE_PX
            self.next += self.line0 == 0
            sent = True
        if sent:
            give_up_s = time.monotonic() + ANSWERED_S
            while not self.bench.service._intake.waiting():
                assert time.monotonic() < give_up_s
            time.sleep(0.002)  # the others of the same moment

    @property
    def n_sent(self) -> int:
        """Frames so far."""
        return self.next - self.first

    def run(self, n_frames: int) -> None:
        """Until so many frames have been scanned, and a few more while the last were worked off."""
        book = self.bench.service._book
        while self.next < self.first + n_frames:
            if not self.bench.service._intake.waiting():
                self._pass(max(0, self._due_ns() - self.bench.clock.now_ns()))
            self.bench.turn()
        self.t0_ns += 1 << 60  # no more
        self.bench.until(lambda: book.last == self.next - 1 and not self.bench.service._intake.waiting())


class Answer:
    """The real protocol and interlock, given what inference said."""

    def __init__(self, bench: InferenceBench, folder: Path, **limits: Any) -> None:
        loose = {"min_gap_ms": 0.0, "max_rate_hz": 1e4, "max_duty": 1.0, "max_width_ms": 1.0, "max_power_mw": 1.0,
                 "max_energy_per_target_mj": 1e6, "max_total_energy_mj": 1e9}  # fmt: skip
        self.safety = SafetyRig(bench.clock, **(loose | limits))
        self.wire = Wire()
        told: list[str] = []
        self.driver = ProtocolDriver(bench.rig, self.safety.interlock, self.wire, lambda level, text: told.append(text))  # type: ignore[arg-type]
        assert self.driver.take_rois(*bench.rois())
        watched = {"watched": {"select": "all"}, "lit": PROTOCOL["cells"]["lit"]}  # type: ignore[index]
        path = folder / "protocol.yaml"
        path.write_text(yaml.safe_dump(PROTOCOL | {"cells": watched}), encoding="utf-8")
        self.driver.load(path)
        self.safety.armed()

    def hear(self, header: SpikesHeader, data: bytes, t_ns: int) -> int:
        """Give one `spikes` message at the time that it came; how many pulses that fired."""
        before = self.safety.n_fired
        clock = self.safety.clock
        now_ns, clock.true_ns = clock.true_ns, t_ns
        self.safety.beat()
        assert self.driver.take_spikes(header, data)
        clock.true_ns = now_ns
        return self.safety.n_fired - before


def numbers(bench: InferenceBench, fate: Fate) -> set[int]:
    return {first + i for first, n in bench.told(fate) for i in range(n)}


@pytest.mark.parametrize("cost_ms", [40.0, 45.0])
def test_light_is_given_again_and_again_as_long_as_the_overload_lasts(
    make: Make, tmp_path: Path, cost_ms: float
) -> None:
    bench, n_frames = make(), 200
    scanner = Scanner(bench, lambda frame: cost_ms)
    answer = Answer(bench, tmp_path)
    scanner.run(n_frames)
    counts, fired = bench.counts(), []
    bench.until(lambda: len(numbers(bench, Fate.SKIPPED)) == counts[Fate.SKIPPED])
    for header, data in bench.decisions():
        if answer.hear(header, data, header.t_decided_ns):
            fired.append(header.frame - scanner.first)
    in_time = [h.frame - scanner.first for h, _ in bench.decisions() if not h.late]
    assert counts[Fate.SKIPPED] > 0
    assert counts[Fate.DECIDED] + counts[Fate.SKIPPED] == scanner.n_sent
    # At 40 ms frames are begun 0, 7 and 14 ms after their scan: the third would be late, and is left out. At 45 ms the
    # second, 12 ms old.
    settled = [frame for frame in in_time if frame >= n_frames // 2]
    assert max(after - before for before, after in pairwise(settled)) == 2
    assert len(settled) >= (scanner.n_sent - n_frames // 2) * (0.6 if cost_ms == 40.0 else 0.45)
    assert counts[Fate.LATE] <= 10, "those by which it was learnt what a frame costs"
    assert len([frame for frame in fired if frame >= n_frames // 2]) >= 5
    assert set(fired) <= set(in_time)


def test_a_short_hiccup_is_worked_off_and_nothing_is_left_out(make: Make) -> None:
    bench = make()
    Scanner(bench, lambda frame: 300.0 if frame == 30 else 1.0).run(60)
    counts = bench.counts()
    assert (counts[Fate.DECIDED], counts[Fate.SKIPPED]) == (60, 0)
    late = {h.frame - bench.next for h, _ in bench.decisions() if h.late}
    assert late == set(range(30, 38))  # scanned more than 50 ms before the engine went on


def test_a_hiccup_of_a_busy_engine_costs_no_more_frames_than_it_must(make: Make) -> None:
    bench = make()
    Scanner(bench, lambda frame: 200.0 if frame == 30 else 10.0).run(60)
    counts = bench.counts()
    bench.until(lambda: len(numbers(bench, Fate.SKIPPED)) == counts[Fate.SKIPPED])
    # Six frames wait, 168 to 3 ms old: 3 + 6 * 10 and 3 + 5 * 10 ms are beyond the 50 of the newest, 3 + 4 * 10 is not.
    # Those that remain are begun 102, 79, 56 and 33 ms after their scan, and take 10.
    assert {frame - bench.next for frame in numbers(bench, Fate.SKIPPED)} == {31, 32}
    assert {h.frame - bench.next for h, _ in bench.decisions() if h.late} == {30, 33, 34, 35}


def test_a_decision_beyond_the_deadline_of_the_rig_gives_no_light_though_the_interlock_would(
    make: Make, tmp_path: Path
) -> None:
    """The limit of the output is laxer here than `inference.deadline_ms`."""
    bench = make(deadline_ms=20.0)
    scanner = Scanner(bench, lambda frame: 30.0 if frame % 2 else 5.0)
    answer = Answer(bench, tmp_path, max_decision_age_ms=1000.0)
    scanner.run(100)
    fired: dict[bool, int] = {False: 0, True: 0}
    with_events = dict(fired)
    for header, data in bench.decisions():
        late = header.t_decided_ns - header.t_scan_ns > 20 * NS_PER_MS
        assert header.late is late
        with_events[late] += header.n_events > 0
        fired[late] += answer.hear(header, data, header.t_decided_ns)
    assert with_events[True] >= 5, "no late frame had an event: nothing is tested"
    assert fired[True] == 0
    assert fired[False] >= 5


def test_in_strips_light_is_given_before_the_frame_ends(make: Make, tmp_path: Path) -> None:
    bench = make(strip_lines=SIDE_PX // 4)
    scanner = Scanner(bench, lambda frame: 0.4)
    answer = Answer(bench, tmp_path)
    scanner.run(100)
    early = []
    for header, data in bench.decisions():
        n_fired = answer.hear(header, data, header.t_decided_ns)
        end_ns = scanner.t0_ns - (1 << 60) + (header.frame - scanner.first + 1) * PERIOD_NS
        if n_fired:
            assert header.line0 + header.n_lines <= SIDE_PX
            early.append(end_ns - header.t_decided_ns)
            called_ns = answer.safety.outputs["led"].fired[-1][0]
            assert called_ns == header.t_decided_ns
    assert len([ns for ns in early if ns > PERIOD_NS // 8]) >= 3, early
    assert min(early) < 0, "cells of the last strip are decided after it"


def test_under_overload_in_strips_frames_are_left_out_whole_and_light_is_given_again(
    make: Make, tmp_path: Path
) -> None:
    bench, n_frames = make(strip_lines=SIDE_PX // 4), 120
    scanner = Scanner(bench, lambda frame: 60.0)
    answer = Answer(bench, tmp_path)
    scanner.run(n_frames)
    counts = bench.counts()
    bench.until(lambda: len(numbers(bench, Fate.SKIPPED)) == counts[Fate.SKIPPED])
    assert counts[Fate.SKIPPED] > 0
    assert counts[Fate.DECIDED] + counts[Fate.SKIPPED] == scanner.n_sent
    skipped = numbers(bench, Fate.SKIPPED)
    assert not skipped & {h.frame for h, _ in bench.decisions()}
    fired = [h.frame - scanner.first for h, data in bench.decisions() if answer.hear(h, data, h.t_decided_ns)]
    assert len([frame for frame in fired if frame >= n_frames // 2]) >= 3
