"""Replay of a session that kept no frames: when each was there, in the place of what it showed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration_planes import load_plane
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import MessageError, MovieError
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.messages import FrameHeader, Mode, SpikesHeader
from rt_engine.recording.reader import Session
from rt_engine.recording.recorded_times import first_skipped
from rt_engine.recording.recorded_traces import KnownFrames

_DTYPE = "u2"


def dark_lines(
    session: Session, planes: Sequence[int], channels: Sequence[int], *, from_index: int = 0
) -> Iterator[tuple[FrameHeader, NDArray[Any]]]:
    """All lines that were decided live, with their own numbers, times and blanked lines, and pixels that are all 0.

    Parameters
    ----------
    session : Session
        With its calibration beside the journal.
    planes, channels : sequence of int
        Of the recording; of every plane all channels are given, the last of `channels` first.
    from_index : int
        First frame, or volume where the source gave them.

    Yields
    ------
    header : FrameHeader
    lines : uint16 ndarray, shape (n_lines, pixels_per_line), counts

    Raises
    ------
    MovieError
        There is no calibration, or there are no traces.

    Notes
    -----
    Frames without traces (of the flyback, or lost) are given as such that bear no sample.
    """
    path = session.calibration_path
    if path is None:
        raise MovieError("holds no calibration.h5", "traces mean nothing without their cells", file=str(session.folder))
    shapes = {plane: load_plane(path, plane) for plane in planes}
    known = {plane: KnownFrames(session, plane) for plane in planes}
    if not any(len(frames) for frames in known.values()):
        raise MovieError("holds neither frames nor traces of live frames", "", file=str(session.folder))
    per_volume = _frames_per_volume(session, planes)
    volume: int | None = None
    for spikes in _with_first_skipped(session, planes):
        is_flyback = spikes.volume is None and per_volume is not None
        if is_flyback and volume is None:
            continue
        volume = volume if is_flyback else spikes.volume
        shape, frames = shapes[spikes.plane], known[spikes.plane]
        index = spikes.frame if volume is None else volume
        if index < from_index:
            continue
        has = not is_flyback and frames.has(index)
        blanked = frames.blanked(index, spikes.line0, spikes.n_lines) if has else []
        for channel in reversed(channels):
            header = FrameHeader(
                source=spikes.source, host=spikes.host, boot_id=spikes.boot_id, seq=spikes.seq, t_sent_ns=0,
                plane=spikes.plane, channel=channel, frame=spikes.frame, volume=volume, line0=spikes.line0,
                n_lines=spikes.n_lines, lines_per_frame=shape.n_lines, pixels_per_line=shape.pixels_per_line,
                dtype=_DTYPE, adc_max=None, offset=None,
                frame_period_ns=round(NS_PER_S / shape.frame_rate_hz / (per_volume or 1)), line_period_ns=None,
                t_scan_ns=spikes.t_scan_ns, t_scan_uncertainty_ns=spikes.t_scan_uncertainty_ns, t_device_s=None,
                flags=_flags(has, blanked), blanked=blanked,
            )  # fmt: skip
            yield header, np.zeros((spikes.n_lines, shape.pixels_per_line), "<" + _DTYPE)


def _with_first_skipped(session: Session, planes: Sequence[int]) -> Iterator[SpikesHeader]:
    """What was decided live; before it one frame that was skipped, if going live began with such (of one plane)."""
    skipped = first_skipped(session, planes) if len(planes) == 1 else None
    for spikes in _live(session, planes):
        if skipped is not None and spikes.volume is None and skipped < spikes.frame:
            yield msgspec.structs.replace(spikes, frame=skipped, line0=0, n_events=0)
        skipped = None
        yield spikes


def _flags(has_traces: bool, blanked: list[list[int]]) -> int:
    if not has_traces:
        return int(FrameFlag.DISCARD)
    return int(FrameFlag.ARTEFACT) if blanked else 0


def _live(session: Session, planes: Sequence[int]) -> Iterator[SpikesHeader]:
    for message in session.messages(*(f"spikes.{plane}" for plane in planes)):
        try:
            header = message.header
        except MessageError:
            continue
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
            yield header


def _frames_per_volume(session: Session, planes: Sequence[int]) -> int | None:
    """How far the frame counter moves from one frame of a plane to its next; None where no volumes were given."""
    first: SpikesHeader | None = None
    for header in _live(session, planes):
        if header.volume is None:
            continue
        first = first or header
        if header.plane == first.plane and header.volume > (first.volume or 0):
            return max(1, round((header.frame - first.frame) / (header.volume - (first.volume or 0))))
    return None if first is None else 1
