"""Edges and keys that a recorded session's protocol took in, for a replay that gives them again at the same place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import (
    ActivityHeader,
    Header,
    InputHeader,
    InputKind,
    LogHeader,
    SpikesHeader,
    SyncHeader,
)
from rt_engine.interfaces.mqtt_config import CommandKind
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.recording.reader import Session, open_session
from rt_engine.services.behaviour import REQUEST_NOTE, TRIAL_KEY
from rt_engine.services.frame_join import Place, place_of


class TakenInput(NamedTuple):
    """An edge (``rising`` or ``falling``), a key, a load of the protocol, or that it begins to hear `activity`.

    Fields of `messages.InputHeader`; `text` is the protocol's file of a load, empty in journals that do not keep it.
    """

    kind: InputKind
    name: str
    edge: str | None = None
    t_edge_ns: int | None = None
    text: bytes = b""


class RecordedInputs:
    """What came to the protocol of a recording, in order.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    without_place : frozenset of str
        Lines and keys of which no place is known.
    partners : dict of str to bytes
        Pulse times of the sessions that its protocols were yoked to, by the name that these have for them.
    has_activity : bool
        A protocol of the recording heard `activity`.

    Raises
    ------
    RecordingError
        A file cannot be opened.

    Notes
    -----
    Lines and keys that the recorded protocol listened to are in the journal with their place. Of others, which only
    another protocol listens to, nobody knows a place: they count from the first message that was decided after them.
    """

    def __init__(self, session: Session) -> None:
        self._placed: deque[tuple[Place, TakenInput]] = deque()
        self.partners: dict[str, bytes] = {}
        timed: list[tuple[int, TakenInput]] = []
        for message in session.messages("input", "sync", "log"):
            try:
                header = message.header
            except MessageError:
                continue
            if isinstance(header, InputHeader) and header.kind is InputKind.PARTNER:
                self.partners.setdefault(header.name, bytes(message.payload))
            elif isinstance(header, InputHeader):
                index, plane, line = header.after
                text = bytes(message.payload)
                taken = TakenInput(header.kind, header.name, header.edge, header.t_edge_ns, text)
                self._placed.append(((index, plane, line), taken))
            elif (found := _timed(header)) is not None:
                timed.append(found)
        known = {(taken.kind, taken.name) for _, taken in self._placed}
        timed = [one for one in timed if (one[1].kind, one[1].name) not in known]
        self._timed = deque(sorted(timed, key=lambda one: one[0]))
        self.without_place = frozenset(taken.name for _, taken in self._timed)
        self.has_activity = any(taken.kind is InputKind.ACTIVITY for _, taken in self._placed)
        self._began = False

    def will_hear_activity(self) -> bool:
        """True if the protocol loaded last has yet to begin to hear `activity`."""
        kinds = (taken.kind for _, taken in self._placed)
        return next((k for k in kinds if k in (InputKind.LOAD, InputKind.ACTIVITY)), None) is InputKind.ACTIVITY

    def before(self, header: SpikesHeader | ActivityHeader) -> Iterator[tuple[TakenInput, Place | None]]:
        """What comes to the protocol before this message, and has not come yet; with its place where that is known."""
        place = place_of(header)
        while self._placed and self._placed[0][0] < place:
            after, taken = self._placed.popleft()
            yield taken, after
        if not isinstance(header, SpikesHeader):
            return
        while self._timed and self._timed[0][0] <= header.t_decided_ns:
            t_ns, taken = self._timed.popleft()
            if self._began or t_ns >= header.t_scan_ns:
                yield taken, None
        self._began = True

    def rest(self) -> Iterator[tuple[TakenInput, Place | None]]:
        """What came after the last message: it drove nothing, and is told all the same."""
        while self._placed:
            after, taken = self._placed.popleft()
            yield taken, after


def recorded_inputs(rig: RigConfig) -> RecordedInputs | None:
    """Of the session that a rig replays; None where it replays none: to a movie, people may press keys.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    microscope = rig.microscope
    if not isinstance(microscope, ReplayMicroscope) or not any(Path(microscope.path).glob("session_*.mcap")):
        return None
    return RecordedInputs(open_session(microscope.path))


def _timed(header: Header) -> tuple[int, TakenInput] | None:
    """When an edge or a key was there, of which no place is told; None of anything else."""
    if isinstance(header, SyncHeader):
        if header.kind != "edge" or header.t_edge_ns is None:
            return None
        return header.t_edge_ns, TakenInput(InputKind.EDGE, header.line, header.edge, header.t_edge_ns)
    if not isinstance(header, LogHeader) or header.level != "mark" or header.fields.get("phase") != "live":
        return None
    kind = header.fields.get("kind")
    if kind == CommandKind.MARK or not header.text:
        return None
    key = header.text
    if kind == CommandKind.TRIAL:
        key = TRIAL_KEY
    elif kind == CommandKind.REQUEST:
        key = header.text.removeprefix(REQUEST_NOTE)
    return header.t_sent_ns, TakenInput(InputKind.KEY, key)
