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
