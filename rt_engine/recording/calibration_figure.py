"""Page of a calibration: field, cells and their quality, neuropil, movement, noise, and the detection to expect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray
from scipy.special import ndtr

from rt_engine.interfaces.calibration import Calibration
from rt_engine.recording.calibration_panels import draw_correlation, draw_neuropil, draw_quality, draw_shifts
from rt_engine.recording.figure_style import BLUE, GREY, ORANGE, new_figure, styled

COLOURS = "plasma"
FILL, EDGE = 0.3, 1.0  # opacity


def save_calibration_figure(path: Path, calibration: Calibration) -> None:
    """Draw it; the file's suffix is its format.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with styled():
        figure = new_figure(15, 6.6)
        figure.patch.set_facecolor("white")
        axes = figure.subplot_mosaic(
            [
                ["image", "correlation", "snr", "noise"],
                ["image", "correlation", "quality", "neuropil"],
                ["image", "shift", "detection", "detection"],
            ],
            width_ratios=(2.1, 1.25, 1, 1),
            height_ratios=(1.25, 0.95, 1.2),
        )
        figure.colorbar(
            _draw_cells(axes["image"], calibration), ax=axes["image"], location="left", shrink=0.7, aspect=40, pad=0.02,
            label=f"probability that one spike is told, at {calibration.rule}",
        )  # fmt: skip
        draw_correlation(axes["correlation"], calibration)
        draw_shifts(axes["shift"], calibration)
        draw_quality(axes["quality"], calibration)
        draw_neuropil(axes["neuropil"], calibration)
        _draw_snr(axes["snr"], calibration)
        _draw_noise(axes["noise"], calibration)
        _draw_detection(axes["detection"], calibration)
        figure.savefig(path)


def _draw_cells(axes: Axes, calibration: Calibration) -> Any:
    image = calibration.template
    low, high = np.percentile(image, (1, 99.7))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    label = np.full(image.shape, -1, np.int64)
    for n in range(calibration.n_rois):
        label.ravel()[calibration.roi_pixels[calibration.roi_start[n] : calibration.roi_start[n + 1]]] = n
    rgba = colormaps[COLOURS](np.append(calibration.expected_detection, 0.0))[label]
    rgba[..., 3] = np.where(label < 0, 0.0, np.where(_edges(label), EDGE, FILL))
    axes.imshow(rgba, interpolation="nearest")
    axes.set_axis_off()
    provisional = ", provisional" if calibration.provisional else ""
    axes.set_title(
        f"{calibration.n_rois} cells, {calibration.indicator}, {calibration.n_baseline_frames} frames at "
        f"{calibration.frame_rate_hz:.3g} Hz, hold {calibration.hold_frames}{provisional}"
    )
    _name_inseparable(axes, calibration)
    scale = axes.imshow(np.zeros((1, 1)), cmap=COLOURS, vmin=0, vmax=1, visible=False)
    axes.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
    return scale


def _name_inseparable(axes: Axes, calibration: Calibration) -> None:
    """Write the numbers of cells that cannot be told apart beside them."""
    place = dict(zip(calibration.roi_id.tolist(), calibration.centroids_yx_px().tolist(), strict=True))
    for one, other in calibration.inseparable_roi_id.tolist():
        y, x = place[one]
        axes.text(
            x, y, f"{one} = {other}", color="white", fontsize=7, weight="bold", ha="center", va="center",
            bbox={"facecolor": "black", "alpha": 0.7, "pad": 1, "linewidth": 0},
        )  # fmt: skip


def _edges(label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels with a neighbour of another label."""
    around = np.pad(label, 1, constant_values=-1)
    inner = around[1:-1, 1:-1]
    others = around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]
    return np.asarray(np.any([inner != other for other in others], axis=0))


def _snr(calibration: Calibration) -> NDArray[np.float64]:
    return np.asarray(calibration.amplitude_dff.astype(np.float64) / calibration.sigma_dff)


def _draw_snr(axes: Axes, calibration: Calibration) -> None:
    snr = _snr(calibration)
    bins = int(np.clip(2 * np.sqrt(len(snr)), 5, 40))
    axes.hist(snr, bins=bins, color=BLUE)
    axes.axvline(float(np.median(snr)), color=ORANGE)
    axes.set(xlabel="A/σ of one spike", ylabel="cells", title=f"median {np.median(snr):.1f}")
    axes.set_xlim(left=0)


def _draw_detection(axes: Axes, calibration: Calibration) -> None:
    snr, known = _snr(calibration), calibration.uncertainty
    told = 100 * calibration.expected_detection
    dynamic = np.ones(len(snr), bool) if known is None else known.has_dynamics
    if known is not None:
        spread = known.amplitude_se_dff / calibration.sigma_dff
        axes.hlines(told, snr - spread, snr + spread, color=BLUE, alpha=0.35, linewidth=0.8)
        axes.vlines(snr, 100 * known.detection_low, 100 * known.detection_high, color=BLUE, alpha=0.35, linewidth=0.8)
    axes.plot(snr[dynamic], told[dynamic], "o", color=BLUE, markersize=4, label="cell, ± standard error of A")
    if not dynamic.all():
        axes.plot(
            snr[~dynamic], told[~dynamic], "o", color=BLUE, markersize=4, fillstyle="none", label="no calcium dynamics"
        )
    if calibration.by_cost:
        axes.set(xlabel="A/σ of one spike", ylabel="one spike told (%)", ylim=(-3, 103), xlim=(0, None))
        axes.set_title(f"told by {calibration.rule}")
        axes.legend(loc="lower right")
        return
    gain = float(np.median(calibration.filter_gain / snr))
    kappa = float(np.median(calibration.threshold))
    x = np.linspace(0, 1.1 * max(float(snr.max()), 2.0), 200)
    axes.plot(x, 100 * ndtr(gain * x - kappa), "--", color=GREY, label="Q(κ − gain): in one given frame")
    axes.set(xlabel="A/σ of one spike", ylabel="one spike told (%)", ylim=(-3, 103), xlim=(0, x[-1]))
    axes.set_title("told in whichever frame the filter reaches the threshold first")
    axes.legend(loc="lower right")


def _draw_noise(axes: Axes, calibration: Calibration) -> None:
    n_pixels = np.diff(calibration.roi_start)
    counts = calibration.f0_counts.astype(np.float64) * n_pixels
    gain = calibration.photon_gain_counts
    photons = counts / gain if np.isfinite(gain) else counts
    noise = 100 * calibration.sigma_dff
    axes.plot(photons, noise, "o", color=BLUE, markersize=3)
    if np.isfinite(gain):
        x = np.geomspace(photons.min() / 1.2, photons.max() * 1.2, 50)
        axes.plot(x, 100 / np.sqrt(x), color=ORANGE, label="photons alone")
        axes.legend(loc="upper right")
    axes.set(xscale="log", yscale="log", ylabel="σ (% ΔF/F)")
    axes.set_xlabel("photons per frame" if np.isfinite(gain) else "counts per frame, photon gain unknown")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_title("noise against brightness")
