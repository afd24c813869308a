"""Registration of an SLM (or galvos) to the image, from spots that were lit there and found here."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import CalibrationError, ConfigError
from rt_engine.interfaces.slm_registration import MIN_SPOTS, SlmRegistration, Spot

Floats = NDArray[np.float64]

_FLAT = 0.05
"""Spots that spread in one direction by less than this share of the other lie on a line."""
_BLUR_PX = 1.5
_CLEAR = 8.0
_ALONE = 0.7
_NEAR_PX = 12
_LABEL = {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1.0}


def read_spots(path: Path, found_yx_px: Sequence[tuple[float, float]] | None = None) -> tuple[Spot, ...]:
    """Spots of a CSV file with the columns ``slm_x slm_y y_px x_px``; the last two may come from images instead.

    Parameters
    ----------
    path : Path
    found_yx_px : sequence of (float, float) or None
        Where each was found; then the file needs the first two columns alone.

    Raises
    ------
    ConfigError
        Naming the file, the line and the column.
    """
    columns = Spot._fields if found_yx_px is None else Spot._fields[:2]
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(path)) from error
    if found_yx_px is not None and len(found_yx_px) != len(rows):
        text = f"has {len(rows)} spots, and the images show {len(found_yx_px)}"
        raise ConfigError(text, "one image before all, then one after each spot", file=str(path))
    spots = []
    for line, row in enumerate(rows, 2):
        values = [_number(path, line, row, column) for column in columns]
        if found_yx_px is not None:
            values += found_yx_px[line - 2]
        spots.append(Spot(*values))
    return tuple(spots)


def _number(path: Path, line: int, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except KeyError:
        raise ConfigError(f"has no column {column}", f"needed: {', '.join(Spot._fields)}", file=str(path)) from None
    except (TypeError, ValueError):
        raise ConfigError(f"{row[column]!r} is no number", file=f"{path}, line {line}", key=column) from None
    if not np.isfinite(value):
        raise ConfigError(f"{value} is no place", file=f"{path}, line {line}", key=column)
    return value


def find_burned(images: Sequence[NDArray[Any]], names: Sequence[str]) -> list[tuple[float, float]]:
    """Places that became darker or brighter from each image to the next.

    Parameters
    ----------
    images : sequence of ndarray, shape (n_lines, n_pixels)
        One before all spots, then one after each; read.
    names : sequence of str
        For messages.

    Returns
    -------
    list of (float, float)
        (y, x) in pixels, to a fraction of one.

    Raises
    ------
    CalibrationError
        An image has another size, or shows no new spot, or more than one.
    """
    from scipy.ndimage import gaussian_filter

    found = []
    for before, after, name in zip(images, images[1:], names[1:], strict=False):
        if before.shape != after.shape:
            raise CalibrationError(f"{name} is {after.shape}, not {before.shape} as the one before", file=name)
        change = np.abs(gaussian_filter(after.astype(np.float64) - before, _BLUR_PX))
        noise = 1.4826 * float(np.median(np.abs(change - np.median(change)))) or 1e-12
        y, x = (int(i) for i in np.unravel_index(np.argmax(change), change.shape))
        peak = float(change[y, x])
        if peak < _CLEAR * noise:
            remedy = "burn longer, or average more frames; one image after each spot"
            raise CalibrationError(f"no new spot: {peak / noise:.1f} times the noise", remedy, file=name)
        elsewhere = change.copy()
        elsewhere[max(0, y - _NEAR_PX) : y + _NEAR_PX + 1, max(0, x - _NEAR_PX) : x + _NEAR_PX + 1] = 0.0
        if elsewhere.max() > _ALONE * peak:
            other = tuple(int(i) for i in np.unravel_index(np.argmax(elsewhere), elsewhere.shape))
            remedy = "one image after each spot, without movement between them"
            raise CalibrationError(f"it has changed at {(y, x)} and as much at {other}", remedy, file=name)
        found.append(_centre(change, y, x))
    return found


def _centre(change: Floats, y: int, x: int) -> tuple[float, float]:
    """Centre of what has changed by more than half around a peak."""
    reach = 4
    y0, x0 = max(0, y - reach), max(0, x - reach)
    part = change[y0 : y + reach + 1, x0 : x + reach + 1]
    weight = np.where(part > part.max() / 2, part, 0.0)
    ys, xs = np.indices(part.shape)
    return float(y0 + np.sum(ys * weight) / weight.sum()), float(x0 + np.sum(xs * weight) / weight.sum())


def fit_map(spots: Sequence[Spot]) -> Floats:
    """The affine map with the least squares, shape (2, 3): SLM = map @ (y_px, x_px, 1)."""
    places = np.array([(one.y_px, one.x_px, 1.0) for one in spots])
    slm = np.array([(one.slm_x, one.slm_y) for one in spots])
    solution: Floats = np.linalg.lstsq(places, slm, rcond=None)[0]
    return solution.T


def register(spots: Sequence[Spot], person: str, max_residual_px: float) -> tuple[dict[str, Any], str]:
    """The map, and by how much a map of all the others misses each spot.

    Parameters
    ----------
    spots : sequence of Spot
    person : str
    max_residual_px : float
        Above it no registration is made.

    Returns
    -------
    dict
        As `SlmRegistration` takes it; with everything needed to look at it where it was refused.
    str
        Why it is refused; empty where it holds.

    Raises
    ------
    CalibrationError
        Too few spots, or on a line.
    """
    if len(spots) < MIN_SPOTS:
        text = f"{len(spots)} spots cannot be judged"
        raise CalibrationError(text, f"at least {MIN_SPOTS}, better nine, spread over the image")
    _require_spread(spots)
    matrix = fit_map(spots)
    residuals = []
    for i, spot in enumerate(spots):
        others = [one for j, one in enumerate(spots) if j != i]
        _require_spread(others)
        linear, offset = np.split(fit_map(others), [2], axis=1)
        place = np.linalg.solve(linear, np.array([spot.slm_x, spot.slm_y]) - offset[:, 0])
        residuals.append(float(np.hypot(place[0] - spot.y_px, place[1] - spot.x_px)))
    table = {
        "date": datetime.date.today(),
        "person": person,
        "max_residual_px": max_residual_px,
        "matrix": [[round(float(one), 9) for one in row] for row in matrix],
        "spots": [[float(one) for one in spot] for spot in spots],
        "residuals_px": [round(one, 3) for one in residuals],
    }
    worst = int(np.argmax(residuals))
    if residuals[worst] > max_residual_px:
        return table, f"spot {worst + 1} is missed by {residuals[worst]:.2f} px, {max_residual_px:g} are allowed"
    SlmRegistration.model_validate(table)
    return table, ""


def _require_spread(spots: Sequence[Spot]) -> None:
    for what, places in (
        ("image", np.array([(one.y_px, one.x_px) for one in spots])),
        ("SLM", np.array([(one.slm_x, one.slm_y) for one in spots])),
    ):
        wide, narrow = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[:2]
        if narrow <= _FLAT * wide:
            raise CalibrationError(
                f"the spots (or all but one of them) lie on a line of the {what}", "spread them over the whole image"
            )


def draw(
    table: dict[str, Any], path: Path, title: str, *, refused: str = "", image: NDArray[Any] | None = None
) -> None:
    """The spots in the image, and by how much the others miss each, enlarged.

    Parameters
    ----------
    table : dict
        From `register`.
    path : Path
        Of the PNG.
    title : str
    refused : str
        Why; stands in the picture.
    image : ndarray or None, shape (n_lines, n_pixels)
        Shown below, read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    spots = [Spot(*one) for one in table["spots"]]
    linear, offset = np.split(np.array(table["matrix"]), [2], axis=1)
    fitted = np.array([np.linalg.solve(linear, np.array(one[:2]) - offset[:, 0]) for one in spots])
    found = np.array([one[2:] for one in spots])
    extent_px = float(np.ptp(found, axis=0).max())
    missed = table["residuals_px"]
    scale = max(1.0, round(0.08 * extent_px / max(*missed, 1e-3)))
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    if image is not None:
        low, high = np.percentile(image, (1, 99.5))
        axes.imshow(image, cmap="gray", vmin=low, vmax=high)
    points = axes.scatter(
        found[:, 1], found[:, 0], c=missed, vmin=0, vmax=max(table["max_residual_px"], *missed), s=60, edgecolors="k"
    )
    off = (fitted - found) * scale
    axes.quiver(
        found[:, 1], found[:, 0], off[:, 1], off[:, 0], angles="xy", scale_units="xy", scale=1, color="r", width=0.004
    )
    for i, (y_px, x_px) in enumerate(found, 1):
        axes.annotate(
            f"{i}: {missed[i - 1]:.2f}",
            (x_px, y_px),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
            bbox=_LABEL,
        )
    if image is None:
        axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_xlabel("x (px)")
    axes.set_ylabel("y (px)")
    figure.colorbar(points, label="missed by a map of all the others (px)")
    verdict = f"REFUSED: {refused}" if refused else f"at most {max(missed):.2f} px"
    axes.set_title(f"{title}, {table['date']}, {table['person']}\n{verdict}; arrows {scale:g} times", fontsize=10)
    figure.savefig(path, dpi=120)
