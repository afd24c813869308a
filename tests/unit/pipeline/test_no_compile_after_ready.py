"""When an engine is warm, no frame waits for the compiler, whatever comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest
from numba.core import event
from numpy.typing import NDArray

from rt_engine.bench.loop.field import PlantedLoop, plant_loop
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.network_weights import find_weights
from rt_engine.pipeline import template_adaptation
from rt_engine.pipeline.cell_group import CellGroup, cells_of
from rt_engine.pipeline.engine import Engine

SIDE_PX = 128


@pytest.fixture(scope="module", params=[False, True], ids=["apart", "overlapping"])
def planted(request: pytest.FixtureRequest) -> PlantedLoop:
    return plant_loop(60, SIDE_PX, 60, 5, demixed=request.param)


def _kinds(planted: PlantedLoop) -> list[NDArray[Any]]:
    """Usual ones, a jump, an empty frame, saturation, the other sign of pixels."""
    kinds: list[NDArray[Any]] = [planted.frames[k] for k in range(40)]
    kinds.append(np.roll(planted.frames[0], (7, 5), (0, 1)))
    kinds.append(np.zeros_like(planted.frames[0]))
    kinds.append(np.full_like(planted.frames[0], 65535))
    kinds.append((planted.frames[1] // 2).view(np.int16))
    return [np.ascontiguousarray(one) for one in kinds]


def _run(engine: Engine, frames: Sequence[NDArray[Any]], strip_lines: int | None, first: int = 0) -> None:
    """As the service does with every frame; there are gaps and light of our own among them."""
    for number, frame in enumerate(frames, first):
        gap = 3 if number in (5, 30) else 0
        blanked = [(10, 20)] if number in (7, 31) else []
        engine.reference = frame if engine.calibration.registration_channel >= 0 else None
        engine.begin(number + gap, gap)
        for end in range(strip_lines or SIDE_PX, SIDE_PX + 1, strip_lines or SIDE_PX):
            engine.process_lines(frame, number, end, number * 33_000_000, blanked)
        engine.fill_activity()
        engine.maintain(frame, number)
        engine.tidy()


def _variant(calibration: Calibration, name: str) -> Calibration:
    """What a rig file may switch on."""
    match name:
        case "network":
            return replace(calibration, network=find_weights("synthetic+real"))
        case "structural channel":
            template = calibration.template
            return replace(calibration, registration_channel=1, registration_template=template)
        case "neuropil update":
            return replace(calibration, updates_neuropil=True)
    return calibration


@pytest.mark.parametrize("strip_lines", [None, 16])
@pytest.mark.parametrize("variant", ["plain", "network", "structural channel", "neuropil update"])
def test_nothing_is_compiled_after_the_engine_is_warm(
    planted: PlantedLoop, variant: str, strip_lines: int | None
) -> None:
    engine = Engine(_variant(planted.calibration, variant), 8.0, MonotonicClock(), strip_lines)
    engine.warm_up()
    with event.install_recorder("numba:compile") as recorder:
        _run(engine, _kinds(planted), strip_lines)
        engine.neuropil_changes()
    assert _compiled(recorder) == []


@pytest.mark.parametrize("strip_lines", [None, 16])
def test_nothing_is_compiled_for_a_template_that_follows_the_field(
    planted: PlantedLoop, strip_lines: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_adaptation, "SAMPLE_PERIOD_S", 1 / 30)
    monkeypatch.setattr(template_adaptation, "N_SAMPLES", 5)
    monkeypatch.setattr(template_adaptation, "HANDOVER_S", 3 / 30)
    engine = Engine(planted.calibration, 8.0, MonotonicClock(), strip_lines, adapts_template=True)
    engine.warm_up()
    before = engine._registration
    with event.install_recorder("numba:compile") as recorder:
        _run(engine, [planted.frames[k % 60] for k in range(90)], strip_lines)
    assert engine._registration is not before
    assert _compiled(recorder) == []


@pytest.mark.parametrize("strip_lines", [None, 16])
@pytest.mark.parametrize("variant", ["plain", "network"])
def test_nothing_is_compiled_for_cells_that_come_while_the_engine_runs(
    planted: PlantedLoop, variant: str, strip_lines: int | None
) -> None:
    whole = _variant(planted.calibration, variant)
    rows = np.arange(whole.n_rois)
    known, new = (cells_of(whole, rows[k::2], 0, SIDE_PX) for k in (0, 1))
    engine = Engine(known, 8.0, MonotonicClock(), strip_lines, spare_rois=new.n_rois)
    engine.warm_up()
    with event.install_recorder("numba:compile") as recorder:
        _run(engine, _kinds(planted)[:20], strip_lines)
        group = CellGroup(new, np.arange(new.n_rois), 8.0, first_row=known.n_rois)
        group.warm_up(np.zeros((SIDE_PX, SIDE_PX), np.uint16))
        engine.take(group, new.roi_id)
        _run(engine, _kinds(planted), strip_lines, first=20)
        engine.remove(known.n_rois)
        _run(engine, _kinds(planted)[:5], strip_lines, first=70)
    assert _compiled(recorder) == []


def _compiled(recorder: Any) -> list[str]:
    return [str(made[1].data["dispatcher"]) for made in recorder.buffer]


def test_a_compilation_would_have_been_seen() -> None:
    @numba.njit
    def lazy(x):  # type: ignore[no-untyped-def]
        return x + 1

    with event.install_recorder("numba:compile") as recorder:
        lazy(1)
    assert recorder.buffer
