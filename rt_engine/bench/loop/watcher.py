"""A subscriber of everything: what a window or telemetry costs the others."""

from __future__ import annotations

import zmq


def watch(endpoints: list[str]) -> None:
    """Receive all topics of all endpoints, throw them away, until killed.

    Parameters
    ----------
    endpoints : list of str
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    for endpoint in endpoints:
        subscriber.connect(endpoint)
    subscriber.subscribe(b"")
    while True:
        subscriber.recv_multipart(copy=False)
