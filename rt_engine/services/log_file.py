"""What was said in a session, as lines of JSON: for people with `grep`, and for collectors of logs."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from rt_engine.interfaces.messages import LogHeader

FILE_NAME = "log.jsonl"
MAX_BYTES = 5_000_000
KEPT = 4
"""Older files, `log.jsonl.1` the youngest of them."""


class LogFile:
    """Appends `log` messages to a file that is replaced when it is full; a disk that fails costs the log alone.

    Parameters
    ----------
    folder : Path
        Session folder.
    max_bytes : int
        A file that has as many is put aside and the next begun.

    Attributes
    ----------
    lost : int
        Lines that could not be written.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path, self._max_bytes = folder / FILE_NAME, max_bytes
        self._stream: BinaryIO | None = None
        self._encoder = msgspec.json.Encoder()
        self.lost = 0

    def write(self, header: LogHeader, t_unix_ms: int) -> None:
        """Append one line: `t_unix_ms level source text fields session`."""
        line = {
            "t_unix_ms": t_unix_ms,
            "level": header.level,
            "source": header.source,
            "text": header.text,
            "fields": header.fields,
            "session": header.session,
        }
        try:
            stream = self._open()
            stream.write(self._encoder.encode(line) + b"\n")
            stream.flush()
            if stream.tell() >= self._max_bytes:
                self.close()
                self._rotate()
        except OSError:
            self.lost += 1

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> BinaryIO:
        if self._stream is None:
            self._stream = self._path.open("ab")
        return self._stream

    def _rotate(self) -> None:
        """`.3` becomes `.4`, and so on; the oldest goes. The file is closed, as Windows wants it."""
        for n in range(KEPT, 0, -1):
            older = self._path if n == 1 else self._path.with_name(f"{FILE_NAME}.{n - 1}")
            if older.exists():
                older.replace(self._path.with_name(f"{FILE_NAME}.{n}"))
