"""Heartbeats of the services, and the delays that the messages themselves tell."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gui.model.rings import RowRing
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.messages import HealthHeader, SpikesHeader, StimHeader

INTERVALS = ("scan_to_receive", "receive_to_decision", "decision_to_command", "scan_to_command", "scan_to_output")
"""In the order in which they pass."""
STALE_NS = NS_PER_S
MAX_SOURCES = 64
_KEPT_VALUES = 3000
_LONGEST_MS = 1e6


@dataclass(slots=True)
class Heartbeat:
    """The newest `health` message of one service."""

    header: HealthHeader
    t_heard_ns: int


class Delays:
    """The last values of every interval, milliseconds."""

    def __init__(self) -> None:
        self._rings = {name: RowRing(_KEPT_VALUES, 1) for name in INTERVALS}

    def record_ns(self, name: str, value_ns: int) -> None:
        """Note one delay; what cannot be one (below 0, beyond minutes) is left out."""
        if 0 <= value_ns < _LONGEST_MS * NS_PER_MS:
            self._rings[name].append(value_ns / NS_PER_MS)

    def values_ms(self, name: str) -> NDArray[np.float32]:
        """The last values of one interval, oldest first."""
        return self._rings[name].newest()[:, 0]


@dataclass(slots=True)
class Health:
    """What the services say of themselves, and what their messages tell of the loop.

    Attributes
    ----------
    heartbeats : dict of str to Heartbeat
        By source.
    delays : Delays
    told_ms : dict of str to dict
        p50, p99, p999, max of every interval since the start, in the words of the services.
    frame_times_ns : RowRing
        When the last frames were decided, for the rate.
    """

    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)
    delays: Delays = field(default_factory=Delays)
    told_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    frame_times_ns: RowRing = field(default_factory=lambda: RowRing(256, 1, np.int64))
    frames_lost: int = 0
    n_unheard: int = 0
    """Messages that did not reach the window: their frames are not lost, only not seen here."""
    _last_frame: dict[int, int] = field(default_factory=dict)
    _last_volume: dict[int, tuple[int, int]] = field(default_factory=dict)
    _step: int = 1
    _last_seq: dict[int, tuple[str, int]] = field(default_factory=dict)

    def take_health(self, header: HealthHeader, t_heard_ns: int) -> None:
        """Take one heartbeat."""
        if header.source not in self.heartbeats and len(self.heartbeats) >= MAX_SOURCES:
            return
        self.heartbeats[header.source] = Heartbeat(header, t_heard_ns)
        for name, values in list(header.latency_ms.items())[:32]:
            self.told_ms[name[:40]] = values
        while len(self.told_ms) > MAX_SOURCES:
            del self.told_ms[next(iter(self.told_ms))]

    def take_spikes(self, header: SpikesHeader) -> None:
        """Delays and losses of one frame or strip."""
        self.delays.record_ns("scan_to_receive", header.t_received_ns - header.t_scan_ns)
        self.delays.record_ns("receive_to_decision", header.t_decided_ns - header.t_received_ns)
        unheard = self._unheard(header)
        before = self._last_frame.get(header.plane)
        if header.frame == before:
            return
        step = self._step_of(header)
        if before is not None and not unheard and 0 < header.frame - before < 1_000_000:
            self.frames_lost += (header.frame - before - 1) // step
        if before is not None or len(self._last_frame) < MAX_SOURCES:
            self._last_frame[header.plane] = header.frame
        if header.plane == min(self._last_frame) and 0 <= header.t_decided_ns < 2**62:
            self.frame_times_ns.append(header.t_decided_ns)

    def _step_of(self, header: SpikesHeader) -> int:
        """How far the frame counter moves from one frame of a plane to its next: it runs through all of a volume."""
        if header.volume is None:
            return 1
        last = self._last_volume.get(header.plane)
        if header.plane in self._last_volume or len(self._last_volume) < MAX_SOURCES:
            self._last_volume[header.plane] = (header.volume, header.frame)
        if last is not None and header.volume == last[0] + 1 and header.frame > last[1]:
            self._step = header.frame - last[1]
        return self._step

    def _unheard(self, header: SpikesHeader) -> int:
        """How many messages before this one the window has missed."""
        boot_id, seq = self._last_seq.get(header.plane, (header.boot_id, header.seq - 1))
        if header.plane in self._last_seq or len(self._last_seq) < MAX_SOURCES:
            self._last_seq[header.plane] = (header.boot_id, header.seq)
        missed = max(0, header.seq - seq - 1) if boot_id == header.boot_id else 1
        self.n_unheard += missed
        return missed

    def take_stim(self, header: StimHeader) -> None:
        """Delays of one decision."""
        if header.t_command_ns is not None:
            self.delays.record_ns("decision_to_command", header.t_command_ns - header.t_decided_ns)
            self.delays.record_ns("scan_to_command", header.t_command_ns - header.t_scan_ns)
        if header.t_output_ns is not None:
            self.delays.record_ns("scan_to_output", header.t_output_ns - header.t_scan_ns)

    def frame_rate_hz(self) -> float:
        """Frames decided a second, over the last frames; NaN before there are two."""
        times = self.frame_times_ns.newest()[:, 0]
        if len(times) < 2 or times[-1] <= times[0]:
            return math.nan
        return (len(times) - 1) * NS_PER_S / float(times[-1] - times[0])

    def age_ns(self, source: str, now_ns: int) -> int | None:
        """Time since a service was heard; None if never."""
        heartbeat = self.heartbeats.get(source)
        return None if heartbeat is None else now_ns - heartbeat.t_heard_ns
