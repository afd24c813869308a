"""A microscope of somebody else: its vendor's program sends frames by UDP, its package offers a driver for them."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

from microscope_sides import SHAPE, Side
from plugin_package import installed

from drivers.microscopes.simulators.pictures import stamped
from rt_engine.transport.free_ports import free_ports

MODULE, POINTS = "acme_scope", "[spikeloop.microscopes]\nscope = acme_scope:Scope\n"
HEAD = struct.Struct("<IIHHfd")
"""Run, number, lines, pixels, frames a second, time in seconds."""
PACKAGE = '''
"""The driver of the Acme scope: one datagram a frame."""

import select
import socket
import struct

import numpy as np

from rt_engine.interfaces.devices import FrameGeometry, FrameInfo
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.events import FrameFlag

HEAD = struct.Struct("<IIHHfd")


class Scope:
    """Fulfils `rt_engine.interfaces.devices.Microscope` and `CountsRejected`."""

    def __init__(self, settings, clock):
        self._port, self._clock = int(settings["port"]), clock
        self._socket = self._geometry = self._run = None
        self._base, self._last, self._late_ns = 0, -1, []
        self.rejected, self.why = 0, ""

    def open(self):
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            try:
                self._socket.bind(("127.0.0.1", self._port))
            except OSError as error:
                self.close()
                raise DeviceError("scope", f"port {self._port}: {error.strerror}", "end the other program") from error
        if self._geometry is None and (got := self._take()) is not None:
            (_, _, n_lines, n_pixels, rate_hz, _), _ = got
            self._geometry = FrameGeometry(n_lines, n_pixels, "u2", rate_hz, adc_max=4095)
        return self._geometry

    def start(self):
        while self._take() is not None:
            pass

    def read(self, buffer, timeout_s):
        select.select([self._socket], [], [], timeout_s)
        got = self._take()
        if got is None:
            return None
        arrived_ns = self._clock.now_ns()
        (run, number, n_lines, n_pixels, _, t_s), pixels = got
        if (n_lines, n_pixels) != buffer.shape:
            raise DeviceError("scope", "the size has changed", "do not change it during a run")
        is_anew = self._run is not None and run != self._run
        if is_anew:
            self._base, self._late_ns = self._last + 2 - number, []
        self._run, self._last = run, self._base + number
        buffer[:] = np.frombuffer(pixels, "<u2").reshape(buffer.shape)
        self._late_ns = [*self._late_ns[-299:], arrived_ns - round(t_s * 1e9)]
        least_ns = min(self._late_ns)
        return FrameInfo(
            frame=self._last,
            t_scan_ns=round(t_s * 1e9) + least_ns,
            t_scan_uncertainty_ns=sorted(self._late_ns)[len(self._late_ns) // 2] - least_ns + 1_000_000,
            t_device_s=t_s,
            flags=int(FrameFlag.LOST_BEFORE if is_anew else 0),
        )

    def stop(self):
        pass

    def close(self):
        link, self._socket = self._socket, None
        if link is not None:
            link.close()

    def _take(self):
        """The next whole datagram, if one is there."""
        while self._socket is not None:
            try:
                message = self._socket.recv(65_536)
            except BlockingIOError:
                return None
            if len(message) >= HEAD.size:
                head = HEAD.unpack_from(message)
                if len(message) == HEAD.size + 2 * head[2] * head[3]:
                    return head, message[HEAD.size :]
            self.rejected, self.why = self.rejected + 1, "a frame that is not whole"
        return None
'''


class PluginSide(Side):
    """The program of the Acme scope."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_ports(1)[0]
        self.config = {"driver": "plugin", "name": "scope", "settings": {"port": self.port}}

    def install(self, patch: Any) -> None:
        """As pip would, beside spikeloop."""
        patch.syspath_prepend(str(installed(self.folder / "site", MODULE, PACKAGE, POINTS)))

    def begin(self) -> None:
        super().begin()
        self.link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def scan(self, stamp: int, part: float = 1.0) -> None:
        self.number += 1
        head = HEAD.pack(self.runs, self.number, *SHAPE, 30.0, self.number / 30.0)
        message = head + stamped(SHAPE, stamp).tobytes()
        self.link.sendto(message[: round(part * len(message))], ("127.0.0.1", self.port))

    def tear(self, stamp: int) -> None:
        self.scan(stamp, part=0.5)

    def end(self) -> None:
        self.link.close()
