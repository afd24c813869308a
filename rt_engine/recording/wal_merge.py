"""What the write-ahead log of stimulation knows and the journal lacks: decisions, their ends, and their light."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from rt_engine.interfaces.messages import Header, LightHeader, LogHeader, Outcome, Phase, StimHeader
from rt_engine.recording.commanded_light import Decision, add_phase, light_of, without_light

SOURCE = "recover"
UNKNOWN = "unknown"
Add = Callable[[str, Header, int], None]
"""Takes topic, header and monotonic time, nanoseconds (0 if unknown)."""


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


class StimulationLog(NamedTuple):
    """One write-ahead log: its name, its whole records in order, and how many of its slots are torn."""

    name: str
    records: Sequence[LoggedRecord]
    n_torn: int = 0


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of the logs.

    Attributes
    ----------
    decisions : tuple of str
        Those that the journal lacked, wholly or in part.
    without_intent : tuple of str
        Of them, those of which neither log nor journal holds the beginning: their trigger, arm and targets are lost.
    unreadable : tuple of str
        Of them, those whose record says too little for a `stim` message; it stands on topic `log` alone.
    n_pulses : int
        Pulses of which the journal held no light.
    n_torn : int
        Slots of the logs that hold no whole record.
    damage : tuple of str
        The same in sentences.
    """

    decisions: tuple[str, ...]
    without_intent: tuple[str, ...]
    unreadable: tuple[str, ...]
    n_pulses: int
    n_torn: int
    damage: tuple[str, ...]


class JournalKnowledge:
    """What the journal tells of decisions and light; fed while it is copied."""

    def __init__(self) -> None:
        self.session = ""
        self.decisions: dict[str, Decision] = {}
        self.lights: list[LightHeader] = []
        self._phases: set[tuple[str, str, str | None]] = set()

    def see(self, header: StimHeader | LightHeader) -> None:
        """One message of topic `stim` or `light`."""
        if isinstance(header, LightHeader):
            self.lights.append(header)
            return
        self._phases.add((header.decision_id, header.phase.value, header.outcome))
        add_phase(self.decisions, header)

    def has(self, decision_id: str, phase: str, outcome: Any) -> bool:
        """True if the journal tells of this phase with this outcome: a train that is cut short is done twice."""
        return (decision_id, phase, outcome if phase == "done" else None) in self._phases


def merge(logs: Iterable[StimulationLog], journal: JournalKnowledge, add: Add) -> Merged:
    """Add what only the logs know: word for word on topic `log`, and as `stim` and `light`.

    Parameters
    ----------
    logs : iterable of StimulationLog
    journal : JournalKnowledge
    add : callable
        Writes one message.
    """
    logs = list(logs)
    merging = _Merging(journal, add)
    for log in logs:
        for record in log.records:
            merging.take(record)
    n_pulses = merging.add_light()
    damage = [
        f"{log.name}: {log.n_torn} slots of the stimulation log are torn: of the decisions in them only that is known "
        "which stands in the journal"
        for log in logs
        if log.n_torn
    ]
    if merging.added:
        damage.append(f"{len(merging.added)} decisions of the stimulation log are not in the journal, or not whole")
    for names, what in (
        (merging.without_intent, "only the end was saved: what triggered them, their arm and their targets are lost"),
        (merging.unreadable, "the stimulation log says too little; what it says stands on topic log"),
    ):
        if names:
            damage.append(f"decisions {', '.join(names)}: {what}")
    n_torn = sum(log.n_torn for log in logs)
    return Merged(
        tuple(merging.added), tuple(merging.without_intent), tuple(merging.unreadable), n_pulses, n_torn, tuple(damage)
    )


class _Merging:
    def __init__(self, journal: JournalKnowledge, add: Add) -> None:
        self._journal, self._add = journal, add
        self._intents: dict[str, dict[str, Any]] = {}
        self._seq = {"log": 0, "stim": 0, "light": 0}
        self._t_ns = 0
        self.added: dict[str, None] = {}
        self.without_intent: dict[str, None] = {}
        self.unreadable: dict[str, None] = {}

    def take(self, record: LoggedRecord) -> None:
        """One record; what the journal knows as well is passed over."""
        fields, phase = record.fields, record.kind.name.lower()
        decision_id = fields.get("decision_id")
        if not isinstance(decision_id, str):
            return
        t_ns = fields.get("t_command_ns") or fields.get("t_ns")
        t_ns = t_ns if isinstance(t_ns, int) else 0
        self._t_ns = max(self._t_ns, t_ns)
        if phase == "intent":
            self._intents[decision_id] = fields
        if self._journal.has(decision_id, phase, fields.get("outcome")):
            return
        self.added[decision_id] = None
        text = f"decision {decision_id}: {phase} is in the stimulation log and not in the journal"
        stamp = self._stamp("log", t_ns)
        self._add("log", LogHeader(**stamp, level="warning", text=text, fields=fields), t_ns)
        stim = self._stim(phase, decision_id, fields, self._stamp("stim", t_ns))
        if stim is None:
            self.unreadable[decision_id] = None
            return
        self._journal.see(stim)
        self._add("stim", stim, t_ns)

    def _stim(self, phase: str, decision_id: str, fields: dict[str, Any], stamp: dict[str, Any]) -> StimHeader | None:
        known = self._journal.decisions.get(decision_id)
        if (intent := self._intents.get(decision_id)) is not None:
            stim = stim_of_log(phase, intent, fields, stamp)
            if stim is not None or phase == "intent" or known is None:
                return stim
        if phase != "done":
            return None
        if known is not None:
            return _end_of(known.first, fields, stamp)
        stim = end_alone(fields, stamp, self._t_ns)
        if stim is not None:
            self.without_intent[decision_id] = None
        return stim

    def add_light(self) -> int:
        """Pulses of commands of which the journal holds no light; returns how many."""
        n = 0
        for decision in without_light(self._journal.decisions.values(), self._journal.lights):
            intent = self._intents.get(decision.first.decision_id, {})
            period_us, places = intent.get("period_us"), intent.get("targets_yx_px") or ()
            pulses = light_of(decision, period_us if isinstance(period_us, int) else None, places)
            for light in pulses:
                light = msgspec.structs.replace(light, **self._stamp("light", light.t_on_ns))
                self._add("light", light, light.t_on_ns)
            n += len(pulses)
        return n

    def _stamp(self, topic: str, t_ns: int) -> dict[str, Any]:
        seq = self._seq[topic]
        self._seq[topic] += 1
        return {
            "session": self._journal.session, "source": SOURCE, "host": "", "boot_id": SOURCE, "seq": seq,
            "t_sent_ns": t_ns,
        }  # fmt: skip


def stim_of_log(phase: str, intent: dict[str, Any], fields: dict[str, Any], stamp: dict[str, Any]) -> StimHeader | None:
    """The `stim` message that a record of the write-ahead log stands for; None where the log does not say enough.

    Parameters
    ----------
    phase : str
        ``intent`` or ``done``.
    intent : dict
        Fields of the record written before the light.
    fields : dict
        Of this record.
    stamp : dict
        What every header begins with.
    """
    if phase not in ("intent", "done"):
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
            pulses=int(fields.get("pulses", intent["pulses"])),
            width_us=int(intent["width_us"]),
            power_uw=[int(v) for v in intent["power_uw"]],
            energy_nj=[int(v) for v in intent["energy_nj"]],
        )
    except (KeyError, TypeError, ValueError):
        return None


def _end_of(first: StimHeader, fields: dict[str, Any], stamp: dict[str, Any]) -> StimHeader | None:
    """The end of a decision whose beginning the journal knows."""
    try:
        outcome = Outcome(fields["outcome"])
    except (KeyError, ValueError):
        return None
    changed = {"reason": fields.get("reason"), "t_command_ns": fields.get("t_command_ns")}
    if isinstance(fields.get("pulses"), int):
        changed["pulses"] = fields["pulses"]
    return msgspec.structs.replace(first, **stamp, phase=Phase.DONE, outcome=outcome, t_output_ns=None, **changed)


def end_alone(fields: dict[str, Any], stamp: dict[str, Any], t_before_ns: int) -> StimHeader | None:
    """The end of a decision of which nothing else is known: it counts, and `t_scan_ns` 0 says that its trigger is lost.

    Parameters
    ----------
    fields : dict
        Of the record.
    stamp : dict
        What every header begins with.
    t_before_ns : int
        Latest time that the log tells before; stands for the time of a decision without a command.
    """
    t_command_ns = fields.get("t_command_ns")
    try:
        outcome = Outcome(fields["outcome"])
    except (KeyError, ValueError):
        return None
    return StimHeader(
        **stamp,
        decision_id=str(fields["decision_id"]),
        phase=Phase.DONE,
        rule=UNKNOWN,
        arm=UNKNOWN,
        outcome=outcome,
        reason=fields.get("reason"),
        plane=0,
        frame=0,
        roi_ids=[],
        pattern_id=None,
        t_scan_ns=0,
        t_decided_ns=t_command_ns if isinstance(t_command_ns, int) else t_before_ns,
        t_command_ns=t_command_ns if isinstance(t_command_ns, int) else None,
        t_output_ns=None,
        output=None,
        pulses=None,
        width_us=None,
        power_uw=None,
        energy_nj=None,
    )
