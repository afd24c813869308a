"""Drives the protocol of a session: messages of the engine → protocol → interlock → topic `stim`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.load import check_against_limits, load_protocol
from protocols.spike_triggered import SpikeTriggered
from rt_engine.interfaces.errors import SafetyError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Outcome, Phase, RoisHeader, SpikesHeader, StimHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.pipeline.histogram import LatencyHistogram
from rt_engine.safety.interlock import Interlock
from rt_engine.services.cells_of_planes import CellsOfPlanes
from rt_engine.transport.publisher import Publisher

_COUNTED = (Outcome.DELIVERED, Outcome.WITHHELD, Outcome.DRY_RUN)


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
    """

    def __init__(
        self, rig: RigConfig, interlock: Interlock, publisher: Publisher, log: Callable[[str, str], None]
    ) -> None:
        self._rig, self._interlock, self._publisher, self._log = rig, interlock, publisher, log
        self._protocol: SpikeTriggered | None = None
        self._cells = CellsOfPlanes(rig.planes_inferred)
        self._trial = 0
        self._intervals = {name: LatencyHistogram() for name in ("decision_to_command", "scan_to_command")}
        self.name: str | None = None

    @property
    def has_rois(self) -> bool:
        """True once the engine of every plane has told its cells."""
        return self._cells.table() is not None

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals of the decisions so far."""
        return {name: histogram.summary_ms() for name, histogram in self._intervals.items()}

    def state(self) -> dict[str, Any]:
        """The fields of `messages.StateHeader` that the protocol knows."""
        return {
            "protocol": self.name,
            "protocol_phase": "running" if self._protocol else None,
            "trial": self._trial,
            "arm": None,
            "effect": None,
        }

    def load(self, path: Path) -> dict[str, Any]:
        """Load a protocol for the cells of the present calibration; disarms.

        Raises
        ------
        ConfigError
            The file is wrong, or asks for what the limits can never let pass.
        SafetyError
            No cells are known yet.
        """
        protocol = load_protocol(path)
        check_against_limits(protocol, {name: output.limits for name, output in self._rig.outputs.items()}, str(path))
        rois = self._cells.table()
        if rois is None:
            raise SafetyError("no cells are known yet", "load a calibration first")
        self._interlock.set_protocol_limits(protocol.limits)
        self._protocol = SpikeTriggered(protocol, rois)
        self.name = protocol.name
        for note in self._protocol.notes:
            self._log("warning", f"protocol {protocol.name}: {note}")
        return {
            "protocol": protocol.name,
            "cells": list(self._protocol.cell_ids),
            "targets": list(self._protocol.target_ids),
        }

    def take_rois(self, header: RoisHeader, payload: bytes) -> None:
        """Learn the cells of a plane from a `rois` message with footprints."""
        self._cells.take(header, payload)

    def take_spikes(self, header: SpikesHeader, payload: bytes) -> bool:
        """Decide on one `spikes` message, unless it is late; False if its payload does not fit its header."""
        if not header.n_events or self._protocol is None or header.late:
            return True
        if len(payload) != header.n_events * EVENT_DTYPE.itemsize:
            return False
        events: NDArray[Any] = np.frombuffer(payload, EVENT_DTYPE)
        requests = self._protocol.on_spikes(
            header.frame, header.t_scan_ns, header.t_decided_ns, header.mode, events, header.plane
        )
        for request in requests:
            decision = self._interlock.request(request)
            self.publish(request, decision, Phase.DONE)
            self._trial += decision.outcome in _COUNTED
            if decision.t_command_ns is not None:
                self._intervals["decision_to_command"].record(decision.t_command_ns - header.t_decided_ns)
                self._intervals["scan_to_command"].record(decision.t_command_ns - header.t_scan_ns)
        return True

    def publish(self, request: PulseRequest, decision: Decision, phase: Phase) -> None:
        """Send one phase of a decision on topic `stim`."""
        header = StimHeader(
            **self._publisher.stamp("stim"),
            decision_id=decision.decision_id,
            phase=phase,
            rule=request.rule,
            arm=request.arm,
            outcome=decision.outcome if phase is Phase.DONE else None,
            reason=decision.reason,
            plane=request.plane,
            frame=request.frame,
            roi_ids=list(request.roi_ids),
            target_ids=list(request.target_ids),
            target_planes=list(request.target_planes),
            pattern_id=None,
            t_scan_ns=request.t_scan_ns,
            t_decided_ns=request.t_decided_ns,
            t_command_ns=decision.t_command_ns,
            t_output_ns=None,
            output=decision.output,
            pulses=decision.pulses,
            width_us=decision.width_us,
            power_uw=list(decision.power_uw) if decision.power_uw else None,
            energy_nj=list(decision.energy_nj) if decision.energy_nj else None,
        )
        self._publisher.send("stim", header)
