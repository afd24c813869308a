"""While frames come, no collection of garbage holds them up, and there is none to collect."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

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


def test_frames_are_delivered_without_the_collector_and_leave_it_nothing(service: AcquisitionService) -> None:
    service.commands["segment"]({"n_frames": None})
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 0
    give_up_s = time.monotonic() + DEADLINE_S
    for n_frames in (20, N_FRAMES):
        while service._n_delivered < n_frames and time.monotonic() < give_up_s:
            service.step({})
        n_unreachable = gc.collect()
    assert service._n_delivered >= N_FRAMES
    assert n_unreachable < N_FRAMES / 10
