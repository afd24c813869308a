"""When a recorded session decided what: the times that its replay lives by."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import FateHeader, Mode, Phase, SpikesHeader, StimHeader
from rt_engine.recording.reader import JournalMessage, Session, open_session

_MOST_LINES = 1 << 16
_MOST_FRAMES = 1 << 40


class Decided(NamedTuple):
    """When some lines were received and decided, monotonic nanoseconds of the recording; `late`: past the deadline."""

    t_received_ns: int
    t_decided_ns: int
    late: bool


class Judged(NamedTuple):
    """When one request was judged, and when it had been dealt with; monotonic nanoseconds of the recording.

    `t_done_ns` is the time of the command where it was fired.
    """

    t_judged_ns: int
    t_done_ns: int
    fired: bool


class RecordedTimes:
    """Times of all live decisions of some planes.

    Parameters
    ----------
    session : Session
    planes : sequence of int

    Attributes
    ----------
    first_live_frame, last_live_frame : int or None
        None if the session never went live.
    typical_ns : int
        Median time from the decision of the engine to the judgement of a request; 0 where nothing was judged.

    Raises
    ------
    RecordingError
        A file cannot be opened.

    Notes
    -----
    A message of lines without a decision was skipped live (or lost before the engine); a replay skips it again. Memory
    is 33 bytes a decision: 3.6 MB for an hour of whole frames at 30 Hz.
    """

    def __init__(self, session: Session, planes: Sequence[int]) -> None:
        key, received, decided, late = array("q"), array("q"), array("q"), array("b")
        self._judged: dict[tuple[int, int, int], list[Judged]] = {}
        self.first_live_frame: int | None = None
        self.last_live_frame: int | None = None
        delays = array("q")
        for message in session.messages(*(f"spikes.{plane}" for plane in planes), "stim"):
            header = _header(message)
            if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
                if self.first_live_frame is None:
                    self.first_live_frame = header.frame
                self.last_live_frame = header.frame
                key.append(_key(header.plane, header.frame, header.line0))
                received.append(header.t_received_ns)
                decided.append(header.t_decided_ns)
                late.append(header.late)
            elif isinstance(header, StimHeader) and header.phase is Phase.DONE:
                request = header.plane, header.frame, header.t_scan_ns
                self._judged.setdefault(request, []).append(_judged(header))
                if header.t_judged_ns is not None:
                    delays.append(header.t_judged_ns - header.t_decided_ns)
        order = np.argsort(np.frombuffer(key, np.int64), kind="stable")
        self._key = np.frombuffer(key, np.int64)[order]
        self._received_ns = np.frombuffer(received, np.int64)[order]
        self._decided_ns = np.frombuffer(decided, np.int64)[order]
        self._late = np.frombuffer(late, np.int8)[order]
        self.typical_ns = int(np.median(np.frombuffer(delays, np.int64))) if delays else 0

    def decision(self, plane: int, frame: int, line0: int) -> Decided | None:
        """When the lines of a frame from `line0` on were decided; None if they were not."""
        key = _key(plane, frame, line0)
        at = int(np.searchsorted(self._key, key))
        if at == len(self._key) or self._key[at] != key:
            return None
        return Decided(int(self._received_ns[at]), int(self._decided_ns[at]), bool(self._late[at]))

    def judged(self, plane: int, frame: int, t_scan_ns: int, index: int) -> Judged | None:
        """When request number `index` of the lines scanned at `t_scan_ns` was judged; None if there was none."""
        found = self._judged.get((plane, frame, t_scan_ns), ())
        return found[index] if index < len(found) else None


def recorded_times(path: str | Path, planes: Sequence[int]) -> RecordedTimes | None:
    """Times of a recorded session; None where `path` is no session folder, as a movie.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    if not any(Path(path).glob("session_*.mcap")):
        return None
    return RecordedTimes(open_session(path), planes)


def first_skipped(session: Session, planes: Sequence[int]) -> int | None:
    """Number of the first frame (or volume) that was left out, under overload or for lines missing; None if none was.

    Frames are left out only while live. So where this one came before the first that was decided, going live began
    with it, and the time until the first decision has passed for the cells without a sample.
    """
    first: int | None = None
    for message in session.messages(*(f"fate.{plane}" for plane in planes)):
        header = _header(message)
        if isinstance(header, FateHeader) and header.fate in (Fate.SKIPPED, Fate.REFUSED):
            first = header.first if first is None else min(first, header.first)
    return first


def _key(plane: int, frame: int, line0: int) -> int:
    """One number for the lines of a frame: 6 bits of plane, 40 of frame, 16 of line."""
    return (plane * _MOST_FRAMES + frame) * _MOST_LINES + line0


def _header(message: JournalMessage) -> object:
    try:
        return message.header
    except MessageError:
        return None


def _judged(header: StimHeader) -> Judged:
    """Journals that do not tell the moment of the judgement tell that of the command, or at least of the message."""
    done_ns = header.t_sent_ns if header.t_command_ns is None else header.t_command_ns
    judged_ns = header.t_judged_ns
    if judged_ns is None:
        judged_ns = header.t_decided_ns if header.t_command_ns is None else header.t_command_ns
    return Judged(judged_ns, max(judged_ns, done_ns), fired=header.t_command_ns is not None)
