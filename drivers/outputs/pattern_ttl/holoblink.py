"""A program that makes holograms and takes coordinates over TCP, as HoloBlink does."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress

from rt_engine.interfaces.errors import DeviceError

_PATIENCE_S = 2.0
_LONGEST = 9999
_START = "start the hologram program on that computer, and check address, port and firewall"


class HoloBlink:
    """A client: it only has patterns shown, never light made.

    The greeting is ``Hello``; a message is one character, the length of the rest in four digits, and numbers joined by
    semicolons: ``C`` with all x, then all y, shows a pattern; the answer is a line with ``Done``.

    Parameters
    ----------
    name : str
        Of the output, for messages.
    server : str
        ``host:port``.
    """

    def __init__(self, name: str, server: str) -> None:
        self._name, self._server = name, server
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect and hear the greeting.

        Raises
        ------
        DeviceError
            Nobody there, or somebody else.
        """
        if self._socket is not None:
            return
        host, _, port = self._server.rpartition(":")
        try:
            self._socket = socket.create_connection((host, int(port)), _PATIENCE_S)
            self._socket.settimeout(_PATIENCE_S)
        except OSError as error:
            raise DeviceError(self._name, f"{self._server} does not answer: {error}", _START) from error
        greeting = self._line("the greeting")
        if "Hello" not in greeting:
            self.close()
            raise DeviceError(self._name, f"{self._server} greets with {greeting!r}, not Hello", "look for its port")

    def show(self, places_xy: Sequence[tuple[float, float]]) -> None:
        """Have a pattern shown, and wait until it is.

        Parameters
        ----------
        places_xy : sequence of (float, float)
            In units of the SLM.

        Raises
        ------
        DeviceError
            It refuses, is silent, or the connection is gone.
        """
        numbers = ";".join(f"{one:.2f}" for one in [*(x for x, _ in places_xy), *(y for _, y in places_xy)])
        if len(numbers) > _LONGEST:
            raise DeviceError(self._name, f"{len(places_xy)} places are too many for one message", "fewer targets")
        if self._socket is None:
            raise DeviceError(self._name, "is not open")
        try:
            self._socket.sendall(f"C{len(numbers):04d}{numbers}".encode("ascii"))
        except OSError as error:
            raise self._gone(error) from error
        answer = self._line("a pattern")
        if "Done" not in answer:
            self.close()
            raise DeviceError(
                self._name, f"{self._server} answers {answer!r} to a pattern, not Done", "look at its log"
            )

    def close(self) -> None:
        """Leave."""
        link, self._socket = self._socket, None
        if link is not None:
            with suppress(OSError):
                link.close()

    def _line(self, what: str) -> str:
        """The next line; it is short, and nothing follows it unasked."""
        text = b""
        try:
            while b"\n" not in text and self._socket is not None:
                more = self._socket.recv(4096)
                if not more:
                    raise ConnectionResetError("it has closed the connection")
                text += more
        except TimeoutError as error:
            self.close()
            raise DeviceError(self._name, f"{self._server} is silent after {what}", "look at that program") from error
        except OSError as error:
            raise self._gone(error) from error
        return text.partition(b"\n")[0].decode("ascii", errors="replace").strip()

    def _gone(self, error: OSError) -> DeviceError:
        self.close()
        return DeviceError(self._name, f"{self._server} is gone: {error}", _START)
