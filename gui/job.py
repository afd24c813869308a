"""A `spikeloop` command that the window starts: a process of its own, which outlives the window."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

_PERCENT = re.compile(r"^\s*(.+?):\s+(\d{1,3}) %\s*$")
_TAIL_BYTES = 8000


class Job:
    """One command, its output in a file.

    Parameters
    ----------
    *arguments : str
        After ``spikeloop``.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        folder = Path(tempfile.mkdtemp(prefix="spikeloop-"))
        self.log = folder / "output.txt"
        self.error = ""
        self._process: subprocess.Popen[bytes] | None = None
        try:
            with self.log.open("wb") as stream:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "rt_engine", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=sys.platform != "win32",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            self.error = f"cannot be started: {error.strerror or error}"

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        if self._process is None:
            return 1
        return self._process.poll()

    def lines(self) -> list[str]:
        """The last lines it said."""
        if self.error:
            return [self.error]
        try:
            data = self.log.read_bytes()[-_TAIL_BYTES:]
        except OSError:
            return []
        return [line for line in data.decode(errors="replace").splitlines() if line.strip()]

    def progress(self) -> tuple[str, float] | None:
        """Stage and fraction of the long task it is in; None if it does not say."""
        for line in reversed(self.lines()):
            found = _PERCENT.match(line)
            if found:
                return found[1], min(1.0, int(found[2]) / 100)
        return None
