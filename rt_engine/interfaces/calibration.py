"""One plane's calibration: all that inference needs to know before the first live frame, and its file."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.hdf5_reason import hdf5_reason
from rt_engine.interfaces.network_weights import NetworkWeights
from rt_engine.interfaces.threshold_law import ThresholdLaw
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty

FORMAT = "spikeloop/calibration/2"
READABLE = (FORMAT, "spikeloop/calibration/1")
"""Version 1 has no `drive`, no `uncertainty` and no `photon_gain_counts`; early files of 2 no `threshold_law`."""
_Group = DriveConstants | TraceUncertainty | ThresholdLaw
_GROUPS: dict[str, type[_Group]] = {
    "drive": DriveConstants,
    "uncertainty": TraceUncertainty,
    "threshold_law": ThresholdLaw,
}
NOT_WRITTEN = frozenset({"network"})
"""Of the rig, not of the recording."""
ZOOM_TOLERANCE = 0.02
"""Relative difference of pixel size that is still the same zoom: 5 px over half a field of 512."""


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
        Nominal rate of false events per cell, per minute; NaN where events are decided by cost.
    false_event_cost : float
        Cost of a false event, in units of that of a missed one, that events are decided by; NaN: by the rate above.
    false_events_per_min : float32 ndarray, shape (n_rois,)
        Events that noise alone is expected to raise in each cell where they are decided by cost; else empty.
    line_phase_px : float
        Shift of odd lines along x by bidirectional scanning: ``frame[y, x + line_phase_px]`` of odd lines shows what
        the template shows at x. 0 for scanning in one direction.
    template : float32 ndarray, shape (n_lines, pixels_per_line), counts
        Mean of the registered baseline.
    correlation_image : float32 ndarray, shape (n_lines, pixels_per_line)
    roi_id : uint32 ndarray, shape (n_rois,)
    roi_start : int64 ndarray, shape (n_rois + 1,)
    roi_pixels : uint32 ndarray
        Flat indices ``y * pixels_per_line + x`` of cell i: ``roi_pixels[roi_start[i]:roi_start[i + 1]]``, ascending.
    roi_weight : uint8 ndarray
        Weight of each entry of `roi_pixels`, 1 to 255; empty if all footprints are binary.
    neuropil_start, neuropil_pixels
        The same for the rings.
    background_loading : float32 ndarray, shape (n_rois, 2)
        How the two background components of its group of overlapping cells weigh in a cell's ring; empty (0, 2) if
        overlapping cells are not to be taken apart.
    reference_roi_counts, reference_np_counts, rest_counts : float32 ndarray, shape (n_rois,)
        Median over the baseline of the footprint's mean before demixing, of the ring's mean, and the light of the cell
        alone at that time; offset subtracted; empty with `background_loading`.
    inseparable_roi_id : uint32 ndarray, shape (n_pairs, 2)
        Cells whose footprints cannot be told apart: the second takes the values of the first.
    condition_number : float
        Largest ratio of eigenvalues of the overlap matrix of a group of cells; NaN if not demixed.
    neuropil_coefficient : float32 ndarray, shape (n_rois,)
        r of F_c = F_roi - r (F_np - median F_np).
    neuropil_coefficient_se : float32 ndarray, shape (n_rois,)
        Its standard error; 0 where it is fixed by the user, that of the prior where the ring says nothing; empty if
        unknown.
    updates_neuropil : bool
        r follows the recording while it runs, by at most 0.01 a minute.
    neuropil_from_prior : uint8 ndarray, shape (n_rois,)
        1 where the ring has fewer than 50 pixels and r is the prior's; empty if unknown.
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
    noise_correlation : float32 ndarray, shape (n_rois,)
        Of successive samples of the noise, which the taps are whitened for; empty where it is taken for white, as the
        combined decision does.
    threshold : float32 ndarray, shape (n_rois,)
        z that an event must reach; 0 where its probability decides.
    expected_detection : float32 ndarray, shape (n_rois,)
        Probability that an isolated spike is detected.
    quality : float32 ndarray, shape (n_rois,)
        0 to 1, from the cell finder; 1 for cells given by the user.
    quality_numbers : float32 ndarray, shape (n_rois, 5)
        What `quality` is made of, as in `models.component_quality.QUALITY_NUMBERS`: SNR of the events, spatial
        correlation, area, likeness to a soma, roundness; empty (0, 5) for cells that were given or carried over.
    photon_gain_counts : float
        Detector counts of one photon, from photon transfer; NaN if unknown.
    drive : DriveConstants or None
        Of the combined decision, which `threshold` and `expected_detection` then speak of; None: the matched filter
        decides, as with files of version 1.
    uncertainty : TraceUncertainty or None
        How well the constants of the cells are known; None in files of version 1.
    baseline_shift_px : float32 ndarray, shape (n_baseline_frames, 2)
        Shift (y, x) of every frame of the baseline, NaN where it jumped; empty (0, 2) in older files.
    registration_channel : int
        Structural channel by which frames are registered; -1: by `channel` itself.
    registration_template : float32 ndarray, shape (n_lines, pixels_per_line), counts
        Mean of that channel in the coordinates of `template`; empty (0, 0) without one.
    network : NetworkWeights or None
        Of the network that votes in the decision, set by the rig and not in the file.
    threshold_law : ThresholdLaw or None
        What another threshold would find and cost; None in older files, whose thresholds stay as they are.
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
    noise_correlation: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    roi_weight: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    background_loading: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    reference_roi_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    reference_np_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    rest_counts: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    inseparable_roi_id: NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 2), np.uint32))
    condition_number: float = float("nan")
    line_phase_px: float = 0.0
    neuropil_coefficient_se: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    updates_neuropil: bool = False
    neuropil_from_prior: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    quality_numbers: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 5), np.float32))
    photon_gain_counts: float = float("nan")
    registration_channel: int = -1
    registration_template: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    baseline_shift_px: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    drive: DriveConstants | None = None
    uncertainty: TraceUncertainty | None = None
    threshold_law: ThresholdLaw | None = None
    false_event_cost: float = float("nan")
    false_events_per_min: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def by_cost(self) -> bool:
        """True if events are decided by cost."""
        return self.false_event_cost == self.false_event_cost

    @property
    def rule(self) -> str:
        """What events are decided by, in words."""
        if self.by_cost:
            return f"a false event costing {self.false_event_cost:g} times a missed one"
        return f"{self.false_alarms_per_min:g} false events per minute and cell"

    network: NetworkWeights | None = None

    @property
    def n_rois(self) -> int:
        """Number of cells."""
        return len(self.roi_id)

    @property
    def provisional(self) -> bool:
        """True if the thresholds rest on fewer than 3,000 frames."""
        return self.n_baseline_frames < 3000

    def centroids_yx_px(self) -> NDArray[np.float64]:
        """Mean position of every cell in the template, shape (n_rois, 2), pixels; NaN for a footprint of nothing."""
        out = np.full((self.n_rois, 2), np.nan)
        for i in range(self.n_rois):
            flat = self.roi_pixels[self.roi_start[i] : self.roi_start[i + 1]]
            if not len(flat):
                continue
            out[i] = (flat // self.pixels_per_line).mean(), (flat % self.pixels_per_line).mean()
        return out

    def require_fits(
        self,
        n_lines: int | None,
        pixels_per_line: int | None,
        where: str,
        *,
        um_per_px: float | None = None,
        indicator: str | None = None,
        plane: int | None = None,
        channel: int | None = None,
    ) -> None:
        """Refuse frames of another size, zoom, indicator, plane or channel; what is None is not compared.

        Raises
        ------
        CalibrationError
            One of them differs.
        """

        def refuse(what: str, remedy: str) -> None:
            raise CalibrationError(what, remedy, file=where)

        if n_lines is not None and (n_lines, pixels_per_line) != (self.n_lines, self.pixels_per_line):
            refuse(
                f"frames are {n_lines} x {pixels_per_line} px, the calibration was made for "
                f"{self.n_lines} x {self.pixels_per_line} px",
                "calibrate again at this zoom and size",
            )
        known = um_per_px is not None and self.um_per_px == self.um_per_px
        if known and abs(float(um_per_px or 0.0) / self.um_per_px - 1.0) > ZOOM_TOLERANCE:
            refuse(
                f"frames are of {um_per_px:.4g} µm per pixel, the calibration was made at {self.um_per_px:.4g}",
                "set the zoom back, or calibrate again at this one",
            )
        if indicator is not None and indicator.casefold() != self.indicator.casefold():
            refuse(
                f"the indicator is {indicator}, the calibration was made for {self.indicator}",
                f"calibrate again with --indicator {indicator}, or name the right one",
            )
        for name, asked, made in (("plane", plane, self.plane), ("channel", channel, self.channel)):
            if asked is not None and asked != made:
                refuse(
                    f"frames are of {name} {asked}, the calibration was made for {name} {made}",
                    f"give --{name} {made}, or calibrate again",
                )

    def require_registration(self, channel: int | None, where: str) -> None:
        """Refuse a rig that tells movement by another channel than the calibration; None: by the one that is read.

        Raises
        ------
        CalibrationError
            They differ.
        """
        asked = -1 if channel is None else channel
        if asked != self.registration_channel:
            both = self.registration_channel, asked
            made, wanted = ("the channel that is read" if one < 0 else f"channel {one}" for one in both)
            raise CalibrationError(
                f"registers by {made}, the rig by {wanted}",
                "set registration_channel in the rig file to what the calibration has, or calibrate again",
                file=where,
            )


def save_calibration(path: Path, calibration: Calibration) -> None:
    """Write one HDF5 file with every field; scalars are attributes, what has fields of its own is a group."""
    with h5py.File(path, "w") as file:
        write_fields(file, calibration)


def write_fields(place: h5py.Group, calibration: Calibration) -> None:
    """Write every field into a file, or into a group of one."""
    place.attrs["format"] = FORMAT
    for item in fields(calibration):
        value = getattr(calibration, item.name)
        if item.name in NOT_WRITTEN:
            continue
        if isinstance(value, _Group):
            group = place.create_group(item.name)
            for part in fields(value):
                group.create_dataset(part.name, data=getattr(value, part.name))
        elif isinstance(value, np.ndarray):
            place.create_dataset(item.name, data=value)
        elif value is not None:
            place.attrs[item.name] = value


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file of one plane; `calibration_planes` reads those of several as well.

    Raises
    ------
    CalibrationError
        The file is missing, torn, of another format, or incomplete.
    """
    try:
        with h5py.File(path, "r") as file:
            return read_fields(file, path)
    except FileNotFoundError as error:
        remedy = "give a file that `spikeloop calibrate` has made"
        raise CalibrationError("there is no such file", remedy, file=str(path)) from error
    except OSError as error:
        raise CalibrationError(f"cannot be read: {hdf5_reason(error)}", "calibrate again", file=str(path)) from error


def read_fields(place: h5py.Group, path: Path) -> Calibration:
    """Read what `write_fields` wrote; `path` is for the words of a refusal.

    Raises
    ------
    CalibrationError
        Another format, or incomplete.
    """
    found = place.attrs.get("format")
    if found not in READABLE:
        message = f"not a {FORMAT} file" + (f" but {found}" if isinstance(found, str) else "")
        raise CalibrationError(message, "make it with this version's `spikeloop calibrate`", file=str(path))
    values: dict[str, Any] = {}
    for item in fields(Calibration):
        if isinstance(place.get(item.name), h5py.Group):
            values[item.name] = _read_group(place[item.name], _GROUPS[item.name], path)
        elif item.name in place:
            values[item.name] = np.ascontiguousarray(place[item.name][()])
        elif item.name in place.attrs:
            value = place.attrs[item.name]
            values[item.name] = value.item() if isinstance(value, np.generic) else value
        elif item.default is MISSING and item.default_factory is MISSING:
            raise CalibrationError(f"{item.name} is missing", "calibrate again", file=str(path))
    return Calibration(**values)


def _read_group(group: h5py.Group, kind: type[_Group], path: Path) -> _Group:
    missing = [field.name for field in fields(kind) if field.name not in group]
    if missing:
        raise CalibrationError(f"{group.name}/{missing[0]} is missing", "calibrate again", file=str(path))
    return kind(**{field.name: np.ascontiguousarray(group[field.name][()]) for field in fields(kind)})
