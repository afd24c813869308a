"""Free ports: nobody else is given them, whether they are in use yet or not."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from rt_engine.transport.free_ports import BLOCK, END, free_port_block, free_ports

LOCAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_another_process_is_given_others_at_the_same_time() -> None:
    asked = "from rt_engine.transport.free_ports import free_ports; print(*free_ports(150))"
    ours = set(free_ports(150))
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=60)
    theirs = set(map(int, done.stdout.split()))
    assert (len(ours), len(theirs)) == (150, 150)
    assert not ours & theirs


def test_one_comes_again_only_after_all_others() -> None:
    given = [free_ports(1)[0] for _ in range(BLOCK // 2)]
    assert len(set(given)) == BLOCK // 2


def test_a_block_is_in_a_row() -> None:
    given = [free_port_block(7) for _ in range(60)]  # round the end of the block more than once
    assert max(given) + 6 < END
    assert all(first != other for first, other in itertools.pairwise(given))


@pytest.mark.skipif(not LOCAL_RANGE.exists(), reason="Linux tells the ports that it gives to connections")
def test_no_connection_is_given_one() -> None:
    assert int(LOCAL_RANGE.read_text().split()[0]) >= END
