"""Wire contract, version 1: the header of every topic, as a MessagePack map.

Readers ignore unknown keys; a missing required key is an error. Every key is present on the wire, nil where it does
not apply. Units are in the names; `t_*_ns` are `time.perf_counter_ns()` of the sender's host.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from rt_engine.interfaces.cell_messages import (
    Candidate,
    CandidatesHeader,
    EditAction,
    EditHeader,
    RoiDescription,
    RoisHeader,
)
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.frame_messages import AckHeader, CropsHeader, FateHeader, FrameHeader
from rt_engine.interfaces.inference_messages import ActivityHeader, Mode, SpikesHeader
from rt_engine.interfaces.input_messages import InputHeader, InputKind, SyncHeader
from rt_engine.interfaces.light_messages import LightHeader, Outcome, Phase, StateHeader, StimHeader, TruthHeader
from rt_engine.interfaces.message_header import WIRE_VERSION, Header
from rt_engine.interfaces.session_messages import ClockHeader, HealthHeader, LogHeader, SessionHeader

__all__ = [
    "HEADERS",
    "WIRE_VERSION",
    "AckHeader",
    "ActivityHeader",
    "Candidate",
    "CandidatesHeader",
    "ClockHeader",
    "CropsHeader",
    "EditAction",
    "EditHeader",
    "FateHeader",
    "FrameHeader",
    "Header",
    "HealthHeader",
    "InputHeader",
    "InputKind",
    "LightHeader",
    "LogHeader",
    "Mode",
    "Outcome",
    "Phase",
    "RoiDescription",
    "RoisHeader",
    "SessionHeader",
    "SpikesHeader",
    "StateHeader",
    "StimHeader",
    "SyncHeader",
    "TruthHeader",
    "decode",
    "decode_as",
    "encode",
    "topic_name",
]

HEADERS: dict[str, type[Header]] = {
    "frame": FrameHeader,
    "spikes": SpikesHeader,
    "activity": ActivityHeader,
    "stim": StimHeader,
    "sync": SyncHeader,
    "input": InputHeader,
    "session": SessionHeader,
    "rois": RoisHeader,
    "edit": EditHeader,
    "candidates": CandidatesHeader,
    "state": StateHeader,
    "light": LightHeader,
    "truth": TruthHeader,
    "clock": ClockHeader,
    "health": HealthHeader,
    "log": LogHeader,
    "ack": AckHeader,
    "fate": FateHeader,
    "crops": CropsHeader,
}
"""First word of a topic -> its header."""

_DECODERS = {name: msgspec.msgpack.Decoder(header) for name, header in HEADERS.items()}
_ENCODER = msgspec.msgpack.Encoder()

H = TypeVar("H", bound=Header)


def topic_name(topic: str) -> str:
    """First word of a topic: ``frame`` of ``frame.0.1``."""
    return topic.partition(".")[0]


def encode(header: Header) -> bytes:
    """Header as a MessagePack map."""
    return _ENCODER.encode(header)


def decode(topic: str, data: bytes | memoryview) -> Header:
    """Validated header of a topic.

    Raises
    ------
    MessageError
        Unknown topic, missing or mistyped key, or another wire version.
    """
    decoder = _DECODERS.get(topic_name(topic))
    if decoder is None:
        raise MessageError(f"unknown topic {topic!r}", f"known: {', '.join(HEADERS)}")
    try:
        header = decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:  # the latter: nested too deeply
        raise MessageError(f"topic {topic!r}: {error}") from error
    if header.v != WIRE_VERSION:
        raise MessageError(f"topic {topic!r}: wire version {header.v}, this program speaks {WIRE_VERSION}")
    return header


def decode_as(kind: type[H], topic: str, data: bytes | memoryview) -> H:
    """Header of a topic whose kind the caller knows.

    Raises
    ------
    MessageError
        As `decode`, or the topic has another kind of header.
    """
    header = decode(topic, data)
    if not isinstance(header, kind):
        raise MessageError(f"topic {topic!r} carries {type(header).__name__}, not {kind.__name__}")
    return header
