"""When an engine is warm, no frame waits for the compiler, whatever comes."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba.core import event

from rt_engine.bench.loop.field import PlantedLoop, plant_loop
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.pipeline.engine import Engine

SIDE_PX = 128


@pytest.fixture(scope="module", params=[False, True], ids=["apart", "overlapping"])
def planted(request: pytest.FixtureRequest) -> PlantedLoop:
    return plant_loop(60, SIDE_PX, 60, 5, demixed=request.param)


def _frames_of_every_kind(engine: Engine, planted: PlantedLoop, strip_lines: int | None) -> None:
    """Usual ones, a gap, own light, a jump, an empty frame, saturation, the other sign of pixels."""
    kinds = [planted.frames[k] for k in range(40)]
    kinds.append(np.roll(planted.frames[0], (7, 5), (0, 1)))
    kinds.append(np.zeros_like(planted.frames[0]))
    kinds.append(np.full_like(planted.frames[0], 65535))
    kinds.append((planted.frames[1] // 2).view(np.int16))
    for number, frame in enumerate(kinds):
        gap = 3 if number in (5, 30) else 0
        blanked = [(10, 20)] if number in (7, 31) else []
        engine.begin(number + gap, gap)
        for end in range(strip_lines or SIDE_PX, SIDE_PX + 1, strip_lines or SIDE_PX):
            engine.process_lines(np.ascontiguousarray(frame), number, end, number * 33_000_000, blanked)
        engine.fill_activity()


@pytest.mark.parametrize("strip_lines", [None, 16])
def test_nothing_is_compiled_after_the_engine_is_warm(planted: PlantedLoop, strip_lines: int | None) -> None:
    engine = Engine(planted.calibration, 8.0, MonotonicClock(), strip_lines)
    engine.warm_up()
    with event.install_recorder("numba:compile") as recorder:
        _frames_of_every_kind(engine, planted, strip_lines)
    assert [str(made[1].data["dispatcher"]) for made in recorder.buffer] == []


def test_a_compilation_would_have_been_seen() -> None:
    @numba.njit
    def lazy(x):  # type: ignore[no-untyped-def]
        return x + 1

    with event.install_recorder("numba:compile") as recorder:
        lazy(1)
    assert recorder.buffer
