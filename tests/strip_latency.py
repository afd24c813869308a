"""Time from a cell's last line to its decision, by strips and by whole frames. Run as a program it prints both."""

from __future__ import annotations

import time

import numpy as np

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.models.calibrate import calibrate
from rt_engine.pipeline.engine import Engine

SIZE_PX, STRIP_LINES, FRAME_RATE_HZ = 512, 32, 30.0
N_BASELINE, N_LIVE = 300, 30


def main() -> None:
    """Scan at 30 Hz in thought, compute in fact."""
    sample = VirtualSample(SampleConfig(seed=2), SIZE_PX, SIZE_PX, 0.8, FRAME_RATE_HZ)
    frames = np.zeros((N_BASELINE + N_LIVE, SIZE_PX, SIZE_PX), np.uint16)
    for index, frame in enumerate(frames):
        sample.render(index, frame)
    calibration = calibrate(
        lambda: iter(frames[:N_BASELINE]),
        frame_rate_hz=FRAME_RATE_HZ,
        indicator="jGCaMP8m",
        n_frames=N_BASELINE,
        hold_frames=1,
        false_alarms_per_min=1.0,
        neuropil_coefficient=0.7,
        um_per_px=0.8,
        offset_counts=None,
        adc_max=None,
        max_shift_px=8.0,
        progress=lambda stage, fraction: None,
    )
    medians_ms = []
    for name, strip_lines in (("whole frames", None), ("strips", STRIP_LINES)):
        engine = Engine(calibration, 8.0, MonotonicClock(), strip_lines)
        engine.warm_up()
        delays_ms, costs_ms = decision_delays_ms(engine, frames[N_BASELINE:])
        medians_ms.append(np.median(delays_ms))
        print(f"{name}: median {medians_ms[-1]:.2f} ms, engine {np.median(costs_ms):.2f} ms a frame")
    print(f"ratio {medians_ms[1] / medians_ms[0]:.3f}, {calibration.n_rois} cells")


def decision_delays_ms(engine: Engine, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Delay of every cell in every frame, and the engine's time per frame."""
    line_ms = 1000 / FRAME_RATE_HZ / SIZE_PX
    delays_ms, costs_ms = [], []
    for index, frame in enumerate(frames):
        engine.begin(index, 0)
        costs_ms.append(0.0)
        for end in engine._ends:
            n_before = engine._n_decided
            t_start_ns = time.perf_counter_ns()
            engine.process_lines(frame, index, int(end), 0)
            took_ms = (time.perf_counter_ns() - t_start_ns) / 1e6
            costs_ms[-1] += took_ms
            for group in engine._groups[n_before : engine._n_decided]:
                last = group.line0 + group.extraction.last_line_needed
                delays_ms.extend((end - 1 - last) * line_ms + took_ms)
    return np.array(delays_ms), np.array(costs_ms)


if __name__ == "__main__":
    main()
