"""Forces log and ledger to the disk from a thread of its own, so that the decision loop never waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rt_engine.interfaces.errors import SpikeloopError


class DiskSync:
    """One thread that calls `sync` when asked; asking again while it works is asking once.

    Parameters
    ----------
    sync : callable
        May take as long as the disk likes; must let other threads run meanwhile.

    Attributes
    ----------
    failure : SpikeloopError or None
        Why the last one failed; the asker takes it from here.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self.failure: SpikeloopError | None = None
        self._sync = sync
        self._asked = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="spikeloop-disk-sync", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Sync soon; returns at once."""
        self._asked.set()

    def close(self) -> None:
        """Sync a last time and end the thread; may be repeated."""
        self._ended = True
        self._asked.set()
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            self._asked.wait()
            self._asked.clear()
            last = self._ended
            try:
                self._sync()
            except SpikeloopError as error:
                self.failure = error
