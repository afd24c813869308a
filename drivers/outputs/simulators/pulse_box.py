"""A pulse box without a microcontroller: the protocol of `pulse_box.ino` on a TCP port, and the light it would make.

``python -m drivers.outputs.simulators.pulse_box`` runs it for anyone to try: `port: socket://127.0.0.1:31764`.
"""

from __future__ import annotations

import argparse
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from drivers.outputs.simulators.ni_signal import Signal
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_US

MAX_WIDTH_US, MIN_DARK_US, MAX_PULSES, MAX_WATCHDOG_MS = 50_000, 1000, 1000, 100


class SimulatedBox:
    """Answers lines as the sketch does, in the time of `now_ns`.

    Attributes
    ----------
    light : Signal
        Of the pin.
    faults : set of str
        ``silent`` answers nothing, ``old`` is another firmware, ``stranger`` is no pulse box.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self.light = Signal()
        self.faults: set[str] = set()
        self._armed = False
        self._primed: tuple[int, int, int] | None = None
        self._watchdog_ns = self._fed_ns = self._ends_ns = 0

    def look(self) -> int:
        """Let an expired watchdog have happened; the time."""
        now_ns = self._now_ns()
        if self._armed and now_ns - self._fed_ns >= self._watchdog_ns:
            self._dark(self._fed_ns + self._watchdog_ns)
        return now_ns

    def answer(self, line: str) -> str | None:
        """Answer to one line; None from a silent box."""
        now_ns = self.look()
        if "silent" in self.faults:
            return None
        words = line.split()
        match words:
            case ["HELLO"]:
                who = "somebody" if "stranger" in self.faults else "spikeloop-pulse-box"
                return f"OK HELLO {who} {2 if 'old' in self.faults else 1} {MAX_WIDTH_US}"
            case ["ARM", ms] if ms.isdigit():
                return self._arm(int(ms), now_ns)
            case ["SAFE"]:
                self._dark(now_ns)
                return "OK SAFE"
            case ["STATUS"]:
                return "OK STATUS " + ("dark" if not self._armed else "firing" if now_ns < self._ends_ns else "armed")
        if not re.match(r"FEED$|PRIME \d+ \d+ \d+|FIRE ", line):
            return "ERR COMMAND unknown"
        if not self._armed:
            return "ERR DARK not armed, or the watchdog has expired"
        if words[0] == "FEED":
            self._fed_ns = now_ns
            return "OK FEED"
        if words[0] == "FIRE":
            return self._fire(line, now_ns)
        pulses, width_us, period_us = map(int, words[1:4])
        return self._prime(pulses, width_us, period_us, now_ns)

    def _arm(self, ms: int, now_ns: int) -> str:
        self._dark(now_ns)
        if not 0 < ms <= MAX_WATCHDOG_MS:
            return "ERR WATCHDOG 1 to 100 ms"
        self._armed, self._watchdog_ns, self._fed_ns = True, ms * NS_PER_MS, now_ns
        return "OK ARM"

    def _prime(self, pulses: int, width_us: int, period_us: int, now_ns: int) -> str:
        self._primed = None
        if now_ns < self._ends_ns:
            return "ERR BUSY a train is running"
        if not 0 < pulses <= MAX_PULSES:
            return "ERR PULSES 1 to 1000"
        if not 0 < width_us <= MAX_WIDTH_US:
            return "ERR WIDTH beyond the width that the box allows"
        if pulses > 1 and period_us < width_us + MIN_DARK_US:
            return "ERR PERIOD pulses touch"
        self._primed = (pulses, width_us, period_us)
        return "OK PRIME"

    def _fire(self, line: str, now_ns: int) -> str:
        if self._primed is None:
            return "ERR PRIME nothing is primed"
        if now_ns < self._ends_ns:
            return "ERR BUSY a train is running"
        pulses, width_us, period_us = self._primed
        for pulse in range(pulses):
            rise_ns = now_ns + pulse * period_us * NS_PER_US
            self.light.step(rise_ns, 1.0)
            self.light.step(rise_ns + width_us * NS_PER_US, 0.0)
        self._ends_ns = now_ns + ((pulses - 1) * period_us + width_us) * NS_PER_US
        return f"OK {line}"

    def _dark(self, t_ns: int) -> None:
        self.light.cut(t_ns)
        self.light.step(t_ns, 0.0)
        self._armed, self._primed, self._ends_ns = False, None, t_ns


@contextmanager
def serving(box: SimulatedBox, port: int = 0) -> Iterator[tuple[int, Callable[[], None]]]:
    """The box on a TCP port; yields the port and a way to pull the cable."""
    lock, open_now = threading.Lock(), list[socket.socket]()
    listener = socket.create_server(("127.0.0.1", port))

    def talk(peer: socket.socket) -> None:
        rest = b""
        with suppress(OSError), peer:
            while data := peer.recv(4096):
                rest += data
                while b"\n" in rest:
                    line, _, rest = rest.partition(b"\n")
                    with lock:
                        answer = box.answer(line.decode("ascii", errors="replace").strip())
                    if answer is not None:
                        peer.sendall(answer.encode("ascii") + b"\r\n")

    def accept() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            open_now.append(peer)
            talkers.append(threading.Thread(target=talk, args=(peer,)))
            talkers[-1].start()

    def pull() -> None:
        for peer in open_now:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        open_now.clear()

    talkers = [threading.Thread(target=accept)]
    talkers[0].start()
    try:
        yield listener.getsockname()[1], pull
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        pull()
        for thread in talkers:
            thread.join()


def main(arguments: list[str] | None = None) -> None:
    """Serve a box until the standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=31764)
    given = parser.parse_args(arguments)
    with serving(SimulatedBox(time.perf_counter_ns), given.port) as (port, _):
        sys.stdout.write(f"socket://127.0.0.1:{port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
