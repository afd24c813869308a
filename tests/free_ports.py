"""Ports that nobody uses at the moment."""

from __future__ import annotations

import socket


def free_ports(n: int) -> list[int]:
    """`n` different free TCP ports of 127.0.0.1."""
    held = [socket.socket() for _ in range(n)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def free_port_block(n: int) -> int:
    """First of `n` ports in a row that nobody uses at the moment."""
    for _ in range(1000):
        (first,) = free_ports(1)
        held: list[socket.socket] = []
        try:
            for port in range(first, first + n):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            continue
        else:
            return first
        finally:
            for one in held:
                one.close()
    raise RuntimeError(f"no {n} free ports in a row")
