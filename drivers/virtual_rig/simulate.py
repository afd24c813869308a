"""A movie of the virtual rig with its ground truth: what `spikeloop simulate` writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.truth import FrameTruth
from drivers.virtual_rig.volume import VirtualVolume
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
) -> list[Path]:
    """Write `out_path` (TIFF, uint16, frames x lines x pixels) and ``<stem>.truth.npz`` beside it.

    Of a volume the movie is volumes x planes x lines x pixels, without the flyback, and each plane has a truth of its
    own, ``<stem>.plane<p>.truth.npz``, whose frames are volumes.

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
    list of Path
        Of the truth of every plane: `spike_frame` float64 (fractional frame number), `spike_cell` int64, `evoked`
        bool, one entry a spike in order of time; `shift_px` float64 (n_frames, 2) (y, x); `dff` float32
        (n_frames, n_cells), no noise; per cell `y_px x_px radius_px a_over_sigma rate_hz p50_mw`; footprints as
        `footprint_start` int64 (n_cells + 1), `footprint_pixels` int64 (flat index in the frame at no displacement) and
        `footprint_weight` float32; `frame_rate_hz um_per_px seed indicator`.

    Raises
    ------
    RecordingError
        A file cannot be written.
    """
    sample_config = config.sample.model_copy(update={"seed": seed})
    planes = VirtualVolume(config.model_copy(update={"sample": sample_config})).planes
    rate_hz = config.frame_rate_hz / config.frames_per_volume
    n_frames = max(1, math.ceil(duration_s * rate_hz - 1e-9))
    told = [_Told(np.zeros((n_frames, sample_config.n_cells), np.float32)) for _ in planes]
    paths = []
    try:
        _write_movie(out_path, config, n_frames, _frames(planes, n_frames, told, progress))
        for plane, (sample, one) in enumerate(zip(planes, told, strict=True)):
            name = f".plane{plane}" if len(planes) > 1 else ""
            paths.append(out_path.with_name(f"{out_path.stem}{name}.truth.npz"))
            np.savez_compressed(paths[-1], allow_pickle=False, **_truth_arrays(sample, one.truths, one.dff, seed))
    except OSError as error:
        raise RecordingError(f"{out_path}: cannot be written: {error.strerror}", "choose another folder") from error
    return paths


@dataclass(slots=True)
class _Told:
    """What has happened in one plane; dF/F of shape (n_frames, n_cells)."""

    dff: NDArray[np.float32]
    truths: list[FrameTruth] = field(default_factory=list)


def _write_movie(
    out_path: Path, config: VirtualMicroscope, n_frames: int, frames: Iterator[NDArray[np.uint16]]
) -> None:
    """ImageJ's format, which tells rate and pixel size to everybody; BigTIFF where the movie is too large for it."""
    depth = (config.n_planes,) if config.n_planes > 1 else ()
    shape = (n_frames, *depth, config.n_lines, config.pixels_per_line)
    rate_hz = config.frame_rate_hz / config.frames_per_volume
    is_large = 2 * math.prod(shape) > IMAGEJ_MAX_BYTES
    with tifffile.TiffWriter(out_path, bigtiff=is_large, imagej=not is_large) as writer:
        writer.write(
            frames,
            shape=shape,
            dtype=np.uint16,
            photometric="minisblack",
            resolution=(1 / config.um_per_px, 1 / config.um_per_px),
            metadata={
                "axes": "TZYX" if depth else "TYX",
                "fps": rate_hz,
                "finterval": 1 / rate_hz,
                "unit": "um",
            },
        )


def _frames(
    planes: Sequence[VirtualSample],
    n_frames: int,
    told: list[_Told],
    progress: Callable[[int, int], None] | None,
) -> Iterator[NDArray[np.uint16]]:
    for frame in range(n_frames):
        for sample, one in zip(planes, told, strict=True):
            image = np.empty((sample.n_lines, sample.pixels_per_line), dtype=np.uint16)
            one.truths.append(sample.render(frame, image))
            one.dff[frame] = sample.dff
            yield image
        if progress is not None and ((frame + 1) % PROGRESS_EVERY == 0 or frame + 1 == n_frames):
            progress(frame + 1, n_frames)


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
