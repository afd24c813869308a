"""A run beside others of its kind has ports of its own."""

from __future__ import annotations

import socket

from rt_engine.interfaces.rig_config import MAX_PLANES, load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services import own_ports
from rt_engine.services.own_ports import with_own_ports


def test_ports_are_free_distinct_and_leave_room_for_every_plane() -> None:
    ports = with_own_ports(load_rig(find_rig("virtual_rig"))).ports
    wanted = {name: port for name, port in ports.all_ports().items() if name != "inference"}
    wanted |= {f"inference.{plane}": ports.inference + plane for plane in range(MAX_PLANES)}
    assert len(set(wanted.values())) == len(wanted)
    for port in wanted.values():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        taken = held.getsockname()[1]
        assert not own_ports._is_free(taken)
