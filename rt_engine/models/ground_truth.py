"""Two-photon traces with simultaneous electrophysiology: read, and seen as by a slower or noisier rig."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.numpy_files import why_unreadable

FloatArray = NDArray[np.float64]


class Recording(NamedTuple):
    """One trial of one neuron: ``dff`` (n_frames,), ``spikes_s`` ascending, 0 is the first frame's time stamp; raw
    ``f_roi`` and ``f_np`` in counts where the file has them. ``position`` is its place in the file.
    """

    dataset: str
    neuron: str
    trial: int
    position: int
    indicator: str
    latency_valid: bool
    frame_rate_hz: float
    t_s: FloatArray
    dff: NDArray[np.float32]
    spikes_s: FloatArray
    f_roi: NDArray[np.float32] | None
    f_np: NDArray[np.float32] | None


class View(NamedTuple):
    """A recording at the frame rate wanted: ``t_s`` and ``y``, shape (n_frames,), frame duration ``dt_s``."""

    t_s: FloatArray
    dt_s: float
    y: FloatArray
    recording: Recording


def load_recordings(path: Path) -> list[Recording]:
    """All records of one ground-truth file.

    Raises
    ------
    ConfigError
        The file is none, or incomplete.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
            return [_record(file, meta, i) for i in range(len(meta["records"]))]
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"is no ground-truth file ({why_unreadable(error)})", file=str(path)) from error


def _record(file: np.lib.npyio.NpzFile, meta: dict[str, object], i: int) -> Recording:
    record = meta["records"][i]  # type: ignore[index]
    n, dt = int(record["n"]), float(record["dt"])
    raw = bool(record["raw"])
    return Recording(
        dataset=str(meta["dataset"]),
        neuron=str(record["neuron"]),
        trial=record["trial"],
        position=i,
        indicator=str(meta["indicator"]),
        latency_valid=bool(meta["latency_valid"]),
        frame_rate_hz=float(record["fs"]),
        t_s=np.asarray(file[f"t_{i}"] if f"t_{i}" in file.files else np.arange(n) * dt, np.float64),
        dff=file[f"dff_{i}"],
        spikes_s=np.sort(file[f"spk_{i}"].astype(np.float64)),
        f_roi=file[f"F_{i}"] if raw else None,
        f_np=file[f"Fneu_{i}"] if raw else None,
    )


def noise_level(y: FloatArray, frame_rate_hz: float) -> float:
    """Standardised noise, percent per root hertz, of dF/F as a fraction."""
    return float(np.median(np.abs(np.diff(y))) * 100 / np.sqrt(frame_rate_hz))


def view(recording: Recording, frame_rate_hz: float, noise: float | None = None, values: str = "dff") -> View:
    """Average the recording into frames of the rate wanted, and add white noise up to a level.

    Parameters
    ----------
    recording : Recording
    frame_rate_hz : float
        A recording slower than 1.3 times this stays as it is.
    noise : float, optional
        Percent per root hertz; a noisier recording stays as it is.
    values : str
        Field of `Recording`: dff, f_roi or f_np.

    Notes
    -----
    Noise variance is proportional to 1 + dF/F; its seed depends on data set, neuron and trial alone.
    """
    y = np.asarray(getattr(recording, values), np.float64)
    if recording.frame_rate_hz < 1.3 * frame_rate_hz:
        t, averaged, dt = recording.t_s.astype(np.float64), y, 1.0 / recording.frame_rate_hz
    else:
        dt = 1.0 / frame_rate_hz
        bin_of = np.floor((recording.t_s - recording.t_s[0]) / dt + 1e-9).astype(np.int64)
        n = int(bin_of[-1])  # the last frame may be partial
        count = np.bincount(bin_of, minlength=n + 1)[:n]
        averaged = np.bincount(bin_of, y, minlength=n + 1)[:n] / np.maximum(count, 1)
        if (count == 0).any():
            filled = count > 0
            averaged = np.interp(np.arange(n), np.flatnonzero(filled), averaged[filled])
        t = recording.t_s[0] + np.arange(n) * dt
    if noise is not None:
        averaged = _raise_noise(averaged, dt, noise, recording)
    return View(t, dt, averaged, recording)


def _raise_noise(y: FloatArray, dt_s: float, wanted: float, recording: Recording) -> FloatArray:
    name = f"{recording.dataset}{recording.neuron}{recording.trial}"
    rng = np.random.default_rng([0, crc32(name.encode()) % 2**31])
    spread = np.sqrt(np.abs(y + 1))
    spread /= np.median(spread)
    added = rng.standard_normal(len(y)) * spread
    rate_hz = 1 / dt_s
    if noise_level(y, rate_hz) >= wanted:
        return y
    low, high = 0.0, wanted / 100 * np.sqrt(rate_hz) * 3
    for _ in range(30):
        middle = (low + high) / 2
        if noise_level(y + middle * added, rate_hz) < wanted:
            low = middle
        else:
            high = middle
    return np.asarray(y + high * added)
