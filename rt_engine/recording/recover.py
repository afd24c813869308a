"""After a crash: a clean journal of all that is whole, and a word about what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.messages import Header, LogHeader, Outcome, Phase, SessionHeader, StimHeader, encode
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import JournalMessage, Session, open_session

RECOVERED_FOLDER = "recovered"
_SOURCE = "recover"
_COPIED = ("config.yaml", "calibration.h5", "stim_*.wal", "protocol")
_PROGRESS_MESSAGES = 500


class LoggedRecord(Protocol):
    """A record of the stimulation write-ahead log; ``decision_id`` stands in `fields` where it tells of a decision."""

    @property
    def kind(self) -> IntEnum:
        """What the record tells: ``INTENT``, ``DONE`` and others."""
        ...

    @property
    def fields(self) -> dict[str, Any]:
        """Its content."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was saved and what was not.

    Attributes
    ----------
    folder : Path
        Holds the clean session.
    n_messages : dict of str to int
        Messages saved, by topic.
    n_lost : dict of str to int
        Messages known to be lost, by topic; those after the last whole one of a topic cannot be counted.
    damage : tuple of str
        What could not be read, a sentence each.
    decisions_from_log : tuple of str
        Decisions that the journal lacks, wholly or in part, and the write-ahead log knew; what it knew stands on topic
        ``log`` word for word, and on topic ``stim`` from the source ``recover``.
    """

    folder: Path
    n_messages: dict[str, int]
    n_lost: dict[str, int]
    damage: tuple[str, ...]
    decisions_from_log: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{sum(self.n_messages.values())} messages saved to {self.folder}"]
        lines += [f"  {topic}: {n} saved, {self.n_lost.get(topic, 0)} lost" for topic, n in self.n_messages.items()]
        lines += [
            f"  {topic}: none saved, {n} lost" for topic, n in self.n_lost.items() if topic not in self.n_messages
        ]
        lines += [f"  {sentence}" for sentence in self.damage]
        if self.decisions_from_log:
            lines.append(f"  from the stimulation log: {', '.join(self.decisions_from_log)}")
        return "\n".join(lines)


def recover(
    folder: Path,
    progress: Callable[[str, float], None] | None = None,
    wal_records: Iterable[LoggedRecord] = (),
) -> RecoveryReport:
    """Write all whole messages of a session into ``recovered`` beside it; the originals are left as they are.

    Parameters
    ----------
    folder : Path
        Session folder.
    progress : callable, optional
        Told the stage and the fraction done, 0 to 1.
    wal_records : iterable of LoggedRecord
        Content of the stimulation write-ahead log.

    Raises
    ------
    RecordingError
        There is no journal, no whole message in it, ``recovered`` exists, or it cannot be written.
    """
    session = open_session(folder)
    target = session.folder / RECOVERED_FOLDER
    try:
        target.mkdir()
        for pattern in _COPIED:
            for path in session.folder.glob(pattern):
                if path.is_dir():
                    shutil.copytree(path, target / path.name)
                else:
                    shutil.copy2(path, target / path.name)
    except FileExistsError as error:
        raise RecordingError(f"{target} exists", "delete or rename it to recover again") from error
    except OSError as error:
        raise RecordingError(f"{target}: cannot be written: {error.strerror}") from error
    writer = JournalWriter(target, 0, 0)
    try:
        copy = _Copy(writer, sum(path.stat().st_size for path in session.files), progress)
        copy.all_of(session)
        from_log = copy.add_missing(wal_records)
    finally:
        writer.close()
    if not copy.n_messages:
        shutil.rmtree(target, ignore_errors=True)
        damage = "; ".join(map(str, session.damage))
        raise RecordingError(f"{folder}: no whole message is left: {damage}", "look for another copy of the session")
    return RecoveryReport(
        target, copy.n_messages, session.lost, tuple(str(damage) for damage in session.damage), from_log
    )


class _Copy:
    """Copies messages one by one, and remembers what the write-ahead log is compared with."""

    def __init__(self, writer: JournalWriter, n_bytes: int, progress: Callable[[str, float], None] | None) -> None:
        self._writer = writer
        self._n_bytes = max(n_bytes, 1)
        self._progress = progress
        self._phases: set[tuple[str, str]] = set()
        self._wall_minus_monotonic_ns: int | None = None
        self._session = ""
        self._t_log_ns = 0
        self._n_stim = 0
        self.n_messages: dict[str, int] = {}

    def all_of(self, session: Session) -> None:
        """Every whole message, in order."""
        done_bytes = 0
        for n, message in enumerate(session.messages()):
            self._writer.write(message.topic, bytes(message.header_bytes), message.payload, message.t_log_ns)
            self.n_messages[message.topic] = self.n_messages.get(message.topic, 0) + 1
            self._t_log_ns = message.t_log_ns
            if message.topic in ("stim", "session"):
                self._remember(message)
            done_bytes += len(message.header_bytes) + len(message.payload)
            if self._progress is not None and n % _PROGRESS_MESSAGES == 0:
                self._progress("recovering", min(done_bytes / self._n_bytes, 1.0))
        if self._progress is not None:
            self._progress("recovering", 1.0)

    def add_missing(self, records: Iterable[LoggedRecord]) -> tuple[str, ...]:
        """Put what only the write-ahead log knows on topics ``log`` and ``stim``."""
        added: dict[str, None] = {}
        intents: dict[str, dict[str, Any]] = {}
        for seq, record in enumerate(records):
            decision_id = record.fields.get("decision_id")
            phase = record.kind.name.lower()
            if not isinstance(decision_id, str):
                continue
            if phase == "intent":
                intents[decision_id] = record.fields
            if (decision_id, phase) in self._phases:
                continue
            added[decision_id] = None
            t_ns = record.fields.get("t_command_ns") or record.fields.get("t_ns")
            monotonic_ns = t_ns if isinstance(t_ns, int) else 0
            stamp: dict[str, Any] = {
                "session": self._session, "source": _SOURCE, "host": "", "boot_id": _SOURCE, "seq": seq,
                "t_sent_ns": monotonic_ns,
            }  # fmt: skip
            text = f"decision {decision_id}: {phase} is in the stimulation log and not in the journal"
            self._add("log", LogHeader(**stamp, level="warning", text=text, fields=record.fields), monotonic_ns)
            stim = stim_of_log(phase, intents.get(decision_id), record.fields, stamp | {"seq": self._n_stim})
            if stim is not None:
                self._n_stim += 1
                self._add("stim", stim, monotonic_ns)
        return tuple(added)

    def _add(self, topic: str, header: Header, monotonic_ns: int) -> None:
        known = self._wall_minus_monotonic_ns is not None and monotonic_ns
        t_log_ns = monotonic_ns + (self._wall_minus_monotonic_ns or 0) if known else self._t_log_ns
        self._writer.write(topic, encode(header), b"", t_log_ns)
        self.n_messages[topic] = self.n_messages.get(topic, 0) + 1

    def _remember(self, message: JournalMessage) -> None:
        try:
            header = message.header
        except MessageError:
            return
        if isinstance(header, StimHeader):
            self._phases.add((header.decision_id, header.phase.value))
        elif isinstance(header, SessionHeader):
            self._session = header.session
            self._wall_minus_monotonic_ns = header.t_wall_ns - header.t_monotonic_ns


def stim_of_log(
    phase: str, intent: dict[str, Any] | None, fields: dict[str, Any], stamp: dict[str, Any]
) -> StimHeader | None:
    """The `stim` message that a record of the write-ahead log stands for; None where the log does not say enough.

    Parameters
    ----------
    phase : str
        ``intent`` or ``done``.
    intent : dict or None
        Fields of the record written before the light.
    fields : dict
        Of this record.
    stamp : dict
        What every header begins with.
    """
    if intent is None or phase not in ("intent", "done"):
        return None
    try:
        return StimHeader(
            **stamp,
            decision_id=str(fields["decision_id"]),
            phase=Phase(phase),
            rule=str(intent["rule"]),
            arm=str(intent["arm"]),
            outcome=Outcome(fields["outcome"]) if phase == "done" else None,
            reason=fields.get("reason"),
            plane=int(intent["plane"]),
            frame=int(intent["frame"]),
            roi_ids=[int(i) for i in intent["roi_ids"]],
            target_ids=[int(i) for i in intent["target_ids"]],
            target_planes=[int(i) for i in intent.get("target_planes", ())],
            pattern_id=None,
            t_scan_ns=int(intent["t_scan_ns"]),
            t_decided_ns=int(intent.get("t_decided_ns", intent["t_ns"])),
            t_judged_ns=int(intent["t_ns"]),
            t_command_ns=fields.get("t_command_ns"),
            t_output_ns=None,
            output=str(intent["output"]),
            pulses=int(intent["pulses"]),
            width_us=int(intent["width_us"]),
            power_uw=[int(v) for v in intent["power_uw"]],
            energy_nj=[int(v) for v in intent["energy_nj"]],
        )
    except (KeyError, TypeError, ValueError):
        return None
