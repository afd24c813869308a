"""Deconvolution of all cells of a plane: with a rise in the model of those whose rise the frame rate shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.kernels import oasis_ar1, oasis_ar2
from rt_engine.pipeline.adoption import adopt_blocks, adopt_cells, adopt_rows
from rt_engine.pipeline.spike_model import jump_age, jump_error, spike_model

SMALLEST_JUMP = 0.5  # of a spike


class _Order:
    """The cells of one order: where they stand, their pools, and room for them side by side."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        age_frames: int,
        step: Callable[..., None],
        parameters: tuple[NDArray[np.float64], ...],
        empty_state: Callable[[int], Any],
    ) -> None:
        self.rows = rows
        self._age_frames = age_frames
        self.step = step
        self._parameters = parameters
        self._empty_state = empty_state
        self.state = empty_state(len(rows))
        self._y, self._calcium, self._jump = (np.zeros(len(rows), np.float32) for _ in range(3))
        self._usable = np.zeros(len(rows), np.uint8)

    def reset(self) -> None:
        for array, start in zip(self.state, self._empty_state(len(self.rows)), strict=True):
            np.copyto(array, start)

    def adopt(self, parts: Sequence[_Order]) -> None:
        """Go on with the pools of the same cells, read in several parts until now."""
        for name, out in zip(self.state._fields, self.state, strict=True):
            own = [getattr(part.state, name) for part in parts]
            if name == "newest":
                adopt_blocks(out, own, [len(part.rows) for part in parts], len(self.state.selected))
            elif name == "older":
                adopt_rows(out, own)
            elif name != "selected":  # scratch
                adopt_cells(out, own)

    def process(
        self,
        dff: NDArray[np.float32],
        usable: NDArray[np.uint8],
        n_gap: int,
        calcium_out: NDArray[np.float32],
        jump_out: NDArray[np.float32],
    ) -> None:
        if len(self.rows) == len(dff):
            self.step(dff, usable, n_gap, self._age_frames, self._parameters, self.state, calcium_out, jump_out)
            return
        np.take(dff, self.rows, out=self._y, mode="clip")  # "clip": straight into the buffer
        np.take(usable, self.rows, out=self._usable, mode="clip")
        self.step(
            self._y, self._usable, n_gap, self._age_frames, self._parameters, self.state, self._calcium, self._jump
        )
        np.put(calcium_out, self.rows, self._calcium, mode="clip")
        np.put(jump_out, self.rows, self._jump, mode="clip")


class DeconvolutionStage:
    """Owns the pools of all cells; chooses the order of every cell's model once, at construction.

    Parameters
    ----------
    calibration : Calibration
        Of it: frame rate, rise and decay times, amplitudes, noise.
    hold_frames : int
        Age of the frame whose spikes are told, 0 to `pool_history.LARGEST_HOLD`; see `jump_age`.
    smallest_jump : float
        Jumps below it are taken for none, spikes.

    Attributes
    ----------
    model : SpikeModel
    spike_error : float32 ndarray, shape (n_rois,)
        Standard error of what is told, by noise.
    """

    def __init__(self, calibration: Calibration, hold_frames: int, smallest_jump: float = SMALLEST_JUMP) -> None:
        tau_rise_s, tau_s, amplitude_dff = (
            a.astype(np.float64) for a in (calibration.tau_rise_s, calibration.tau_s, calibration.amplitude_dff)
        )
        self.model = spike_model(tau_rise_s, tau_s, amplitude_dff, calibration.frame_rate_hz)
        self._spikes_per_dff = (1 / self.model.jump_dff).astype(np.float32)
        age = jump_age(self.model, hold_frames)
        error_dff = jump_error(self.model, calibration.sigma_dff.astype(np.float64), age)
        self.spike_error = (error_dff / self.model.jump_dff).astype(np.float32)
        slow, fast, penalty = self.model.slow, self.model.fast, np.zeros(calibration.n_rois)
        s_min = smallest_jump * self.model.jump_dff
        direct, rising = np.flatnonzero(fast == 0), np.flatnonzero(fast > 0)
        ar1 = oasis_ar1.OasisParameters(slow[direct], penalty[direct], s_min[direct])
        ar2 = oasis_ar2.Ar2Parameters(slow[rising], fast[rising], penalty[rising], s_min[rising])
        self._orders = []
        if len(direct):
            hold = int(age[direct[0]])
            self._orders.append(_Order(direct, hold, oasis_ar1.oasis_step, ar1, oasis_ar1.empty_state))
        if len(rising):
            hold = int(age[rising[0]])
            self._orders.append(_Order(rising, hold, oasis_ar2.oasis_ar2_step, ar2, oasis_ar2.empty_state))

    @property
    def floor_hits(self) -> NDArray[np.int64]:
        """Merges that the bound on memory made impossible, int64, shape (n_rois,); 0 certifies exactness."""
        hits = np.zeros(len(self.model.slow), np.int64)
        for order in self._orders:
            hits[order.rows] = order.state.floor_hits
        return hits

    def reset(self) -> None:
        """Forget all frames."""
        for order in self._orders:
            order.reset()

    def adopt(self, parts: Sequence[DeconvolutionStage]) -> None:
        """Go on where several stages were whose cells, one stage after the other, are those of this one."""
        for order in self._orders:
            order.adopt([other for part in parts for other in part._orders if other.step is order.step])

    def process(
        self,
        dff: NDArray[np.float32],
        usable: NDArray[np.uint8],
        n_gap: int,
        calcium_out: NDArray[np.float32],
        spike_out: NDArray[np.float32],
    ) -> None:
        """Advance all cells by one frame; allocates nothing.

        Parameters
        ----------
        dff : float32 ndarray, shape (n_rois,), read
        usable : uint8 ndarray, shape (n_rois,), read
            1 where there is a sample.
        n_gap : int
            Frames lost before this one.
        calcium_out : float32 ndarray, shape (n_rois,), dF/F, overwritten
            Calcium of this frame.
        spike_out : float32 ndarray, shape (n_rois,), overwritten
            Spikes in the frame `hold_frames` ago.
        """
        for order in self._orders:
            order.process(dff, usable, n_gap, calcium_out, spike_out)
        np.multiply(spike_out, self._spikes_per_dff, out=spike_out)
