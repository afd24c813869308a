"""Each vendor's simulator, in a process of its own, at twice its real rate: what came, what did not, and what was told.

``python tests/vendor_rates.py --seconds 600 scanimage scanbox --json rates.json``
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from pydantic import TypeAdapter

from drivers.microscopes.simulators.pictures import stamp_of
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.rig_config import MicroscopeConfig
from rt_engine.services.microscopes import vendor_microscope
from rt_engine.transport.free_ports import free_ports

_LAST_S = 10.0
"""Silence after which nothing more is waited for."""


class Vendor(NamedTuple):
    """Twice the real rate, arguments of the simulator, and the driver's settings; `{}` stand for port and folder."""

    rate_hz: float
    module: str
    arguments: list[str]
    config: dict[str, Any]


VENDORS = {
    "scanimage": Vendor(
        60.0, "scanimage", ["--port", "{port}", "--size", "512", "--stamped"], {"port": "{port}"}
    ),
    "scanimage_file": Vendor(
        60.0, "scanimage_file", ["--folder", "{folder}", "--size", "512"], {"pattern": "{folder}/run_*.tif"}
    ),
    "thorimage": Vendor(60.0, "thorimage", ["--folder", "{folder}", "--size", "512"], {"folder": "{folder}"}),
    "scanbox": Vendor(
        62.0, "scanbox", ["--file", "{folder}/scanbox.mmap"],
        {"mmap_file": "{folder}/scanbox.mmap", "frame_rate_hz": 62.0},
    ),
    "prairieview": Vendor(60.0, "prairie_view", ["--port", "{port}"], {"port": "{port}"}),
}  # fmt: skip


_DOUBT = re.compile(r"between frames (\d+) and (\d+) cannot be excluded")


class Loss:
    """Compares what the pictures say with what the driver says."""

    def __init__(self) -> None:
        self.came = self.missing = self.told = self.broken = 0
        self._last: tuple[int, int, int] | None = None
        self._untold: list[tuple[int, int, int]] = []
        self._doubts: set[tuple[int, int]] = set()

    def see(self, stamp: tuple[int, int] | None, frame: int, flags: int, rejected: int) -> None:
        """One frame."""
        self.came += 1
        if stamp is None:
            self.broken += 1
            return
        if self._last is not None:
            skipped = stamp[0] - self._last[0] - 1
            is_told = frame - self._last[1] > 1 or flags & FrameFlag.LOST_BEFORE or rejected > self._last[2]
            self.missing += skipped
            self.told += skipped if is_told else 0
            if not is_told and skipped:
                self._untold.append((self._last[1], frame, abs(skipped)))
        self._last = (stamp[0], frame, rejected)

    def hear(self, why: str) -> None:
        """What the driver says: it may say later that between two frames losses cannot be excluded."""
        if found := _DOUBT.search(why):
            self._doubts.add((int(found[1]), int(found[2])))

    @property
    def unreported(self) -> int:
        """Frames of losses that were told neither at their place nor later."""
        return sum(n for first, last, n in self._untold if not self._is_doubted(first, last))

    @property
    def told_later(self) -> int:
        """Frames of losses of which the driver said later that they cannot be excluded."""
        return sum(n for first, last, n in self._untold if self._is_doubted(first, last))

    @property
    def n_doubts(self) -> int:
        """How often it was said."""
        return len(self._doubts)

    def _is_doubted(self, first: int, last: int) -> bool:
        return any(a <= first and last <= b for a, b in self._doubts)


def drive(kind: str, seconds: float, folder: Path, more: list[str], *, low: bool = False) -> dict[str, Any]:
    """Read until the simulator, which is given `more` arguments, has ended; the figures.

    `low`: this side alone has a low priority; a scanner that is itself held up is none.
    """
    vendor, names = VENDORS[kind], {"port": str(free_ports(1)[0]), "folder": str(folder)}
    filled = [argument.format(**names) for argument in vendor.arguments]
    values = {key: one.format(**names) if isinstance(one, str) else one for key, one in vendor.config.items()}
    config = TypeAdapter(MicroscopeConfig).validate_python({"driver": kind, **values})
    words = [sys.executable, "-m", f"drivers.microscopes.simulators.{vendor.module}", *filled]
    words += ["--seconds", str(seconds), "--rate-hz", str(vendor.rate_hz), *more]
    microscope, loss = vendor_microscope(config, MonotonicClock()), Loss()
    geometry = microscope.open()
    process = subprocess.Popen(words)
    if low:
        psutil.Process().nice(15)
    try:
        while geometry is None:
            geometry = microscope.open()
        buffer = np.zeros((geometry.n_lines, geometry.pixels_per_line), "<" + geometry.dtype)
        microscope.start()
        last_s = begun_s = time.monotonic()
        while time.monotonic() - last_s < _LAST_S:
            info = microscope.read(buffer, 0.005)
            if info is not None:
                last_s = time.monotonic()
                loss.see(stamp_of(buffer), info.frame, info.flags, getattr(microscope, "rejected", 0))
            loss.hear(getattr(microscope, "why", ""))
    finally:
        microscope.stop()
        microscope.close()
        process.kill()
        process.wait()
    return {
        **{"kind": kind, "rate_hz": vendor.rate_hz, "seconds": round(last_s - begun_s, 1)},
        **{"lines": geometry.n_lines, "pixels": geometry.pixels_per_line, "came": loss.came},
        **{
            "missing": loss.missing,
            "told": loss.told,
            "told_later": loss.told_later,
            "doubts": loss.n_doubts,
            "unreported": loss.unreported,
            "broken": loss.broken,
        },
    }


def main() -> None:
    """Drive those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=sorted(VENDORS))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--low", action="store_true", help="the driver alone at low priority (nice 15)")
    parser.add_argument("--simulator", default="", help="further arguments of the simulator")
    given = parser.parse_args()
    found = []
    for kind in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(drive(kind, given.seconds, Path(folder), given.simulator.split(), low=given.low))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
        if given.json:
            given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
