"""Memory that a process holds from its start: what waits in a queue of ZeroMQ does not make it grow."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rt_engine.services.held_memory import hold_memory

MIB = 2**20
GROWTH = """
import psutil, sys, time, zmq
from rt_engine.services.held_memory import hold_memory

held, n, size = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
if held:
    assert hold_memory(held)
context = zmq.Context()
inlet, outlet = context.socket(zmq.PULL), context.socket(zmq.PUSH)
for one in (inlet, outlet):
    one.setsockopt(zmq.RCVHWM, 0)
outlet.connect(f"tcp://127.0.0.1:{inlet.bind_to_random_port('tcp://127.0.0.1')}")

def one_by_one(k):
    for i in range(k):
        outlet.send(bytes(size))
        assert inlet.poll(60_000)
        inlet.recv_multipart(copy=False)

one_by_one(20)
memory = psutil.Process().memory_info
before = memory().rss
for i in range(n):
    outlet.send(bytes(size))
time.sleep(0.3)
most = memory().rss
for i in range(n):
    assert inlet.poll(60_000)
    inlet.recv_multipart(copy=False)
one_by_one(20)
print(before, most - before, memory().rss - before)
context.destroy(linger=0)
"""


def growth_mib(held_mib: int, n: int, size: int) -> tuple[float, float, float]:
    """Resident memory before, and what was added to it while `n` messages waited, and after they had been read."""
    asked = [sys.executable, "-c", GROWTH, str(held_mib * MIB), str(n), str(size)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=300)
    before, waiting, after = (int(one) / MIB for one in done.stdout.split())
    return before, waiting, after


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of glibc")
@pytest.mark.parametrize(("n", "size"), [(300, 30_000), (16, 512 * 1024)], ids=["activity", "frames"])
def test_what_waits_does_not_make_the_process_grow(n: int, size: int) -> None:
    without, with_it = growth_mib(0, n, size), growth_mib(32, n, size)
    assert max(without[1:]) > 4.0  # the queue takes memory where none is held: the case is one
    assert max(with_it[1:]) < 0.5
    assert with_it[0] - without[0] > 16.0  # the memory is there from the start, and touched


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert not hold_memory(MIB)
