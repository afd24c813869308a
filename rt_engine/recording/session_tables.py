"""One streaming pass over a journal: what the summary and the report need, as tables."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    FateHeader,
    FrameHeader,
    Header,
    HealthHeader,
    LightHeader,
    LogHeader,
    Mode,
    RoisHeader,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
    TruthHeader,
    encode,
)
from rt_engine.recording.commanded_light import Decision, add_phase, light_of, without_light
from rt_engine.recording.device_versions import DeviceVersions, told_versions
from rt_engine.recording.input_clocks import InputClocks, told_clocks, worst_clocks
from rt_engine.recording.reader import JournalMessage, Session
from rt_engine.transport.plane_counter import PlaneCounter

_MOST_LOG_LINES = 200


class Observer(Protocol):
    """Whoever wants to see the messages of the same pass."""

    def see(self, message: JournalMessage, header: Header) -> None:
        """One message whose header is valid."""
        ...


@dataclass(slots=True)
class PlaneTable:
    """Live frames and events of one plane; `scan_to_receive_ns` and `receive_to_decision_ns` hold one per message.

    `counter` follows the plane's frames from the first live one on.
    """

    counter: PlaneCounter = field(default_factory=PlaneCounter)
    first_live: int | None = None
    last_live: int = -1
    n_frames: int = 0
    hold_frames: int = 0
    t_first_live_ns: int = 0
    t_last_live_ns: int = 0
    scan_to_receive_ns: array[int] = field(default_factory=lambda: array("q"))
    receive_to_decision_ns: array[int] = field(default_factory=lambda: array("q"))
    decided_frame: array[int] = field(default_factory=lambda: array("q"))
    _event_bytes: bytearray = field(default_factory=bytearray)

    @property
    def n_lost(self) -> int:
        """Frames of the plane missing since it went live."""
        return self.counter.sequence.lost

    @property
    def frames_per_index(self) -> int:
        """How far the frame counter moves from one frame of the plane to the next."""
        return self.counter.frames_per_index

    @property
    def n_counts_live(self) -> int:
        """How far the frame counter has moved while live, the first frame included."""
        return 0 if self.first_live is None else self.last_live - self.first_live + self.frames_per_index

    def middle_of(self, frame: NDArray[np.int64]) -> NDArray[np.float64]:
        """Middle of the time that the plane's samples tell of, by the frame counter; same shape as `frame`.

        It ends with the frame, and begins where the plane was scanned before it.
        """
        return np.asarray(frame + 1 - 0.5 * self.frames_per_index, np.float64)

    @property
    def events(self) -> NDArray[np.void]:
        """Events decided live, shape (n_events,), dtype `EVENT_DTYPE`, in the order of decision."""
        return np.frombuffer(bytes(self._event_bytes), EVENT_DTYPE)

    def add(self, header: SpikesHeader, payload: memoryview) -> bool:
        """Count one `spikes` message; False if its payload does not fit its header."""
        if len(payload) != header.n_events * EVENT_DTYPE.itemsize:
            return False
        self._count_frame(header)
        if header.mode is Mode.LIVE:
            self.scan_to_receive_ns.append(header.t_received_ns - header.t_scan_ns)
            self.receive_to_decision_ns.append(header.t_decided_ns - header.t_received_ns)
            self._event_bytes += payload
            self.decided_frame.extend([header.frame] * header.n_events)
        return True

    def _count_frame(self, header: SpikesHeader) -> None:
        if header.volume is None and self.counter.counts_volumes:
            return
        live = header.mode is Mode.LIVE
        if self.first_live is None and live:
            self.first_live = header.frame
            self.t_first_live_ns = header.t_scan_ns
        if self.first_live is not None:
            self.counter.see(header.frame, header.volume)
        if live:
            self.n_frames += header.frame != self.last_live
            self.last_live = header.frame
            self.hold_frames = header.hold_frames
            self.t_last_live_ns = header.t_scan_ns


@dataclass(slots=True)
class TruthTable:
    """What the virtual sample did in one plane: planted cells (empty until described), and all spikes in order."""

    sample: dict[str, Any] = field(default_factory=dict)
    cell: array[int] = field(default_factory=lambda: array("q"))
    frame: array[float] = field(default_factory=lambda: array("d"))
    t_ns: array[int] = field(default_factory=lambda: array("q"))
    evoked: array[int] = field(default_factory=lambda: array("b"))


@dataclass(slots=True)
class SessionTables:
    """Everything but frames and activity."""

    session: SessionHeader | None = None
    planes: dict[int, PlaneTable] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    lights: list[LightHeader] = field(default_factory=list)
    truth: dict[int, TruthTable] = field(default_factory=dict)
    rois: dict[int, RoisHeader] = field(default_factory=dict)
    footprints: dict[int, tuple[list[int], NDArray[np.uint32]]] = field(default_factory=dict)
    state: StateHeader | None = None
    trips: list[dict[str, Any]] = field(default_factory=list)
    health: dict[tuple[str, str], HealthHeader] = field(default_factory=dict)
    logs: list[LogHeader] = field(default_factory=list)
    device_versions: DeviceVersions = field(default_factory=dict)
    input_clocks: InputClocks = field(default_factory=dict)
    n_messages: dict[str, int] = field(default_factory=dict)
    n_malformed: dict[str, int] = field(default_factory=dict)
    n_gaps: dict[str, int] = field(default_factory=dict)
    frame_period_ns: int | None = None
    fates: dict[int, dict[str, int]] = field(default_factory=dict)

    def plane(self, plane: int) -> PlaneTable:
        """Table of a plane, made when first asked for."""
        return self.planes.setdefault(plane, PlaneTable())


def collect(session: Session, observers: Iterable[Observer] = ()) -> SessionTables:
    """Read the journal once.

    Messages that violate the wire contract are counted by topic in `n_malformed` and otherwise passed over. A command
    of which the journal holds no light counts as light all the same, as of the command.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    tables = SessionTables()
    last_seq: dict[tuple[str, str, str], int] = {}
    observers = tuple(observers)
    for message in session.messages():
        tables.n_messages[message.topic] = tables.n_messages.get(message.topic, 0) + 1
        try:
            header = message.header
        except MessageError:
            _count(tables.n_malformed, message.topic)
            continue
        stream = (header.source, header.boot_id, message.topic)
        gap = header.seq - last_seq.get(stream, header.seq - 1) - 1
        if gap > 0:
            _count(tables.n_gaps, message.topic, gap)
        last_seq[stream] = header.seq
        if not _file_away(tables, message, header):
            _count(tables.n_malformed, message.topic)
            continue
        for observer in observers:
            observer.see(message, header)
    for light in _light_of_commands(tables):
        message = JournalMessage("light", memoryview(encode(light)), memoryview(b""), 0)
        tables.lights.append(light)
        for observer in observers:
            observer.see(message, light)
    return tables


def _light_of_commands(tables: SessionTables) -> list[LightHeader]:
    """Pulses that were commanded and of which the journal holds no light: it was cut before it, or lost it."""
    return [
        light for decision in without_light(tables.decisions.values(), tables.lights) for light in light_of(decision)
    ]


def _count(counts: dict[str, int], key: str, n: int = 1) -> None:
    counts[key] = counts.get(key, 0) + n


def _file_away(tables: SessionTables, message: JournalMessage, header: Header) -> bool:
    """Put one message into its table; False if it is not well formed."""
    match header:
        case SpikesHeader():
            return tables.plane(header.plane).add(header, message.payload)
        case StimHeader():
            add_phase(tables.decisions, header)
        case FrameHeader():
            tables.frame_period_ns = header.frame_period_ns or tables.frame_period_ns
        case TruthHeader():
            return _add_truth(tables.truth, header)
        case RoisHeader():
            return _add_rois(tables, header, message.payload)
        case LightHeader():
            tables.lights.append(header)
        case StateHeader():
            tables.state = header
            tables.trips += [trip for trip in header.trips if trip not in tables.trips]
        case HealthHeader():
            tables.health[header.source, header.boot_id] = header
        case SessionHeader():
            tables.session = header
        case FateHeader():
            _count(tables.fates.setdefault(header.plane, {}), header.fate.value, header.n)
        case LogHeader() if header.level == "info":
            tables.device_versions |= told_versions(header)
            tables.input_clocks = worst_clocks(tables.input_clocks, told_clocks(header))
        case LogHeader() if len(tables.logs) < _MOST_LOG_LINES:
            tables.logs.append(header)
        case _:
            pass
    return True


def _add_truth(truth: dict[int, TruthTable], header: TruthHeader) -> bool:
    table = truth.setdefault(header.plane, TruthTable())
    if header.sample is not None:
        columns = [header.sample.get(name) for name in ("cell", "y_px", "x_px", "radius_px", "a_over_sigma")]
        if not all(isinstance(column, list) for column in columns) or len({len(c or ()) for c in columns}) != 1:
            return False
        table.sample = header.sample
    n = len(header.spike_cell)
    if not n == len(header.t_spike_ns) == len(header.spike_frame) == len(header.evoked):
        return False
    table.cell.extend(header.spike_cell)
    table.frame.extend(header.spike_frame)
    table.t_ns.extend(header.t_spike_ns)
    table.evoked.extend(header.evoked)
    return True


def _add_rois(tables: SessionTables, header: RoisHeader, payload: memoryview) -> bool:
    tables.rois[header.plane] = header
    start = header.footprint_start
    if not start:
        return True
    if len(start) != len(header.rois) + 1 or len(payload) != start[-1] * 4 or sorted(start) != start:
        return False
    tables.footprints[header.plane] = (start, np.frombuffer(payload, "<u4"))
    return True
