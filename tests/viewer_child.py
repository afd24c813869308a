"""A viewer in a process of its own: subscribes to frames and events, and says so with its first message of each."""

from __future__ import annotations

import sys

import zmq


def main() -> None:
    """Look until killed; ports of acquisition and inference are the arguments."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.SUB)
    for port in sys.argv[1:]:
        socket.connect(f"tcp://127.0.0.1:{port}")
    missing = {b"frame", b"spikes", b"activity"}
    for topic in missing:
        socket.subscribe(topic)
    while True:
        topic = socket.recv_multipart()[0].partition(b".")[0]
        if missing:
            missing.discard(topic)
            if not missing:
                print("sees", flush=True)


if __name__ == "__main__":
    main()
