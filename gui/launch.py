"""Starts the window: everything it needs is made here and handed on."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import zmq

from gui.command_link import CommandLink
from gui.endpoints import Endpoints
from gui.palette import Tone
from gui.settings import Settings, default_path
from gui.stop_line import StopLine
from gui.wire_client import WireClient
from rt_engine.interfaces.clock import Clock, MonotonicClock
from rt_engine.transport.client_keys import secure_from_command

_MOST_ERRORS = 100


@dataclass(slots=True)
class Parts:
    """A window and what works behind it; `close` ends all of it."""

    window: Any
    wire: WireClient
    link: CommandLink
    stop_line: StopLine
    context: zmq.Context[zmq.Socket[bytes]]

    def close(self) -> None:
        """End threads and sockets."""
        self.window.close()
        self.wire.close()
        self.link.close()
        self.stop_line.close()
        self.context.destroy(linger=0)


def build(
    endpoints: Endpoints,
    settings: Settings,
    clock: Clock | None = None,
    key_file: str | None = None,
    keys_folder: str | None = None,
) -> Parts:
    """Make the window and start its threads; a QApplication must exist. The keys as in `main`."""
    import pyqtgraph as pg

    from gui.desk import Desk
    from gui.model.live import LiveModel
    from gui.window import MainWindow

    pg.setConfigOptions(imageAxisOrder="row-major", antialias=False, useOpenGL=False)
    clock = clock or MonotonicClock()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    secure_from_command(context, key_file, keys_folder)
    wire, link = WireClient(context, endpoints), CommandLink(context, endpoints, clock)
    stop_line = StopLine(context, endpoints, clock)
    desk = Desk(LiveModel(clock), link, endpoints, settings, clock)
    window = MainWindow(desk, wire, stop_line)
    wire.start()
    link.start()
    window.pacer.start()
    return Parts(window, wire, link, stop_line, context)


def main(
    endpoints: Endpoints,
    settings_path: Path | None = None,
    *,
    rig: str = "virtual_rig",
    review: Path | None = None,
    only_one: bool = False,
    key_file: str | None = None,
    keys_folder: str | None = None,
) -> int:
    """Show the window until it is closed.

    Parameters
    ----------
    endpoints : Endpoints
        Of the rig.
    settings_path : Path or None
        What the window remembers; None: the file of this user.
    rig : str
        Offered where a run can be started.
    review : Path or None
        A session to open at once.
    only_one : bool
        Return at once if this rig has a window on this computer already.
    key_file, keys_folder : str or None
        Who we are to a rig with keys, see `transport.client_keys`.

    Returns
    -------
    int
        Exit code.
    """
    os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")
    from pyqtgraph.Qt import QtCore, QtWidgets

    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(sys.argv[:1])
    app.setApplicationName("spikeloop")
    app.setStyle("Fusion")
    lock = QtCore.QLockFile(_lock_path(endpoints))
    lock.setStaleLockTime(0)
    if not lock.tryLock(0) and only_one:
        return 0
    _step_back()
    settings = Settings(settings_path or default_path())
    settings["rig"] = rig
    parts = build(endpoints, settings, key_file=key_file, keys_folder=keys_folder)
    sys.excepthook = _survive(parts)
    try:
        _show(parts, review)
        return int(app.exec())
    finally:
        parts.close()


def _step_back() -> None:
    """Whoever only looks lets the loop go first; where the system does not allow that, nothing is lost."""
    below = getattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS", 5)
    with contextlib.suppress(psutil.Error, OSError):
        psutil.Process().nice(below)


def _show(parts: Parts, review: Path | None) -> None:
    """Show the window as large as it was, and open the session that was asked for."""
    window = parts.window
    width, height = (int(one) for one in window.desk.settings["size"][:2])
    window.resize(width, height)
    window.show()
    if review is not None:
        window.show_page(window.pages.index(window.review))
        window.review.open(review)


def _lock_path(endpoints: Endpoints) -> str:
    """One lock for each user and rig of this computer."""
    return str(Path(tempfile.gettempdir()) / f"spikeloop-window-{_user()}-{endpoints.ports.control}")


def _survive(parts: Parts) -> Callable[..., None]:
    """An error nobody foresaw is written down and said; the window, and with it STOP, stays.

    One that comes with every refresh is written down once.
    """
    written: set[str] = set()

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        if text not in written and len(written) < _MOST_ERRORS:
            written.add(text)
            sys.stderr.write(text)
        parts.window.desk.say(f"internal error: {kind.__name__}: {error}", Tone.DANGER)

    return hook


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "user"
