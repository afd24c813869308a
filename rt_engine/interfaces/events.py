"""The spike event record of the wire: 40 bytes, little-endian, packed."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

EVENT_DTYPE = np.dtype(
    [
        ("roi_id", "<u4"),
        ("flags", "<u4"),
        ("event_frame", "<i8"),
        ("t_event_ns", "<i8"),
        ("n_spikes", "<f4"),
        ("probability", "<f4"),
        ("amplitude", "<f4"),
        ("z", "<f4"),
    ]
)
"""One event: `amplitude` in dF/F, `z` in noise standard deviations, `t_event_ns` when the spike was."""


class EventFlag(IntFlag):
    """Bits of `flags` in an event record."""

    CENSORED = 1
    AFTER_GAP = 2
    PROVISIONAL = 4


class FrameFlag(IntFlag):
    """Bits of `flags` in a frame header."""

    LOST_BEFORE = 1
    SATURATED = 2
    ARTEFACT = 4
    NO_COUNTER = 8
    DISCARD = 16
