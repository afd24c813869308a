"""Rows of the pixel benchmark: from a cell's last line to its decision, by strips and by whole frames."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rt_engine.bench.crowded_field import crowded_field
from rt_engine.bench.registration_cost import MAX_SHIFT_PX, SIZE_PX, PlantedField
from rt_engine.bench.rounds import Row, Spread
from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.models.detection import frames_before, matched_filter
from rt_engine.models.indicators import indicator
from rt_engine.models.stage_run import RunSettings, TraceCalibration, calibration_of
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.pipeline.strips import StripRegistration

STRIP_LINES, RATE_HZ, N_CELLS, N_FRAMES = 32, 30.0, 1000, 12


def strip_rows(n_rounds: int) -> list[Row]:
    """Delays of both modes, their ratio, and what strips cost in accuracy where the sample moves between frames."""
    planted = PlantedField(1)
    taken = list(planted.frames(N_FRAMES * max(1, n_rounds // 3)))
    calibration = crowded_calibration(planted.template)
    delay_ms = {
        name: decision_delay_ms(Engine(calibration, MAX_SHIFT_PX, MonotonicClock(), lines), [f for f, _ in taken])
        for name, lines in (("whole frames", None), ("strips", STRIP_LINES))
    }
    rows = [Row(f"last line to decision, {name}", "ms", Spread.of(delays)) for name, delays in delay_ms.items()]
    ratio = Spread.of(delay_ms["strips"] / delay_ms["whole frames"])
    rows.append(Row("last line to decision, strips over whole frames", "", ratio, ("<=", 1 / 6)))
    for name, error_px in zip(("whole frames", "strips"), shift_errors_px(planted, taken), strict=True):
        rows.append(Row(f"shift, rms error of {name}", "px", Spread(error_px, error_px, error_px)))
    return rows


def decision_delay_ms(engine: Engine, frames: list[NDArray[np.uint16]]) -> NDArray[np.float64]:
    """Median over cells of the delay in every frame: lines waited for in scan time, work in time of the clock."""
    engine.warm_up()
    line_ms = 1000 / RATE_HZ / SIZE_PX
    out = []
    for index, frame in enumerate(frames):
        engine.begin(index, 0)
        delays_ms: list[float] = []
        for end in engine.strip_ends:
            t_start_ns = time.perf_counter_ns()
            last_lines = engine.last_lines_undecided()
            engine.process_lines(frame, index, int(end), 0)
            took_ms = (time.perf_counter_ns() - t_start_ns) / 1e6
            decided = last_lines[: len(last_lines) - len(engine.last_lines_undecided())]
            delays_ms += [(int(end) - 1 - last) * line_ms + took_ms for last in decided]
        out.append(float(np.median(delays_ms)))
    return np.array(out)


def shift_errors_px(
    planted: PlantedField, taken: list[tuple[NDArray[np.uint16], NDArray[np.float64]]]
) -> tuple[float, float]:
    """RMS errors of the shift per axis, of whole frames and of strips; every frame is somewhere else."""
    whole = RigidRegistration(planted.template, MAX_SHIFT_PX)
    of_whole, of_strips = [], []
    for frame, shift in taken:
        strips = StripRegistration(planted.template, MAX_SHIFT_PX, STRIP_LINES)
        whole.process(frame)
        of_whole.append(np.array([whole.shift_y_px, whole.shift_x_px]) - shift)
        for strip in range(len(strips.ends)):
            strips.process(frame, strip)
            of_strips.append(strips.strip_shift_px[strip] - shift)
    first, second = (float(np.sqrt(np.mean(np.square(errors)))) for errors in (of_whole, of_strips))
    return first, second


def crowded_calibration(template: NDArray[np.float32]) -> Calibration:
    """A thousand cells with rings on a planted field, constants of the indicator library."""
    prior, hold = indicator("jGCaMP8m"), 1
    n_before = frames_before(prior.tau_s, RATE_HZ)
    found = matched_filter(prior.tau_rise_s, prior.tau_s, RATE_HZ, hold, n_before)
    ones = np.ones(N_CELLS, np.float32)
    traces = TraceCalibration(
        neuropil_coefficient=0.7 * ones, neuropil_median_counts=0 * ones, f0_counts=100 * ones, sigma_dff=0.1 * ones,
        tau_rise_s=ones * np.float32(prior.tau_rise_s), tau_s=ones * np.float32(prior.tau_s),
        amplitude_dff=ones * np.float32(prior.amplitude_dff), rate_hz=0.2 * ones,
        filter_taps=np.repeat(found.taps[:, None].astype(np.float32), N_CELLS, axis=1),
        filter_gain=ones * np.float32(10 * found.gain), threshold=5 * ones, expected_detection=ones,
    )  # fmt: skip
    masks = crowded_field(N_CELLS, SIZE_PX, 4)
    base = calibration_of(traces, RunSettings(RATE_HZ, prior, hold, n_before, 0.5), 3000)
    return replace(
        base, n_lines=SIZE_PX, pixels_per_line=SIZE_PX, template=template, correlation_image=np.zeros_like(template),
        roi_start=masks.roi_start, roi_pixels=masks.roi_pixels, neuropil_start=masks.neuropil_start,
        neuropil_pixels=masks.neuropil_pixels,
    )  # fmt: skip
