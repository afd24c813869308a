"""Contestants of the frame benchmark that stand before the trace stage: what a frame costs until there are traces."""

from __future__ import annotations

import numpy as np

from rt_engine.bench.crowded_field import FRAME_SHAPE, SHIFT_YX_PX, crowded_field, random_frames
from rt_engine.bench.rounds import Contestant
from rt_engine.pipeline.extraction import RoiExtraction
from rt_engine.pipeline.registration import RigidRegistration

N_FRAMES = 16
_MAX_SHIFT_PX = 8.0


def contestants(n_rois: int) -> list[Contestant]:
    """Registration of a 512 x 512 frame, and extraction of all cells and rings at a shift between pixels."""
    frames = random_frames(N_FRAMES, 1)
    extraction = RoiExtraction(crowded_field(n_rois, FRAME_SHAPE[0], 2))
    registration = RigidRegistration(frames[0].astype(np.float32), _MAX_SHIFT_PX)

    def register() -> None:
        for frame in frames:
            registration.process(frame)

    def extract() -> None:
        for frame in frames:
            extraction.process(frame, *SHIFT_YX_PX)

    return [Contestant("registration", N_FRAMES, register), Contestant("extraction", N_FRAMES, extract)]
