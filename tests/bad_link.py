"""A bad link in a program: packets that a router hands to a TUN device come back late, in another order, or never.

    python bad_link.py DEVICE DELAY_MS JITTER_MS LOST

What `tc netem` does where the kernel has it. Prints a line once the device is there. Linux and root alone.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import select
import struct
import sys
import time
from random import Random

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_LARGEST_PACKET = 65_536


def open_tun(name: str) -> int:
    """Descriptor of a new TUN device; it lives as long as this is open."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return device


def relay(device: int, delay_s: float, jitter_s: float, lost: float) -> None:
    """Give back each packet after `delay_s` ± `jitter_s`, but a share `lost` of them, until killed."""
    random, held, n_held = Random(1), list[tuple[float, int, bytes]](), 0
    while True:
        wait_s = max(0.0, held[0][0] - time.monotonic()) if held else None
        if select.select([device], [], [], wait_s)[0]:
            packet = os.read(device, _LARGEST_PACKET)
            if random.random() >= lost:
                due_s = time.monotonic() + delay_s + random.uniform(-jitter_s, jitter_s)
                heapq.heappush(held, (due_s, n_held, packet))
                n_held += 1
        while held and held[0][0] <= time.monotonic():
            os.write(device, heapq.heappop(held)[2])


def main(name: str, delay_ms: str, jitter_ms: str, lost: str) -> None:
    """See the module."""
    device = open_tun(name)
    sys.stdout.write("there\n")
    sys.stdout.flush()
    relay(device, float(delay_ms) / 1000, float(jitter_ms) / 1000, float(lost))


if __name__ == "__main__":
    main(*sys.argv[1:])
