"""Traces of a recorded session frame by frame, and what its journal tells of frames that it did not keep."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import ActivityHeader, FateHeader, Header
from rt_engine.recording.reader import Session

_FLUORESCENCE, _NEUROPIL, _VALID = "fluorescence", "neuropil", "valid"
_LINES = "lines "


@dataclass(frozen=True, slots=True)
class TraceSample:
    """What one frame gave of all cells.

    Attributes
    ----------
    fluorescence, neuropil : float32 ndarray, shape (n_rois,), counts, offset subtracted
        NaN where there was no sample.
    valid : bool ndarray, shape (n_rois,)
    shift_y_px, shift_x_px, quality : float
        Of the registration.
    """

    fluorescence: NDArray[np.float32]
    neuropil: NDArray[np.float32]
    valid: NDArray[np.bool_]
    shift_y_px: float
    shift_x_px: float
    quality: float


class RecordedTraces:
    """Samples of one plane in the order in which they were decided; holds one at a time.

    Parameters
    ----------
    session : Session
    plane : int

    Raises
    ------
    RecordingError
        The journal holds other traces than fluorescence and neuropil.
    """

    def __init__(self, session: Session, plane: int) -> None:
        self._samples = _samples(session, plane)
        self._next = next(self._samples, None)

    def take(self, index: int) -> TraceSample | None:
        """Sample of a frame (volume, where the source gave them), None if there is none; only forward."""
        while self._next is not None and self._next[0] < index:
            self._next = next(self._samples, None)
        if self._next is None or self._next[0] != index:
            return None
        return self._next[1]


class KnownFrames:
    """Which frames of a plane have traces, and which of their lines were blanked.

    Parameters
    ----------
    session : Session
    plane : int

    Notes
    -----
    Memory is 8 bytes a frame, and as much again as there were blanked frames.
    """

    def __init__(self, session: Session, plane: int) -> None:
        self._with_traces = array("q")
        self._blanked: dict[int, list[list[int]]] = {}
        for header in _headers(session, f"activity.{plane}", f"fate.{plane}"):
            if isinstance(header, ActivityHeader):
                self._with_traces.append(_index(header))
            elif isinstance(header, FateHeader) and header.fate is Fate.BLANKED:
                self._blanked[header.first] = _spans(header.reason)

    def __len__(self) -> int:
        return len(self._with_traces)

    def has(self, index: int) -> bool:
        """True if there are traces of a frame, or volume."""
        at = bisect_left(self._with_traces, index)
        return at < len(self._with_traces) and self._with_traces[at] == index

    def blanked(self, index: int, line0: int, n_lines: int) -> list[list[int]]:
        """``[line0, n_lines]`` of blanked lines that lie among some lines of a frame."""
        return [
            [first, n] for first, n in self._blanked.get(index, ()) if first < line0 + n_lines and first + n > line0
        ]


def _samples(session: Session, plane: int) -> Iterator[tuple[int, TraceSample]]:
    for message in session.messages(f"activity.{plane}"):
        try:
            header = message.header
        except MessageError:
            continue
        if not isinstance(header, ActivityHeader):
            continue
        fields, shape = header.fields, (len(header.fields), header.n_rois)
        if _FLUORESCENCE not in fields or _NEUROPIL not in fields:
            raise RecordingError(
                f"{session.folder}: holds traces of {', '.join(fields) or 'nothing'}, a replay needs "
                f"{_FLUORESCENCE} and {_NEUROPIL}",
                "replay a session of this program",
            )
        if len(message.payload) != shape[0] * shape[1] * 4:
            continue
        values = np.frombuffer(message.payload, "<f4").reshape(shape)
        counts = values[fields.index(_FLUORESCENCE)]
        valid = values[fields.index(_VALID)] > 0 if _VALID in fields else np.isfinite(counts)
        yield (
            _index(header),
            TraceSample(
                counts, values[fields.index(_NEUROPIL)], valid, header.shift_y_px, header.shift_x_px, header.quality
            ),
        )


def _headers(session: Session, *topics: str) -> Iterator[Header]:
    for message in session.messages(*topics):
        try:
            yield message.header
        except MessageError:
            continue


def _index(header: ActivityHeader) -> int:
    return header.frame if header.volume is None else header.volume


def _spans(reason: str) -> list[list[int]]:
    """Lines out of the words of a fate, as `InferenceService` says them; none where they say something else."""
    try:
        spans = json.loads(reason.removeprefix(_LINES))
    except ValueError:
        return []
    return [[int(first), int(n)] for first, n in spans] if isinstance(spans, list) else []
