"""Drives the protocol of a session: messages of the engine → protocol → interlock → topic `stim`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocols.checking.check import check_against_rig
from protocols.load import parse_protocol, partner_of
from protocols.rois import RoiTable
from protocols.running.evaluator import ProtocolRun
from protocols.running.pulse_times import Partner
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.devices import CutTrain
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    ActivityHeader,
    InputHeader,
    InputKind,
    LogHeader,
    Outcome,
    Phase,
    RoisHeader,
    SpikesHeader,
    SyncHeader,
)
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.stimulation import Decision, MarkCommand, MessageCommand, ProtocolCommand, PulseRequest
from rt_engine.interfaces.yaml_files import read_bytes
from rt_engine.pipeline.histogram import LatencyHistogram
from rt_engine.safety.interlock import Interlock
from rt_engine.services.cells_of_planes import CellsOfPlanes
from rt_engine.services.frame_join import Place, place_of
from rt_engine.services.output_edges import OutputEdges
from rt_engine.services.recorded_inputs import TakenInput, recorded_inputs
from rt_engine.services.stim_message import stim_header
from rt_engine.transport.publisher import Publisher

_TRAINS_KEPT = 16
_BEGINNING: Place = (-1, -1, -1)
_NO_EVENTS = np.zeros(0, EVENT_DTYPE)
MARK_LEVEL, MESSAGE_LEVEL = "mark", "mqtt"
"""Levels of the `log` messages that carry a protocol's marks, and its messages for the telemetry service."""
_INTERVALS = ("decision_to_command", "scan_to_command", "scan_to_output")


class ProtocolDriver:
    """Owns the protocol and the table of cells; all methods belong to the thread of the stimulation loop.

    Parameters
    ----------
    rig : RigConfig
    interlock : Interlock
        Judges what the protocol asks for.
    publisher : Publisher
        Of the stimulation service.
    log : callable
        Takes level and text, for the operator.
    on_judged : callable
        Called after every request that was judged; must not raise.
    """

    def __init__(
        self,
        rig: RigConfig,
        interlock: Interlock,
        publisher: Publisher,
        log: Callable[[str, str], None],
        on_judged: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_judged = on_judged
        self._rig, self._interlock, self._publisher, self._log = rig, interlock, publisher, log
        self._protocol: ProtocolRun | None = None
        self._path: Path | None = None
        self._seen: dict[int, dict[int, tuple[object, ...]]] = {}
        self._cells = CellsOfPlanes(rig.planes_inferred)
        self._rois_changed, self._uncertainty_ns = False, 0
        self._trains: dict[str, tuple[PulseRequest, Decision]] = {}
        self._edges = OutputEdges({name: one.longest_wait_ms for name, one in rig.outputs.items()})
        self._measures = {getattr(one, "measured_by", None): name for name, one in rig.outputs.items()}
        self._intervals = {name: LatencyHistogram() for name in _INTERVALS}
        self._place: Place = _BEGINNING
        self._text, self._is_deaf = b"", False
        self._partner: Partner | None = None
        self._follows_loads: bool | None = None
        self._recorded = recorded_inputs(rig)
        self.name: str | None = None

    @property
    def has_rois(self) -> bool:
        """True once the engine of every plane has told its cells."""
        return self._cells.table() is not None

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals of the decisions so far."""
        return {name: histogram.summary_ms() for name, histogram in self._intervals.items()}

    @property
    def uses_activity(self) -> bool:
        """True if the protocol needs `activity` messages, or one that the replayed session went on to does."""
        if self._recorded is not None and self._recorded.has_activity:
            return True
        return self._protocol is not None and self._protocol.uses_activity

    @property
    def lines(self) -> tuple[str, ...]:
        """Behaviour lines that the protocol listens to."""
        return self._protocol.lines if self._protocol is not None else ()

    def state(self) -> dict[str, Any]:
        """The fields of `messages.StateHeader` that the protocol knows."""
        if self._protocol is None:
            return {"protocol": None, "protocol_phase": None, "trial": 0, "arm": None, "effect": None}
        return self._protocol.state()

    def conclude(self) -> dict[str, Any]:
        """Effects of the session in full; empty without a protocol. May take seconds: for after the last decision."""
        for taken, after in self._recorded.rest() if self._recorded is not None else ():
            self._tell(taken, after)
        return self._protocol.conclude() if self._protocol is not None else {}

    def load(self, path: Path) -> dict[str, Any]:
        """Load a protocol for the cells of the present calibration; disarms.

        Raises
        ------
        ConfigError
            The file is wrong, or asks for what the limits can never let pass.
        SafetyError
            No cells are known yet.
        """
        text = read_bytes(path)
        protocol = parse_protocol(text, str(path))
        check_against_rig(protocol, self._rig, str(path))
        rois = self._cells.table()
        if rois is None:
            raise SafetyError("no cells are known yet", "load a calibration first")
        self._interlock.set_protocol_limits(protocol.limits)
        begun = self._begin(protocol, rois)
        self.name, self._path, self._text, self._rois_changed = protocol.name, path, text, False
        self._say_unplaced(begun)
        if self._recorded is None:
            self._tell_begun(TakenInput(InputKind.LOAD, protocol.name, text=text))
        return {
            "protocol": protocol.name,
            "groups": {name: [i for i in group.ids if i >= 0] for name, group in begun.groups.items()},
        }

    def _begin(self, protocol: ProtocolConfig, rois: RoiTable) -> ProtocolRun:
        """The protocol from its start, with these cells."""
        um_per_px = getattr(self._rig.microscope, "um_per_px", None)
        heard = self._protocol is not None and self._protocol.uses_activity
        self._partner = partner_of(protocol, self._recorded.partners if self._recorded is not None else None)
        blocks_s = self._partner.blocks_s if self._partner is not None else ()
        self._protocol = begun = ProtocolRun(protocol, replace(rois, um_per_px=um_per_px), blocks_s)
        for note in begun.notes:
            self._log("warning", f"protocol {protocol.name}: {note}")
        will_hear = self._recorded is None or self._recorded.will_hear_activity()
        self._is_deaf = begun.uses_activity and not heard and will_hear
        return begun

    def _say_unplaced(self, protocol: ProtocolRun) -> None:
        unplaced = self._recorded.without_place if self._recorded is not None else frozenset()
        names = sorted(unplaced.intersection((*protocol.lines, *protocol.keys)))
        if names:
            text = "the recorded protocol did not listen to them; they count from the first decision after them"
            self._log("warning", f"{', '.join(names)}: {text}")

    def follow_rois(self) -> None:
        """Before arming: load the protocol anew if the cells have changed since, so that it names those of now.

        Raises
        ------
        ConfigError
            The protocol names cells that are no longer there.
        """
        if self._rois_changed and self._path is not None:
            self.load(self._path)

    def take_rois(self, header: RoisHeader, payload: bytes) -> bool:
        """Learn the cells of a plane from a `rois` message with footprints; disarms if a known one is not as it was.

        False if payload and header do not fit.

        A cell that is only added changes nothing for the others, and can neither trigger nor be a target before the
        protocol is loaded anew, at the next arming.
        """
        if not self._cells.take(header, payload):
            return False
        self._note_changes(header)
        return True

    def _note_changes(self, header: RoisHeader) -> None:
        cells: dict[int, tuple[object, ...]] = {
            roi.roi_id: (roi.threshold, *roi.tags) for roi in header.rois if roi.kind != "removed"
        }
        known, self._seen[header.plane] = self._seen.get(header.plane, {}), cells
        self._rois_changed |= bool(known) and known != cells
        # The replay of a session is disarmed when the session was.
        if not known.items() <= cells.items() and self._interlock.is_armed and self._recorded is None:
            self._interlock.disarm(f"the cells of plane {header.plane} have changed (revision {header.rev})")
            self._log("warning", "disarmed: the cells have changed")

    def take_spikes(self, header: SpikesHeader, payload: bytes) -> bool:
        """Decide on one `spikes` message, unless it is late; False if its payload does not fit its header."""
        self._reach(header)
        if self._protocol is None or header.late:
            return True
        if len(payload) != header.n_events * EVENT_DTYPE.itemsize:
            return False
        events: NDArray[Any] = np.frombuffer(payload, EVENT_DTYPE) if header.n_events else _NO_EVENTS
        commands = self._protocol.on_spikes(
            header.frame, header.t_scan_ns, header.t_decided_ns, header.mode, events, header.plane
        )
        self._uncertainty_ns = header.t_scan_uncertainty_ns or 0
        if commands:
            self._carry_out(commands, header.t_scan_ns)
        return True

    def take_activity(self, header: ActivityHeader, payload: bytes) -> bool:
        """Take in one `activity` message; False if its payload does not fit its header.

        It comes after the `spikes` of the same frame, and before those of frames scanned later (`frame_join`).
        """
        if self._is_deaf and self._recorded is None and self._protocol is not None:
            # When a subscription takes effect nobody knows: a replay has to be told where.
            self._give(TakenInput(InputKind.ACTIVITY, self._protocol.config.name))
        self._reach(header)
        if self._protocol is None or not self._protocol.uses_activity or self._is_deaf:
            return True
        if len(payload) != 4 * header.n_rois * len(header.fields):
            return False
        values = np.frombuffer(payload, "<f4").reshape(len(header.fields), header.n_rois)
        commands = self._protocol.on_activity(header.frame, header.t_scan_ns, header.plane, header.fields, values)
        if commands:
            self._carry_out(commands, header.t_scan_ns)
        return True

    def take_sync(self, header: SyncHeader) -> None:
        """An edge of a behaviour line, or of the light as a loop-back sees it."""
        output = self._measures.get(header.line)
        if output is not None and header.edge == "rising" and header.t_edge_ns is not None:
            matched = self._edges.match(output, header.t_edge_ns)
            if matched is not None:
                self._intervals["scan_to_output"].record(header.t_edge_ns - matched[0].t_scan_ns)
                self.publish(*matched, Phase.MEASURED, t_output_ns=header.t_edge_ns)
        if self._recorded is None and header.t_edge_ns is not None:
            self._give(TakenInput(InputKind.EDGE, header.line, header.edge, header.t_edge_ns))

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that the protocol waits for."""
        return self._protocol.keys if self._protocol is not None else ()

    def take_key(self, key: str) -> bool:
        """A mark that a person gave, or a request of a behaviour task; False if the protocol waits for no such key.

        The replay of a session hears nobody: it is given what the recording was given.
        """
        return self._recorded is None and self._give(TakenInput(InputKind.KEY, key))

    def _reach(self, header: SpikesHeader | ActivityHeader) -> None:
        """Note the place of the message that is next; in a replay, give what the recording was given before it."""
        if self._recorded is not None:
            for taken, after in self._recorded.before(header):
                self._give(taken, after)
        self._place = place_of(header)

    def _give(self, taken: TakenInput, after: Place | None = None) -> bool:
        """Give an edge or a key to the protocol and tell its place, here or as it was recorded (`after`).

        False if the protocol listens to no such.
        """
        if taken.kind is InputKind.LOAD:
            return self._load_again(taken, after)
        protocol = self._protocol
        if protocol is None:
            return False
        match taken.kind:
            case InputKind.ACTIVITY:
                self._is_deaf = False
            case InputKind.EDGE if taken.name in protocol.lines:
                protocol.on_sync(taken.name, taken.edge == "rising", taken.t_edge_ns or 0)
            case InputKind.KEY if taken.name in protocol.keys:
                protocol.on_key(taken.name)
            case _:
                return False
        self._tell(taken, after)
        return True

    def _load_again(self, taken: TakenInput, after: Place | None) -> bool:
        """Where the recording loaded a protocol the replay begins that one, or its own anew if it is another.

        Arming and disarming are repeated by the interlock itself.
        """
        rois = self._cells.table()
        protocol = None if self._protocol is None else self._protocol.config
        if self._follows(taken) and taken.text not in (b"", self._text):
            protocol = parse_protocol(taken.text, f"protocol {taken.name} of the recording")
            self._interlock.set_protocol_limits(protocol.limits)
            self.name, self._text = protocol.name, taken.text
            self._log("info", f"protocol {protocol.name}, as the recording from here on")
        if protocol is None or rois is None:
            return False
        self._begin(protocol, rois)
        self._tell_begun(taken._replace(name=protocol.name, text=self._text), after)
        return True

    def _follows(self, taken: TakenInput) -> bool:
        """False if the replay was given another protocol than that which the recording began with."""
        if self._follows_loads is None:
            if self._protocol is None:  # asked to go without one, or the recording had none in the beginning
                self._follows_loads = self._place != _BEGINNING
            else:
                self._follows_loads = taken.text in (b"", self._text)
        return self._follows_loads

    def _tell_begun(self, load: TakenInput, after: Place | None = None) -> None:
        """Before the protocol, whom it is yoked to: a replay then needs nothing but the session."""
        if self._partner is not None:
            self._tell(TakenInput(InputKind.PARTNER, self._partner.where, text=self._partner.text), after)
        self._tell(load, after)

    def _tell(self, taken: TakenInput, after: Place | None = None) -> None:
        fields = taken._asdict()
        text = fields.pop("text")
        digest = hashlib.sha256(text).hexdigest() if text else None
        where = list(after or self._place)
        header = InputHeader(**self._publisher.stamp("input"), **fields, after=where, sha256=digest)
        self._publisher.send("input", header, text or None)

    def _carry_out(self, commands: Sequence[ProtocolCommand], t_scan_ns: int) -> None:
        """Requests go to the interlock, the rest to the wire; `t_scan_ns`: of the lines decided on."""
        for command in commands:
            match command:
                case PulseRequest():
                    self._ask(self._aged(command, t_scan_ns))
                case MarkCommand():
                    fields = {"mark": command.mark, "t_scan_ns": command.t_scan_ns, "frame": command.frame}
                    self._say(MARK_LEVEL, command.mark, fields)
                case MessageCommand():
                    self._say(MESSAGE_LEVEL, command.text, {"topic": command.topic, "t_scan_ns": command.t_scan_ns})

    def _aged(self, request: PulseRequest, t_scan_ns: int) -> PulseRequest:
        """As old as the lines it was decided on, at the worst: the protocol's own clock never goes back."""
        oldest_ns = min(request.t_scan_ns, t_scan_ns)
        if oldest_ns == request.t_scan_ns and not self._uncertainty_ns:
            return request
        return msgspec.structs.replace(request, t_scan_ns=oldest_ns, t_scan_uncertainty_ns=self._uncertainty_ns)

    def _ask(self, request: PulseRequest) -> None:
        decision = self._interlock.request(request)
        self._on_judged()
        # The write-ahead log had the intent before the light; telling the others of it can wait until after.
        if decision.is_logged:
            self.publish(request, decision, Phase.INTENT)
        self.publish(request, decision, Phase.DONE)
        self._remember_train(request, decision)
        self._edges.remember(request, decision)
        if self._protocol is not None and decision.outcome is not None:
            self._protocol.on_outcome(request, decision.outcome)
        if decision.t_command_ns is not None:
            self._intervals["decision_to_command"].record(decision.t_command_ns - request.t_decided_ns)
            self._intervals["scan_to_command"].record(decision.t_command_ns - request.t_scan_ns)

    def _say(self, level: str, text: str, fields: dict[str, Any]) -> None:
        header = LogHeader(**self._publisher.stamp("log"), level=level, text=text, fields=fields)
        self._publisher.send("log", header)

    def _remember_train(self, request: PulseRequest, decision: Decision) -> None:
        """Keep what may still be cut: the last trains of more than one pulse."""
        if decision.outcome is Outcome.DELIVERED and (decision.pulses or 1) > 1:
            self._trains[decision.decision_id] = request, decision
            if len(self._trains) > _TRAINS_KEPT:
                del self._trains[next(iter(self._trains))]

    def publish_cut(self, cut: CutTrain) -> None:
        """Say that a train ended before its last pulse: `done` once more, with the pulses that were light."""
        known = self._trains.pop(cut.decision_id, None)
        if known is None:
            return
        request, decision = known
        reason = f"the train ended after {cut.emitted} of {decision.pulses} pulses"
        ended = msgspec.structs.replace(decision, outcome=Outcome.FAILED, reason=reason, pulses=cut.emitted)
        self.publish(request, ended, Phase.DONE)

    def publish(
        self, request: PulseRequest, decision: Decision, phase: Phase, *, t_output_ns: int | None = None
    ) -> None:
        """Send one phase of a decision on topic `stim`; `t_output_ns` is when the light was seen, where it is."""
        header = stim_header(self._publisher.stamp("stim"), request, decision, phase, t_output_ns)
        self._publisher.send("stim", header)
