"""The wire contract, read by an independent MessagePack implementation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_samples import log

from rt_engine.interfaces.control import decode_reply, decode_request
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import HEADERS, FrameHeader, Header, SpikesHeader, decode, decode_as, encode

COMMON = {"v", "session", "source", "host", "boot_id", "seq", "t_sent_ns"}
KEYS = {
    "frame": "plane channel frame volume line0 n_lines lines_per_frame pixels_per_line dtype adc_max offset "
    "frame_period_ns line_period_ns t_scan_ns t_scan_uncertainty_ns t_device_s flags blanked",
    "spikes": "plane frame line0 n_lines hold_frames mode t_scan_ns t_received_ns t_decided_ns n_events",
    "activity": "plane frame t_scan_ns shift_y_px shift_x_px quality rois_rev n_rois fields stage_ns",
    "stim": "decision_id phase rule arm outcome reason plane frame roi_ids pattern_id t_scan_ns t_decided_ns "
    "t_command_ns t_output_ns output pulses width_us power_uw energy_nj",
    "light": "output t_on_ns width_us power_uw targets_yx_px",
    "health": "state dropped gaps late queue rss_bytes latency_ms",
    "log": "level text fields",
}
"""Keys of design.md §4, written out by hand: the contract, not the code."""


def _example(kind: type[Header]) -> Header:
    """A header with a plausible value for every field, by its type."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        text = str(field.type)
        if field.name == "v":
            values[field.name] = 1
        elif "Mode" in text:
            values[field.name] = "live"
        elif "EditAction" in text:
            values[field.name] = "add"
        elif "InputKind" in text:
            values[field.name] = "key"
        elif "Phase" in text:
            values[field.name] = "done"
        elif "Fate" in text:
            values[field.name] = "late"
        elif "Outcome" in text:
            values[field.name] = None
        elif text.startswith(("list", "typing.List")):
            values[field.name] = []
        elif text.startswith("dict"):
            values[field.name] = {}
        elif "None" in text:
            values[field.name] = None
        elif "str" in text:
            values[field.name] = "x"
        elif "bool" in text:
            values[field.name] = True
        else:
            values[field.name] = 3
    return msgspec.convert(values, kind)


@pytest.mark.parametrize("topic", sorted(HEADERS))
def test_an_independent_reader_gets_back_every_key(topic: str) -> None:
    header = _example(HEADERS[topic])
    read = msgpack.unpackb(encode(header))
    assert read == msgspec.to_builtins(header)
    assert set(read) >= COMMON
    assert decode(topic, msgpack.packb(read)) == header


@pytest.mark.parametrize("topic", sorted(KEYS))
def test_every_key_of_the_contract_is_on_the_wire(topic: str) -> None:
    read = msgpack.unpackb(encode(_example(HEADERS[topic])))
    assert set(KEYS[topic].split()) | COMMON <= set(read)


@pytest.mark.parametrize("topic", sorted(KEYS))
def test_a_missing_required_key_is_an_error_that_names_it(topic: str) -> None:
    optional = {f.name for f in msgspec.structs.fields(HEADERS[topic]) if not f.required}
    read = msgpack.unpackb(encode(_example(HEADERS[topic])))
    for key in set(KEYS[topic].split()) - optional:
        torn = {name: value for name, value in read.items() if name != key}
        with pytest.raises(MessageError, match=re.escape(key)):
            decode(topic, msgpack.packb(torn))


def test_unknown_keys_are_ignored_and_other_versions_refused() -> None:
    read = msgpack.unpackb(encode(_example(SpikesHeader)))
    assert decode("spikes.0", msgpack.packb(read | {"from_the_future": [1, 2]})) == _example(SpikesHeader)
    with pytest.raises(MessageError, match="version 2"):
        decode("spikes.0", msgpack.packb(read | {"v": 2}))


def test_a_topic_is_compared_by_its_first_word() -> None:
    data = encode(_example(SpikesHeader))
    assert isinstance(decode("spikes.10", data), SpikesHeader)
    with pytest.raises(MessageError, match="unknown topic"):
        decode("spikesx", data)
    with pytest.raises(MessageError, match="not FrameHeader"):
        decode_as(FrameHeader, "spikes.0", data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_not_believed(data: bytes) -> None:
    with pytest.raises(MessageError):
        decode("frame.0.0", data)


def test_the_event_record_is_forty_packed_bytes_in_the_order_of_the_contract() -> None:
    assert EVENT_DTYPE.itemsize == 40
    assert list(EVENT_DTYPE.names or ()) == [
        *("roi_id", "flags", "event_frame", "t_event_ns", "n_spikes", "probability", "amplitude", "z")
    ]
    one = np.zeros(1, EVENT_DTYPE)
    one["roi_id"], one["t_event_ns"], one["z"] = 7, -2, 1.5
    raw = one.tobytes()
    assert raw[0:4] == (7).to_bytes(4, "little")
    assert raw[16:24] == (-2).to_bytes(8, "little", signed=True)
    assert raw[36:40] == b"\x00\x00\xc0\x3f"


def test_the_documented_program_outside_sends_a_frame_that_is_accepted() -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-to" / "stream-your-own-frames.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    assert "rt_engine" not in code[1]
    assert len([line for line in code[1].splitlines() if line.strip()]) <= 20


@pytest.mark.parametrize("depth", [500, 5_000, 200_000])
def test_what_is_nested_too_deeply_is_refused_and_ends_nothing(depth: int) -> None:
    """A few thousand bytes that nest would otherwise end whatever decodes them by a RecursionError."""
    deep = b"\x91" * depth + b"\xc0"
    mark = msgpack.packb("MARK")
    args = {"v": 1, "id": "1", "role": "viewer", "cmd": "status", "args": {"a": "MARK"}}
    request = msgpack.packb(args).replace(mark, deep)
    reply = msgpack.packb({"v": 1, "id": "1", "ok": True, "result": {"a": "MARK"}}).replace(mark, deep)
    topic, header, _ = log()
    fields = msgpack.unpackb(encode(header)) | {"fields": {"a": "MARK"}}
    sent = msgpack.packb(fields).replace(mark, deep)
    if depth < 1000:
        decode_request(request), decode_reply(reply), decode(topic, sent)
        return
    for refused in (lambda: decode_request(request), lambda: decode_reply(reply), lambda: decode(topic, sent)):
        with pytest.raises(MessageError, match="recursion"):
            refused()


def test_requests_of_another_version_are_refused_but_a_stop_is_understood() -> None:
    other = {"v": 2, "id": "1", "role": "viewer", "args": {}}
    with pytest.raises(MessageError, match="version 2"):
        decode_request(msgpack.packb(other | {"cmd": "status"}))
    assert decode_request(msgpack.packb(other | {"cmd": "trip"})).cmd == "trip"
