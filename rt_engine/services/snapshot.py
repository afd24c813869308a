"""Keeps the newest numbers of a run, from the messages of its services."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

import numpy as np

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    Header,
    HealthHeader,
    LogHeader,
    Mode,
    Phase,
    RoisHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
)
from rt_engine.services.run_view import Snapshot
from rt_engine.transport.plane_counter import PlaneCounter

_WINDOW_NS = 5 * NS_PER_S
_INTERVALS = ("scan_to_receive", "receive_to_decision", "decision_to_command", "scan_to_command")
"""In the order in which they pass."""


class SnapshotKeeper:
    """Folds messages into a `Snapshot`. Memory is bounded by the five seconds of times it keeps for rates."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.last_frames: dict[int, int] = {}
        self.live_since_ns = 0
        self._frame_times_ns: deque[int] = deque(maxlen=2000)
        self._event_times_ns: deque[int] = deque(maxlen=20_000)
        self._stim: Counter[str] = Counter()
        self._n_rois: dict[int, int] = {}
        self._losses: dict[str, int] = {}
        self._fates: dict[str, dict[str, int]] = {}
        self._latency_ms: dict[str, dict[str, dict[str, float]]] = {}
        self._logs: deque[tuple[str, str]] = deque(maxlen=100)
        self._live_frames: dict[int, PlaneCounter] = {}

    def has_seen(self, last_frames: Iterable[Sequence[int]]) -> bool:
        """True if inference has answered these frames, given as ``[plane, frame]``."""
        return all(self.last_frames.get(plane, -1) >= frame for plane, frame in last_frames)

    def begin_live(self, now_ns: int, duration_s: float | None) -> None:
        """Live frames, losses and events are counted from here on."""
        self.live_since_ns = now_ns
        self.snapshot.duration_s = duration_s
        self.snapshot.frames = self.snapshot.frames_lost = self.snapshot.events = 0

    def take(self, topic: str, header: Header, payload: list[bytes]) -> None:
        """Fold in one message."""
        match header:
            case SpikesHeader():
                self._take_spikes(header, payload)
            case StimHeader(phase=Phase.DONE):
                self._take_stim(header)
            case StateHeader():
                self.snapshot.interlock = header.interlock
                self.snapshot.trip = str(header.trips[-1].get("text", "")) if header.interlock == "tripped" else ""
            case HealthHeader():
                self._losses[header.source] = header.dropped
                self._fates[header.source] = header.fates
                self._latency_ms[header.source] = self._latency_ms.get(header.source, {}) | header.latency_ms
            case RoisHeader():
                self._n_rois[header.plane] = sum(roi.kind != "removed" for roi in header.rois)
                self.snapshot.n_rois = sum(self._n_rois.values())
            case LogHeader():
                self._logs.append((header.level, header.text))

    def take_logs(self) -> list[tuple[str, str]]:
        """Sentences since the last call."""
        logs = list(self._logs)
        self._logs.clear()
        return logs

    def refresh(self, now_ns: int) -> Snapshot:
        """The snapshot with rates as of now."""
        snapshot = self.snapshot
        for times in (self._frame_times_ns, self._event_times_ns):
            while times and times[0] < now_ns - _WINDOW_NS:
                times.popleft()
        window_s = min(_WINDOW_NS, max(now_ns - self.live_since_ns, NS_PER_S)) / NS_PER_S
        snapshot.frame_rate_hz = len(self._frame_times_ns) / window_s
        snapshot.events_per_s = len(self._event_times_ns) / window_s
        snapshot.seconds = (now_ns - self.live_since_ns) / NS_PER_S if self.live_since_ns else 0.0
        snapshot.stim = dict(self._stim)
        snapshot.latency_ms = self._slowest()
        snapshot.dropped = sum(self._losses.values())
        fates: Counter[str] = Counter()
        for counts in self._fates.values():
            fates.update(counts)
        snapshot.fates = dict(fates)
        return snapshot

    def _slowest(self) -> dict[str, dict[str, float]]:
        """Every interval as the slowest of the services that measure it has it: of several planes the last decides."""
        slowest: dict[str, dict[str, float]] = {}
        for name in _INTERVALS:
            known = [figures[name] for figures in self._latency_ms.values() if name in figures]
            if known:
                slowest[name] = max(known, key=lambda figures: figures.get("p99", 0.0))
        return slowest

    def _take_spikes(self, header: SpikesHeader, payload: list[bytes]) -> None:
        snapshot = self.snapshot
        last_frame = self.last_frames.get(header.plane, -1)
        is_new = header.frame > last_frame
        self.last_frames[header.plane] = max(last_frame, header.frame)
        if header.mode is not Mode.LIVE:
            snapshot.frames += is_new and self.live_since_ns == 0
            if header.plane in self._live_frames:
                # A pause loses no frames.
                self._live_frames[header.plane].see(header.frame, header.volume)
            return
        snapshot.frames += is_new
        snapshot.plane_frames[header.plane] = snapshot.plane_frames.get(header.plane, 0) + is_new
        counter = self._live_frames.setdefault(header.plane, PlaneCounter())
        if header.volume is not None or not counter.counts_volumes:
            snapshot.frames_lost += counter.see(header.frame, header.volume)[1]
        self._frame_times_ns.append(header.t_sent_ns)
        if not header.n_events or not payload:
            return
        events = np.frombuffer(payload[0], EVENT_DTYPE)
        snapshot.events += len(events)
        self._event_times_ns.extend([header.t_sent_ns] * len(events))
        for event in events[:3]:
            snapshot.last_events.append(
                f"cell {event['roi_id']}: {event['n_spikes']:.0f} spike(s), p {event['probability']:.2f}, "
                f"z {event['z']:.1f}, frame {event['event_frame']}"
            )

    def _take_stim(self, header: StimHeader) -> None:
        outcome = str(header.outcome)
        self._stim[outcome] += 1
        power = f"{max(header.power_uw) / 1000:.1f} mW" if header.power_uw else ""
        self.snapshot.last_light.append(f"{outcome} after cell {header.roi_ids} {power} {header.reason or ''}".strip())
