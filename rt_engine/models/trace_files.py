"""Files of `spikeloop infer`: traces in, inference out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError, RecordingError
from rt_engine.models.nwb_traces import read_nwb
from rt_engine.models.trace_inference import Inference, TraceKind


class TraceFile(NamedTuple):
    """``traces`` and ``neuropil`` (or None) : float32 ndarray, shape (n_rois, n_frames); ``frame_rate_hz`` : float64,
    shape (n_rois,); ``kind`` as the file says, or None; ``time_s`` : float64 ndarray, shape (n_frames,), or None.
    """

    traces: NDArray[np.float32]
    frame_rate_hz: NDArray[np.float64]
    neuropil: NDArray[np.float32] | None
    kind: TraceKind | None
    time_s: NDArray[np.float64] | None = None


def read_traces(path: Path, wanted: TraceKind | None = None) -> TraceFile:
    """Read a trace file.

    Parameters
    ----------
    path : Path
        `.npz` or `.nwb`.
    wanted : TraceKind, optional
        Which traces of an NWB file, and what those of an `.npz` file are whatever it says.

    Raises
    ------
    ConfigError
        The file is missing, of another format, incomplete, or its shapes do not fit.
    """
    if path.suffix.lower() == ".nwb":
        found = read_nwb(path, wanted)
        return TraceFile(found.traces, found.frame_rate_hz, found.neuropil, found.kind, found.time_s)
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise ConfigError("there is no such file", file=str(path)) from error
    except (OSError, ValueError, BadZipFile, AttributeError) as error:
        # NumPy's own words would advise to allow pickles, which run whatever is in them.
        remedy = "write it with numpy.savez(path, traces=…, frame_rate_hz=…); see docs/how-to/infer.md"
        raise ConfigError("is no .npz file of plain arrays", remedy, file=str(path)) from error
    traces = _matrix(content, "traces", path)
    rate = np.asarray(_required(content, "frame_rate_hz", path))
    if rate.dtype.kind not in "fiu" or rate.shape not in ((), (1,), (len(traces),)):
        raise ConfigError("must be one number, or one for each row of traces", file=str(path), key="frame_rate_hz")
    rates = np.broadcast_to(rate.astype(np.float64), len(traces)).copy()
    if not (np.isfinite(rates) & (rates > 0)).all():
        raise ConfigError("must be positive", file=str(path), key="frame_rate_hz")
    neuropil = _matrix(content, "neuropil", path) if "neuropil" in content else None
    if neuropil is not None and neuropil.shape != traces.shape:
        raise ConfigError(f"has shape {neuropil.shape}, traces {traces.shape}", file=str(path), key="neuropil")
    return TraceFile(traces, rates, neuropil, wanted or _kind(content, path))


def _required(content: dict[str, Any], name: str, path: Path) -> Any:
    if name not in content:
        raise ConfigError("is missing", "see docs/how-to/infer.md for what the file holds", file=str(path), key=name)
    return content[name]


def _matrix(content: dict[str, Any], name: str, path: Path) -> NDArray[np.float32]:
    values = np.asarray(_required(content, name, path))
    if values.dtype.kind not in "fiu" or values.ndim != 2:
        raise ConfigError("must be numbers of shape (n_rois, n_frames)", file=str(path), key=name)
    return np.ascontiguousarray(values, np.float32)


def _kind(content: dict[str, Any], path: Path) -> TraceKind | None:
    if "kind" not in content:
        return None
    try:
        return TraceKind(str(content["kind"]).strip().lower())
    except ValueError as error:
        raise ConfigError(f"is {content['kind']}, not dff or counts", file=str(path), key="kind") from error


def write_inference(
    path: Path, inference: Inference, hold_frames: int, time_s: NDArray[np.float64] | None = None
) -> None:
    """Write the fields of `inference`, ``hold_frames`` and, if known, ``time_s`` to exactly `path`.

    Raises
    ------
    RecordingError
        The file cannot be written.
    """
    content: dict[str, Any] = {
        "spike_rate": inference.spike_rate,
        "probability": inference.probability,
        "events": inference.events,
        "hold_frames": np.int64(hold_frames),
    }
    if inference.expected_count is not None:
        content |= {"expected_count": inference.expected_count, "count_deviation": inference.count_deviation}
    if time_s is not None:
        content["time_s"] = time_s
    try:
        with path.open("wb") as file:
            np.savez(file, **content)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror}") from error
