"""What cells that were added during a run cost the frame loop: none, in one edit, and one by one, gathered or not.

    python tests/benchmarks/added_cells_cost.py

512 x 512, 128 known cells and 32 new ones. Processor time of the loop's thread for a frame until its events are known,
in blocks of frames that take turns. Told are medians over the rounds with the range, in microseconds.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from rt_engine.bench.kernels import machine
from rt_engine.bench.loop.field import plant_loop
from rt_engine.bench.rounds import Spread
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline import gathering
from rt_engine.pipeline.cell_group import CellGroup, cells_of
from rt_engine.pipeline.engine import Engine

N_KNOWN, N_NEW, SIDE_PX, N_FRAMES = 128, 32, 512, 120
N_ROUNDS, BLOCK, WARM_FRAMES = 15, 40, 240
MAX_SHIFT_PX = 8.0
PERIOD_NS = 33_333_333


class Loop:
    """An engine that has taken its new cells and gathers them, or not."""

    def __init__(self, whole: Calibration, frames: np.ndarray, at_once: int, *, gathers: bool) -> None:
        self.frames, self.index = frames, 0
        known = cells_of(whole, np.arange(N_KNOWN), 0, SIDE_PX)
        self.engine = Engine(known, MAX_SHIFT_PX, MonotonicClock(), spare_rois=N_NEW)
        self.engine.warm_up()
        gathering.GATHERED_FROM = 4 if gathers else 10_000
        for first in range(N_KNOWN, N_KNOWN + N_NEW if at_once else N_KNOWN, at_once or 1):
            cells = cells_of(whole, np.arange(first, first + at_once), 0, SIDE_PX)
            group = CellGroup(cells, np.arange(at_once), MAX_SHIFT_PX, first_row=first)
            group.warm_up(frames[0])
            self.engine.take(group, cells.roi_id)
        for _ in range(WARM_FRAMES):
            self.step()
            self.engine.tidy()
        gathering.GATHERED_FROM = 10_000

    def step(self) -> int:
        """Nanoseconds of one frame."""
        frame = self.frames[self.index % len(self.frames)]
        begun_ns = time.thread_time_ns()
        self.engine.process(frame, self.index, self.index * PERIOD_NS, 0)
        took_ns = time.thread_time_ns() - begun_ns
        self.engine.settle()
        self.index += 1
        return took_ns


def hand_over_ms(whole: Calibration, sizes: tuple[int, ...]) -> list[float]:
    """Processor time, medians of `N_ROUNDS`: to build one group of several, and to take over their state."""
    firsts = N_KNOWN + np.cumsum((0, *sizes[:-1]))
    parts = [
        CellGroup(cells_of(whole, np.arange(k, k + n), 0, SIDE_PX), np.arange(n), MAX_SHIFT_PX, first_row=int(k))
        for k, n in zip(firsts, sizes, strict=True)
    ]
    took = []
    for _ in range(N_ROUNDS):
        begun_ns = time.thread_time_ns()
        group = gathering.gathered_group(parts, MAX_SHIFT_PX)
        built_ns = time.thread_time_ns()
        group.adopt(parts)
        took.append((built_ns - begun_ns, time.thread_time_ns() - built_ns))
    return [round(float(x) / 1e6, 2) for x in np.median(took, axis=0)]


def main() -> None:
    """Take turns, and compare."""
    planted = plant_loop(N_KNOWN + N_NEW, SIDE_PX, N_FRAMES, 1)
    whole, frames = planted.calibration, planted.frames
    loops = {
        "known cells alone": Loop(whole, frames, 0, gathers=False),
        "32 in one edit": Loop(whole, frames, N_NEW, gathers=False),
        "32 one by one, gathered": Loop(whole, frames, 1, gathers=True),
        "32 one by one, left apart": Loop(whole, frames, 1, gathers=False),
    }
    took: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(N_ROUNDS):
        for name, loop in loops.items():
            took[name].append(float(np.median([loop.step() for _ in range(BLOCK)])) / 1e3)
    handing_over = {" + ".join(map(str, sizes)): hand_over_ms(whole, sizes) for sizes in ((1, 1, 1, 1), (28, 1, 1, 1))}
    out = {
        "machine": machine(),
        "us": {name: [round(x, 1) for x in Spread.of(np.array(values))] for name, values in took.items()},
        "cells of the groups: ms to build one of them, and to change over": handing_over,
    }
    sys.stdout.write(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
