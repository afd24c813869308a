"""Figures of a running rig for Prometheus, on loopback; gathered when somebody asks."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rt_engine.interfaces.clock import NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.errors import ServiceError
from rt_engine.interfaces.messages import (
    Header,
    HealthHeader,
    Phase,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
)

INTERLOCK_STATES = ("disarmed", "armed", "firing", "tripped")
SILENT_NS = 5 * NS_PER_S
"""The supervisor repeats topic `session` once a second; after such a silence it is not there."""
_HEALTH_COUNTS = {
    "dropped": "messages that were not sent or could not be used",
    "gaps": "sequence gaps",
    "late": "messages out of turn: repeated, or after a later one (frames past their deadline: spikeloop_frames)",
}


class RigMetrics(Collector):
    """Keeps the newest figures; `collect` is called by the thread of the HTTP server."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or MonotonicClock()
        self._supervisor_ns: int | None = None
        self._lock = threading.Lock()
        self._health: dict[str, HealthHeader] = {}
        self._state: StateHeader | None = None
        self._stim: Counter[str] = Counter()
        self._frames: Counter[int] = Counter()
        self._events: Counter[int] = Counter()
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def serve(self, port: int) -> None:
        """Begin to answer on 127.0.0.1.

        Raises
        ------
        ServiceError
            The port is taken.
        """
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, addr="127.0.0.1", registry=registry)
        except OSError as error:
            text = f"no figures for Prometheus: port {port} of 127.0.0.1 cannot be used: {error.strerror}"
            raise ServiceError(text, "set metrics.port to a free one") from error

    def close(self) -> None:
        """Stop answering."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(5)

    def take(self, header: Header) -> None:
        """Fold in one message."""
        with self._lock:
            match header:
                case SpikesHeader():
                    self._frames[header.plane] += 1
                    self._events[header.plane] += header.n_events
                case HealthHeader():
                    self._health[header.source] = header
                case SessionHeader():
                    self._supervisor_ns = self._clock.now_ns()
                case StateHeader():
                    self._state = header
                case StimHeader(phase=Phase.DONE):
                    self._stim[str(header.outcome)] += 1

    def collect(self) -> Iterator[Metric]:
        """Every figure as it is now."""
        with self._lock:
            yield from [*self._of_planes(), *self._of_services(), *self._of_light()]

    def _of_planes(self) -> Iterator[Metric]:
        frames = CounterMetricFamily("spikeloop_messages", "frames or strips decided", labels=["plane"])
        events = CounterMetricFamily("spikeloop_events", "inferred events", labels=["plane"])
        for plane, n in self._frames.items():
            frames.add_metric([str(plane)], n)
            events.add_metric([str(plane)], self._events[plane])
        yield from (frames, events)

    def _of_services(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("spikeloop_service", "1 for the state a service is in", labels=["service", "state"])
        memory = GaugeMetricFamily("spikeloop_resident_bytes", "memory of a service", labels=["service"])
        waiting = GaugeMetricFamily("spikeloop_queue", "messages that wait", labels=["service"])
        latency = GaugeMetricFamily(
            "spikeloop_latency_ms", "intervals of the loop", labels=["service", "interval", "quantile"]
        )
        for name, health in self._health.items():
            up.add_metric([name, health.state], 1)
            memory.add_metric([name], health.rss_bytes)
            waiting.add_metric([name], health.queue)
            for interval, figures in health.latency_ms.items():
                for quantile, value in figures.items():
                    latency.add_metric([name, interval, quantile], value)
        if self._supervisor_ns is not None:
            is_silent = self._clock.now_ns() - self._supervisor_ns > SILENT_NS
            up.add_metric(["supervisor", "silent" if is_silent else "ready"], 1)
        yield from (up, memory, waiting, latency)
        for field, text in _HEALTH_COUNTS.items():
            family = CounterMetricFamily(f"spikeloop_{field}", text, labels=["service"])
            for name, health in self._health.items():
                family.add_metric([name], getattr(health, field))
            yield family
        fates: Counter[str] = Counter()
        for health in self._health.values():
            fates.update(health.fates)
        family = CounterMetricFamily("spikeloop_frames", "frames by what became of them", labels=["fate"])
        for fate, n in fates.items():
            family.add_metric([fate], n)
        yield family

    def _of_light(self) -> Iterator[Metric]:
        outcomes = CounterMetricFamily("spikeloop_stim", "decisions by outcome", labels=["outcome"])
        for outcome, n in self._stim.items():
            outcomes.add_metric([outcome], n)
        yield outcomes
        lock = GaugeMetricFamily("spikeloop_interlock", "1 for the state of the interlock", labels=["state"])
        trips = CounterMetricFamily("spikeloop_trips", "trips of this session")
        dose = GaugeMetricFamily("spikeloop_dose_fraction", "used share of a limit", labels=["output", "limit"])
        state = self._state
        if state is not None:
            for name in INTERLOCK_STATES:
                lock.add_metric([name], float(state.interlock == name))
            trips.add_metric([], len(state.trips))
            for output, totals in state.dose.items():
                for limit, fraction in (totals.get("fractions") or {}).items():
                    dose.add_metric([output, str(limit)], float(fraction))
        yield from (lock, trips, dose)
