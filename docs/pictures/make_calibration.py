"""Draw `calibration.png`: simulate the virtual rig at 256 x 256 px, calibrate it, keep its picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rt_engine.cli import main as spikeloop
from rt_engine.interfaces.shipped import find_rig

HERE = Path(__file__).parent


def main() -> None:
    """Simulate, calibrate, copy."""
    with tempfile.TemporaryDirectory() as folder:
        rig, movie = Path(folder) / "rig.yaml", Path(folder) / "movie.tif"
        text = find_rig("virtual_rig").read_text(encoding="utf-8")
        for old, new in (("line: 512", "line: 256"), ("lines: 512", "lines: 256"), ("n_cells: 200", "n_cells: 55")):
            text = text.replace(old, new)
        rig.write_text(text, encoding="utf-8")
        spikeloop(["simulate", str(rig), "-o", str(movie), "--duration", "110", "--seed", "1"])
        spikeloop(["calibrate", str(movie), "-o", str(movie.with_name("calibration.h5"))])
        (HERE / "calibration.png").write_bytes(movie.with_name("calibration.png").read_bytes())


if __name__ == "__main__":
    main()
