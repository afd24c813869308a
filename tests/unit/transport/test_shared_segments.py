"""Shared memory of those who were killed: gone at once where both sides had it, else with the next start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rt_engine.transport.direct import HELLO, packed
from rt_engine.transport.frame_ring import FrameRing, RingReader, RingShape
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.shared_segments import FOLDER, PREFIX, remove_abandoned

DEADLINE_S = 60.0
SHAPE = RingShape.for_frames(4000, 32 * 4000)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="names outlive their processes on Linux alone")

SOURCE = """
import sys, time
from rt_engine.transport.straight_frames import FrameSender

sender, told, end_s = FrameSender(sys.argv[1], "s", ring_bytes=32 * 4000), False, time.monotonic() + 60
while time.monotonic() < end_s:
    sender.send(b"health", b"h", None)
    ring = sender._ring
    if ring is None:
        sender.send(b"frame.0.0", b"h", memoryview(bytes(4000)))
    elif not told:
        told = True
        print(ring.name, flush=True)
    elif not ring._is_named:
        print("without a name", flush=True)
    time.sleep(0.002)
"""


class Killed:
    """A source in a group of processes of its own, with Python's tracker of shared memory; killed together."""

    def __init__(self) -> None:
        (port,) = free_ports(1)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SOURCE, f"tcp://127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.socket = self._greet(port)
        self.name = self.says()

    def _greet(self, port: int) -> socket.socket:
        """As an engine does that has just come."""
        end_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                made = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
            except ConnectionError:
                assert time.monotonic() < end_s
                time.sleep(0.02)
                continue
            made.sendall(packed((HELLO, b"s")))
            return made

    def says(self) -> str:
        """What it says next; empty once it has ended, as it does after a minute."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.socket.close()


@pytest.fixture
def killed() -> Iterator[Killed]:
    made = Killed()
    yield made
    made.close()


@on_linux
def test_what_a_group_killed_before_the_engine_had_the_memory_leaves_is_removed_by_the_next(killed: Killed) -> None:
    left = FOLDER / killed.name
    assert left.name.startswith(PREFIX)
    assert killed.name not in remove_abandoned(), "its writer lives"
    assert left.exists()
    killed.kill()
    assert left.exists()
    next_one = FrameRing(SHAPE)
    assert not left.exists()
    assert (FOLDER / next_one.name).exists()
    next_one.close()
    assert not (FOLDER / next_one.name).exists()


@on_linux
def test_between_trials_heartbeats_are_enough_for_the_name_to_go(killed: Killed) -> None:
    """Once the memory is there the source of this test sends no frame any more."""
    reader = RingReader(killed.name, SHAPE)
    try:
        assert killed.says() == "without a name"
        assert not (FOLDER / killed.name).exists()
        killed.kill()
        assert not list(FOLDER.glob(f"{PREFIX}{killed.process.pid}-*"))
    finally:
        reader.close()


@on_linux
def test_a_name_that_was_removed_under_its_maker_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    real = os.open

    def open_(path: str | Path, flags: int) -> int:
        if not removed:
            removed.append(Path(path).name)
            Path(path).unlink()
        return real(path, flags)

    monkeypatch.setattr("rt_engine.transport.shared_segments.os.open", open_)
    ring = FrameRing(SHAPE)
    assert removed
    assert ring.name not in removed
    assert (FOLDER / ring.name).exists()
    ring.close()


def test_a_ring_is_as_long_as_is_wanted_within_its_bounds() -> None:
    frame = 1024 * 1024 * 2
    assert RingShape.for_frames(frame).n_slots == 32
    assert RingShape.for_frames(frame, n_wanted=40).n_slots == 40
    assert RingShape.for_frames(frame, n_wanted=1008).n_slots == 256  # 512 MiB
    assert RingShape.for_frames(frame // 4, n_wanted=40).n_slots == 128
