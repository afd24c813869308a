"""Commands that change the cells of a running plane: `rois_edit` and `set_threshold`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import EditAction
from rt_engine.services.live_cells import CellEdit, LiveCells

MAX_FALSE_ALARMS_PER_MIN = 60.0


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """A mask that a person gave: it is watched before it can be read; `replaces` cells that it takes the place of."""

    pixels: NDArray[np.uint32]
    replaces: tuple[int, ...]


def edit_of(args: dict[str, Any], cells: LiveCells) -> CellEdit | MaskRequest:
    """What `rois_edit` asks for, but for `add` and `reject` of candidates, which the finder's side knows.

    Parameters
    ----------
    args : dict
        ``action``: ``remove`` (`roi_ids`), ``merge`` (`roi_ids`, two or more), ``tag`` (`tag`, `roi_ids`; a cell that
        has the tag loses it), ``add`` (`pixels`: flat indices).
    cells : LiveCells

    Raises
    ------
    ConfigError
        Naming the argument, and what is allowed.
    """
    action = args.get("action")
    if action == "remove":
        return CellEdit(action=EditAction.REMOVE, added=[], removed=_ids(args, cells), tagged=[])
    if action == "tag":
        tag = str(args.get("tag") or "").strip()
        if not tag:
            raise ConfigError("needs a name", "rois_edit tag NAME ROI_ID …", key="tag")
        return CellEdit(action=EditAction.TAG, added=[], removed=[], tagged=_ids(args, cells), tag=tag)
    if action == "merge":
        ids = _ids(args, cells)
        if len(ids) < 2:
            raise ConfigError("merging takes two cells or more", "rois_edit merge ROI_ID ROI_ID", key="roi_ids")
        return MaskRequest(np.unique(np.concatenate([cells.pixels(roi) for roi in ids])), tuple(ids))
    if action == "add":
        return MaskRequest(_pixels(args.get("pixels"), cells), ())
    raise ConfigError(f"{action!r} is no action", "add, reject, remove, merge or tag", key="action")


def threshold_edit(args: dict[str, Any], cells: LiveCells) -> tuple[CellEdit, dict[str, Any]]:
    """The edit of `set_threshold`, and what it will cost and find.

    Parameters
    ----------
    args : dict
        Either ``false_alarms_per_min`` (per cell), or ``thresholds`` (`roi_id` to z).
    cells : LiveCells

    Returns
    -------
    edit : CellEdit
    predicted : dict
        As of `predicted`.

    Raises
    ------
    ConfigError
        Naming the argument, and what is allowed.
    """
    rate, given = args.get("false_alarms_per_min"), args.get("thresholds")
    if (rate is None) == (given is None):
        raise ConfigError("takes either false_alarms_per_min or thresholds", key="set_threshold")
    if cells.calibration.by_cost:
        raise ConfigError(
            f"events are decided by {cells.calibration.rule}",
            "calibrate again with inference.false_alarms_per_min in the rig file",
            key="set_threshold",
        )
    if rate is not None:
        per_min: float | None = _rate(rate)
        threshold = cells.law.threshold(_rate(rate))
        if np.isnan(threshold).any():
            raise ConfigError(
                "the calibration does not say what another rate of false events would take",
                "calibrate again with this version, or give thresholds",
                key="false_alarms_per_min",
            )
    else:
        per_min, threshold = None, cells.threshold.copy()
        for roi_id, z in _given(given, cells):
            threshold[cells.roi_id.index(roi_id)] = z
    edit = CellEdit(
        action=EditAction.THRESHOLD, added=[], removed=[], tagged=[],
        false_alarms_per_min=per_min, payload=threshold.astype("<f8").tobytes(),
    )  # fmt: skip
    return edit, predicted(threshold, cells)


def predicted(threshold: NDArray[np.float64], cells: LiveCells) -> dict[str, Any]:
    """What thresholds will find and cost, for all cells that are read.

    Parameters
    ----------
    threshold : float64 ndarray, shape (n_rows,)
    cells : LiveCells

    Returns
    -------
    dict
        Lists of equal length ``roi_id``, ``threshold``, ``expected_detection``, ``false_events_per_hour`` (nil where
        the calibration does not say), and ``median_expected_detection``, ``total_false_events_per_hour``.
    """
    read = np.array([cells.is_read(roi_id) for roi_id in cells.roi_id], np.bool_)
    detection = cells.law.detection(threshold)[read]
    false = 60.0 * cells.law.false_alarms_per_min(threshold)[read]
    known = np.isfinite(false)
    return {
        "roi_id": [roi_id for roi_id, is_read in zip(cells.roi_id, read, strict=True) if is_read],
        "threshold": threshold[read].tolist(),
        "expected_detection": [value if ok else None for value, ok in zip(detection.tolist(), known, strict=True)],
        "false_events_per_hour": [value if ok else None for value, ok in zip(false.tolist(), known, strict=True)],
        "median_expected_detection": float(np.median(detection[known])) if known.any() else None,
        "total_false_events_per_hour": float(false[known].sum()) if known.any() else None,
    }


def _rate(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= MAX_FALSE_ALARMS_PER_MIN:
        raise ConfigError(
            f"must lie above 0 and up to {MAX_FALSE_ALARMS_PER_MIN:g}, got {value!r}", key="false_alarms_per_min"
        )
    return float(value)


def _given(given: Any, cells: LiveCells) -> Iterable[tuple[int, float]]:
    if not isinstance(given, dict) or not given:
        raise ConfigError("must map roi ids to z", key="thresholds")
    for key, value in given.items():
        roi_id = _known(key, cells)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 100:
            raise ConfigError(f"z must lie between 0 and 100, got {value!r}", key=f"thresholds.{roi_id}")
        yield roi_id, float(value)


def _ids(args: dict[str, Any], cells: LiveCells) -> list[int]:
    given = args.get("roi_ids")
    if not isinstance(given, list | tuple) or not given:
        raise ConfigError("needs at least one cell", key="roi_ids")
    return list(dict.fromkeys(_known(one, cells) for one in given))


def _known(value: Any, cells: LiveCells) -> int:
    try:
        roi_id = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"{value!r} is no roi id", key="roi_ids") from None
    if not cells.is_read(roi_id):
        raise ConfigError(f"no cell has roi id {roi_id}", f"there are {len(cells.roi_id)} rows", key="roi_ids")
    return roi_id


def _pixels(given: Any, cells: LiveCells) -> NDArray[np.uint32]:
    field = cells.calibration
    n_pixels = field.n_lines * field.pixels_per_line
    whole = isinstance(given, list | tuple) and all(isinstance(one, int) and 0 <= one < n_pixels for one in given)
    if not whole or len(given) == 0:
        raise ConfigError(f"must be flat indices from 0 to {n_pixels - 1}", key="pixels")
    return np.unique(np.asarray(given, np.uint32))
