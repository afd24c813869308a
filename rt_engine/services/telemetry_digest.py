"""Folds the messages of a rig into what goes to MQTT: summaries, changes, and what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    Header,
    HealthHeader,
    LogHeader,
    Phase,
    RoisHeader,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
)
from rt_engine.interfaces.mqtt_schema import (
    Dose,
    Heartbeat,
    InterlockState,
    Latency,
    LogLine,
    Losses,
    Mark,
    Message,
    Published,
    Rates,
    SessionFacts,
    Stim,
    Trip,
    encode_published,
)
from rt_engine.services.protocol_driver import MARK_LEVEL, MESSAGE_LEVEL
from rt_engine.transport.mqtt_outbox import MqttOutbox, Outgoing

_RATES_PERIOD_NS = NS_PER_S
_LATENCY_PERIOD_NS = 5 * NS_PER_S
_MOST_CELLS = 64
_PROBLEMS = ("warning", "error")
_CLIPPED = 2000

WallClock = Callable[[int], int]


class TelemetryDigest:
    """Takes wire messages, fills the outbox. Memory is bounded by the number of cells and services.

    Parameters
    ----------
    outbox : MqttOutbox
    session : str
    t_start_ns : int
        Monotonic time of the start of the session.
    wall_ms : callable
        Monotonic nanoseconds to wall time, milliseconds since 1970.

    Attributes
    ----------
    mqtt_refused : int
        Commands that were refused so far; told with the losses.
    """

    def __init__(self, outbox: MqttOutbox, session: str, t_start_ns: int, wall_ms: WallClock) -> None:
        self._outbox, self._session, self._wall_ms = outbox, session, wall_ms
        self._t_start_ns = t_start_ns
        self._rates_due_ns = self._latency_due_ns = 0
        self._rates_since_ns: int | None = None
        self._by_cell: Counter[int] = Counter()
        self._frames = 0
        self._n_cells: dict[int, int] = {}
        self._health: dict[str, HealthHeader] = {}
        self._interlock = ""
        self._last: dict[str, dict[str, Any]] = {}
        self._last_trip_ns = 0
        self._now_ns = t_start_ns
        self.mqtt_refused = 0

    def take(self, topic: str, header: Header, payload: bytes, now_ns: int) -> None:
        """Fold in one message."""
        self._now_ns = now_ns
        match header:
            case SpikesHeader():
                self._frames += 1
                self._count(header, payload)
            case HealthHeader():
                self._health[header.source] = header
            case StateHeader():
                self._take_state(header)
            case StimHeader(phase=Phase.DONE):
                self._take_stim(header)
            case LogHeader():
                self._take_log(header)
            case SessionHeader():
                self._take_session(header)
            case RoisHeader():
                self._n_cells[header.plane] = sum(roi.kind != "removed" for roi in header.rois)

    def tick(self, now_ns: int) -> None:
        """What is published again and again, when it is due."""
        self._now_ns = now_ns
        if now_ns >= self._rates_due_ns:
            self._rates_due_ns = now_ns + _RATES_PERIOD_NS
            self._publish_rates(now_ns)
            self._publish_losses()
            services = {name: health.state for name, health in self._health.items()}
            uptime_s = (now_ns - self._t_start_ns) / NS_PER_S
            beat = Heartbeat(**self._stamp(), uptime_s=uptime_s, interlock=self._interlock, services=services)
            self._outbox.put_latest(Outgoing("heartbeat", encode_published(beat)))
        if now_ns >= self._latency_due_ns:
            self._latency_due_ns = now_ns + _LATENCY_PERIOD_NS
            services_ms = {name: health.latency_ms for name, health in self._health.items() if health.latency_ms}
            if services_ms:
                told = Latency(**self._stamp(), services=services_ms)
                self._outbox.put_latest(Outgoing("latency", encode_published(told)))

    def _stamp(self) -> dict[str, Any]:
        return {"session": self._session, "t_unix_ms": self._wall_ms(self._now_ns)}

    def _event(self, topic: str, payload: Published) -> None:
        self._outbox.put_event(Outgoing(topic, encode_published(payload), qos=1))

    def _if_changed(self, topic: str, kind: type[Published], facts: dict[str, Any]) -> None:
        if self._last.get(topic) != facts:
            self._last[topic] = facts
            payload = encode_published(kind(**self._stamp(), **facts))
            self._outbox.put_latest(Outgoing(topic, payload, qos=1, retain=True))

    def _count(self, header: SpikesHeader, payload: bytes) -> None:
        if header.n_events and len(payload) == header.n_events * EVENT_DTYPE.itemsize:
            self._by_cell.update(np.frombuffer(payload, EVENT_DTYPE)["roi_id"].tolist())

    def _publish_rates(self, now_ns: int) -> None:
        since_ns, self._rates_since_ns = self._rates_since_ns, now_ns
        counts, frames = self._by_cell, self._frames
        self._by_cell, self._frames = Counter(), 0
        if since_ns is None:
            return
        window_s = (now_ns - since_ns) / NS_PER_S
        n_cells, events = sum(self._n_cells.values()), counts.total()
        rates = Rates(
            **self._stamp(),
            window_s=window_s,
            n_cells=n_cells,
            events=events,
            rate_hz=events / window_s / n_cells if n_cells and window_s > 0 else None,
            active_cells=len(counts),
            frames=frames,
            by_cell={str(roi_id): n for roi_id, n in counts.most_common(_MOST_CELLS)},
        )
        self._outbox.put_latest(Outgoing("rates", encode_published(rates)))

    def _publish_losses(self) -> None:
        fates: Counter[str] = Counter()
        for health in self._health.values():
            fates.update(health.fates)
        losses = Losses(
            **self._stamp(),
            services={
                name: {"dropped": health.dropped, "gaps": health.gaps, "late": health.late, "queue": health.queue}
                for name, health in self._health.items()
            },
            fates=dict(fates),
            mqtt_dropped=self._outbox.dropped,
            mqtt_refused=self.mqtt_refused,
        )
        self._outbox.put_latest(Outgoing("losses", encode_published(losses)))

    def _take_state(self, header: StateHeader) -> None:
        self._interlock = header.interlock
        for trip in header.trips:
            t_ns = trip.get("t_ns")
            if isinstance(t_ns, int) and t_ns > self._last_trip_ns:
                self._last_trip_ns = t_ns
                self._publish_trip(trip)
        facts = {
            "interlock": header.interlock,
            "inhibited": header.inhibited,
            "n_trips": len(header.trips),
            "trip": header.trips[-1] if header.trips and header.interlock == "tripped" else None,
            "preconditions": header.preconditions,
            "remedies": header.remedies,
            "protocol": header.protocol,
            "protocol_phase": header.protocol_phase,
            "trial": header.trial,
            "arm": header.arm,
            "counts": header.counts,
            "effect": header.effect,
        }
        self._if_changed("state", InterlockState, facts)
        self._if_changed("dose", Dose, {"outputs": header.dose, "session_dose": header.session_dose})

    def _publish_trip(self, trip: dict[str, Any]) -> None:
        dark_ns = trip.get("dark_after_ns")
        self._event(
            "trip",
            Trip(
                **self._stamp(),
                signal=str(trip.get("signal")),
                text=str(trip.get("text")),
                value=str(trip.get("value")),
                limit=str(trip.get("limit")),
                dark_after_ms=dark_ns / NS_PER_MS if isinstance(dark_ns, int) else None,
            ),
        )

    def _take_stim(self, header: StimHeader) -> None:
        t_command_ns = header.t_command_ns
        self._event(
            "stim",
            Stim(
                **self._stamp(),
                decision_id=header.decision_id,
                outcome=str(header.outcome),
                reason=header.reason,
                rule=header.rule,
                arm=header.arm,
                plane=header.plane,
                frame=header.frame,
                roi_ids=header.roi_ids,
                target_ids=header.target_ids,
                output=header.output,
                pulses=header.pulses,
                width_us=header.width_us,
                power_uw=header.power_uw,
                energy_nj=header.energy_nj,
                scan_to_command_ms=None if t_command_ns is None else (t_command_ns - header.t_scan_ns) / NS_PER_MS,
                t_command_unix_ms=None if t_command_ns is None else self._wall_ms(t_command_ns),
            ),
        )

    def _take_log(self, header: LogHeader) -> None:
        text = header.text[:_CLIPPED]
        if header.level == MARK_LEVEL:
            source = str(header.fields.get("operator") or header.source)
            self._event("mark", Mark(**self._stamp(), text=text, source=source))
        elif header.level == MESSAGE_LEVEL:
            t_scan_ns = header.fields.get("t_scan_ns")
            told = Message(
                **self._stamp(),
                text=text,
                t_scan_unix_ms=self._wall_ms(t_scan_ns) if isinstance(t_scan_ns, int) else None,
            )
            self._event(f"message/{_level(str(header.fields.get('topic')))}", told)
        elif header.level in _PROBLEMS:
            self._event("log", LogLine(**self._stamp(), level=header.level, source=header.source, text=text))

    def _take_session(self, header: SessionHeader) -> None:
        facts = {
            "rig": header.rig,
            "phase": header.state,
            "protocol": header.protocol,
            "subject": header.subject,
            "started_utc": header.wall_time_utc,
        }
        self._if_changed("session", SessionFacts, facts)


def _level(topic: str) -> str:
    """A topic of a protocol as levels below ours: no wildcard, nothing empty, nothing that a broker would refuse."""
    kept = "".join("_" if one in "#+$" or not one.isprintable() else one for one in topic)[:200]
    return kept.strip("/") or "_"
