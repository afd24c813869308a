"""What stimulation does when the cells change under it: known cells that change disarm, added ones do not."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from rt_engine.interfaces.messages import RoiDescription, RoisHeader
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.safety.interlock import InterlockState
from rt_engine.services.protocol_driver import ProtocolDriver


@dataclass
class Armed:
    """Stands where the interlock does, armed, and notes what disarms it."""

    state: InterlockState = InterlockState.ARMED
    reasons: list[str] = field(default_factory=list)

    @property
    def is_armed(self) -> bool:
        """True until it is disarmed."""
        return self.state is InterlockState.ARMED

    def disarm(self, reason: str) -> None:
        """No longer armed."""
        self.state = InterlockState.DISARMED
        self.reasons.append(reason)


def _roi(roi_id: int, row: int, **changes: object) -> RoiDescription:
    values = {
        "roi_id": roi_id, "roi_index": row, "parent_id": None, "kind": "soma", "plane": 0, "tags": [], "quality": 1.0,
        "snr": 4.0, "tau_s": 0.3, "amplitude": 0.5, "expected_detection": 0.9, "threshold": 4.0,
    }  # fmt: skip
    return RoiDescription(**values | changes)


def _message(rev: int, rois: list[RoiDescription]) -> tuple[RoisHeader, bytes]:
    header = RoisHeader(
        source="inference.0", host="h", boot_id="b", seq=rev, t_sent_ns=0, rev=rev, plane=0, lines_per_frame=64,
        pixels_per_line=64, rois=rois, footprint_start=list(range(len(rois) + 1)),
    )  # fmt: skip
    return header, np.arange(len(rois), dtype="<u4").tobytes()


@pytest.fixture
def armed() -> Armed:
    """An armed interlock."""
    return Armed()


@pytest.fixture
def driver(armed: Armed) -> ProtocolDriver:
    """Knows two cells."""
    made = ProtocolDriver(load_rig(find_rig("virtual_rig")), armed, None, lambda level, text: None)  # type: ignore[arg-type]
    made.take_rois(*_message(1, [_roi(1, 0), _roi(2, 1)]))
    return made


def test_an_added_cell_disarms_nobody(driver: ProtocolDriver, armed: Armed) -> None:
    driver.take_rois(*_message(2, [_roi(1, 0), _roi(2, 1), _roi(3, 2)]))
    assert armed.state is InterlockState.ARMED


@pytest.mark.parametrize("change", [{"threshold": 5.0}, {"tags": ["pv"]}, {"kind": "removed"}])
def test_a_known_cell_that_changes_disarms(driver: ProtocolDriver, armed: Armed, change: dict[str, object]) -> None:
    driver.take_rois(*_message(2, [_roi(1, 0), _roi(2, 1, **change)]))
    assert armed.state is InterlockState.DISARMED
    assert "revision 2" in armed.reasons[0]


def test_the_same_cells_again_disarm_nobody(driver: ProtocolDriver, armed: Armed) -> None:
    driver.take_rois(*_message(1, [_roi(1, 0), _roi(2, 1)]))
    assert armed.state is InterlockState.ARMED
