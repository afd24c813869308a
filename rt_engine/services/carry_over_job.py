"""`calibrate --from`: what became of yesterday's cells, in words, in figures, in a picture, and with consent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError, ConfigError
from rt_engine.models.carry_over import CarryOver, Fate
from rt_engine.recording.figure_style import BLUE, GREEN, GREY, ORANGE, RED, new_figure

MAX_NAMED = 20
"""Lost cells that are named in the terminal; all of them are in the JSON figures."""
_COLOURS = {Fate.FOUND: GREEN, Fate.SILENT: ORANGE, Fate.UNSEEN: RED, Fate.OUTSIDE: GREY}


def require_someone_to_ask(agreed: bool, path: Path) -> None:
    """Refuse before the work where nobody could give consent.

    Raises
    ------
    ConfigError
        There is no terminal and `agreed` is false.
    """
    if not agreed and not sys.stdin.isatty():
        raise ConfigError("taking over its cells needs consent, and there is no terminal", "give --yes", file=str(path))


def ask(say: Callable[[str], None], read: Callable[[str], str] = input) -> bool:
    """True if the person at the terminal takes the cells as they were shown."""
    try:
        answer = read("Take these cells? [y/N] ").strip().lower()
    except EOFError:
        answer = ""
    if answer not in ("y", "yes"):
        say("not taken: nothing was written")
        return False
    return True


def figures_of(result: CarryOver, old: Calibration, new: Calibration) -> dict[str, Any]:
    """What is printed, as plain values; noise and F0 are medians over the cells that both calibrations have."""
    both, mine, theirs = np.intersect1d(old.roi_id, new.roi_id, return_indices=True)
    shared = result.overlap[np.isfinite(result.overlap)]
    return {
        "shift_y_px": result.transform.shift_y_px,
        "shift_x_px": result.transform.shift_x_px,
        "rotation_deg": result.transform.rotation_deg,
        "template_correlation": result.transform.correlation,
        "n_old": old.n_rois,
        "n_carried_over": len(both),
        "n_found": result.count(Fate.FOUND),
        "n_silent": result.count(Fate.SILENT),
        "n_not_seen": result.count(Fate.UNSEEN),
        "n_outside": result.count(Fate.OUTSIDE),
        "n_new": result.n_new,
        "lost_roi_id": result.lost_roi_id(),
        "median_overlap": _median(shared),
        "sigma_dff": [_median(old.sigma_dff[mine]), _median(new.sigma_dff[theirs])],
        "f0_counts": [_median(old.f0_counts[mine]), _median(new.f0_counts[theirs])],
    }


def tell(figures: dict[str, Any], say: Callable[[str], None]) -> None:
    """Say the figures in a few lines."""
    say(
        f"field: moved by ({figures['shift_y_px']:.1f}, {figures['shift_x_px']:.1f}) px (y, x), rotated by "
        f"{figures['rotation_deg']:.2f} degrees; the templates correlate by {figures['template_correlation']:.2f}"
    )
    say(
        f"of {figures['n_old']} cells {figures['n_found']} are found again (median overlap "
        f"{figures['median_overlap']:.2f}), {figures['n_silent']} are silent but seen, "
        f"{figures['n_not_seen']} are not seen, {figures['n_outside']} lie outside the field; "
        f"{figures['n_new']} cells are new"
    )
    lost = figures["lost_roi_id"]
    if lost:
        more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
        say(f"lost: roi {', '.join(map(str, lost[:MAX_NAMED]))}{more}")
    (sigma_old, sigma_new), (f0_old, f0_new) = figures["sigma_dff"], figures["f0_counts"]
    say(f"noise of a frame, dF/F: {sigma_old:.3f}, now {sigma_new:.3f}; F0: {f0_old:.0f} counts, now {f0_new:.0f}")


def draw(result: CarryOver, old: Calibration, new: Calibration, path: Path) -> None:
    """Both templates with the cells of yesterday on them by what became of them, and the new ones.

    Raises
    ------
    CalibrationError
        The picture cannot be written.
    """
    figure: Figure = new_figure(10.0, 5.6)
    left, right = figure.subplots(1, 2)
    _show(left, old.template, "before")
    _show(right, new.template, "now")
    for k, fate in enumerate(result.fate):
        _outline(left, old.roi_pixels[old.roi_start[k] : old.roi_start[k + 1]], old.template.shape, _COLOURS[fate])
        _outline(right, result.outlines[k], new.template.shape, _COLOURS[fate])
    for j in np.flatnonzero(~np.isin(result.roi_id, result.old_roi_id)):
        _outline(right, new.roi_pixels[new.roi_start[j] : new.roi_start[j + 1]], new.template.shape, BLUE)
    for fate, colour in _COLOURS.items():
        left.plot([], [], color=colour, label=f"{fate.value} ({result.count(fate)})")
    left.plot([], [], color=BLUE, label=f"new ({result.n_new})")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    try:
        figure.savefig(path, dpi=130, facecolor="white")
    except OSError as error:
        raise CalibrationError(f"cannot be written: {error}", "give another path", file=str(path)) from error


def _show(axes: Axes, template: NDArray[np.float32], title: str) -> None:
    low, high = np.percentile(template, (1, 99.5))
    axes.imshow(template, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _outline(axes: Axes, flat: NDArray[np.uint32], shape: tuple[int, ...], colour: str) -> None:
    if not len(flat):
        return
    y, x = flat.astype(np.int64) // shape[1], flat.astype(np.int64) % shape[1]
    mask = np.zeros((int(np.ptp(y)) + 3, int(np.ptp(x)) + 3))
    mask[y - y.min() + 1, x - x.min() + 1] = 1.0
    columns, rows = np.arange(mask.shape[1]) + x.min() - 1, np.arange(mask.shape[0]) + y.min() - 1
    axes.contour(columns, rows, mask, levels=[0.5], colors=colour, linewidths=0.8)


def _median(values: NDArray[Any]) -> float:
    return float(np.median(values)) if len(values) else float("nan")
