"""Traces, events and light of the last seconds, for all cells of a plane."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gui.model.cells import MAX_ROIS
from gui.model.rings import RowRing
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import ActivityHeader, SpikesHeader

KEPT = ("dff", "calcium", "probability")
"""Fields whose past is kept; of all others only the newest value."""
WINDOW_S = 30.0
MAX_ROWS = 2048
MIN_SPACING_NS = 15_000_000
"""Faster frames are thinned for display: `MAX_ROWS` of them cover `WINDOW_S`. Events are never thinned."""
MAX_FIELDS = 64
_MAX_EVENTS = 20_000
_LONG_AGO_NS = -(1 << 62)
_VALID_WEIGHT = 0.01


class SpikeEvent(NamedTuple):
    """One event as it was told."""

    roi_id: int
    t_event_ns: int
    t_decided_ns: int
    n_spikes: float
    probability: float
    amplitude_dff: float
    flags: int


@dataclass(slots=True)
class Motion:
    """Shift and quality of registration of one frame."""

    y_px: float = float("nan")
    x_px: float = float("nan")
    quality: float = float("nan")


class Traces:
    """The last `WINDOW_S` seconds of one plane. Memory is set by the first message, and does not grow.

    Attributes
    ----------
    n_rois : int
    newest : dict of str to float32 ndarray, shape (n_rois,)
        Every field of the last frame.
    valid_fraction : float32 ndarray, shape (n_rois,)
        Share of valid samples, over the last hundred or so.
    events : deque of SpikeEvent
        The last few, for text.
    t_heard_ns, n_taken : int
    """

    def __init__(self) -> None:
        self.n_rois = 0
        self.newest: dict[str, NDArray[np.float32]] = {}
        self.valid_fraction: NDArray[np.float32] = np.zeros(0, np.float32)
        self.events: deque[SpikeEvent] = deque(maxlen=200)
        self._event_ring = RowRing(_MAX_EVENTS, 2, np.int64)
        self.n_events = 0
        self.motion = Motion()
        self.stage_ns: dict[str, int] = {}
        self.rois_rev = -1
        self.t_heard_ns = 0
        self.n_taken = 0
        self._rings: dict[str, RowRing] = {}
        self._times = RowRing(MAX_ROWS, 1, np.int64)
        self._motions = RowRing(MAX_ROWS, 3, np.float32)
        self._last_frame = -1
        self._last_kept_ns = _LONG_AGO_NS

    def take_activity(self, header: ActivityHeader, payload: memoryview, t_heard_ns: int) -> None:
        """Take one `activity` message.

        Raises
        ------
        MessageError
            Header and payload do not fit each other.
        """
        n_fields = len(header.fields)
        if not (0 <= header.n_rois <= MAX_ROIS and n_fields <= MAX_FIELDS):
            raise MessageError(f"activity: {header.n_rois} cells, {n_fields} fields")
        if payload.nbytes != 4 * header.n_rois * n_fields or not 0 <= header.t_scan_ns < 2**62:
            raise MessageError(f"activity: {payload.nbytes} bytes do not fit its header")
        values = np.frombuffer(payload, "<f4").reshape(n_fields, header.n_rois)
        if header.n_rois != self.n_rois or header.rois_rev != self.rois_rev or not self._rings:
            self._resize(header)
        if header.frame > self._last_frame + 1 and self._last_frame >= 0:
            self._append(header.t_scan_ns - 1, {}, (np.nan, np.nan, np.nan))
            self._last_kept_ns = _LONG_AGO_NS
        self._last_frame = header.frame
        self.newest = {name[:40]: row for name, row in zip(header.fields, values, strict=True)}
        self.motion = Motion(header.shift_y_px, header.shift_x_px, header.quality)
        if header.t_scan_ns - self._last_kept_ns >= MIN_SPACING_NS:
            self._last_kept_ns = header.t_scan_ns
            self._append(header.t_scan_ns, self.newest, (header.shift_y_px, header.shift_x_px, header.quality))
        if (valid := self.newest.get("valid")) is not None:
            self.valid_fraction += _VALID_WEIGHT * ((valid > 0) - self.valid_fraction)
        self.stage_ns = dict(list(header.stage_ns.items())[:20])
        self.t_heard_ns = t_heard_ns
        self.n_taken += 1

    def take_spikes(self, header: SpikesHeader, payload: memoryview) -> list[SpikeEvent]:
        """Take one `spikes` message; returns its events.

        Raises
        ------
        MessageError
            The payload holds another number of events than the header says.
        """
        if not 0 <= header.n_events <= MAX_ROIS or payload.nbytes != header.n_events * EVENT_DTYPE.itemsize:
            raise MessageError(f"spikes: {payload.nbytes} bytes are not {header.n_events} events")
        found = [
            SpikeEvent(
                int(record["roi_id"]),
                int(record["t_event_ns"]),
                header.t_decided_ns,
                float(record["n_spikes"]),
                float(record["probability"]),
                float(record["amplitude"]),
                int(record["flags"]),
            )
            for record in np.frombuffer(payload, EVENT_DTYPE)
        ]
        self.events.extend(found)
        for event in found:
            self._event_ring.append((event.roi_id, max(-(2**62), min(event.t_event_ns, 2**62))))
        self.n_events += len(found)
        return found

    @property
    def n_kept(self) -> int:
        """Samples kept so far, those that have been written over among them."""
        return self._times.n_seen

    def window(self, field: str, rows: NDArray[np.intp], n_times: int | None = None) -> NDArray[Any]:
        """The kept past of some cells, or the last `n_times` samples of it, shape (n_times, n_rows)."""
        ring = self._rings.get(field)
        return ring.newest(n_times)[:, rows] if ring is not None else np.zeros((0, len(rows)), np.float32)

    def all_cells(self, field: str) -> NDArray[Any]:
        """The kept past of all cells, a view, shape (n_times, n_rois)."""
        ring = self._rings.get(field)
        return ring.newest() if ring is not None else np.zeros((0, self.n_rois), np.float32)

    def times_ns(self) -> NDArray[np.int64]:
        """Scan times of the kept frames, oldest first."""
        return self._times.newest()[:, 0]

    def motion_past(self) -> NDArray[Any]:
        """Shift along y and x (px) and quality of the kept frames, shape (n_times, 3)."""
        return self._motions.newest()

    def events_since(self, t_ns: int) -> NDArray[np.int64]:
        """roi_id and time (ns) of every spike since `t_ns`, shape (n, 2), in the order in which they were told."""
        rows = self._event_ring.newest()
        return rows[rows[:, 1] >= t_ns]

    def newest_events(self, n: int) -> NDArray[np.int64]:
        """roi_id and time (ns) of the last `n` spikes, in the order in which they were told, shape (n, 2)."""
        return self._event_ring.newest(n)

    def _append(self, t_ns: int, values: dict[str, NDArray[np.float32]], motion: tuple[float, float, float]) -> None:
        self._times.append(t_ns)
        self._motions.append(motion)
        for name, ring in self._rings.items():
            ring.append(values.get(name, np.nan))

    def _resize(self, header: ActivityHeader) -> None:
        self.n_rois, self.rois_rev = header.n_rois, header.rois_rev
        self._rings = {name: RowRing(MAX_ROWS, header.n_rois) for name in KEPT}
        self._times, self._motions = RowRing(MAX_ROWS, 1, np.int64), RowRing(MAX_ROWS, 3)
        self._last_kept_ns = _LONG_AGO_NS
        self.valid_fraction = np.ones(header.n_rois, np.float32)
        self._last_frame = -1
