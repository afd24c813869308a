"""A protocol at work: the one object that the stimulation service drives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.rois import RoiTable, resolve_groups
from protocols.running.channels import EventChannels
from protocols.running.experiment import Experiment
from protocols.running.lights import Light
from protocols.running.machine import Machine
from protocols.running.signals import Signal, SignalBank
from protocols.running.tick import NEVER_NS, Tick, TickKind
from protocols.running.trigger_bank import TriggerBank
from protocols.schema.actions import LightAction
from protocols.schema.cells import MostExcitableCells
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.stimulation import MAX_TARGETS, ProtocolCommand, PulseRequest


class ProtocolRun:
    """One protocol over the cells of a session. Belongs to the thread of the stimulation loop.

    Parameters
    ----------
    config : ProtocolConfig
        Its references have been checked.
    rois : RoiTable
    partner_s : tuple of tuple of float
        Pulse times of a recorded partner's blocks, where a yoked block needs them.

    Attributes
    ----------
    notes : tuple of str
        What could not be had as asked for (fewer cells than wanted), for the operator to read.
    groups : dict of str to Group

    Raises
    ------
    ConfigError
        A selection names an id or tag that no cell has; a signal's weights do not fit; a rule is not installed.

    Notes
    -----
    The only clock is the time in the messages (`t_scan_ns`, edge times), and randomness comes from the seed alone: the
    same messages in the same order give the same commands, at any speed. What the interlock makes of a command
    changes what is counted, never what is commanded.
    """

    def __init__(self, config: ProtocolConfig, rois: RoiTable, partner_s: tuple[tuple[float, ...], ...] = ()) -> None:
        self.config = config
        self.groups = resolve_groups(config.cells, rois)
        self._rois = rois
        n_rois = len(rois.roi_id)
        self._row_of = {int(roi): row for row, roi in enumerate(rois.roi_id)}
        self._nowhere = n_rois
        self._channels = EventChannels(n_rois)
        self._signals = SignalBank(config.signals, self.groups, rois, self._channels)
        seed = config.design.seed
        self._triggers = TriggerBank(
            config.triggers, self.groups, self._row_of, self._signals.by_name, self._channels, seed
        )
        self._channels.freeze()
        ids = tuple(self._row_of)
        position = dict(zip(ids, rois.positions(ids), strict=True))
        lights = {
            name: Light(name, action, self.groups, position, rois.plane_of(), (seed, 5, index))
            for index, (name, action) in enumerate(config.actions.items())
            if isinstance(action, LightAction)
        }
        self.experiment = Experiment(config, self._signals.by_name, rois, lights, partner_s)
        self._machine = Machine(config, self._triggers, self._signals.by_name, lights, self.experiment, rois)
        self._tick = Tick()
        self._edges: list[tuple[int, str, bool]] = []
        self.notes = tuple(_notes(config, self.groups, lights))

    @property
    def uses_activity(self) -> bool:
        """True if it needs `activity` messages."""
        return self._signals.uses_activity or self.config.design.map is not None

    @property
    def lines(self) -> tuple[str, ...]:
        """Behaviour lines that it listens to."""
        return tuple(self._triggers.lines)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys that it waits for."""
        return tuple(sorted(self._triggers.keys))

    @property
    def phase(self) -> str:
        """The phase of the state machine, or why it is not running."""
        return self._machine.phase

    @property
    def signals(self) -> dict[str, Signal]:
        """Signals by name, to be read."""
        return self._signals.by_name

    def group_ids(self, name: str) -> tuple[int, ...]:
        """Cells of a group."""
        return self.groups[name].ids

    def on_spikes(
        self, frame: int, t_scan_ns: int, t_decided_ns: int, mode: Mode, events: NDArray[np.void], plane: int = 0
    ) -> Sequence[ProtocolCommand]:
        """Commands that follow from one `spikes` message, also from an empty one.

        Parameters
        ----------
        frame, t_scan_ns, t_decided_ns, plane : int
            Of the message.
        mode : Mode
            Anything but `LIVE` passes without a trace.
        events : EVENT_DTYPE ndarray, shape (n_events,), read

        Returns
        -------
        sequence of ProtocolCommand
            In order; also what is withheld or suppressed, for the record.
        """
        if mode is not Mode.LIVE:
            return ()
        tick = self._tick
        tick.kind = TickKind.SPIKES
        tick.t_ns = max(tick.t_ns, t_scan_ns)
        tick.frame, tick.plane, tick.t_decided_ns = frame, plane, t_decided_ns
        if len(events) > 1:
            events = events[np.argsort(events["t_event_ns"], kind="stable")]
        tick.events = events
        row_of, nowhere = self._row_of, self._nowhere
        tick.rows = np.array([row_of.get(roi, nowhere) for roi in events["roi_id"].tolist()], np.int64)
        if self._edges or self._triggers.lines:
            self._apply_edges(tick.t_ns)
        self._channels.update(tick)
        self._signals.on_spikes(tick)
        self._triggers.update(tick)
        self._triggers.pressed.clear()
        commands = self._machine.step(tick)
        self.experiment.sample_events(tick)
        return commands

    def on_activity(
        self, frame: int, t_scan_ns: int, plane: int, fields: Sequence[str], values: NDArray[np.float32]
    ) -> Sequence[ProtocolCommand]:
        """Commands that follow from one `activity` message.

        Parameters
        ----------
        frame, t_scan_ns, plane : int
        fields : sequence of str
            Names of the rows of `values`.
        values : float32 ndarray, shape (n_fields, n_rois), NaN where invalid, read
        """
        tick = self._tick
        if tick.t_ns == NEVER_NS:
            return ()
        tick.kind = TickKind.ACTIVITY
        tick.t_ns = max(tick.t_ns, t_scan_ns)
        tick.events, tick.rows = tick.events[:0], tick.rows[:0]
        self._channels.update(tick)
        commands: Sequence[ProtocolCommand] = ()
        if self._signals.on_activity(plane, fields, values, tick.t_ns):
            self._triggers.update(tick)
            commands = self._machine.step(tick)
        self.experiment.sample_activity(tick, frame, plane, fields, values)
        return commands

    def on_sync(self, line: str, is_rising: bool, t_edge_ns: int) -> None:
        """An edge of a behaviour line; it counts in the first `spikes` message scanned after it."""
        if line in self._triggers.lines:
            self._edges.append((t_edge_ns, line, is_rising))

    def on_key(self, key: str) -> None:
        """A mark that a person gave; it counts in the next `spikes` message."""
        self._triggers.pressed.add(key)

    def on_outcome(self, request: PulseRequest, outcome: Outcome) -> None:
        """What the interlock made of a request of this protocol. Changes what is counted, never what is commanded."""
        self.experiment.take_outcome(request, outcome)

    def state(self) -> dict[str, Any]:
        """The fields of `messages.StateHeader` that the protocol knows."""
        return {"protocol": self.config.name, "protocol_phase": self.phase, **self.experiment.state()}

    def conclude(self) -> dict[str, Any]:
        """Effects and maps of the session, in full; may take seconds."""
        return {"protocol": self.config.name, "seed": self.config.design.seed, **self.experiment.conclude()}

    def _apply_edges(self, t_ns: int) -> None:
        """Bring the lines to `t_ns`; edges scanned later wait."""
        for state in self._triggers.lines.values():
            state.rose = state.fell = False
        waiting = []
        for t_edge_ns, line, is_rising in sorted(self._edges):
            if t_edge_ns > t_ns:
                waiting.append((t_edge_ns, line, is_rising))
                continue
            state = self._triggers.lines[line]
            state.high, state.known = is_rising, True
            state.rose |= is_rising
            state.fell |= not is_rising
        self._edges = waiting


def _notes(config: ProtocolConfig, groups: dict[str, Any], lights: dict[str, Light]) -> list[str]:
    notes = []
    for name, group in groups.items():
        if len(group.ids) < group.wanted:
            kind = "sites" if group.is_sites else "cells"
            notes.append(f"{group.wanted} {kind} wanted for {name!r}, there are {len(group.ids)}")
        if isinstance(config.cells[name], MostExcitableCells):
            notes.append(f"{name!r} is chosen by an excitability map: it holds for the calibration it was made with")
    for name, light in lights.items():
        most = max((len(one.yx_px) for one in light.stimuli), default=0)
        if most > MAX_TARGETS:
            notes.append(f"{most} targets of {name!r}, at most {MAX_TARGETS} at once: all will be refused")
    return notes
