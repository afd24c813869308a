"""One plane's calibration: all that inference needs to know before the first live frame, and its file."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty

FORMAT = "spikeloop/calibration/2"
READABLE = (FORMAT, "spikeloop/calibration/1")
"""Version 1 has no `drive`, no `uncertainty` and no `photon_gain_counts`."""
_GROUPS: dict[str, type[DriveConstants | TraceUncertainty]] = {"drive": DriveConstants, "uncertainty": TraceUncertainty}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """Template, cells, neuropil, noise, kernels and thresholds of one plane.

    Attributes
    ----------
    frame_rate_hz : float
    n_lines, pixels_per_line : int
    um_per_px : float
        Pixel size in micrometres; NaN if unknown.
    indicator : str
        Name in the indicator library.
    hold_frames : int
        Decision lag d, frames.
    n_baseline_frames : int
        Frames the calibration was made from; below 3,000 thresholds are provisional.
    offset_counts : float
        Detector counts at no light.
    adc_max_counts : float
        Largest count the detector can give; NaN if unknown.
    false_alarms_per_min : float
        Nominal rate of false events per cell, per minute.
    template : float32 ndarray, shape (n_lines, pixels_per_line), counts
        Mean of the registered baseline.
    correlation_image : float32 ndarray, shape (n_lines, pixels_per_line)
    roi_id : uint32 ndarray, shape (n_rois,)
    roi_start : int64 ndarray, shape (n_rois + 1,)
    roi_pixels : uint32 ndarray
        Flat indices ``y * pixels_per_line + x`` of cell i: ``roi_pixels[roi_start[i]:roi_start[i + 1]]``, ascending.
    neuropil_start, neuropil_pixels
        The same for the rings.
    neuropil_coefficient : float32 ndarray, shape (n_rois,)
        r of F_c = F_roi - r (F_np - median F_np).
    neuropil_median_counts : float32 ndarray, shape (n_rois,)
        Median of F_np over the baseline, offset subtracted.
    f0_counts : float32 ndarray, shape (n_rois,)
        Baseline of F_c at the end of the recording, offset subtracted.
    sigma_dff : float32 ndarray, shape (n_rois,)
        Noise standard deviation of dF/F per frame at F0.
    tau_rise_s, tau_s : float32 ndarray, shape (n_rois,)
        Rise and decay time constants.
    amplitude_dff : float32 ndarray, shape (n_rois,)
        Peak dF/F of one spike.
    rate_hz : float32 ndarray, shape (n_rois,)
        Prior rate of events.
    filter_taps : float32 ndarray, shape (n_taps, n_rois)
        Matched filter h on x = dF/F / sigma, newest sample last; unit variance under noise.
    filter_gain : float32 ndarray, shape (n_rois,)
        Mean z of one spike of amplitude `amplitude_dff`.
    threshold : float32 ndarray, shape (n_rois,)
        z that an event must reach.
    expected_detection : float32 ndarray, shape (n_rois,)
        Probability that an isolated spike is detected at `threshold`.
    quality : float32 ndarray, shape (n_rois,)
        0 to 1, from the cell finder; 1 for cells given by the user.
    photon_gain_counts : float
        Detector counts of one photon, from photon transfer; NaN if unknown.
    drive : DriveConstants or None
        Of the combined decision, which `threshold` and `expected_detection` then speak of; None: the matched filter
        decides, as with files of version 1.
    uncertainty : TraceUncertainty or None
        How well the constants of the cells are known; None in files of version 1.
    """

    plane: int = 0
    channel: int = 0
    frame_rate_hz: float
    n_lines: int
    pixels_per_line: int
    um_per_px: float
    indicator: str
    hold_frames: int
    n_baseline_frames: int
    offset_counts: float
    adc_max_counts: float
    false_alarms_per_min: float
    template: NDArray[np.float32]
    correlation_image: NDArray[np.float32]
    roi_id: NDArray[np.uint32]
    roi_start: NDArray[np.int64]
    roi_pixels: NDArray[np.uint32]
    neuropil_start: NDArray[np.int64]
    neuropil_pixels: NDArray[np.uint32]
    neuropil_coefficient: NDArray[np.float32]
    neuropil_median_counts: NDArray[np.float32]
    f0_counts: NDArray[np.float32]
    sigma_dff: NDArray[np.float32]
    tau_rise_s: NDArray[np.float32]
    tau_s: NDArray[np.float32]
    amplitude_dff: NDArray[np.float32]
    rate_hz: NDArray[np.float32]
    filter_taps: NDArray[np.float32]
    filter_gain: NDArray[np.float32]
    threshold: NDArray[np.float32]
    expected_detection: NDArray[np.float32]
    quality: NDArray[np.float32]
    photon_gain_counts: float = float("nan")
    drive: DriveConstants | None = None
    uncertainty: TraceUncertainty | None = None

    @property
    def n_rois(self) -> int:
        """Number of cells."""
        return len(self.roi_id)

    @property
    def provisional(self) -> bool:
        """True if the thresholds rest on fewer than 3,000 frames."""
        return self.n_baseline_frames < 3000

    def centroids_yx_px(self) -> NDArray[np.float64]:
        """Mean position of every cell in the template, shape (n_rois, 2), pixels."""
        out = np.zeros((self.n_rois, 2))
        for i in range(self.n_rois):
            flat = self.roi_pixels[self.roi_start[i] : self.roi_start[i + 1]]
            out[i] = (flat // self.pixels_per_line).mean(), (flat % self.pixels_per_line).mean()
        return out

    def require_fits(self, n_lines: int, pixels_per_line: int, where: str) -> None:
        """Refuse frames of another size.

        Raises
        ------
        CalibrationError
            The size differs.
        """
        if (n_lines, pixels_per_line) != (self.n_lines, self.pixels_per_line):
            raise CalibrationError(
                f"frames are {n_lines} x {pixels_per_line} px, the calibration was made for "
                f"{self.n_lines} x {self.pixels_per_line} px",
                "calibrate again at this zoom and size",
                file=where,
            )


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write one HDF5 file with every field; scalars are attributes, what has fields of its own is a group."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        for field in fields(calibration):
            value = getattr(calibration, field.name)
            if isinstance(value, DriveConstants | TraceUncertainty):
                group = file.create_group(field.name)
                for part in fields(value):
                    group.create_dataset(part.name, data=getattr(value, part.name))
            elif isinstance(value, np.ndarray):
                file.create_dataset(field.name, data=value)
            elif value is not None:
                file.attrs[field.name] = value


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises
    ------
    CalibrationError
        The file is missing, torn, of another format, or incomplete.
    """
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format")
            if found not in READABLE:
                message = f"not a {FORMAT} file" + (f" but {found}" if isinstance(found, str) else "")
                raise CalibrationError(message, "make it with this version's `spikeloop calibrate`", file=str(path))
            values: dict[str, Any] = {}
            for field in fields(Calibration):
                if isinstance(file.get(field.name), h5py.Group):
                    values[field.name] = _read_group(file[field.name], _GROUPS[field.name], path)
                elif field.name in file:
                    values[field.name] = np.ascontiguousarray(file[field.name][()])
                elif field.name in file.attrs:
                    value = file.attrs[field.name]
                    values[field.name] = value.item() if isinstance(value, np.generic) else value
                elif field.default is MISSING:
                    raise CalibrationError(f"{field.name} is missing", "calibrate again", file=str(path))
            return Calibration(**values)
    except OSError as error:
        raise CalibrationError(f"cannot be read: {error}", "calibrate again", file=str(path)) from error


def _read_group(
    group: h5py.Group, kind: type[DriveConstants | TraceUncertainty], path: Path
) -> DriveConstants | TraceUncertainty:
    missing = [field.name for field in fields(kind) if field.name not in group]
    if missing:
        raise CalibrationError(f"{group.name}/{missing[0]} is missing", "calibrate again", file=str(path))
    return kind(**{field.name: np.ascontiguousarray(group[field.name][()]) for field in fields(kind)})
