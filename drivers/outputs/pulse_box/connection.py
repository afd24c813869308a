"""Lines to a pulse box and its answers, without waiting where the loop cannot wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rt_engine.interfaces.errors import DeviceError

_HELLO_S = 3.0
_ANSWER_S = 1.0
_ADVICE = {
    "WIDTH": "the box has MAX_WIDTH_US in its sketch; change the protocol, or the sketch",
    "PERIOD": "leave more dark time between the pulses of a train",
    "PULSES": "make the train shorter",
    "DARK": "the loop was too slow to feed it, or the box has started anew; look at both, then reset and arm again",
    "COMMAND": "load pulse_box.ino of this version of spikeloop onto the box",
}


class BoxConnection:
    """One serial port. Every line gets one answer, in order.

    Parameters
    ----------
    name : str
        Of the output, for messages.
    port : str
        As pyserial takes it.
    sleep : callable
    """

    def __init__(self, name: str, port: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._name, self._port, self._sleep = name, port, sleep
        self._serial: Any = None
        self._rest = b""
        self._asked: deque[str] = deque()
        self.versions: dict[str, str] = {}

    @property
    def is_open(self) -> bool:
        """True between `open` and `close`."""
        return self._serial is not None

    @property
    def waits(self) -> int:
        """Lines that have not been answered."""
        return len(self._asked)

    def open(self) -> int:
        """Connect, and wait for the box; the longest pulse it makes, microseconds.

        Raises
        ------
        DeviceError
            No such port, no permission, no answer, or another device or firmware.
        """
        try:
            import serial
        except ImportError as error:
            raise DeviceError(
                self._name, "the package pyserial is missing", 'pip install "spikeloop[hardware]"'
            ) from error
        try:
            self._serial = serial.serial_for_url(
                self._port, baudrate=115200, timeout=0, write_timeout=0.2, exclusive=True
            )
        except serial.SerialException as error:
            raise DeviceError(
                self._name, f"{self._port} cannot be opened: {error}", _port_advice(self._port, str(error))
            ) from error
        self._rest, self._asked = b"", deque()
        answer = self._greet()
        words = answer.split()
        if len(words) < 5 or words[:3] != ["OK", "HELLO", "spikeloop-pulse-box"] or not words[4].isdigit():
            self.close()
            raise DeviceError(self._name, f"{self._port} answers {answer!r}: no pulse box", "look for the right port")
        if words[3] != "1":
            self.close()
            raise DeviceError(self._name, f"its firmware speaks protocol {words[3]}, 1 is needed", _ADVICE["COMMAND"])
        self.versions = {
            "pulse box": f"firmware protocol {words[3]}, pulses up to {words[4]} us, on {self._port}",
            "pyserial": str(serial.__version__),
        }
        return int(words[4])

    def send(self, line: str) -> None:
        """Send a line and do not wait. Raises DeviceError."""
        self._asked.append(line)
        self._guard(lambda: self._serial.write(line.encode("ascii") + b"\n"))

    def ask(self, line: str, patience_s: float = _ANSWER_S) -> str:
        """Send a line and wait for its answer. Raises DeviceError, also for an ``ERR``."""
        self.send(line)
        for _ in range(round(patience_s / 0.001)):
            for answered, answer in self.answers():
                if answered == line and not self._asked:
                    return answer
            self._sleep(0.001)
        raise DeviceError(self._name, f"{self._port} does not answer {line!r}", "check the cable; reset the box")

    def answers(self) -> list[tuple[str, str]]:
        """Lines that have been answered since the last call, with their answers.

        Raises
        ------
        DeviceError
            The connection is gone, the box has refused something, or it answers what was not asked.
        """
        self._rest += self._guard(lambda: self._serial.read(4096))
        found = []
        while b"\n" in self._rest:
            raw, _, self._rest = self._rest.partition(b"\n")
            answer = raw.decode("ascii", errors="replace").strip()
            line = self._asked.popleft() if self._asked else "nothing"
            if not answer.startswith("OK " + line.split()[0]):
                code = answer.split()[1] if answer.startswith("ERR ") and len(answer.split()) > 1 else ""
                raise DeviceError(
                    self._name, f"the box answers {line!r} with {answer!r}", _ADVICE.get(code, "reset the box")
                )
            found.append((line, answer))
        return found

    def close(self) -> None:
        """Release the port."""
        serial, self._serial = self._serial, None
        if serial is None:
            return
        # pyserial leaves the socket of a connection that is gone open, so it is closed here.
        link = getattr(serial, "_socket", None)
        with suppress(OSError):
            serial.close()
        if link is not None:
            link.close()

    def _greet(self) -> str:
        """Ask who is there until somebody answers: many boards start anew when the port is opened."""
        text: bytes = b""
        for turn in range(round(_HELLO_S / 0.01)):
            if turn % 30 == 0:
                text = b""
                self._guard(lambda: self._serial.write(b"HELLO\n"))
            text += self._guard(lambda: self._serial.read(4096))
            if b"\n" in text:
                self._sleep(0.02)
                self._guard(lambda: self._serial.read(4096))
                return text.partition(b"\n")[0].decode("ascii", errors="replace").strip()
            self._sleep(0.01)
        self.close()
        raise DeviceError(
            self._name, f"nothing answers on {self._port}", "check the cable, and that the sketch is loaded"
        )

    def _guard(self, do: Callable[[], Any]) -> Any:
        if self._serial is None:
            raise DeviceError(self._name, "is not open")
        try:
            return do()
        except OSError as error:
            raise DeviceError(
                self._name, f"{self._port} is gone: {error}", "check the cable, then reset and arm again"
            ) from error


def _port_advice(port: str, error: str) -> str:
    if "://" in port:
        return "start what listens there, and check address and port"
    if any(word in error for word in ("ermission", "denied", "exclusively lock")):
        return "close other programs that use it; on Linux: sudo usermod -aG dialout $USER, then log in again"
    return "look up the port (Windows: Device Manager; Linux: ls /dev/serial/by-id) and write it to `port`"
