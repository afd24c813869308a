"""After a crash: a clean journal of all that is whole, and a word about what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.messages import Header, LightHeader, SessionHeader, StimHeader, encode
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import JournalMessage, Session, no_whole_message, open_session
from rt_engine.recording.recovery_report import RecoveryReport
from rt_engine.recording.wal_merge import JournalKnowledge, StimulationLog, merge

RECOVERED_FOLDER = "recovered"
_COPIED = ("config.yaml", "calibration.h5", "stim_*.wal", "protocol")
_PROGRESS_MESSAGES = 500
_SPARE_BYTES = 1 << 20


def recover(
    folder: Path,
    progress: Callable[[str, float], None] | None = None,
    logs: Iterable[StimulationLog] = (),
) -> RecoveryReport:
    """Write all whole messages of a session into ``recovered`` beside it; the originals are left as they are.

    Messages keep their numbers, so that what is missing between them is missing by number in the clean journal, too.

    Parameters
    ----------
    folder : Path
        Session folder, or one journal file.
    progress : callable, optional
        Told the stage and the fraction done, 0 to 1.
    logs : iterable of StimulationLog
        The stimulation write-ahead logs.

    Raises
    ------
    RecordingError
        There is no journal, no whole message in it, ``recovered`` exists, or it cannot be written.
    """
    session = open_session(folder)
    target = session.folder / RECOVERED_FOLDER
    if target.exists():
        raise RecordingError(f"{target} exists", "delete or rename it to recover again")
    beside = [path for pattern in _COPIED for path in session.folder.glob(pattern)]
    _require_room(session, beside)
    try:
        target.mkdir()
        report = _write(session, target, beside, progress, logs)
    except (OSError, RecordingError) as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, RecordingError) and not isinstance(error.__cause__, OSError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{target}: cannot be written: {reason}", _ELSEWHERE) from error
    return report


_ELSEWHERE = "free space, or copy the session to another disk and recover it there; nothing of it was changed"


def _require_room(session: Session, beside: list[Path]) -> None:
    """Refuse before anything is written what the disk cannot hold."""
    files = [*session.files, *(path for one in beside for path in (one.rglob("*") if one.is_dir() else [one]))]
    try:
        needed = sum(path.stat().st_size for path in files) + _SPARE_BYTES
        free = shutil.disk_usage(session.folder).free
    except OSError as error:
        raise RecordingError(f"{session.folder}: cannot be read: {error.strerror}") from error
    if free < needed:
        raise RecordingError(
            f"{session.folder}: recovery needs up to {needed / 1e6:.1f} MB beside it, {free / 1e6:.1f} MB are free",
            _ELSEWHERE,
        )


def _write(
    session: Session,
    target: Path,
    beside: list[Path],
    progress: Callable[[str, float], None] | None,
    logs: Iterable[StimulationLog],
) -> RecoveryReport:
    for path in beside:
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy2(path, target / path.name)
    writer = JournalWriter(target, 0, 0)
    try:
        copy = _Copy(writer, sum(path.stat().st_size for path in session.files), progress)
        copy.all_of(session)
        if not copy.n_messages:
            raise no_whole_message(session)
        merged = merge(logs, copy.knows, copy.add)
    finally:
        writer.close()
    report = RecoveryReport(
        folder=target,
        n_messages=copy.n_messages,
        n_lost=session.lost,
        damage=(*map(str, session.damage), *_left_out(session), *merged.damage),
        reaches_until_ns=copy.t_last_ns,
        reaches_s=(copy.t_last_ns - copy.t_first_ns) / 1e9,
        decisions_from_log=merged.decisions,
        decisions_without_intent=merged.without_intent,
        pulses_from_log=merged.n_pulses,
        torn_log_slots=merged.n_torn,
    )
    report.write()
    return report


def _left_out(session: Session) -> list[str]:
    """What a recovery of one file says of the others."""
    others = sorted({path.name for path in session.folder.glob("session_*.mcap")} - {p.name for p in session.files})
    if not others:
        return []
    names = ", ".join(path.name for path in session.files)
    return [f"only {names} was recovered, as asked; {', '.join(others)} of the same session is left out"]


class _Copy:
    """Copies messages one by one, and remembers what the write-ahead log is compared with."""

    def __init__(self, writer: JournalWriter, n_bytes: int, progress: Callable[[str, float], None] | None) -> None:
        self._writer = writer
        self._n_bytes = max(n_bytes, 1)
        self._progress = progress
        self._wall_minus_monotonic_ns: int | None = None
        self.knows = JournalKnowledge()
        self.t_first_ns = self.t_last_ns = 0
        self.n_messages: dict[str, int] = {}

    def all_of(self, session: Session) -> None:
        """Every whole message, in order, under its number."""
        done_bytes = 0
        for n, message in enumerate(session.messages()):
            head = bytes(message.header_bytes)
            self._writer.write(message.topic, head, message.payload, message.t_log_ns, sequence=message.sequence)
            self.n_messages[message.topic] = self.n_messages.get(message.topic, 0) + 1
            self.t_first_ns = self.t_first_ns or message.t_log_ns
            self.t_last_ns = message.t_log_ns
            if message.topic in ("stim", "light", "session"):
                self._remember(message)
            done_bytes += len(message.header_bytes) + len(message.payload)
            if self._progress is not None and n % _PROGRESS_MESSAGES == 0:
                self._progress("recovering", min(done_bytes / self._n_bytes, 1.0))
        if self._progress is not None:
            self._progress("recovering", 1.0)

    def add(self, topic: str, header: Header, monotonic_ns: int) -> None:
        """A message that the journal lacked, at the end and with its own time."""
        known = self._wall_minus_monotonic_ns is not None and monotonic_ns
        t_log_ns = monotonic_ns + (self._wall_minus_monotonic_ns or 0) if known else self.t_last_ns
        self._writer.write(topic, encode(header), b"", t_log_ns)
        self.n_messages[topic] = self.n_messages.get(topic, 0) + 1

    def _remember(self, message: JournalMessage) -> None:
        try:
            header = message.header
        except MessageError:
            return
        if isinstance(header, StimHeader | LightHeader):
            self.knows.see(header)
        elif isinstance(header, SessionHeader):
            self.knows.session = header.session
            self._wall_minus_monotonic_ns = header.t_wall_ns - header.t_monotonic_ns
