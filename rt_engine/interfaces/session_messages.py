"""Headers of the session, its services and their clocks."""

from __future__ import annotations

from typing import Any

import msgspec

from rt_engine.interfaces.message_header import Header


class SessionHeader(Header, kw_only=True):
    """Topic ``session``: all that a late joiner or a file needs."""

    wall_time_utc: str
    t_wall_ns: int
    t_monotonic_ns: int
    state: str
    rig: str
    protocol: str | None
    versions: dict[str, str]
    git_hash: str | None
    seeds: dict[str, int]
    subject: str | None
    config: dict[str, Any]


class ClockHeader(Header, kw_only=True):
    """Topic ``clock``: how another host's clock relates to the supervisor's: ``supervisor = peer + offset_ns``.

    `peer` is the address in `ports.hosts`. The error was at most `uncertainty_ns` at `t_measured_ns` (of the
    supervisor's clock) and may grow by 500 ppm of the time since.
    """

    peer: str
    offset_ns: int
    uncertainty_ns: int
    t_measured_ns: int | None = None


class HealthHeader(Header, kw_only=True):
    """Topic ``health``, ten times a second from every service; `fates`: how many frames met which fate so far."""

    state: str
    dropped: int
    gaps: int
    late: int
    queue: int
    rss_bytes: int
    latency_ms: dict[str, dict[str, float]]
    fates: dict[str, int] = msgspec.field(default_factory=dict)


class LogHeader(Header, kw_only=True):
    """Topic ``log``: a sentence for people."""

    level: str
    text: str
    fields: dict[str, Any]
