"""Every output of small engines over planted frames, as digests: what a process of its own prints for comparison.

`python tests/engine_bytes.py make FOLDER` draws frames and calibrates; `python tests/engine_bytes.py run FOLDER` runs
the engines on them. Each may be a process whose kernels are compiled for another processor.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.bench.loop.field import plant_loop
from rt_engine.interfaces.calibration import Calibration, load_calibration, save_calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.network_weights import find_weights
from rt_engine.pipeline import template_adaptation
from rt_engine.pipeline.engine import Engine

SIDE_PX, N_CELLS, N_FRAMES = 128, 40, 90
LARGE_PX = 256
"""From this size on fields are binned."""
KINDS = {"apart": (SIDE_PX, False), "overlapping": (SIDE_PX, True), "large": (LARGE_PX, False)}
VARIANTS = ("plain", "network", "matched filter", "structural channel", "neuropil update", "template adaptation")
STRIP_LINES = (None, 16)


def make(folder: Path) -> None:
    """Frames and calibration of every kind, for all processes the same."""
    for kind, (side_px, demixed) in KINDS.items():
        planted = plant_loop(N_CELLS, side_px, 60, 5, demixed=demixed)
        np.save(folder / f"{kind}.npy", planted.frames)
        save_calibration(folder / f"{kind}.h5", planted.calibration)


def run(folder: Path) -> dict[str, str]:
    """Digest by kind, strips, variant and output."""
    template_adaptation.SAMPLE_PERIOD_S = 1 / 30
    template_adaptation.N_SAMPLES = 5
    template_adaptation.HANDOVER_S = 3 / 30
    told: dict[str, str] = {}
    for kind in KINDS:
        frames, calibration = np.load(folder / f"{kind}.npy"), load_calibration(folder / f"{kind}.h5")
        for strip_lines in STRIP_LINES:
            for variant in VARIANTS:
                engine = Engine(
                    _changed(calibration, variant),
                    8.0,
                    MonotonicClock(),
                    strip_lines,
                    adapts_template=variant == "template adaptation",
                )
                name = f"{kind}, {variant}, {'whole frames' if strip_lines is None else 'strips'}"
                told |= {
                    f"{name}: {output}": digest for output, digest in _outputs(engine, frames, strip_lines).items()
                }
    return told


def _changed(calibration: Calibration, variant: str) -> Calibration:
    match variant:
        case "network":
            return replace(calibration, network=find_weights("synthetic+real"))
        case "matched filter":
            return replace(calibration, drive=None)
        case "structural channel":
            return replace(calibration, registration_channel=1, registration_template=calibration.template)
        case "neuropil update":
            return replace(calibration, updates_neuropil=True)
    return calibration


def _frame(frames: NDArray[np.uint16], number: int) -> NDArray[np.uint16]:
    """Usual ones, a jump, an empty frame and a saturated one."""
    frame = frames[number % len(frames)]
    match number:
        case 50:
            frame = np.roll(frame, (6, 5), (0, 1))
        case 70:
            frame = np.zeros_like(frame)
        case 80:
            frame = np.full_like(frame, 65535)
    return np.ascontiguousarray(frame)


def _outputs(engine: Engine, frames: NDArray[np.uint16], strip_lines: int | None) -> dict[str, str]:
    start = _arrays(engine)
    engine.warm_up()
    side_px = frames.shape[1]
    names = ("events", "activity", "shift", "quality", "cells")
    digests: dict[str, Any] = {name: hashlib.sha256() for name in names}
    n_events = 0
    for number in range(N_FRAMES):
        frame = _frame(frames, number)
        n_gap, blanked = 3 * (number in (5, 30)), [(10, 20)] if number in (7, 31) else []
        engine.reference = frame if engine.calibration.registration_channel >= 0 else None
        engine.begin(number + n_gap, n_gap)
        for end_line in range(strip_lines or side_px, side_px + 1, strip_lines or side_px):
            n = engine.process_lines(frame, number, end_line, number * 33_333_333, blanked)
            digests["events"].update(engine.events[:n].tobytes())
            n_events += n
        digests["activity"].update(engine.fill_activity().tobytes())
        digests["shift"].update(np.array(engine.shift_yx_px).tobytes())
        digests["quality"].update(np.float64(engine.quality).tobytes())
        for figures in engine.cell_figures():
            digests["cells"].update(figures.tobytes())
        engine.maintain(frame, number)
        engine.tidy()
    if engine._adaptation is not None:
        engine._adaptation.finish()
    told = {name: one.hexdigest() for name, one in digests.items()}
    return told | {"number of events": str(n_events), "start": start, "state at the end": _arrays(engine)}


def _arrays(engine: Engine) -> str:
    """Digest of all that registration and inference hold: float64, where outputs are rounded to float32."""
    held = [engine._registration, [group.traces for group in engine._groups]]
    return hashlib.sha256(pickle.dumps(held)).hexdigest()


if __name__ == "__main__":
    place = Path(sys.argv[2])
    if sys.argv[1] == "make":
        make(place)
    else:
        print(json.dumps(run(place)))
