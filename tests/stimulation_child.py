"""The stimulation service in a process of its own, with a clock that can be stopped or set back from outside."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.services.setup import Setup
from rt_engine.services.stimulation import StimulationService


class FileClock(MonotonicClock):
    """The clock of this host until the file exists; then it stands still, or is as many ns behind as the file says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_ns = 0

    def now_ns(self) -> int:
        if not self._path.exists():
            self._last_ns = super().now_ns()
            return self._last_ns
        text = self._path.read_text(encoding="utf-8")
        return super().now_ns() - int(text) if text.isdigit() else self._last_ns


def main(setup_path: str, clock_path: str) -> int:
    """Run the service until it is told to stop."""
    setup = Setup(**json.loads(Path(setup_path).read_text(encoding="utf-8")))
    clock = FileClock(Path(clock_path)) if clock_path else None
    return StimulationService(setup, clock).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
