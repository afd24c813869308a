"""Simulated programs that show patterns: one that hears lines of a card, and one that hears coordinates over TCP.

``python -m drivers.outputs.simulators.pattern_program --port 7000`` runs the second for anyone to try.
"""

from __future__ import annotations

import argparse
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from drivers.outputs.simulators.ni_card import SimulatedCard

NS_PER_MS = 1_000_000


class PatternByWire:
    """Shows the pattern whose number is on `lines`, or that has been counted; blind while it loads.

    Parameters
    ----------
    card : SimulatedCard
        Its lines are the wires.
    load_ms : float
        From the last edge on a wire until the pattern stands.
    lines : sequence of str
        Lowest bit first.
    reset_line, step_line : str
        Of a sequence; empty where there are `lines`.
    """

    def __init__(
        self,
        card: SimulatedCard,
        load_ms: float,
        lines: Sequence[str] = (),
        reset_line: str = "",
        step_line: str = "",
    ) -> None:
        self._card, self._load_ns = card, round(load_ms * NS_PER_MS)
        self._lines, self._reset, self._step = tuple(lines), reset_line, step_line

    def shown_at(self, t_ns: int) -> int | None:
        """Number of the pattern that stands at a time; None while one is loading."""
        wires = self._lines or (self._reset, self._step)
        edges = [t for wire in wires for t, _ in self._card.signal(wire).steps() if t <= t_ns]
        if edges and t_ns - max(edges) < self._load_ns:
            return None
        if self._lines:
            return sum(int(self._card.signal(line).at(t_ns) > 0) << bit for bit, line in enumerate(self._lines))
        resets = self._card.signal(self._reset).rises(0, t_ns + 1)
        return len(self._card.signal(self._step).rises(resets[-1] if resets else 0, t_ns + 1))


class HologramProgram(socketserver.ThreadingTCPServer):
    """Greets, takes ``C`` messages, and says ``Done`` when the hologram stands.

    Attributes
    ----------
    shown : list of list of (float, float)
        Places of every pattern, in turn, as (x, y) of the SLM.
    talks : set of socket
        Clients.
    faults : set of str
        ``stranger`` greets otherwise, ``silent`` does not answer, ``refuses`` answers with an error.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0, load_ms: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), _Talk)
        self.load_ms = load_ms
        self.shown: list[list[tuple[float, float]]] = []
        self.talks: set[socket.socket] = set()
        self.faults: set[str] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def leave(self) -> None:
        """Hang up on every client, as a process that dies does."""
        for talk in tuple(self.talks):
            with suppress(OSError):
                talk.shutdown(socket.SHUT_RDWR)


class _Talk(socketserver.StreamRequestHandler):
    """One client."""

    server: HologramProgram

    def setup(self) -> None:
        """Be known to the program."""
        super().setup()
        self.server.talks.add(self.request)

    def finish(self) -> None:
        """Be forgotten."""
        self.server.talks.discard(self.request)
        super().finish()

    def handle(self) -> None:
        """Greet, then one answer for every message until the client leaves."""
        faults = self.server.faults
        self.wfile.write(b"Welcome\n" if "stranger" in faults else b"Hello\n")
        while len(head := self.rfile.read(5)) == 5:
            numbers = [float(one) for one in self.rfile.read(int(head[1:])).decode("ascii").split(";")]
            if "silent" in faults:
                continue
            if head[:1] != b"C" or len(numbers) % 2 or "refuses" in faults:
                self.wfile.write(b"Error\n")
                continue
            time.sleep(self.server.load_ms / 1000)
            half = len(numbers) // 2
            self.server.shown.append(list(zip(numbers[:half], numbers[half:], strict=True)))
            self.wfile.write(b"C Done\n")


@contextmanager
def showing(port: int = 0, load_ms: float = 0.0) -> Iterator[HologramProgram]:
    """A hologram program on this computer."""
    with HologramProgram(port, load_ms) as program:
        thread = threading.Thread(target=program.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield program
        finally:
            program.leave()
            program.shutdown()
            thread.join()


def main(arguments: list[str] | None = None) -> None:
    """Serve until the standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--load-ms", type=float, default=20.0)
    given = parser.parse_args(arguments)
    with showing(given.port, given.load_ms) as program:
        sys.stdout.write(json.dumps({"port": program.port}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
