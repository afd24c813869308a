"""Ports of this computer for programs that are only there for a while: benchmarks, the doctor's loop, tests.

The system's own free ports will not do: it may give the same ones to any connection that is made before they are used.
These lie below all that Linux, Windows and macOS give to connections, and each process has a block of its own for as
long as it lives: it holds the first port of the block.
"""

from __future__ import annotations

import atexit
import functools
import os
import socket

from rt_engine.interfaces.errors import ServiceError

FIRST, END, BLOCK = 12_000, 32_000, 200
"""From the first port to the last but one, and how many a process has."""


def free_ports(n: int) -> list[int]:
    """`n` different TCP ports of 127.0.0.1 that nobody uses at the moment.

    Raises
    ------
    ServiceError
        Others use too many of them.
    """
    ours = _block()
    found: list[int] = []
    for _ in range(BLOCK):
        port = ours.next_port()
        if _is_free(port):
            found.append(port)
        if len(found) == n:
            return found
    raise ServiceError(f"no {n} free ports among {ours.first} to {ours.first + BLOCK - 1}")


def free_port_block(n: int) -> int:
    """First of `n` such ports in a row.

    Raises
    ------
    ServiceError
        There are not so many in a row.
    """
    for _ in range(BLOCK):
        ports = free_ports(n)
        if ports[-1] - ports[0] == n - 1:
            return ports[0]
    raise ServiceError(f"no {n} free ports in a row")


class _Block:
    """Ports of this process, given out in turn: one comes again after all others."""

    def __init__(self) -> None:
        n_blocks = (END - FIRST) // BLOCK
        for i in range(n_blocks):
            self.first = FIRST + BLOCK * ((os.getpid() + i) % n_blocks)
            self._held = socket.socket()
            try:
                self._held.bind(("127.0.0.1", self.first))
            except OSError:
                self._held.close()
            else:
                break
        else:
            raise ServiceError(f"every block of ports from {FIRST} to {END} is held by another process")
        atexit.register(self._held.close)
        self._next = 1

    def next_port(self) -> int:
        port = self.first + self._next
        self._next = self._next % (BLOCK - 1) + 1
        return port


@functools.cache
def _block() -> _Block:
    return _Block()


def _is_free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
