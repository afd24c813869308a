"""Memory that a process holds from its start: what waits in a queue of ZeroMQ does not make it grow."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rt_engine.interfaces.rig_config import load_rig
from rt_engine.services import process
from rt_engine.services.base import Service
from rt_engine.services.held_memory import hold_memory
from rt_engine.services.setup import Setup

MIB = 2**20
ROOT = Path(__file__).resolve().parents[3]
GROWTH = """
import psutil, sys, time, zmq
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.services import process
from rt_engine.services.base import Service
from rt_engine.services.held_memory import hold_memory
from rt_engine.services.setup import Setup

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


@pytest.mark.parametrize(("kind", "least_mib"), [("recording", 16), ("acquisition", 32)])
def test_a_service_holds_it_before_it_makes_sockets(kind: str, least_mib: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str | int] = []

    class Made(Exception):
        pass

    def make(self: Service, setup: Setup) -> None:
        done.append("made")
        raise Made

    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(process, "hold_memory", done.append)
    monkeypatch.setattr(Service, "__init__", make)
    rig = load_rig(ROOT / "hardware_configs" / "virtual_rig.yaml").model_dump(mode="json")
    setup = Setup(
        service=kind, rig=rig, session="held", folder="", t_wall_ns=0, t_monotonic_ns=0, dry_run=True, lossless=False
    )
    with pytest.raises(Made):
        process.run_service(setup)
    held, made = done
    assert made == "made"
    assert int(held) >= least_mib * MIB
