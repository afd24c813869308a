"""Whether something is kept of every frame: the memory of Python and NumPy, traced to the byte over many frames.

As a program, in a process of its own that is traced from its beginning (``python -X tracemalloc=1 kept_memory.py WHAT
N_SETTLE N_FRAMES``): what caches of the interpreter and of numba hold is replaced all the time, and would seem to grow
where the tracing begins later. Prints bytes a frame.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rt_engine.bench.loop.field import PlantedLoop, plant_loop
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.pipeline.engine import Engine

Work = Callable[[int], None]


def kept_bytes_a_frame(work: Work, n_settle: int, n_frames: int) -> float:
    """Bytes held after `n_settle` and `n_frames` more frames, less those after `n_settle`, for each frame between.

    Parameters
    ----------
    work : callable
        Works off so many frames.
    n_settle, n_frames : int
    """
    work(n_settle)
    before = _held_bytes()
    work(n_frames)
    return (_held_bytes() - before) / n_frames


def _held_bytes() -> int:
    gc.collect()  # also empties the interpreter's free lists, which tracemalloc counts as in use
    return tracemalloc.get_traced_memory()[0]


def engine_alone(planted: PlantedLoop) -> Work:
    """The engine as the frame loop calls it."""
    engine, done = Engine(planted.calibration, 8.0, MonotonicClock()), 0
    engine.warm_up()

    def work(n_frames: int) -> None:
        nonlocal done
        for index in range(done, done + n_frames):
            frame = planted.frames[index % len(planted.frames)]
            engine.process(frame, index, (index + 1) * 33_000_000, 0)
            engine.fill_activity()
            engine.maintain(frame, index)
            engine.tidy()
        done += n_frames

    return work


def one_reference() -> Work:
    """A list that is given one reference a frame."""
    kept: list[None] = []

    def work(n_frames: int) -> None:
        for _ in range(n_frames):
            kept.append(None)

    return work


def main(what: str, n_settle: int, n_frames: int) -> int:
    """Print bytes kept a frame."""
    with ExitStack() as stack:
        if what == "engine":
            work = engine_alone(plant_loop(32, 96, 60, 3))
        elif what == "reference":
            work = one_reference()
        else:
            from whole_loop import WholeLoop

            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
            loop = WholeLoop(plant_loop(32, 96, 60, 3), folder, FrameWay(what))
            stack.callback(loop.close)
            work = loop.work
        kept = kept_bytes_a_frame(work, n_settle, n_frames)
        if what in list(FrameWay) and loop.n_commands < loop.n_decided / 2:
            raise RuntimeError(f"{loop.n_commands} commands in {loop.n_decided} frames")
    sys.stdout.write(f"{kept:.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
