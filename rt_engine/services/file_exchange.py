"""Files that pass between the supervisor and a service on another computer, in pieces, over the control link.

Only plain names inside the session folder are read or written, whatever the other side says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import MessageError, RecordingError

PIECE_BYTES = 4 * 1024 * 1024
MAX_BYTES = 512 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
_LOG = re.compile(r"stim_\d{3}\.wal")
Ask = Callable[[str, dict[str, Any]], dict[str, Any]]


class FileDesk:
    """What a far service does for its supervisor: takes files into its session folder, and gives out its light log.

    Parameters
    ----------
    folder : Path
        Session folder on this computer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, args: dict[str, Any]) -> dict[str, Any]:
        """Append one piece to a file; with the last one it gets its name.

        Raises
        ------
        MessageError
            No plain name, a piece out of order, or too long.
        RecordingError
            The disk refuses.
        """
        name, at, data = _plain(args), args.get("at"), args.get("data")
        if not isinstance(data, bytes) or not isinstance(at, int) or not 0 <= at <= MAX_BYTES - len(data):
            raise MessageError(f"{name}: a piece that cannot be one")
        part = self._folder / f"{name}.part"
        try:
            with part.open("wb" if at == 0 else "r+b") as stream:
                if stream.seek(0, 2) != at:
                    raise MessageError(f"{name}: a piece for byte {at}, where {stream.tell()} are there")
                stream.write(data)
            if args.get("is_last"):
                part.replace(self._folder / name)
        except OSError as error:
            raise RecordingError(f"{part} cannot be written: {error.strerror}") from error
        return {"path": str(self._folder / name)}

    def give(self, args: dict[str, Any]) -> dict[str, Any]:
        """One piece of a write-ahead log of stimulation; without a name, the names of all of them.

        Raises
        ------
        MessageError
            Another name.
        RecordingError
            It cannot be read.
        """
        if "name" not in args:
            return {"names": sorted(path.name for path in self._folder.glob("stim_*.wal") if _LOG.fullmatch(path.name))}
        name, at = _plain(args), args.get("at")
        if not _LOG.fullmatch(name) or not isinstance(at, int) or at < 0:
            raise MessageError(f"{name} is not given out")
        try:
            with (self._folder / name).open("rb") as stream:
                stream.seek(at)
                return {"data": stream.read(PIECE_BYTES)}
        except OSError as error:
            raise RecordingError(f"{name} cannot be read: {error.strerror}") from error


def send_file(ask: Ask, path: Path) -> str:
    """Hand a file to a far service; its path there.

    Parameters
    ----------
    ask : callable
        Carries a command with its arguments to the service.
    path : Path
    """
    size, at, there = path.stat().st_size, 0, ""
    with path.open("rb") as stream:
        while not there or at < size:
            data = stream.read(PIECE_BYTES)
            piece = {"name": path.name, "at": at, "data": data, "is_last": at + len(data) >= size}
            at += len(data)
            there = str(ask("take_file", piece)["path"])
    return there


def fetch_logs(ask: Ask, folder: Path) -> list[Path]:
    """Bring the write-ahead logs of a far stimulation service home.

    Parameters
    ----------
    ask : callable
    folder : Path
        Session folder of the supervisor.

    Raises
    ------
    MessageError
        What comes is no log.
    """
    fetched = []
    for name in ask("give_file", {})["names"]:
        if not isinstance(name, str) or not _LOG.fullmatch(name):
            raise MessageError(f"{str(name)[:100]!r} is no log of stimulation")
        at = 0
        with (folder / name).open("wb") as stream:
            while data := ask("give_file", {"name": name, "at": at})["data"]:
                stream.write(data)
                at += len(data)
                if at > MAX_BYTES:
                    raise MessageError(f"{name} is longer than {MAX_BYTES} bytes")
        fetched.append(folder / name)
    return fetched


def _plain(args: dict[str, Any]) -> str:
    name = args.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MessageError(f"{str(name)[:100]!r} is no plain file name")
    return name
