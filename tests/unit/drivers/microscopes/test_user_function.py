"""What the MATLAB function sends is what the driver reads, and nothing in it waits; it cannot be run here."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from drivers.microscopes.scanimage.wire import FrameNote

FOLDER = Path(__file__).parents[4] / "drivers" / "microscopes" / "scanimage"
SOURCE = (FOLDER / "spikeloop_frames.m").read_text(encoding="utf-8")
CODE = "\n".join(line.partition("%")[0] for line in SOURCE.splitlines())


def test_it_sends_every_key_of_a_frame_once_each_with_a_value():
    keys = re.findall(r"'(\w+)'", re.search(r"keys = \{(.*?)\};", CODE, re.DOTALL)[1])
    assert keys == list(FrameNote.__struct_fields__)
    values, depth, n_values = re.search(r"values = \{(.*?)\};", CODE, re.DOTALL)[1], 0, 1
    for sign in values:
        depth += (sign == "(") - (sign == ")")
        n_values += sign == "," and depth == 0
    assert n_values == len(keys)


def test_its_map_is_one_that_messagepack_knows_for_so_many_keys():
    n_keys = len(FrameNote.__struct_fields__)
    (head,) = re.findall(r"header = \[uint8\((\d+)\); uint8\((\d+)\); uint8\(numel\(keys\)\)\];", CODE)
    data = bytes([int(head[0]), int(head[1]), n_keys]) + b"".join(bytes([0xA1, 97 + i, i]) for i in range(n_keys))
    assert len(msgspec.msgpack.decode(data)) == n_keys


def test_its_socket_never_blocks_and_it_is_connected_without_waiting():
    opened, unblocked, connected = (CODE.index(word) for word in ("open()", "configureBlocking(false)", ".connect("))
    assert opened < unblocked < connected
    assert re.findall(r"\.connect\((.*)\);", CODE) == ["java.net.InetSocketAddress(host, port)"]
    assert "finishConnect()" in CODE
    assert not re.search(r"pause\(|waitfor|setSoTimeout|drawnow|Thread\.sleep", CODE)


@pytest.mark.parametrize("name", ["spikeloop_frames.m", "README.md"])
def test_the_person_is_told_of_the_one_event_that_it_is_for(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert "for the event" in text
    assert not re.search(r"acqModeStart|acqAbort", text)
    assert "frameAcquired" in text
