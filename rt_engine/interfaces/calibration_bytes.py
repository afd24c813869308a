"""Constants of some cells as bytes, for wire and journal: a MessagePack map of arrays, nothing pickled."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.threshold_law import ThresholdLaw
from rt_engine.interfaces.trace_uncertainty import TraceUncertainty

_OF_FIELD = frozenset({"template", "correlation_image", "registration_template", "baseline_shift_px"})
_GROUPS = {"drive": DriveConstants, "uncertainty": TraceUncertainty, "threshold_law": ThresholdLaw}


def pack_cells(calibration: Calibration) -> bytes:
    """Everything of the cells of a calibration, and how many frames it rests on; not the field's images and facts."""
    out: dict[str, Any] = {"n_baseline_frames": calibration.n_baseline_frames}
    for field in fields(calibration):
        value = getattr(calibration, field.name)
        if isinstance(value, np.ndarray) and field.name not in _OF_FIELD:
            out[field.name] = _packed(value)
        elif field.name in _GROUPS and value is not None:
            out[field.name] = {part.name: _packed(getattr(value, part.name)) for part in fields(value)}
    return msgspec.msgpack.encode(out)


def unpack_cells(data: bytes | memoryview, of_field: Calibration) -> Calibration:
    """The cells as a calibration of the same field.

    Parameters
    ----------
    data : bytes
        From `pack_cells`.
    of_field : Calibration
        Gives template, size, rate and whatever else belongs to the field.

    Raises
    ------
    MessageError
        The bytes hold something else.
    """
    try:
        found = msgspec.msgpack.decode(data)
        changes: dict[str, Any] = {"n_baseline_frames": int(found.pop("n_baseline_frames"))}
        for name, value in found.items():
            if name in _GROUPS:
                changes[name] = _GROUPS[name](**{part: _unpacked(array) for part, array in value.items()})
            else:
                changes[name] = _unpacked(value)
        changes |= dict.fromkeys(_GROUPS.keys() - changes.keys())
        return replace(of_field, **changes)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise MessageError(f"constants of cells cannot be read: {error}") from error


def _packed(array: NDArray[Any]) -> list[Any]:
    whole = np.ascontiguousarray(array)
    return [whole.dtype.str, list(whole.shape), whole.tobytes()]


def _unpacked(packed: list[Any]) -> NDArray[Any]:
    kind, shape, data = packed
    return np.frombuffer(data, np.dtype(kind)).reshape(shape).copy()
