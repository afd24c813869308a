"""Panels of the calibration's page that say what the recording and its cells are like."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from rt_engine.interfaces.calibration import Calibration
from rt_engine.recording.figure_style import BLUE, GREY, ORANGE

CUSTOMARY = 0.7
"""Neuropil coefficient that much of the field uses for all cells."""


def draw_correlation(axes: Axes, calibration: Calibration) -> None:
    """Local correlations: what fires together with its neighbours is bright."""
    image = calibration.correlation_image
    low, high = np.percentile(image, (5, 99.7))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(f"local correlation, {low:.2f} to {high:.2f}")


def draw_shifts(axes: Axes, calibration: Calibration) -> None:
    """Movement of the field over the baseline."""
    shift = calibration.baseline_shift_px
    t_s = np.arange(len(shift)) / calibration.frame_rate_hz
    for column, (name, colour) in enumerate((("y", BLUE), ("x", ORANGE))):
        axes.plot(t_s, shift[:, column], color=colour, linewidth=0.6, label=name)
    jumped = int(np.isnan(shift[:, 0]).sum()) if len(shift) else 0
    axes.set(xlabel="time (s)", ylabel="shift (px)")
    axes.set_title(f"movement; {jumped} frames left out" if len(shift) else "movement: unknown")
    if len(shift):
        axes.legend(loc="upper right", ncols=2)


def draw_quality(axes: Axes, calibration: Calibration) -> None:
    """Quality of the cells against their size."""
    axes.plot(np.diff(calibration.roi_start), calibration.quality, "o", color=BLUE, markersize=3)
    axes.set(xlabel="pixels", ylabel="quality", ylim=(-0.03, 1.05), title="quality of the cells")
    axes.set_xlim(left=0)


def draw_neuropil(axes: Axes, calibration: Calibration) -> None:
    """Neuropil coefficients in use, ascending, with their standard errors."""
    order = np.argsort(calibration.neuropil_coefficient)
    r = calibration.neuropil_coefficient[order]
    error = calibration.neuropil_coefficient_se
    rank = np.arange(len(r))
    if len(error) == len(r):
        axes.vlines(rank, r - error[order], r + error[order], color=BLUE, alpha=0.35, linewidth=0.8)
    axes.plot(rank, r, "o", color=BLUE, markersize=2.5)
    axes.axhline(CUSTOMARY, color=GREY, linestyle="--")
    axes.set(xlabel="cells, in order", ylabel="r", title=f"neuropil, median {np.median(r):.2f}")
    axes.set_ylim(bottom=0)
