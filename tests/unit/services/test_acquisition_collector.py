"""While frames come, a collection of garbage has little to look at; a driver that makes some fills no memory."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from system_rig import small_rig

from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.acquisition import AcquisitionService
from rt_engine.services.setup import Setup

N_FRAMES, DEADLINE_S = 200, 120.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[AcquisitionService]:
    rig = RigConfig.model_validate(small_rig()).model_dump(mode="json")
    made = AcquisitionService(
        Setup("acquisition", rig, "s", str(tmp_path), 0, 0, dry_run=False, lossless=False, recorded=False)
    )
    made.open()
    was_enabled = gc.isenabled()
    gc.enable()  # another engine of these tests may have switched it off
    yield made
    made.finish()
    made.publisher.close(linger_ms=0)
    made._supervisor.close()
    made.context.destroy(linger=0)
    gc.unfreeze()
    (gc.enable if was_enabled else gc.disable)()


def deliver(service: AcquisitionService, n_frames: int) -> None:
    give_up_s = time.monotonic() + DEADLINE_S
    while service._n_delivered < n_frames:
        assert time.monotonic() < give_up_s
        service.step({})


def test_what_is_there_at_the_start_is_not_looked_through_again_and_frames_leave_nothing(
    service: AcquisitionService,
) -> None:
    service.commands["segment"]({"n_frames": None})
    assert gc.get_freeze_count() > 0
    deliver(service, 20)
    gc.collect()
    gc.disable()
    deliver(service, N_FRAMES)
    assert gc.collect() < N_FRAMES / 10


class Ring:
    """An object that holds itself."""

    def __init__(self) -> None:
        self.itself = self


def test_a_driver_that_makes_rings_of_objects_fills_no_memory(
    service: AcquisitionService, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = service._microscope.read

    def wasteful(*args: Any) -> Any:
        for _ in range(100):
            Ring()
        return read(*args)

    monkeypatch.setattr(service._microscope, "read", wasteful)
    service.commands["segment"]({"n_frames": None})
    deliver(service, N_FRAMES)
    left = sum(isinstance(one, Ring) for one in gc.get_objects())
    assert left < 100 * N_FRAMES / 4
