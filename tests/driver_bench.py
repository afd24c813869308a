"""A protocol driver whose interlock delivers all, and whose publisher keeps what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rt_engine.interfaces.messages import (
    Header,
    Outcome,
    RoiDescription,
    RoisHeader,
)
from rt_engine.interfaces.rig_config import ReplayMicroscope, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.services.protocol_driver import ProtocolDriver

STAMP: dict[str, Any] = {"session": "s", "source": "x", "host": "h", "boot_id": "b", "seq": 0, "t_sent_ns": 1}


class Wire:
    """Stands where the publisher does; keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Header]] = []
        self.payloads: list[bytes] = []

    def stamp(self, topic: str) -> dict[str, Any]:
        """Common keys."""
        return {**STAMP, "source": "stimulation"}

    def send(self, topic: str, header: Header, payload: bytes | None = None) -> None:
        """Keep it."""
        self.sent.append((topic, header))
        self.payloads.append(payload or b"")


class Asked:
    """Stands where the interlock does; keeps what is asked for."""

    is_armed = False

    def __init__(self) -> None:
        self.requests: list[PulseRequest] = []
        self.reasons: list[str] = []

    def disarm(self, reason: str) -> None:
        """Keep why."""
        self.reasons.append(reason)

    def set_protocol_limits(self, limits: Any) -> None:
        """Nothing to tighten."""

    def request(self, request: PulseRequest) -> Decision:
        """Deliver all."""
        self.requests.append(request)
        return Decision(decision_id=str(len(self.requests)), outcome=Outcome.DELIVERED, reason=None, output="led")


class Bench:
    """A protocol driver with its peers."""

    def __init__(self, protocol: Path | None, replays: Path | None = None) -> None:
        rig = load_rig(find_rig("virtual_rig"))
        lines = {name: {"driver": "virtual", "level": "low"} for name in ("lever", "bell")}
        rig = type(rig).model_validate(rig.model_dump(mode="json") | {"inputs": lines})
        if replays is not None:
            rig = rig.model_copy(update={"microscope": ReplayMicroscope(driver="replay", path=str(replays))})
        self.wire, self.asked = Wire(), Asked()
        self.driver = ProtocolDriver(rig, self.asked, self.wire, lambda level, text: None)  # type: ignore[arg-type]
        self.driver.take_rois(*cells(3))
        if protocol is not None:
            self.driver.load(protocol)

    def take(self, kind: str, header: Any, payload: bytes) -> None:
        """One message."""
        if kind == "spikes":
            assert self.driver.take_spikes(header, payload)
        elif kind == "activity":
            assert self.driver.take_activity(header, payload)
        elif kind == "sync":
            self.driver.take_sync(header)
        elif kind == "rois":
            self.driver.take_rois(header, payload)
            if header.source == "armed":
                self.driver.follow_rois()
        elif kind == "load":
            self.driver.load(header)
        else:
            self.driver.take_key(header)


def cells(n: int, source: str = "x") -> tuple[RoisHeader, bytes]:
    rois = [
        RoiDescription(roi_id=row, roi_index=row, parent_id=None, kind="soma", plane=0, tags=[], quality=1.0, snr=4.0,
                       tau_s=0.3, amplitude=0.5, expected_detection=0.9, threshold=4.0) for row in range(n)
    ]  # fmt: skip
    header = RoisHeader(
        **(STAMP | {"source": source}),
        rev=n,
        plane=0,
        lines_per_frame=64,
        pixels_per_line=64,
        rois=rois,
        footprint_start=list(range(n + 1)),
    )
    return header, np.arange(n, dtype="<u4").tobytes()
