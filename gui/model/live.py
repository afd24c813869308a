"""Everything the window knows of one rig: takes messages of any kind and never raises."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from gui.model.cells import Cells, cells_from
from gui.model.decisions import Decisions, RigState
from gui.model.frames import FrameStore
from gui.model.health import Health
from gui.model.traces import Traces
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import (
    ActivityHeader,
    CandidatesHeader,
    FrameHeader,
    Header,
    HealthHeader,
    LightHeader,
    LogHeader,
    RoisHeader,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
    decode,
    topic_name,
)

MAX_PLANES = 64
HIDDEN = "hidden"
"""What the rig tells of the arm while the experiment is blinded."""
_SILENT_NS = 2 * NS_PER_S


class LogLine(NamedTuple):
    """A sentence for people."""

    t_heard_ns: int
    level: str
    source: str
    text: str


class LiveModel:
    """State of one rig as its messages tell it.

    Parameters
    ----------
    clock : Clock
        Tells how old things are; times of messages are those of their sender.

    Attributes
    ----------
    n_messages, n_malformed : int
    last_malformed : str
        What was wrong with the last message that could not be used.
    footprints_wanted : bool
        True if rows came for which no footprints are known: somebody should ask (`describe`).
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.n_messages = self.n_malformed = 0
        self.malformed: Counter[str] = Counter()
        self.last_malformed = ""
        self.t_heard_ns = 0
        self.boot_ids: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        """As before the first message of a session."""
        self.session: SessionHeader | None = None
        self.t_session_ns = 0
        self.frames = FrameStore()
        self.cells: dict[int, Cells] = {}
        self.candidates: dict[int, CandidatesHeader] = {}
        self.traces: dict[int, Traces] = {}
        self.mode: dict[int, str] = {}
        self.health = Health()
        self.decisions = Decisions()
        self.state = RigState()
        self.logs: deque[LogLine] = deque(maxlen=500)
        self.n_logs = 0
        self.footprints_wanted = False

    def take_parts(self, parts: list[memoryview]) -> None:
        """Take one message as it came from a socket."""
        topic = bytes(parts[0][:200]).decode(errors="replace") if parts else ""
        try:
            if len(parts) < 2:
                raise MessageError("a message has a topic and a header")
            header = decode(topic, parts[1])
        except MessageError as error:
            self.refuse(topic, error)
            return
        self.take(topic, header, parts[2] if len(parts) > 2 else memoryview(b""))

    def take(self, topic: str, header: Header, payload: memoryview, t_heard_ns: int | None = None) -> None:
        """Take one decoded message; what does not fit together is counted and said, not used."""
        now_ns = self.clock.now_ns() if t_heard_ns is None else t_heard_ns
        try:
            self._dispatch(header, payload, now_ns)
        except MessageError as error:
            self.refuse(topic, error)
            return
        self.n_messages += 1
        self.t_heard_ns = now_ns

    @property
    def is_blinded(self) -> bool:
        """True if nothing may be shown that tells the arm of a trial."""
        return self.state.header is not None and self.state.header.arm == HIDDEN

    def is_silent(self, now_ns: int) -> bool:
        """True if nothing has been heard of the rig for seconds."""
        return now_ns - self.t_heard_ns > _SILENT_NS or not self.t_heard_ns

    def _dispatch(self, header: Header, payload: memoryview, now_ns: int) -> None:
        match header:
            case FrameHeader():
                self.frames.take(header, payload, now_ns)
            case ActivityHeader():
                self._traces_of(header.plane).take_activity(header, payload, now_ns)
                cells = self.cells.get(header.plane)
                self.footprints_wanted = cells is None or cells.rev != header.rois_rev
            case SpikesHeader():
                self._traces_of(header.plane).take_spikes(header, payload)
                self.mode[header.plane] = header.mode.value
                self.health.take_spikes(header)
            case StimHeader():
                self.decisions.take_stim(header)
                self.health.take_stim(header)
            case LightHeader():
                self.decisions.take_light(header)
            case RoisHeader():
                self._take_rois(header, payload)
            case CandidatesHeader():
                if header.plane in self.cells:
                    self.candidates[header.plane] = header
            case StateHeader():
                self.state = RigState(header, now_ns)
            case HealthHeader():
                self.health.take_health(header, now_ns)
            case SessionHeader():
                self._take_session(header, now_ns)
            case LogHeader():
                self.note(header.level, header.source, header.text, now_ns)

    def note(self, level: str, source: str, text: str, now_ns: int | None = None) -> None:
        """Add a sentence to the log."""
        at_ns = self.clock.now_ns() if now_ns is None else now_ns
        self.logs.append(LogLine(at_ns, level[:20], source[:40], text[:500]))
        self.n_logs += 1

    def _take_session(self, header: SessionHeader, now_ns: int) -> None:
        if self.session is not None and self.session.session != header.session:
            kept = self.frames
            self._begin()
            self.frames = kept
        self.session, self.t_session_ns = header, now_ns

    def _take_rois(self, header: RoisHeader, payload: memoryview) -> None:
        if header.plane not in self.cells and len(self.cells) >= MAX_PLANES:
            raise MessageError(f"rois: more than {MAX_PLANES} planes")
        if header.footprint_start:
            self.cells[header.plane] = cells_from(header, payload)
        elif header.plane in self.cells and self.cells[header.plane].rev == header.rev:
            self.cells[header.plane].describe(header.rois)
        else:
            self.footprints_wanted = True

    def _traces_of(self, plane: int) -> Traces:
        if plane not in self.traces:
            if len(self.traces) >= MAX_PLANES:
                raise MessageError(f"more than {MAX_PLANES} planes")
            self.traces[plane] = Traces()
        return self.traces[plane]

    def refuse(self, topic: str, error: MessageError) -> None:
        """Count a message that cannot be used, and keep why."""
        self.n_malformed += 1
        name = topic_name(topic)[:20]
        if name in self.malformed or len(self.malformed) < 50:
            self.malformed[name] += 1
        self.last_malformed = error.message[:200]
