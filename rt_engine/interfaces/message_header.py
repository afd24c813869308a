"""Keys that the header of every topic has."""

from __future__ import annotations

import msgspec

WIRE_VERSION = 1


class Header(msgspec.Struct, kw_only=True):
    """Keys that every header has."""

    v: int = WIRE_VERSION
    session: str = ""
    source: str
    host: str
    boot_id: str
    seq: int
    t_sent_ns: int
