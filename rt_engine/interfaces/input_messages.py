"""Headers of lines, and of what a protocol took in besides the messages of the engine."""

from __future__ import annotations

from enum import StrEnum

from rt_engine.interfaces.message_header import Header


class SyncHeader(Header, kw_only=True):
    """Topic ``sync``: an edge of a digital line, or samples of an analogue one.

    `kind` ``level``, twice a second: the line as it is, `edge` ``high`` or ``low`` and the time it was read.
    """

    line: str
    kind: str
    t_edge_ns: int | None
    edge: str | None
    t_first_ns: int | None
    sample_rate_hz: float | None
    dtype: str | None


class InputKind(StrEnum):
    """What came to a protocol besides the messages of the engine."""

    EDGE = "edge"
    KEY = "key"
    LOAD = "load"
    PARTNER = "partner"
    ACTIVITY = "activity"


class InputHeader(Header, kw_only=True):
    """Topic ``input``: an edge of a line, or a key, that the protocol has taken in, and its place in what it was told.

    A key is a mark that a person gave, a start of a trial, or a request from outside. ``load``: the protocol `name`
    began anew here, with the cells of then; the payload is its file (YAML), `sha256` the digest of that. ``activity``:
    from here on that protocol hears `activity`, which it did not before. ``partner``: the protocol that begins next is
    yoked to the session or file `name`; the payload is its pulse times (JSON).

    `after` names the last message that the protocol had been given: volume
    (else frame), plane, first line (2^31: its `activity`); ``[-1, -1, -1]`` before the first. `edge`: ``rising`` or
    ``falling``; `edge` and `t_edge_ns` are nil but of edges.
    """

    kind: InputKind
    name: str
    edge: str | None
    t_edge_ns: int | None
    after: list[int]
    sha256: str | None = None
