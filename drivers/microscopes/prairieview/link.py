"""Script commands of Prairie View over TCP: one at a time, answered by ACK, perhaps a value, and DONE."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from rt_engine.interfaces.errors import DeviceError

DEVICE = "prairieview"
SEPARATOR, END = "\x01", "\r\n"
_LOOK_S = 0.1


class PrairieLink:
    """A connection to Prairie View.

    Parameters
    ----------
    host : str
    port : int
    password : str
        As in Edit Scripts of Prairie View; empty: none.
    is_over : callable
        True when nobody wants an answer any more.

    Attributes
    ----------
    owes : bool
        True while a command has not been answered to its end.

    Raises
    ------
    OSError
        Nobody listens.
    """

    def __init__(self, host: str, port: int, password: str, is_over: Callable[[], bool]) -> None:
        self._socket = socket.create_connection((host, port), timeout=1.0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(_LOOK_S)
        self._first = [password] if password else []
        self._is_over = is_over
        self._rest = ""
        self.owes = False

    def ask(self, *words: str, timeout_s: float = 5.0) -> str:
        """Carry out a command; its value, empty where it has none.

        Raises
        ------
        OSError
            The connection is lost.
        TimeoutError
            No answer came in time; the command may still be carried out.
        DeviceError
            What came is no answer.
        """
        line = SEPARATOR.join([*self._first, *words]) + END
        self._first = []
        self._socket.sendall(line.encode())
        self.owes, end_s = True, time.monotonic() + timeout_s
        if self._line(end_s) != "ACK":
            raise DeviceError(DEVICE, f"{words[0]} was not acknowledged", "does something else answer on this port?")
        value = self._line(end_s)
        if value != "DONE" and self._line(end_s) != "DONE":
            raise DeviceError(DEVICE, f"{words[0]} was answered by more than a value", "is this Prairie View?")
        self.owes = False
        return "" if value == "DONE" else value

    def close(self) -> None:
        """Say good-bye, without which Prairie View shows an error, and hang up."""
        try:
            self._socket.sendall(("-x" + END).encode())
        except OSError:
            self._rest = ""
        finally:
            self._socket.close()

    def _line(self, end_s: float) -> str:
        while END not in self._rest:
            if time.monotonic() > end_s:
                raise TimeoutError("Prairie View does not answer")
            try:
                data = self._socket.recv(4096)
            except TimeoutError:
                end_s = min(end_s, time.monotonic() + 10 * _LOOK_S) if self._is_over() else end_s
                continue
            if not data:
                raise ConnectionResetError("Prairie View has hung up")
            self._rest += data.decode(errors="replace")
        line, _, self._rest = self._rest.partition(END)
        return line.strip()
