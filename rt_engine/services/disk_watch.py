"""The disk under a session: a warning while there is time, then room for events when frames have to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.recording.journal import free_space_mb

RESERVE_FILE = ".room-for-events"
_RESERVE_BYTES = 16 << 20
_LARGEST_SHARE = 0.1
_WARN_S = 300.0
_WARN_FACTOR = 2.0
_PERIOD_NS = NS_PER_S


class DiskWatch:
    """Free space, how long it lasts, and a few megabytes held back for the events of a session whose disk is full.

    Parameters
    ----------
    folder : Path
        Session folder.
    min_free_mb : float
        Below this frames end.
    free_mb : callable
        Space left on the disk of a folder.
    """

    def __init__(self, folder: Path, min_free_mb: float, free_mb: Callable[[Path], float] = free_space_mb) -> None:
        self._folder, self._min_free_mb, self._free_mb = folder, min_free_mb, free_mb
        self._due_ns = 0
        self._first: tuple[int, float] | None = None
        self._warned = self._ended = self._warned_of_events = False
        self.free_mb = free_mb(folder)
        self._reserve()

    def look(self, now_ns: int) -> str | None:
        """Once a second: ``"end"`` when frames have to end, a warning in words when it gets scarce, or None.

        One warning comes before the end of frames; a second one, of the events alone, comes five minutes before there
        is no room for them either.

        Raises
        ------
        RecordingError
            The folder is gone.
        """
        if now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + _PERIOD_NS
        self.free_mb = free = self._free_mb(self._folder)
        if self._ended:
            return self._warning_of_events(now_ns, free)
        if free < self._min_free_mb:
            self._ended, self._first = True, None
            return "end"
        left_s = self._seconds_left(now_ns, free, self._min_free_mb)
        if self._warned or not (free < _WARN_FACTOR * self._min_free_mb or (left_s is not None and left_s < _WARN_S)):
            return None
        self._warned = True
        lasts = "" if left_s is None else f", at this rate for {left_s / 60:.0f} min"
        return f"{free:.0f} MB are left on the disk{lasts}; frames end at {self._min_free_mb:.0f} MB, events go on"

    def _warning_of_events(self, now_ns: int, free_mb: float) -> str | None:
        left_s = self._seconds_left(now_ns, free_mb, 0.0)
        if self._warned_of_events or left_s is None or left_s > _WARN_S:
            return None
        self._warned_of_events = True
        return (
            f"{free_mb:.0f} MB are left for events, at this rate for {left_s / 60:.0f} min; then the journal ends, and "
            "light trips"
        )

    def release(self) -> None:
        """Give the reserve back to the disk: events need it now."""
        (self._folder / RESERVE_FILE).unlink(missing_ok=True)

    def _seconds_left(self, now_ns: int, free_mb: float, bound_mb: float) -> float | None:
        """Until `bound_mb` are left, at the mean rate since the first look; None while that is not known."""
        if self._first is None:
            self._first = now_ns, free_mb
            return None
        t0_ns, free0_mb = self._first
        used_mb, passed_s = free0_mb - free_mb, (now_ns - t0_ns) / NS_PER_S
        if used_mb < 1.0 or passed_s < 10.0:
            return None
        return (free_mb - bound_mb) * passed_s / used_mb

    def _reserve(self) -> None:
        n_bytes = int(min(_RESERVE_BYTES, self.free_mb * 1e6 * _LARGEST_SHARE))
        try:
            (self._folder / RESERVE_FILE).write_bytes(bytes(n_bytes))
        except OSError:
            self.release()  # a disk that refuses it will refuse the journal too, and that is told
