"""What a recovery saved and what it did not, kept as ``recovery.json`` in the recovered session."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rt_engine.interfaces.errors import RecordingError

RECOVERY_FILE = "recovery.json"
RECOVERY_VERSION = 1


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
        What could not be read, a sentence each; of the stimulation log, too.
    reaches_until_ns : int
        Unix time of the last whole message, nanoseconds: what came after it has left no trace.
    reaches_s : float
        The same, seconds since the first message.
    decisions_from_log : tuple of str
        Decisions that the journal lacks, wholly or in part, and the write-ahead log knew; what it knew stands on topic
        ``log`` word for word, and on topics ``stim`` and ``light`` from the source ``recover``.
    decisions_without_intent : tuple of str
        Of them, those of which only the end was saved: they count, what triggered them is lost.
    pulses_from_log : int
        Pulses added of which the journal held no light.
    torn_log_slots : int
        Slots of the stimulation logs that hold no whole record.
    """

    folder: Path
    n_messages: dict[str, int]
    n_lost: dict[str, int]
    damage: tuple[str, ...]
    reaches_until_ns: int = 0
    reaches_s: float = 0.0
    decisions_from_log: tuple[str, ...] = ()
    decisions_without_intent: tuple[str, ...] = ()
    pulses_from_log: int = 0
    torn_log_slots: int = 0

    def __str__(self) -> str:
        lines = [f"{sum(self.n_messages.values())} messages saved to {self.folder}"]
        lines += [f"  {topic}: {n} saved, {self.n_lost.get(topic, 0)} lost" for topic, n in self.n_messages.items()]
        lines += [
            f"  {topic}: none saved, {n} lost" for topic, n in self.n_lost.items() if topic not in self.n_messages
        ]
        lines.append(
            f"  it reaches until {utc(self.reaches_until_ns)}, {self.reaches_s:.3f} s after its first message; what "
            "came later has left no trace and is not counted"
        )
        lines += [f"  {sentence}" for sentence in self.damage]
        if self.decisions_from_log:
            lines.append(f"  from the stimulation log: {', '.join(self.decisions_from_log)}")
        if self.pulses_from_log:
            lines.append(f"  {self.pulses_from_log} pulses of light added, of which the journal held none")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """As ``recovery.json`` holds it."""
        return {
            "recovery_version": RECOVERY_VERSION,
            "folder": str(self.folder),
            "messages": sum(self.n_messages.values()),
            "n_messages": self.n_messages,
            "n_lost": self.n_lost,
            "damage": list(self.damage),
            "reaches_until_utc": utc(self.reaches_until_ns),
            "reaches_until_ns": self.reaches_until_ns,
            "reaches_s": self.reaches_s,
            "decisions_from_log": list(self.decisions_from_log),
            "decisions_without_intent": list(self.decisions_without_intent),
            "pulses_from_log": self.pulses_from_log,
            "torn_log_slots": self.torn_log_slots,
        }

    def write(self) -> None:
        """Keep it in the recovered session.

        Raises
        ------
        OSError
            The disk refused.
        """
        text = msgspec.json.format(msgspec.json.encode(self.as_dict()), indent=1)
        (self.folder / RECOVERY_FILE).write_bytes(text)


def utc(t_ns: int) -> str:
    """A time of the Unix epoch in words."""
    return datetime.datetime.fromtimestamp(t_ns / 1e9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a recovered session says of its recovery; as in `RecoveryReport`."""

    n_lost: dict[str, int]
    damage: list[str]
    reaches_until_utc: str
    reaches_s: float
    decisions_from_log: list[str] = []
    decisions_without_intent: list[str] = []
    pulses_from_log: int = 0
    torn_log_slots: int = 0


def read_recovery(folder: Path) -> Recovery | None:
    """What `recover` wrote of a session; None for a session that is as it was recorded.

    Raises
    ------
    RecordingError
        It is there and cannot be read.
    """
    path = folder / RECOVERY_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recovery)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise RecordingError(
            f"{path}: cannot be read: {error}", "delete the recovered folder and recover the session again"
        ) from error
