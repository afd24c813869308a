"""What inference puts on the wire: `spikes`, `activity`, `fate`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import (
    AckHeader,
    ActivityHeader,
    FateHeader,
    FrameHeader,
    Mode,
    SpikesHeader,
    encode,
)
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine
from rt_engine.transport.direct import DirectSender
from rt_engine.transport.publisher import Parts, Publisher


class EngineOutput:
    """Publishes for one plane.

    Parameters
    ----------
    publisher : Publisher
    plane : int
    direct : DirectSender or None
        Where stimulation is on this computer: `spikes` go there first, while it listens there.

    Attributes
    ----------
    mode : Mode
    hold_frames : int
        Both stand in every `spikes` header.
    """

    def __init__(self, publisher: Publisher, plane: int, direct: DirectSender | None = None) -> None:
        self._publisher = publisher
        self._direct = direct
        self._untold: Parts | None = None
        self._plane = plane
        self._spikes, self._activity, self._fate = (f"{name}.{plane}" for name in ("spikes", "activity", "fate"))
        self.mode = Mode.BASELINE
        self.hold_frames = 0

    def spikes(
        self, header: FrameHeader, t_received_ns: int, t_decided_ns: int, events: NDArray[Any], *, late: bool = False
    ) -> None:
        """Send the events of one message of lines; also when there are none. Others than stimulation: see `tell`."""
        spikes = SpikesHeader(
            **self._publisher.stamp(self._spikes),
            plane=self._plane,
            frame=header.frame,
            volume=None if header.is_discarded else header.volume,
            line0=header.line0,
            n_lines=header.n_lines,
            hold_frames=self.hold_frames,
            mode=self.mode,
            late=late,
            t_scan_ns=header.t_scan_ns,
            t_scan_uncertainty_ns=header.t_scan_uncertainty_ns,
            t_received_ns=t_received_ns,
            t_decided_ns=t_decided_ns,
            n_events=len(events),
        )
        self.tell()
        message = self._spikes.encode(), encode(spikes), events.tobytes()
        self._untold = [*message]
        if self._direct is None or not self._direct.send(message):
            self.tell()

    def tell(self) -> None:
        """Give the last `spikes` to everybody, if they have not had them; `activity` does it as well."""
        if self._untold is not None:
            parts, self._untold = self._untold, None
            self._publisher.pass_on(parts)

    def close(self) -> None:
        """Tell the last decision, and hang up."""
        self.tell()
        if self._direct is not None:
            self._direct.close()

    def activity(self, header: FrameHeader, engine: Engine, rois_rev: int) -> None:
        """Send all traces of the frame that has been decided."""
        values = engine.fill_activity()
        self.tell()
        shift_y_px, shift_x_px = engine.shift_yx_px
        activity = ActivityHeader(
            **self._publisher.stamp(self._activity),
            plane=self._plane,
            frame=header.frame,
            volume=header.volume,
            t_scan_ns=header.t_scan_ns,
            shift_y_px=shift_y_px,
            shift_x_px=shift_x_px,
            quality=engine.quality,
            rois_rev=rois_rev,
            n_rois=engine.n_rois,
            fields=list(ACTIVITY_FIELDS),
            stage_ns=engine.stage_ns,
        )
        self._publisher.send(self._activity, activity, values.data.cast("B"))

    def acknowledge(self, header: FrameHeader) -> None:
        """Tell a source that waits that a frame is done with, though it was not decided."""
        topic = f"ack.{self._plane}"
        ack = AckHeader(**self._publisher.stamp(topic), plane=self._plane, frame=header.frame)
        self._publisher.send(topic, ack, record=False)

    def fate(self, fate: Fate, first: int, n: int, reason: str) -> None:
        """Send what became of frames that were not simply decided."""
        header = FateHeader(
            **self._publisher.stamp(self._fate), plane=self._plane, fate=fate, first=first, n=n, reason=reason
        )
        self._publisher.send(self._fate, header)
