"""How long each part of the loop took, frame by frame, from the headers that come back."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.messages import SpikesHeader


class DecisionTimes(msgspec.Struct):
    """What the driver reads of a `spikes` header."""

    frame: int
    line0: int
    n_lines: int
    mode: str
    t_scan_ns: int
    t_received_ns: int
    t_decided_ns: int
    n_events: int


class CommandTimes(msgspec.Struct):
    """What the driver reads of a `stim` header."""

    frame: int
    phase: str
    outcome: str | None
    reason: str | None
    t_scan_ns: int
    t_decided_ns: int
    t_command_ns: int | None


DECISIONS = msgspec.msgpack.Decoder(DecisionTimes)
COMMANDS = msgspec.msgpack.Decoder(CommandTimes)


class Intervals(NamedTuple):
    """Nanoseconds, int64 ndarrays; one entry a frame, of the last two one a command.

    `scan_to_arrival` ends when the decision has reached another process.
    """

    scan_to_receive: NDArray[np.int64]
    receive_to_decision: NDArray[np.int64]
    scan_to_arrival: NDArray[np.int64]
    decision_to_command: NDArray[np.int64]
    scan_to_command: NDArray[np.int64]
    duration_s: float


class RoundTimes:
    """Collects the intervals of one round."""

    def __init__(self, last_frame: int = -1) -> None:
        self._decisions: list[tuple[int, int, int]] = []
        self._commands: list[tuple[int, int]] = []
        self._last_scan_ns = 0
        self.n_without_command = self.n_refused = 0
        self.last_frame = last_frame

    def decided(self, spikes: DecisionTimes | SpikesHeader, arrived_ns: int | None) -> None:
        """Note one decision."""
        scan_ns = spikes.t_scan_ns
        arrival_ns = 0 if arrived_ns is None else arrived_ns - scan_ns
        times = spikes.t_received_ns - scan_ns, spikes.t_decided_ns - spikes.t_received_ns, arrival_ns
        self._decisions.append(times)

    def commanded(self, stim: CommandTimes) -> None:
        """Note the first command of a frame."""
        if stim.t_command_ns is None:
            self.n_refused += 1
        elif stim.t_scan_ns != self._last_scan_ns:
            self._last_scan_ns = stim.t_scan_ns
            self._commands.append((stim.t_command_ns - stim.t_decided_ns, stim.t_command_ns - stim.t_scan_ns))

    def intervals(self, duration_s: float) -> Intervals:
        """All that was noted."""
        decisions = np.array(self._decisions, np.int64).reshape(-1, 3)
        commands = np.array(self._commands, np.int64).reshape(-1, 2)
        receive, decide, arrive = decisions.T
        command, whole = commands.T
        return Intervals(receive, decide, arrive, command, whole, duration_s)
