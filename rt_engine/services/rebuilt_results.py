"""What a protocol left behind, made again from the journal: the same protocol over the same messages and outcomes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.messages import (
    ActivityHeader,
    Header,
    Outcome,
    RoisHeader,
    SpikesHeader,
    StimHeader,
)
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.recording.reader import JournalMessage, Session
from rt_engine.safety.interlock import Interlock
from rt_engine.services.frame_join import FrameJoin
from rt_engine.services.protocol_driver import ProtocolDriver
from rt_engine.transport.publisher import Publisher, Stamp


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The results of a protocol over a journal.

    Attributes
    ----------
    concluded : dict
        As `ProtocolRun.conclude` gives at the end of a run; empty without a protocol, and where they cannot be trusted.
    refused : str or None
        Why they cannot be trusted; None where they can.
    """

    concluded: dict[str, Any]
    refused: str | None = None


def rebuild(session: Session, rig: RigConfig, protocol: Path | None) -> Rebuilt:
    """Run the protocol of a session over its journal; every answer of the interlock is the recorded one.

    Parameters
    ----------
    session : Session
    rig : RigConfig
        Of the recording.
    protocol : Path or None

    Returns
    -------
    Rebuilt
        Trials that stand in the journal must come out as they stand there, arm by arm: where one does not, a message
        that the protocol had heard is lost, all later draws may be others, and nothing is given.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    ConfigError
        The protocol does not fit the rig of the session.
    """
    if protocol is None:
        return Rebuilt({})
    microscope = ReplayMicroscope(driver="replay", path=str(session.folder))
    um_per_px = getattr(rig.microscope, "um_per_px", None)
    microscope = microscope.model_copy(update={"um_per_px": um_per_px})
    rig = rig.model_copy(update={"microscope": microscope, "planes": rig.planes_inferred})
    judge = _RecordedJudge(session)
    driver = ProtocolDriver(rig, cast(Interlock, judge), cast(Publisher, _Unheard()), lambda level, text: None)
    join = FrameJoin(rig.planes_inferred, None)
    t_last_ns, is_loaded = 0, False
    for message in session.messages("rois", "spikes", "activity"):
        if (header := _header(message)) is None:
            continue
        if isinstance(header, RoisHeader):
            if message.payload and driver.take_rois(header, bytes(message.payload)):
                join.set_lines(header.plane, header.lines_per_frame)
            # Its recorded load may come before: the protocol can know the cells sooner than the recorder does.
            if driver.has_rois and not is_loaded:
                driver.load(protocol)
                is_loaded = True
            continue
        if isinstance(header, SpikesHeader | ActivityHeader):
            join.awaits_activity = driver.uses_activity
            join.put(header, bytes(message.payload), 0)
            t_last_ns = max(t_last_ns, header.t_scan_ns)
        for one, payload in join.take(0):
            if isinstance(one, SpikesHeader):
                driver.take_spikes(one, payload)
            else:
                driver.take_activity(one, payload)
    if (refused := judge.refused(t_last_ns)) is not None:
        return Rebuilt({}, refused)
    return Rebuilt(driver.conclude())


def _header(message: JournalMessage) -> Header | None:
    try:
        return message.header
    except MessageError:
        return None


class _Unheard:
    """A publisher that nobody hears: what the protocol says stands in the journal already."""

    def stamp(self, topic: str) -> Stamp:
        return Stamp(session="", source="", host="", boot_id="", seq=0, t_sent_ns=0)

    def send(self, topic: str, header: Header, payload: object = None) -> None:
        pass


class _RecordedJudge:
    """Stands where the interlock stood, and answers what it answered; it has no output and makes no command."""

    is_armed = False

    def __init__(self, session: Session) -> None:
        self._done: dict[tuple[int, int, int], deque[StimHeader]] = {}
        self._n_other_arm = 0
        told: set[str] = set()
        for message in session.messages("stim"):
            header = _header(message)
            if not isinstance(header, StimHeader) or header.outcome is None or header.decision_id in told:
                continue
            told.add(header.decision_id)
            key = header.plane, header.frame, header.t_scan_ns
            self._done.setdefault(key, deque()).append(header)

    def refused(self, t_last_ns: int) -> str | None:
        """Why what came out cannot be trusted; what the log tells of later than the journal is no reason."""
        n_left = sum(len(done) for (_, _, t_scan_ns), done in self._done.items() if 0 < t_scan_ns <= t_last_ns)
        if self._n_other_arm or n_left:
            return (
                f"of the recorded decisions {n_left} did not come again and {self._n_other_arm} came with another arm: "
                "messages that the protocol had heard are lost, so its later draws are others"
            )
        return None

    def request(self, request: PulseRequest) -> Decision:
        """The recorded outcome; a decision whose end was not recorded is lost, as one that failed."""
        waiting = self._done.get((request.plane, request.frame, request.t_scan_ns))
        if not waiting:
            return Decision(decision_id="", outcome=Outcome.FAILED, reason="not recorded", output=request.output)
        header = waiting.popleft()
        self._n_other_arm += header.arm != request.arm
        return Decision(
            decision_id=header.decision_id, outcome=header.outcome, reason=header.reason, output=request.output
        )

    def set_protocol_limits(self, tighter: Mapping[str, Mapping[str, Any]]) -> None:
        """Nothing is judged here."""

    def disarm(self, reason: str) -> None:
        """Nothing is armed here."""
