"""Headers of the cells that are read, offered and changed."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from rt_engine.interfaces.message_header import Header


class RoiDescription(msgspec.Struct, kw_only=True):
    """One cell in a `rois` message.

    `neuropil_coefficient` and `floor_hits` (certificate of the deconvolution: 0 = exact) are as they are now; None:
    not told.
    """

    roi_id: int
    roi_index: int
    parent_id: int | None
    kind: str
    plane: int
    tags: list[str]
    quality: float
    snr: float
    tau_s: float
    amplitude: float
    expected_detection: float
    threshold: float
    neuropil_coefficient: float | None = None
    floor_hits: int | None = None


class RoisHeader(Header, kw_only=True):
    """Topic ``rois``; payload, when the footprints changed: uint32 flat pixel indices of all cells, one after another.

    `footprint_start` holds the start of every cell in the payload (``n_rois + 1`` numbers); empty without payload.
    `template_id` differs between templates: positions in one say nothing about positions in another.
    """

    rev: int
    template_id: str = ""
    plane: int
    lines_per_frame: int
    pixels_per_line: int
    rois: list[RoiDescription]
    footprint_start: list[int]


class EditAction(StrEnum):
    """What was done to the cells while they are read."""

    ADD = "add"
    REMOVE = "remove"
    MERGE = "merge"
    TAG = "tag"
    THRESHOLD = "threshold"


class EditHeader(Header, kw_only=True):
    """Topic ``edit``: a change of the cells of a plane, complete enough to be done again in a replay.

    It holds from `from_frame` on and made `rev` of topic ``rois``. Payload: of ``add`` and ``merge`` the constants of
    the cells in `added` (`interfaces.calibration_bytes`), of ``threshold`` one float64 for each row, else none.
    `n_known` is how many cells the calibration has that `added` counts on from.
    """

    plane: int
    rev: int
    from_frame: int
    action: EditAction
    added: list[int]
    removed: list[int]
    tagged: list[int]
    tag: str | None
    n_known: int
    false_alarms_per_min: float | None


class Candidate(msgspec.Struct, kw_only=True):
    """One cell that was found while the rig runs, or asked for, and what is known of it so far."""

    candidate_id: int
    ready: bool
    asked: bool
    replaces: list[int]
    y_px: float
    x_px: float
    n_pixels: int
    n_frames: int
    quality: float
    snr: float | None
    tau_s: float | None
    amplitude: float | None
    expected_detection: float | None
    threshold: float | None


class CandidatesHeader(Header, kw_only=True):
    """Topic ``candidates``: cells that are offered. Payload, when they changed: uint32 flat pixel indices, as ``rois``.

    `spare` rows are left. `searched_frame` is the newest frame of the last search, nil before it.
    """

    plane: int
    rev: int
    spare: int
    searched_frame: int | None
    lines_per_frame: int
    pixels_per_line: int
    candidates: list[Candidate]
    footprint_start: list[int]
