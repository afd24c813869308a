"""The imaging part of an NWB file: frames, cells, traces, events; streamed from the journal in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.data_utils import DataChunkIterator
from numpy.typing import NDArray
from pynwb import H5DataIO, NWBFile
from pynwb.base import ProcessingModule
from pynwb.core import DynamicTable, DynamicTableRegion, VectorData
from pynwb.device import Device
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    ImagingPlane,
    OpticalChannel,
    PlaneSegmentation,
    RoiResponseSeries,
    TwoPhotonSeries,
)

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.messages import FrameHeader, RoisHeader
from rt_engine.recording.nwb_time import SessionTime
from rt_engine.recording.reader import Session
from rt_engine.recording.session_arrays import activity_rows, events, headers
from rt_engine.recording.whole_frames import whole_frames

Progress = Callable[[str, float], None]
_BUFFER_ROWS = 64
_BUFFER_FRAMES = 4
_TAKEN_OUT = 1 << 40
_FIGURES = ("quality", "snr", "tau_s", "amplitude_dff", "expected_detection", "threshold")
_SERIES = (
    ("fluorescence", "fluorescence", "counts", "Mean counts of the footprint, offset subtracted."),
    ("neuropil", "neuropil", "counts", "Mean counts of the ring around the cell, offset subtracted."),
    ("dff", "dff", "ratio", "Change of fluorescence over baseline, neuropil subtracted, as the engine knew it then."),
    ("calcium", "calcium", "ratio", "Deconvolved calcium in units of dF/F."),
    ("spike", "spike_rate", "spikes", "Inferred spikes of the frame `hold_frames` before, from the past alone."),
    ("probability", "spike_probability", "probability", "Probability of a spike in the frame `hold_frames` before."),
)
"""Field of topic `activity`, name in the file, unit, description."""


@dataclass(slots=True)
class FrameTimes:
    """When the whole frames of one plane and channel were there."""

    t_s: list[float] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    shape: tuple[int, int] = (0, 0)
    dtype: str = "u2"
    period_ns: int | None = None


def frame_times(session: Session, time: SessionTime, plane: int, channel: int) -> FrameTimes:
    """Times of all whole frames, from a pass over their headers."""
    found = FrameTimes()
    for header in whole_frames(session, plane, channel):
        found.t_s.append(time.seconds(header.t_scan_ns))
        found.number.append(header.frame)
        found.shape = header.lines_per_frame, header.pixels_per_line
        found.dtype, found.period_ns = header.dtype, header.frame_period_ns
    return found


def add_imaging_plane(
    nwb: NWBFile, device: Device, config: dict[str, Any], calibration: Calibration | None, plane: int, rate_hz: float
) -> ImagingPlane:
    """One imaging plane with its optical channel; what the rig file does not say is NaN."""
    optics = (config.get("rig") or {}).get("optics") or {}
    indicator = calibration.indicator if calibration is not None else "unknown"
    said = "as the rig file says" if optics.get("emission_nm") else "wavelengths are not stated in the rig file"
    channel = OpticalChannel(
        name="OpticalChannel",
        description=f"Light of {indicator}; {said}.",
        emission_lambda=_or_nan(optics.get("emission_nm")),
    )
    um_per_px = calibration.um_per_px if calibration is not None else float("nan")
    spacing: dict[str, Any] = {}
    if np.isfinite(um_per_px):
        spacing = {"grid_spacing": [um_per_px * 1e-6] * 2, "grid_spacing_unit": "meters"}
    return nwb.create_imaging_plane(
        name=f"ImagingPlane{plane}",
        optical_channel=channel,
        description=f"Plane {plane} as it was scanned.",
        device=device,
        excitation_lambda=_or_nan(optics.get("excitation_nm")),
        indicator=indicator,
        location=optics.get("location") or "not stated in the rig file",
        imaging_rate=rate_hz,
        **spacing,
    )


def add_frames(
    nwb: NWBFile,
    session: Session,
    plane: ImagingPlane,
    times: FrameTimes,
    where: tuple[int, int],
    external: Path | None,
    *,
    compress: bool,
    progress: Progress,
) -> None:
    """The two-photon series of one plane and channel, inside the file or, with `external`, in a TIFF beside it."""
    number, channel = where
    name = f"TwoPhotonSeries{number}" + (f"Channel{channel}" if channel else "")
    facts: dict[str, Any] = {
        "name": name,
        "description": f"Whole frames of plane {number}, channel {channel}, as they came, not registered.",
        "imaging_plane": plane,
        "unit": "counts",
        **timing(times.t_s),
    }
    if external is None:
        data = DataChunkIterator(
            data=_frames(session, number, channel, len(times.t_s), progress),
            maxshape=(None, times.shape[1], times.shape[0]),
            dtype=np.dtype("<" + times.dtype),
            buffer_size=_BUFFER_FRAMES,
        )
        packing = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress else {}
        stored = H5DataIO(data, chunks=(1, times.shape[1], times.shape[0]), **packing)
        nwb.add_acquisition(TwoPhotonSeries(data=stored, **facts))
        return
    if "rate" in facts:
        facts["num_samples"] = len(times.t_s)
    nwb.add_acquisition(
        TwoPhotonSeries(
            external_file=[external.name], format="external", starting_frame=[0],
            dimension=[times.shape[1], times.shape[0]], **facts,
        )
    )  # fmt: skip


def _frames(session: Session, plane: int, channel: int, n_frames: int, progress: Progress) -> Iterator[NDArray[Any]]:
    """Frames with axes (x, y), as NWB wants them."""
    for index, (_, lines) in enumerate(whole_frames(session, plane, channel, with_lines=True)):
        if index % _BUFFER_FRAMES == 0:
            progress(f"frames of plane {plane}", index / max(n_frames, 1))
        yield np.ascontiguousarray(lines.T)
    progress(f"frames of plane {plane}", 1.0)


def add_cells(module: ProcessingModule, plane: ImagingPlane, calibration: Calibration) -> PlaneSegmentation:
    """Footprints as pixel masks (x, y, weight), with what the calibration knows of every cell."""
    segmentation = module.data_interfaces.get("ImageSegmentation")
    if segmentation is None:
        segmentation = ImageSegmentation()
        module.add(segmentation)
    table = segmentation.create_plane_segmentation(
        name=f"PlaneSegmentation{calibration.plane}",
        description="Cells of the calibration; `id` is the roi_id, the row its roi_index.",
        imaging_plane=plane,
    )
    figures = {
        "quality": ("0 to 1, from the cell finder; 1 for cells given by the user", calibration.quality),
        "snr": (
            "dF/F of one spike in standard deviations of the noise",
            calibration.amplitude_dff / calibration.sigma_dff,
        ),
        "tau_s": ("decay time, seconds", calibration.tau_s),
        "amplitude_dff": ("peak dF/F of one spike", calibration.amplitude_dff),
        "expected_detection": ("probability that an isolated spike is detected", calibration.expected_detection),
        "threshold": ("z that an event must reach", calibration.threshold),
    }
    for name, (description, _) in figures.items():
        table.add_column(name, description)
    weights = calibration.roi_weight if calibration.roi_weight.size else np.ones(len(calibration.roi_pixels), np.uint8)
    for row, (first, end) in enumerate(pairwise(calibration.roi_start.tolist())):
        y, x = np.divmod(calibration.roi_pixels[first:end].astype(np.int64), calibration.pixels_per_line)
        top = max(int(weights[first:end].max(initial=1)), 1)
        mask = [(int(a), int(b), float(w) / top) for a, b, w in zip(x, y, weights[first:end], strict=True)]
        table.add_roi(
            id=int(calibration.roi_id[row]), pixel_mask=mask,
            **{name: float(values[row]) for name, (_, values) in figures.items()},
        )  # fmt: skip
    return table


def add_later_cells(
    table: PlaneSegmentation, rois: RoisHeader | None, footprints: tuple[list[int], NDArray[np.uint32]] | None
) -> int:
    """Rows for cells that were added while the session ran, so that every column of the traces has one; how many.

    A row whose cell was taken out again has an empty mask and an id beyond all others.
    """
    if rois is None or not rois.rois:
        return 0
    start, pixels = footprints if footprints is not None else ([], np.zeros(0, np.uint32))
    has_masks = len(start) == len(rois.rois) + 1
    position = {roi.roi_index: at for at, roi in enumerate(rois.rois)}
    first, end = len(table.id), max(position) + 1
    for row in range(first, end):
        mask, roi_id, figures = [(0, 0, 0.0)], _TAKEN_OUT + row, dict.fromkeys(_FIGURES, float("nan"))
        if (at := position.get(row)) is not None:
            roi = rois.rois[at]
            roi_id = roi.roi_id
            figures = {
                "quality": roi.quality, "snr": roi.snr, "tau_s": roi.tau_s, "amplitude_dff": roi.amplitude,
                "expected_detection": roi.expected_detection, "threshold": roi.threshold,
            }  # fmt: skip
            if has_masks and start[at + 1] > start[at]:
                y, x = np.divmod(pixels[start[at] : start[at + 1]].astype(np.int64), rois.pixels_per_line)
                mask = [(int(a), int(b), 1.0) for a, b in zip(x, y, strict=True)]
        table.add_roi(id=roi_id, pixel_mask=mask, **figures)
    return max(0, end - first)


def add_traces(
    module: ProcessingModule,
    session: Session,
    time: SessionTime,
    cells: PlaneSegmentation,
    plane: int,
    progress: Progress,
) -> int:
    """Fluorescence, dF/F and inferred spikes of one plane; how many rows each has."""
    n_rois = len(cells.id)
    t_s = [time.seconds(h.t_scan_ns) for h, v in activity_rows(session, (), plane) if h.n_rois <= n_rois]
    if not t_s:
        return 0
    groups: dict[str, Any] = {
        "Fluorescence": Fluorescence(name=f"Fluorescence{plane}"),
        "DfOverF": DfOverF(name=f"DfOverF{plane}"),
    }
    for container in groups.values():
        module.add(container)
    for name, title, unit, description in _SERIES:
        region = cells.create_roi_table_region(region=list(range(n_rois)), description="all cells, by roi_index")
        series = RoiResponseSeries(
            name=title,
            description=description,
            data=DataChunkIterator(
                data=_values(session, name, plane, n_rois, len(t_s), progress),
                maxshape=(None, n_rois), dtype=np.dtype("<f4"), buffer_size=_BUFFER_ROWS,
            ),
            rois=region,
            unit=unit,
            **timing(t_s),
        )  # fmt: skip
        container = groups["DfOverF" if name == "dff" else "Fluorescence"]
        container.add_roi_response_series(series)
    return len(t_s)


def _values(
    session: Session, name: str, plane: int, n_rois: int, n_rows: int, progress: Progress
) -> Iterator[NDArray[np.float32]]:
    for index, (header, values) in enumerate(activity_rows(session, (name,), plane)):
        if header.n_rois > n_rois:
            continue
        if index % _BUFFER_ROWS == 0:
            progress(f"{name} of plane {plane}", index / n_rows)
        row = np.full(n_rois, np.nan, np.float32)
        row[: header.n_rois] = values[0]
        yield row
    progress(f"{name} of plane {plane}", 1.0)


def add_events(
    module: ProcessingModule, session: Session, time: SessionTime, cells: PlaneSegmentation, plane: int
) -> int:
    """Events as the engine decided them: spike, probability, and when that was known; how many."""
    found = events(session, plane)
    row_of = {int(roi_id): row for row, roi_id in enumerate(cells.id[:])}
    known = found[[int(roi_id) in row_of for roi_id in found["roi_id"]]] if len(found) else found
    columns: list[tuple[str, str, NDArray[Any]]] = [
        ("spike_time", "when the spike was, seconds", time.many(known["t_event_ns"])),
        ("decision_time", "when the engine had decided, seconds", time.many(known["t_decided_ns"])),
        ("event_frame", "frame of the spike", known["event_frame"]),
        ("decided_frame", "frame after which it was decided", known["decided_frame"]),
        ("n_spikes", "estimated number of spikes", known["n_spikes"]),
        ("probability", "calibrated probability of a spike", known["probability"]),
        ("amplitude_dff", "amplitude, dF/F", known["amplitude"]),
        ("z", "output of the filter in standard deviations of the noise", known["z"]),
        ("flags", "1 censored by saturation, 2 after a gap, 4 provisional calibration", known["flags"]),
    ]
    if not len(known):
        return 0
    rows = [row_of[int(roi_id)] for roi_id in known["roi_id"]]
    vectors = [VectorData(name=name, description=text, data=np.array(values)) for name, text, values in columns]
    vectors.append(DynamicTableRegion(name="roi", data=rows, description="the cell", table=cells))
    table = DynamicTable(
        name=f"SpikeEvents{plane}",
        description="Events of inferred spikes in the order of decision; each was known at decision_time, no earlier.",
        columns=vectors,
    )
    module.add(table)
    return len(known)


def timing(t_s: list[float]) -> dict[str, Any]:
    """Rate and start where samples are regular to a nanosecond, else a time for each."""
    times = np.array(t_s)
    steps = np.diff(times)
    if len(steps) and np.ptp(steps) < 2e-9 and steps[0] > 0:
        return {"rate": float(1 / np.mean(steps)), "starting_time": float(times[0])}
    if len(times) == 1:
        return {"rate": 1.0, "starting_time": float(times[0])}
    return {"timestamps": times}


def planes_and_channels(session: Session) -> list[tuple[int, int]]:
    """Every plane and channel that frames were recorded of."""
    seen: set[tuple[int, int]] = set()
    for _, header in headers(session, "frame"):
        if isinstance(header, FrameHeader):
            seen.add((header.plane, header.channel))
    return sorted(seen)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
