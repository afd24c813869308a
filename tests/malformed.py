"""Messages that were right before somebody changed their bytes, for those who fuzz decoders and live sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from wire_samples import activity, candidates, frame, health, log, rois, session, spikes, state, stim

from rt_engine.interfaces.control import COMMANDS, Reply, Request, Role, encode_control
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import HEADERS, encode

HEADERS_SENT = (
    *(frame(), spikes(1, np.zeros(2, EVENT_DTYPE)), rois(), candidates(), session(), health(), stim(), log()),
    state(trips=[{"t_ns": 5, "signal": "command", "value": "trip", "limit": "-", "text": "x", "dark_after_ns": 1}]),
    activity(1, np.zeros((2, 3), np.float32)),
)
"""One of many kinds of header, with its topic and payload."""
HEADER_SEEDS: list[bytes] = [encode(header) for _, header, _ in HEADERS_SENT]
_OWN = ("announce", "join", "keep", "left", "take_file", "give_file", "fire", "", "x" * 300)
_CLAIM = {"service": "inference", "state": "failed", "exit_code": 1}
_OF_SERVICES = ("announce", "keep", "left", "shutdown", "arm", "behaviour", "source", "conclude", "disarm")
CONTROL_SEEDS: list[bytes] = [
    *(encode_control(Request(id="1", role=Role.VIEWER, cmd=cmd)) for cmd in COMMANDS if cmd != "trip"),
    *(encode_control(Request(id="2", role=Role.OPERATOR, cmd=cmd, args={"service": "x"})) for cmd in _OWN),
    *(encode_control(Request(id="3", role=Role.SERVICE, cmd=cmd, args=_CLAIM)) for cmd in _OF_SERVICES),
    encode_control(Reply(id="never asked", ok=True, result={"a": [1] * 100})),
    msgspec.msgpack.encode({"v": 1, "id": "y" * 10_000, "role": "viewer", "cmd": "arm", "args": {}}),
]
"""Requests of viewers for everything but `trip`, of operators and of who says that he is a service for what services
ask each other, and a stray reply."""
TOPICS = [*HEADERS, "frame.0.0", "spikes.0", "spikes.\0", "", "nothing", "a" * 300]
_MARKERS = (0xC1, 0xDD, 0xDF, 0xC6, 0xC9, 0x91, 0x81, 0x5B, 0x7B)
"""First bytes of what MessagePack and JSON nest, and one that MessagePack forbids."""
_DEEP = 1500
"""Deeper in one place than Python's recursion goes in two."""
_JUNK = (
    *(None, True, -1, 1 << 63, 1e300, float("inf"), float("nan"), "", "x" * 3000, "../x", b"\xff"),
    *([], [None], [float("inf")], [[]], {}, {"a": []}, {"1": "z"}),
)
_ARGUMENTS = (
    *("path", "name", "plane", "roi_ids", "candidate_id", "action", "pixels", "tag", "thresholds", "dry", "line"),
    *("false_alarms_per_min", "command", "client", "trial", "kind", "deadline_ns", "sent_unix_ms", "operator"),
)
_DEEP_MARK = "a value that is nested"
_ACTIONS = ("add", "reject", "remove", "merge", "tag")
JUNK_COMMANDS = ("rois_edit", "set_threshold", "set_protocol", "press", "calibrate", "behaviour")
"""Whose arguments have structure; none of them succeeds with any of the junk."""


def mutated(random: np.random.Generator, seeds: Sequence[bytes], fewest: int = 1) -> bytes:
    """One of `seeds` with bytes changed, cut out, doubled, put in or nested, `fewest` to four times; or any bytes.

    Parameters
    ----------
    random : Generator
    seeds : sequence of bytes
    fewest : int
        0: sometimes the message is as it was.
    """
    data = bytearray(seeds[random.integers(len(seeds))])
    for _ in range(random.integers(fewest, 5)):
        at = int(random.integers(len(data) + 1))
        match random.integers(6):
            case 0:
                data[at : at + 1] = bytes([random.integers(256)])
            case 1:
                del data[at : at + int(random.integers(1, 20))]
            case 2:
                data[at:at] = random.bytes(int(random.integers(1, 20)))
            case 3:
                data[at:at] = data[at : at + int(random.integers(1, 40))]
            case 4:
                data[:] = random.bytes(int(random.integers(0, 200)))
            case _:
                data[at:at] = bytes([_MARKERS[random.integers(len(_MARKERS))]]) * _DEEP
    return bytes(data)


def near_miss(random: np.random.Generator, data: bytes, codec: Any = msgspec.msgpack) -> bytes:
    """A map of which one place, at any depth, is gone, of another kind or value, of another version, or very deep.

    Parameters
    ----------
    random : Generator
    data : bytes
        A valid message.
    codec : module
        `msgspec.msgpack` or `msgspec.json`.
    """
    fields = codec.decode(data)
    place, key = fields, "v"
    if random.integers(4):
        key = _any_of(random, list(fields))
        while isinstance(place[key], dict | list) and place[key] and random.integers(3):
            place = place[key]
            key = _any_of(random, list(place) if isinstance(place, dict) else list(range(len(place))))
    if isinstance(place, dict) and random.integers(3) == 0:
        del place[key]
        return bytes(codec.encode(fields))
    place[key] = _any_of(random, (*_JUNK[:10], *_JUNK[11:], 7, _DEEP_MARK))
    nested = b"[" * _DEEP + b"]" * _DEEP if codec is msgspec.json else b"\x91" * _DEEP + b"\xc0"
    return bytes(codec.encode(fields).replace(codec.encode(_DEEP_MARK), nested))


def _any_of(random: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[random.integers(len(choices))]


def with_junk(random: np.random.Generator) -> bytes:
    """A request that an operator may send, each argument of which is of a wrong kind or value; its id is ``junk``."""
    chosen = random.permutation(len(_ARGUMENTS))[: random.integers(len(_ARGUMENTS))]
    args = {_ARGUMENTS[i]: _JUNK[random.integers(len(_JUNK))] for i in chosen}
    if random.integers(2):
        args |= {"action": _ACTIONS[random.integers(len(_ACTIONS))], "command": "request"}
    cmd = JUNK_COMMANDS[random.integers(len(JUNK_COMMANDS))]
    return encode_control(Request(id=f"junk{random.integers(1 << 62)}", role=Role.OPERATOR, cmd=cmd, args=args))
