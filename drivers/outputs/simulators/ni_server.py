"""The gRPC side of a simulated card: the protocol of the NI gRPC Device Server, for the official client.

``python -m drivers.outputs.simulators.ni_server --port 31763 --wire PFI0=port0/line7`` runs it for anyone to try.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from nidaqmx._stubs import nidaqmx_pb2_grpc as rpc

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_servicer import NiServicer

__all__ = ["ASK", "NiServicer", "serving"]

ASK = "/spikeloop.simulated.Card/Ask"
"""What no real server has: JSON in, JSON out."""


@contextmanager
def serving(cards: list[SimulatedCard], port: int = 0) -> Iterator[tuple[NiServicer, int]]:
    """A server for these cards; yields it with its port.

    Raises
    ------
    OSError
        The port is taken.
    """
    servicer = NiServicer(cards)
    server = grpc.server(ThreadPoolExecutor(16), options=(("grpc.so_reuseport", 0),))
    rpc.add_NiDAQmxServicer_to_server(servicer, server)
    ask = grpc.unary_unary_rpc_method_handler(lambda request, context: _ask(servicer, request))
    service, method = ASK.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: ask}),))
    try:
        bound = server.add_insecure_port(f"127.0.0.1:{port}")
    except RuntimeError as error:
        raise OSError(f"port {port} is taken") from error
    server.start()
    try:
        yield servicer, bound
    finally:
        server.stop(0).wait()


def _ask(servicer: NiServicer, request: bytes) -> bytes:
    with servicer.lock:
        return json.dumps(_answer(servicer, json.loads(request))).encode()


def _answer(servicer: NiServicer, asked: dict[str, Any]) -> Any:
    """A test looks at a card and does things to it."""
    card = servicer.cards[asked.get("card", next(iter(servicer.cards)))]
    match asked["do"]:
        case "now":
            return time.perf_counter_ns()
        case "steps":
            card.look()
            return card.signal(asked["name"]).steps(asked.get("since_ns", 0))
        case "level":
            return card.level(asked["name"])
        case "light":
            return card.light(asked["gate"], asked["enable"], asked.get("since_ns", 0))
        case "fault":
            card.unplug() if asked["name"] == "unplugged" else card.faults.add(asked["name"])
        case "heal":
            card.faults.clear()
            servicer.slow_ms = 0.0
        case "slow":
            servicer.slow_ms = float(asked["ms"])
        case "drive":
            card.drive(asked["name"], [(int(t), float(level)) for t, level in asked["steps"]])
        case "calls":
            return dict(servicer.calls)
        case "tasks":
            return servicer.states()
    return None


def _diode_volts(gate_v: float) -> float:
    """A photodiode of 0.1 V a mW, 12 mV in the dark, behind a Pockels cell: 25 mW at 5 V."""
    return 0.012 + 0.1 * 25.0 * math.sin(math.pi / 2 * min(gate_v, 5.0) / 5.0) ** 2


def main(arguments: list[str] | None = None) -> None:
    """Serve one simulated card until the standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--device", default="Dev1")
    parser.add_argument("--wire", action="append", default=[], metavar="TERMINAL=SOURCE")
    parser.add_argument("--photodiode", metavar="INPUT=GATE,ENABLE", help="sees a Pockels cell behind these two")
    parser.add_argument("--drift-ppm", type=float, default=0.0)
    given = parser.parse_args(arguments)
    wires = dict(one.split("=", 1) for one in given.wire)
    card = SimulatedCard(given.device, time.perf_counter_ns, wires, drift_ppm=given.drift_ppm)
    if given.photodiode:
        channel, _, behind = given.photodiode.partition("=")
        gate, _, enable = behind.partition(",")
        card.watch(channel, gate, enable, _diode_volts)
    with serving([card], given.port) as (_, port):
        sys.stdout.write(json.dumps({"port": port}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
