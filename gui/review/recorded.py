"""A recorded session in memory: every message but the frames, and as many of these as there is room for."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import FrameHeader, Header, LightHeader, RoisHeader, SpikesHeader, topic_name
from rt_engine.recording.reader import JournalMessage, Session, open_session

FRAME_BUDGET_BYTES = 256_000_000
_WANTED = ("session", "rois", "state", "health", "log", "stim", "light", "spikes", "activity", "frame")
_STEP = 2000


class Kept(NamedTuple):
    """One message: when it was written, what it is."""

    t_log_ns: int
    topic: str
    header: Header
    payload: bytes


class Recorded:
    """What was read of a session.

    Attributes
    ----------
    folder : Path
    messages : list of Kept
        All but frames, in order.
    frames : dict of str to list of Kept
        By topic; every `frame_stride`-th frame.
    landmarks : dict of str to list of Kept
        `session`, `state`, and `rois` with footprints: what must be known whatever the moment.
    decisions : list of Kept
        Topics `stim` and `light`.
    event_times_ns, light_times_ns : int64 ndarray
        When something happened, for the overview.
    findings : list of str
        What is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.messages: list[Kept] = []
        self.frames: dict[str, list[Kept]] = defaultdict(list)
        self.landmarks: dict[str, list[Kept]] = defaultdict(list)
        self.decisions: list[Kept] = []
        self.frame_stride = 1
        self.findings: list[str] = []
        self.event_times_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self.light_times_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self._times: list[int] = []
        self._decision_times: list[int] = []

    @property
    def start_ns(self) -> int:
        """Log time of the first message."""
        return self._times[0] if self._times else 0

    @property
    def end_ns(self) -> int:
        """Log time of the last message."""
        return self._times[-1] if self._times else 0

    def between(self, after_ns: int, until_ns: int) -> list[Kept]:
        """Messages later than `after_ns` and not later than `until_ns`, frames left out."""
        return self.messages[bisect_right(self._times, after_ns) : bisect_right(self._times, until_ns)]

    def decisions_until(self, until_ns: int) -> list[Kept]:
        """Every decision and light so far."""
        return self.decisions[: bisect_right(self._decision_times, until_ns)]

    def finish(self) -> None:
        """Sort by time, and make the overview."""
        self.messages.sort(key=lambda one: one.t_log_ns)
        self._times = [one.t_log_ns for one in self.messages]
        self.decisions.sort(key=lambda one: one.t_log_ns)
        self._decision_times = [one.t_log_ns for one in self.decisions]
        events = [
            one.t_log_ns
            for one in self.messages
            if isinstance(one.header, SpikesHeader)
            for _ in range(one.header.n_events)
        ]
        self.event_times_ns = np.array(events, np.int64)
        self.light_times_ns = np.array(
            [one.t_log_ns for one in self.decisions if isinstance(one.header, LightHeader)], np.int64
        )


def read_session(path: Path, progress: Callable[[float], None], stop: Callable[[], bool]) -> Recorded:
    """Read a session, finished or crashed.

    Raises
    ------
    RecordingError
        There is no journal.
    """
    session = open_session(path)
    recorded = Recorded(session.folder)
    total = sum(one.stat().st_size for one in session.files)
    recorded.frame_stride = max(1, -(-total // FRAME_BUDGET_BYTES))
    counts: dict[str, tuple[int, int]] = {}
    n_bytes = malformed = 0
    for seen, message in enumerate(session.messages(*_WANTED)):
        n_bytes += len(message.payload) + len(message.header_bytes)
        if seen % _STEP == 0:
            progress(min(1.0, n_bytes / max(1, total)))
            if stop():
                break
        try:
            _keep(recorded, message, counts)
        except MessageError:
            malformed += 1
    recorded.finish()
    recorded.findings = _findings(session, malformed)
    progress(1.0)
    return recorded


def _keep(recorded: Recorded, message: JournalMessage, counts: dict[str, tuple[int, int]]) -> None:
    name, header = topic_name(message.topic), message.header
    if isinstance(header, FrameHeader):
        n, last = counts.get(message.topic, (-1, -1))
        if header.frame != last:
            n += 1
            counts[message.topic] = (n, header.frame)
        if n % recorded.frame_stride == 0:
            kept = Kept(message.t_log_ns, message.topic, header, bytes(message.payload))
            recorded.frames[message.topic].append(kept)
        return
    kept = Kept(message.t_log_ns, message.topic, header, bytes(message.payload))
    recorded.messages.append(kept)
    if name in ("session", "state") or (isinstance(header, RoisHeader) and header.footprint_start):
        recorded.landmarks[name if name != "rois" else message.topic + str(getattr(header, "plane", 0))].append(kept)
    elif name in ("stim", "light"):
        recorded.decisions.append(kept)


def _findings(session: Session, malformed: int) -> list[str]:
    found = [str(one) for one in session.damage[:5]]
    lost = sum(session.lost.values())
    if lost:
        found.append(f"{lost:,} messages are missing")
    if malformed:
        found.append(f"{malformed:,} messages cannot be understood")
    return found
