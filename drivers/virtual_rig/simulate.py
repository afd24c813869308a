"""A movie of the virtual rig with its ground truth: what `spikeloop simulate` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.truth import FrameTruth
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.rig_config import VirtualMicroscope

PROGRESS_EVERY = 10
IMAGEJ_MAX_BYTES = 3_900_000_000


def simulate(
    config: VirtualMicroscope,
    duration_s: float,
    out_path: Path,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `out_path` (TIFF, uint16, frames x lines x pixels) and ``<stem>.truth.npz`` beside it.

    Parameters
    ----------
    config : VirtualMicroscope
        The rig; its sample's seed is replaced by `seed`.
    duration_s : float
        At least one frame is written.
    out_path : Path
    seed : int
    progress : callable, optional
        Called with frames done and frames in all, every few frames.

    Returns
    -------
    Path
        Of the truth: `spike_frame` float64 (fractional frame number), `spike_cell` int64, `evoked` bool, one entry a
        spike in order of time; `shift_px` float64 (n_frames, 2) (y, x); `dff` float32 (n_frames, n_cells), no noise;
        per cell `y_px x_px radius_px a_over_sigma rate_hz p50_mw`; footprints as `footprint_start` int64 (n_cells + 1),
        `footprint_pixels` int64 (flat index in the frame at no displacement) and `footprint_weight` float32;
        `frame_rate_hz um_per_px seed indicator`.

    Raises
    ------
    RecordingError
        A file cannot be written.
    """
    sample_config = config.sample.model_copy(update={"seed": seed})
    sample = VirtualSample(
        sample_config, config.n_lines, config.pixels_per_line, config.um_per_px, config.frame_rate_hz
    )
    n_frames = max(1, math.ceil(duration_s * config.frame_rate_hz - 1e-9))
    dff = np.zeros((n_frames, sample_config.n_cells), dtype=np.float32)
    truths: list[FrameTruth] = []
    truth_path = out_path.with_name(f"{out_path.stem}.truth.npz")
    try:
        _write_movie(out_path, config, n_frames, _frames(sample, n_frames, dff, truths, progress))
        np.savez_compressed(truth_path, allow_pickle=False, **_truth_arrays(sample, truths, dff, seed))
    except OSError as error:
        raise RecordingError(f"{out_path}: cannot be written: {error.strerror}", "choose another folder") from error
    return truth_path


def _write_movie(
    out_path: Path, config: VirtualMicroscope, n_frames: int, frames: Iterator[NDArray[np.uint16]]
) -> None:
    """ImageJ's format, which tells rate and pixel size to everybody; BigTIFF where the movie is too large for it."""
    shape = (n_frames, config.n_lines, config.pixels_per_line)
    is_large = 2 * math.prod(shape) > IMAGEJ_MAX_BYTES
    with tifffile.TiffWriter(out_path, bigtiff=is_large, imagej=not is_large) as writer:
        writer.write(
            frames,
            shape=shape,
            dtype=np.uint16,
            photometric="minisblack",
            resolution=(1 / config.um_per_px, 1 / config.um_per_px),
            metadata={
                "axes": "TYX",
                "fps": config.frame_rate_hz,
                "finterval": 1 / config.frame_rate_hz,
                "unit": "um",
            },
        )


def _frames(
    sample: VirtualSample,
    n_frames: int,
    dff: NDArray[np.float32],
    truths: list[FrameTruth],
    progress: Callable[[int, int], None] | None,
) -> Iterator[NDArray[np.uint16]]:
    for frame in range(n_frames):
        image = np.empty((sample.n_lines, sample.pixels_per_line), dtype=np.uint16)
        truths.append(sample.render(frame, image))
        dff[frame] = sample.dff
        if progress is not None and ((frame + 1) % PROGRESS_EVERY == 0 or frame + 1 == n_frames):
            progress(frame + 1, n_frames)
        yield image


def _truth_arrays(
    sample: VirtualSample, truths: list[FrameTruth], dff: NDArray[np.float32], seed: int
) -> dict[str, NDArray[Any]]:
    somata = sample.somata
    width = sample.pixels_per_line + 2 * sample.margin_px
    y_px = (somata.pixels // width).astype(np.int64) - sample.margin_px
    x_px = (somata.pixels % width).astype(np.int64) - sample.margin_px
    inside = (y_px >= 0) & (y_px < sample.n_lines) & (x_px >= 0) & (x_px < sample.pixels_per_line)
    counts = np.bincount(somata.owner()[inside], minlength=len(somata.y_px))
    rate_hz = sample.spikes.rate_hz if sample.config.spontaneous else np.zeros(len(somata.y_px))
    return {
        "spike_frame": np.concatenate([truth.spike_frame for truth in truths]),
        "spike_cell": np.concatenate([truth.spike_cell for truth in truths]),
        "evoked": np.concatenate([truth.evoked for truth in truths]),
        "shift_px": np.array([[truth.shift_y_px, truth.shift_x_px] for truth in truths]),
        "dff": dff,
        "y_px": somata.y_px,
        "x_px": somata.x_px,
        "radius_px": somata.radius_px,
        "a_over_sigma": sample.a_over_sigma,
        "rate_hz": rate_hz,
        "p50_mw": sample.opsin.p50_mw,
        "footprint_start": np.concatenate([[0], np.cumsum(counts)]),
        "footprint_pixels": (y_px * sample.pixels_per_line + x_px)[inside],
        "footprint_weight": somata.weight[inside],
        "frame_rate_hz": np.array(sample.frame_rate_hz),
        "um_per_px": np.array(sample.um_per_px),
        "seed": np.array(seed),
        "indicator": np.array(sample.indicator.name),
    }
