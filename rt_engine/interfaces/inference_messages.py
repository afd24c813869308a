"""Headers of what the engine tells of every frame: events and activity."""

from __future__ import annotations

from enum import StrEnum

from rt_engine.interfaces.message_header import Header


class Mode(StrEnum):
    """What inference is doing with the frames it gets."""

    BASELINE = "baseline"
    CALIBRATING = "calibrating"
    LIVE = "live"
    PAUSED = "paused"


class SpikesHeader(Header, kw_only=True):
    """Topic ``spikes.<plane>``; payload packed records of `events.EVENT_DTYPE`.

    `volume` is that of the frame; nil where the source gives none, and for frames of the flyback. `late`: decided past
    the deadline, so that no trigger may come of it.
    """

    plane: int
    frame: int
    volume: int | None = None
    line0: int
    n_lines: int
    hold_frames: int
    mode: Mode
    late: bool = False
    t_scan_ns: int
    t_scan_uncertainty_ns: int | None = None
    t_received_ns: int
    t_decided_ns: int
    n_events: int


class ActivityHeader(Header, kw_only=True):
    """Topic ``activity.<plane>``; payload one float32 array of `n_rois` per field, in the order of `fields`.

    `volume` as in `SpikesHeader`.
    """

    plane: int
    frame: int
    volume: int | None = None
    t_scan_ns: int
    shift_y_px: float
    shift_x_px: float
    quality: float
    rois_rev: int
    n_rois: int
    fields: list[str]
    stage_ns: dict[str, int]
