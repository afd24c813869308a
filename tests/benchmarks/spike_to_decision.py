"""What a scientist waits for: from the spike to the end of the frame that decides, by indicator, hold and rate.

``PYTHONPATH=. python tests/benchmarks/spike_to_decision.py``; prints a Markdown table. Single spikes at random phases
of the frame, white noise, the engine's own stage in streaming order; `scan_to_command` of the rig comes on top.
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from rt_engine.models.forward import SUBSTEP_S, response
from rt_engine.models.indicators import Indicator, indicator
from rt_engine.models.trace_inference import InferenceSettings, infer_traces

INDICATORS = ("jGCaMP8f", "jGCaMP8m", "jGCaMP8s", "GCaMP6f", "GCaMP6s", "OGB-1")
SNR_30_HZ = 5.0
"""Height of one spike at 30 Hz over the noise of one sample; at another rate as many photons a second."""
N_CELLS, SECONDS, BASELINE_S, SPACING_S = 40, 360.0, 120.0, 6.0
FALSE_ALARMS_PER_MIN = 0.5


def traces(
    of: Indicator, rate_hz: float, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """dF/F, shape (n_cells, n_frames), and spike times, shape (n_cells, n_spikes), seconds; in seconds."""
    one = response(of.physics, np.array([0.0]), SPACING_S)
    n_frames = round(SECONDS * rate_hz)
    clean = np.zeros((N_CELLS, n_frames))
    start_s = np.arange(BASELINE_S, SECONDS - SPACING_S, SPACING_S)
    spike_s = start_s + random.uniform(0, 1, (N_CELLS, len(start_s)))
    per_frame = round(1 / rate_hz / SUBSTEP_S)
    for cell in range(N_CELLS):
        fine = np.zeros(n_frames * per_frame)
        for t_s in spike_s[cell]:
            at = round(t_s * rate_hz * per_frame)
            piece = one[: len(fine) - at]
            fine[at : at + len(piece)] += piece
        clean[cell] = fine.reshape(n_frames, per_frame).mean(axis=1)
    sigma = of.amplitude_dff / SNR_30_HZ * np.sqrt(rate_hz / 30.0)
    return (clean + random.normal(0, sigma, clean.shape)).astype(np.float32), spike_s


def waits_ms(of: Indicator, rate_hz: float, hold: int) -> tuple[float, NDArray[np.float64]]:
    """Share of spikes that are told, and the time from each of those to the end of the deciding frame."""
    dff, spike_s = traces(of, rate_hz, np.random.default_rng(1))
    settings = InferenceSettings(
        indicator=of, hold_frames=hold, baseline_s=BASELINE_S, false_alarms_per_min=FALSE_ALARMS_PER_MIN
    )
    events = infer_traces(dff, np.full(len(dff), rate_hz), settings).events
    waits = []
    for cell, own in enumerate(spike_s):
        told_s = np.sort((events["decided_frame"][events["roi_index"] == cell] + 1) / rate_hz)
        for t_s in own:
            after = told_s[(told_s > t_s) & (told_s < t_s + 0.5)]
            if len(after):
                waits.append(1e3 * (after[0] - t_s))
    return len(waits) / spike_s.size, np.array(waits)


def main() -> int:
    """Print the table."""
    out = sys.stdout
    out.write("| indicator | rate, Hz | hold | told | median, ms | 90 %, ms |\n|---|---|---|---|---|---|\n")
    for name in INDICATORS:
        for rate_hz in (30.0, 100.0):
            for hold in (0, 1, 2, 3):
                told, waits = waits_ms(indicator(name), rate_hz, hold)
                half, most = np.quantile(waits, (0.5, 0.9)) if len(waits) else (np.nan, np.nan)
                out.write(f"| {name} | {rate_hz:g} | {hold} | {told:.2f} | {half:.0f} | {most:.0f} |\n")
                out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
