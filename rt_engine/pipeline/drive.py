"""The combined decision of a plane: smoother of the drive and what is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.network_weights import NetworkWeights
from rt_engine.kernels.drive_decision import DriveDecisionParameters, decide_drive, empty_decision_state
from rt_engine.kernels.drive_smoother import BLOCK, DriveParameters, drive_step, empty_drive_state
from rt_engine.kernels.network import N_LAGS
from rt_engine.pipeline.adoption import adopt_blocks, adopt_cells
from rt_engine.pipeline.network import LONGEST_GAP_FRAMES, NetworkStage


class DriveModel(NamedTuple):
    """Constants of every cell."""

    smoother: DriveParameters
    decision: DriveDecisionParameters


def drive_model(constants: DriveConstants, roi_id: NDArray[np.uint32]) -> DriveModel:
    """Constants as the kernels want them."""
    values = {field.name: getattr(constants, field.name) for field in fields(constants)} | {"roi_id": roi_id}
    return DriveModel(
        DriveParameters(*(values[name] for name in DriveParameters._fields)),
        DriveDecisionParameters(*(values[name] for name in DriveDecisionParameters._fields)),
    )


class DriveStage:
    """Owns the state of the drive of all cells.

    Parameters
    ----------
    constants : DriveConstants
    roi_id : uint32 ndarray, shape (n_rois,)
    f0_counts : float32 ndarray, shape (n_rois,), counts
        Baseline that the constants were measured at.
    hold_frames : int
        Frames between a spike and the decision.
    weights : NetworkWeights, optional
        With them the network votes.
    frame_rate_hz : float, optional
        Needed with `weights`.

    Attributes
    ----------
    network : NetworkStage or None
    hold_off : int64 ndarray, shape (n_rois,), frames
        Above 0 while the calcium of an event decays.
    """

    def __init__(
        self,
        constants: DriveConstants,
        roi_id: NDArray[np.uint32],
        f0_counts: NDArray[np.float32],
        hold_frames: int,
        weights: NetworkWeights | None = None,
        frame_rate_hz: float = 30.0,
    ) -> None:
        self._model = model = drive_model(constants, roi_id)
        self._per_f0 = 1 / np.asarray(f0_counts, np.float32)
        self._stable = np.zeros(len(roi_id), np.float32)
        self._hold_frames = hold_frames
        n_rois = len(roi_id)
        self._nothing = np.zeros(n_rois, np.uint8), np.zeros(n_rois, np.float32)
        self.network: NetworkStage | None = None
        self._n_lags = hold_frames + 1
        if weights is not None:
            self.network = NetworkStage(weights, constants, model.smoother, frame_rate_hz, hold_frames)
            self._n_lags = max(self._n_lags, N_LAGS)
        self._state = empty_drive_state(n_rois, self._n_lags, model.smoother)
        self._decision = empty_decision_state(n_rois, votes=weights is not None)
        self.hold_off = self._decision.hold_off

    def reset(self) -> None:
        """Forget all frames."""
        n_rois = len(self.hold_off)
        fresh = (
            empty_drive_state(n_rois, self._n_lags, self._model.smoother),
            empty_decision_state(n_rois, votes=self.network is not None),
        )
        for state, start in zip((self._state, self._decision), fresh, strict=True):
            for array, value in zip(state, start, strict=True):
                np.copyto(array, value)
        if self.network is not None:
            self.network.reset()

    def adopt(self, parts: Sequence[DriveStage]) -> None:
        """Go on where several stages were whose cells, one stage after the other, are those of this one."""
        sizes = [len(part.hold_off) for part in parts]
        adopt_blocks(self._state.cells, [part._state.cells for part in parts], sizes, BLOCK)
        adopt_cells(self._state.drive, [part._state.drive for part in parts])
        adopt_cells(self._state.evidence, [part._state.evidence for part in parts])
        for name in ("armed", "since_event", "hold_off", "log_odds_before", "z_before"):
            adopt_cells(getattr(self._decision, name), [getattr(part._decision, name) for part in parts])
        if self.network is not None:
            self.network.adopt([part.network for part in parts if part.network is not None])

    def pass_gap(
        self,
        n_gap: int,
        rate_out: NDArray[np.float32],
        z_out: NDArray[np.float32],
        probability_out: NDArray[np.float32],
        events_out: NDArray[np.void],
    ) -> None:
        """Advance over `n_gap` frames without a sample, as `process` does over each; allocates nothing.

        Parameters
        ----------
        rate_out, z_out, probability_out, events_out
            As of `process`: what they hold is of no use.
        """
        usable, y = self._nothing
        for k in range(n_gap):
            drive_step(y, usable, self._state)
            if self.network is not None and k < LONGEST_GAP_FRAMES:
                self.network.process(y, usable, self._state, self._decision.vote)
            # Without a sample there is no event; but the frame competes with those before and after it.
            self._decide(0, 0, usable, rate_out, z_out, probability_out, events_out)

    def process(
        self,
        frame: int,
        flags: int,
        dff: NDArray[np.float32],
        f0: NDArray[np.float32],
        usable: NDArray[np.uint8],
        code: NDArray[np.uint8],
        rate_out: NDArray[np.float32],
        z_out: NDArray[np.float32],
        probability_out: NDArray[np.float32],
        events_out: NDArray[np.void],
    ) -> int:
        """Smooth and decide one frame; allocates nothing.

        Parameters
        ----------
        dff, f0 : float32 ndarray, shape (n_rois,), read
            Photon noise of dF/F grows as 1 / sqrt(F0): it is brought to what it was at the F0 of the constants.
        frame, flags, usable, code, rate_out, z_out, probability_out, events_out
            As of `decide_drive`.

        Returns
        -------
        int
            Number of events.
        """
        stable = self._stable
        np.multiply(f0, self._per_f0, out=stable)
        np.sqrt(stable, out=stable)
        np.multiply(stable, dff, out=stable)
        drive_step(stable, usable, self._state)
        if self.network is not None:
            self.network.process(stable, usable, self._state, self._decision.vote)
        return self._decide(frame, flags, code, rate_out, z_out, probability_out, events_out)

    def _decide(
        self,
        frame: int,
        flags: int,
        code: NDArray[np.uint8],
        rate_out: NDArray[np.float32],
        z_out: NDArray[np.float32],
        probability_out: NDArray[np.float32],
        events_out: NDArray[np.void],
    ) -> int:
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
