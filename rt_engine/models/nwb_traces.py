"""Traces of Neurodata Without Borders files: the series of ROI responses, whatever module they lie in."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.trace_inference import TraceKind

LARGEST_JITTER = 0.5  # of a frame, beyond which timestamps are no regular rate with gaps
MOST_COLUMNS = 4  # times the samples: timestamps with larger gaps are no recording
_PERCENT = ("%", "percent")


class Content(Enum):
    """What a series holds."""

    DFF = "dF/F"
    FLUORESCENCE = "fluorescence"
    NEUROPIL = "neuropil"
    OTHER = "something else"


class NwbSeries(NamedTuple):
    """One RoiResponseSeries: ``path`` in the file, what it holds, and the path of its table of cells."""

    path: str
    content: Content
    cells: str


class NwbTraces(NamedTuple):
    """``traces``, ``neuropil`` (or None) : float32 ndarray, shape (n_rois, n_frames), NaN where there is no sample;
    ``frame_rate_hz`` : float64, shape (n_rois,); ``time_s`` : float64 ndarray, shape (n_frames,), session time of the
    columns, or None if the series differ in time.
    """

    traces: NDArray[np.float32]
    frame_rate_hz: NDArray[np.float64]
    neuropil: NDArray[np.float32] | None
    kind: TraceKind
    time_s: NDArray[np.float64] | None


class _Matrix(NamedTuple):
    values: NDArray[np.float32]
    rate_hz: float
    time_s: NDArray[np.float64]


def read_nwb(path: Path, wanted: TraceKind | None) -> NwbTraces:
    """Read dF/F, else fluorescence with its neuropil.

    Parameters
    ----------
    path : Path
    wanted : TraceKind or None
        Which of the two; None takes dF/F where there is any.

    Returns
    -------
    NwbTraces
        Rows of all planes, one below the other, padded with NaN.

    Raises
    ------
    ConfigError
        The file is missing or no NWB file, holds no such series or several of the same cells, or a series has no
        usable time or shape; the message lists the series that there are.
    """
    try:
        with h5py.File(path, "r") as file:
            if "nwb_version" not in file.attrs:
                raise ConfigError("is an HDF5 file, but no NWB file", "it has no nwb_version", file=str(path))
            series = find_series(file)
            content, chosen = _choose(series, wanted, path)
            parts = [_read(file[one.path], path, one.path) for one in chosen]
            neuropil = None
            if content is Content.FLUORESCENCE:
                neuropil = _read_neuropil(file, series, chosen, parts, path)
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", file=str(path)) from error
    except OSError as error:
        raise ConfigError(f"cannot be read as an NWB file ({error})", file=str(path)) from error
    longest = max(parts, key=lambda part: part.values.shape[1])
    alike = all(np.array_equal(part.time_s, longest.time_s[: len(part.time_s)]) for part in parts)
    return NwbTraces(
        _stack([part.values for part in parts]),
        np.repeat([part.rate_hz for part in parts], [len(part.values) for part in parts]),
        None if neuropil is None else _stack(neuropil),
        TraceKind.DFF if content is Content.DFF else TraceKind.COUNTS,
        longest.time_s if alike else None,
    )


def find_series(file: h5py.File) -> list[NwbSeries]:
    """All ROI response series of a file, in order of their paths."""
    found: list[NwbSeries] = []

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Group) and _text(node.attrs.get("neurodata_type")) == "RoiResponseSeries":
            found.append(NwbSeries(name, _content(node), _cells(file, node)))

    file.visititems(visit)
    return sorted(found)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _content(node: h5py.Group) -> Content:
    """By the names of series and container, as common programs write them, then by the container's type."""
    container = node.parent
    names = f"{container.name.rsplit('/', 1)[-1]} {node.name.rsplit('/', 1)[-1]}".lower()
    if any(word in names for word in ("deconv", "denois", "spike", "event", "residual", "z_score", "zscore")):
        return Content.OTHER
    if "neuropil" in names and "correct" not in names:
        return Content.NEUROPIL
    is_dff = _text(container.attrs.get("neurodata_type")) == "DfOverF"
    return Content.DFF if is_dff or "dff" in names or "df/f" in names or "dfoverf" in names else Content.FLUORESCENCE


def _cells(file: h5py.File, node: h5py.Group) -> str:
    """Path of the plane segmentation that the rows come from; empty if the file does not say."""
    region = node.get("rois")
    reference = None if region is None else region.attrs.get("table")
    return str(file[reference].name) if isinstance(reference, h5py.Reference) and reference else ""


def _choose(series: list[NwbSeries], wanted: TraceKind | None, path: Path) -> tuple[Content, list[NwbSeries]]:
    listed = "; ".join(f"{one.path} ({one.content.value})" for one in series) or "none"
    contents = [Content.DFF, Content.FLUORESCENCE]
    if wanted is not None:
        contents = [Content.DFF if wanted is TraceKind.DFF else Content.FLUORESCENCE]
    for content in contents:
        chosen = [one for one in series if one.content is content]
        if len({one.cells for one in chosen}) < len(chosen):
            raise ConfigError(
                f"holds several {content.value} series of the same cells; series there: {listed}",
                "save the one you mean to an .npz file, see docs/how-to/infer.md",
                file=str(path),
            )
        if chosen:
            return content, chosen
    missing = " or ".join(content.value for content in contents)
    raise ConfigError(
        f"no RoiResponseSeries with {missing}; series there: {listed}",
        "write one with pynwb, or the traces to an .npz file",
        file=str(path),
    )


def _read(node: h5py.Group, path: Path, name: str) -> _Matrix:
    """Values in their unit, cells first, on a regular grid of frames."""
    data = node.get("data")
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fiu" or data.ndim not in (1, 2) or not data.size:
        raise ConfigError("has no data of shape (n_frames, n_rois)", file=str(path), key=name)
    factor = float(data.attrs.get("conversion", 1.0))
    if _text(data.attrs.get("unit")).strip().lower() in _PERCENT:
        factor /= 100
    values = np.asarray(data[()], np.float32) * np.float32(factor) + np.float32(data.attrs.get("offset", 0.0))
    times = np.asarray(node["timestamps"][()], np.float64) if "timestamps" in node else None
    values = _cells_first(values, node, times, path, name)
    if times is not None:
        return _on_grid(values, times, path, name)
    start = node.get("starting_time")
    rate_hz = float(start.attrs.get("rate", 0.0)) if start is not None else 0.0
    if not np.isfinite(rate_hz) or rate_hz <= 0:
        raise ConfigError("has neither timestamps nor starting_time with a rate", file=str(path), key=name)
    return _Matrix(values, rate_hz, float(start[()]) + np.arange(values.shape[1]) / rate_hz)


def _cells_first(
    values: NDArray[np.float32], node: h5py.Group, times: NDArray[np.float64] | None, path: Path, name: str
) -> NDArray[np.float32]:
    """The standard has time first; some programs write cells first, which numbers of cells and timestamps tell."""
    if values.ndim == 1:
        values = values[:, None]
    n_cells = len(node["rois"]) if "rois" in node else None
    n_times = None if times is None else len(times)
    for candidate in (values.T, values):
        cells, frames = candidate.shape
        if n_cells in (None, cells) and n_times in (None, frames):
            return np.ascontiguousarray(candidate)
    raise ConfigError(
        f"has data of shape {values.shape}, but {n_cells} cells and {n_times or 'no'} timestamps",
        file=str(path),
        key=name,
    )


def _on_grid(values: NDArray[np.float32], times: NDArray[np.float64], path: Path, name: str) -> _Matrix:
    """Samples in frames of the median interval; frames that were skipped become NaN."""
    interval_s = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    if not np.isfinite(times).all() or interval_s <= 0 or np.diff(times).min() <= (1 - LARGEST_JITTER) * interval_s:
        raise ConfigError("has timestamps that do not rise from frame to frame", file=str(path), key=name)
    steps = np.maximum(np.rint(np.diff(times) / interval_s).astype(np.int64), 1)
    column = np.concatenate([[0], np.cumsum(steps)])
    if column[-1] >= MOST_COLUMNS * len(times):
        raise ConfigError("has timestamps with gaps longer than the recording itself", file=str(path), key=name)
    grid = np.full((len(values), column[-1] + 1), np.nan, np.float32)
    grid[:, column] = values
    return _Matrix(grid, 1 / interval_s, np.interp(np.arange(column[-1] + 1), column, times))


def _read_neuropil(
    file: h5py.File, series: list[NwbSeries], chosen: list[NwbSeries], parts: list[_Matrix], path: Path
) -> list[NDArray[np.float32]] | None:
    """Neuropil of the same cells; None where a plane has none."""
    out = []
    for one, part in zip(chosen, parts, strict=True):
        rings = [other for other in series if other.content is Content.NEUROPIL and other.cells == one.cells]
        if len(rings) != 1:
            return None
        ring = _read(file[rings[0].path], path, rings[0].path)
        if ring.values.shape != part.values.shape:
            raise ConfigError(
                f"has shape {ring.values.shape}, {one.path} {part.values.shape}", file=str(path), key=rings[0].path
            )
        out.append(ring.values)
    return out


def _stack(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    n_frames = max(part.shape[1] for part in parts)
    padded = [np.pad(part, ((0, 0), (0, n_frames - part.shape[1])), constant_values=np.nan) for part in parts]
    return np.ascontiguousarray(np.concatenate(padded), np.float32)
