"""The combined decision of a plane: smoother of the drive and what is made of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.drive_decision import DriveDecisionParameters, decide_drive, empty_decision_state
from rt_engine.kernels.drive_smoother import DriveParameters, drive_step, empty_drive_state


class DriveModel(NamedTuple):
    """Constants of every cell."""

    smoother: DriveParameters
    decision: DriveDecisionParameters


class DriveStage:
    """Owns the state of the drive of all cells.

    Parameters
    ----------
    model : DriveModel
    hold_frames : int
        Frames between a spike and the decision.

    Attributes
    ----------
    hold_off : int64 ndarray, shape (n_rois,), frames
        Above 0 while the calcium of an event decays.
    """

    def __init__(self, model: DriveModel, hold_frames: int) -> None:
        self._model = model
        self._hold_frames = hold_frames
        n_rois = len(model.decision.roi_id)
        self._nothing = np.zeros(n_rois, np.uint8), np.zeros(n_rois, np.float32)
        self._state = empty_drive_state(n_rois, hold_frames + 1, model.smoother)
        self._decision = empty_decision_state(n_rois)
        self.hold_off = self._decision.hold_off

    def reset(self) -> None:
        """Forget all frames."""
        n_rois = len(self.hold_off)
        fresh = empty_drive_state(n_rois, self._hold_frames + 1, self._model.smoother), empty_decision_state(n_rois)
        for state, start in zip((self._state, self._decision), fresh, strict=True):
            for array, value in zip(state, start, strict=True):
                np.copyto(array, value)

    def pass_gap(self, n_gap: int) -> None:
        """Advance over `n_gap` frames without a sample; allocates nothing."""
        usable, y = self._nothing
        for _ in range(n_gap):
            drive_step(y, usable, self._state)
        self._decision.since_event[...] += n_gap
        self._decision.hold_off[...] -= n_gap

    def process(
        self,
        frame: int,
        flags: int,
        dff: NDArray[np.float32],
        usable: NDArray[np.uint8],
        code: NDArray[np.uint8],
        rate_out: NDArray[np.float32],
        z_out: NDArray[np.float32],
        probability_out: NDArray[np.float32],
        events_out: NDArray[np.void],
    ) -> int:
        """Smooth and decide one frame; arguments and result as of `decide_drive`, allocates nothing."""
        drive_step(dff, usable, self._state)
        return int(
            decide_drive(
                frame,
                self._hold_frames,
                flags,
                self._state.drive,
                code,
                self._model.decision,
                self._decision,
                rate_out,
                z_out,
                probability_out,
                events_out,
            )
        )
