"""How close the events of two sessions are that differ: the same spikes with other last digits, or other spikes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rt_engine.recording.reader import Session
from rt_engine.recording.session_arrays import events

_NUMBERS = ("n_spikes", "probability", "amplitude", "z")
_IDENTITY = ("roi_id", "event_frame")


def event_closeness(a: Session, b: Session, planes: Iterable[int]) -> str | None:
    """A sentence about all events of both; None where neither has any.

    Parameters
    ----------
    a, b : Session
    planes : iterable of int
        Those that are compared.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    n_same, apart, largest = 0, [0, 0], 0.0
    for plane in planes:
        one, other = (events(session, plane) for session in (a, b))
        keys = [{tuple(int(event[name]) for name in _IDENTITY): i for i, event in enumerate(x)} for x in (one, other)]
        both = sorted(keys[0].keys() & keys[1].keys())
        n_same += len(both)
        apart = [n + len(found) - len(both) for n, found in zip(apart, keys, strict=True)]
        rows = [[found[key] for key in both] for found in keys]
        for name in _NUMBERS:
            x, y = (np.asarray(found[name][row], np.float64) for found, row in zip((one, other), rows, strict=True))
            scale = np.maximum(np.abs(x), np.finfo(np.float32).tiny)
            largest = max(largest, float(np.max(np.abs(x - y) / scale, initial=0.0)))
    if not n_same and not any(apart):
        return None
    if any(apart):
        return f"{n_same} spikes are in both, {apart[0]} in A alone, {apart[1]} in B alone"
    said = f"all {n_same} spikes are in both, of the same cells at the same frames"
    return f"{said}; their numbers differ by {largest:.1g} of themselves at most"
