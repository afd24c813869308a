"""One random generator for each process of the virtual rig."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """Every random process has a generator of its own: switching one off leaves the others as they were."""

    PLANTING = 1
    CELLS = 2
    SPIKES = 3
    NEUROPIL = 4
    MOTION = 5
    OPSIN = 6
    DETECTOR = 7
    STRUCTURAL = 8


def generator(seed: int, stream: Stream) -> np.random.Generator:
    """Generator of one process."""
    return np.random.default_rng((seed, stream))
