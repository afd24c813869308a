"""An engine knows of strips before the first has come, where the source waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from inference_bench import SIDE_PX, planted_field
from safety_rig import FakeClock

from rt_engine.bench.loop.bench_rig import bench_rig
from rt_engine.interfaces.calibration import save_calibration
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.service_config import Ports
from rt_engine.services.engine_loading import load_engine
from rt_engine.transport.free_ports import free_ports


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a planted field."""
    path = tmp_path_factory.mktemp("planted") / "calibration.h5"
    save_calibration(path, planted_field().calibration)
    return path


@pytest.mark.parametrize(
    ("told", "seen", "ends"),
    [
        (None, None, [SIDE_PX]),
        (SIDE_PX, None, [SIDE_PX]),
        (32, None, [32, 64, SIDE_PX]),
        (None, 32, [32, 64, SIDE_PX]),
        (16, 32, [32, 64, SIDE_PX]),
    ],
)
def test_strips_are_those_the_source_tells_or_has_sent(
    told: int | None, seen: int | None, ends: list[int], calibration: Path
) -> None:
    names = list(Ports().all_ports())
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    rig = RigConfig.model_validate(bench_rig(SIDE_PX, ports, keeps_frames=False))
    engine, _ = load_engine(rig, 0, {"path": str(calibration), "strip_lines": told}, FakeClock(), seen)
    assert engine.strip_ends.tolist() == ends
