"""Scanbox's side of `scanbox/slot.py`: it writes a frame where the slot is free, and leaves it out where not.

``python -m drivers.microscopes.simulators.scanbox --file scanbox.mmap --seconds 60`` scans in real time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from drivers.microscopes.scanbox.slot import FREE, HEADER_BYTES, STOPPED, Slot, SlotHeader
from drivers.microscopes.simulators.pictures import stamped

_MOST_LINES, _PIXELS = 1024, 796
_LAST_NUMBER = 32767


class SimulatedScanbox:
    """Scans into a file of the size that Scanbox makes, for two channels of 1,024 lines.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Lines and pixels.
    n_planes : int
        Planes of a volume; 1: none are scanned.

    Attributes
    ----------
    skipped : int
        Frames that were left out because the slot was not free.
    """

    def __init__(self, path: Path, shape: tuple[int, int] = (512, _PIXELS), n_planes: int = 1) -> None:
        self.shape, self._n_planes, self.skipped = shape, n_planes, 0
        if not path.exists():
            path.write_bytes(bytes(HEADER_BYTES + 4 * max(shape[0], _MOST_LINES) * max(shape[1], _PIXELS)))
        self._slot = Slot(path)
        self._slot.set_number(FREE)

    def scan(self, number: int, stamp: int | None = None) -> bool:
        """One frame of both channels; False if it was left out. `stamp` is the number in the picture."""
        if self._slot.number() >= 0:
            self.skipped += 1
            return False
        pictures = [65535 - stamped(self.shape, number if stamp is None else stamp, channel) for channel in (0, 1)]
        header = SlotHeader(min(number, _LAST_NUMBER), *self.shape, 0, int(self._n_planes > 1), self._n_planes)
        self._slot.put(header, [np.asarray(one, np.uint16) for one in pictures], column_major=True)
        return True

    def stop(self) -> None:
        """The person has pressed stop."""
        self._slot.set_number(STOPPED)

    def close(self) -> None:
        """Scanbox ends."""
        self._slot.close()


def main(arguments: list[str] | None = None) -> None:
    """Scan in real time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate-hz", type=float, default=15.5)
    parser.add_argument("--lines", type=int, default=512)
    parser.add_argument("--pixels", type=int, default=_PIXELS)
    parser.add_argument("--planes", type=int, default=1)
    parser.add_argument("--first-number", type=int, default=0, help="as after so many frames")
    given = parser.parse_args(arguments)
    side = SimulatedScanbox(given.file, (given.lines, given.pixels), given.planes)
    begun_s = time.perf_counter()
    for frame in range(round(given.seconds * given.rate_hz)):
        time.sleep(max(0.0, begun_s + (frame + 1) / given.rate_hz - time.perf_counter()))
        side.scan(given.first_number + frame)
    side.stop()
    side.close()


if __name__ == "__main__":
    main()
