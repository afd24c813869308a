"""From ROI counts to events: neuropil, baseline, dF/F, deconvolution, matched filter, decision, for one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.events import EVENT_DTYPE, EventFlag
from rt_engine.kernels.baseline import normalise, track_quantile
from rt_engine.kernels.decision import LARGEST_UNEXPLAINED, DecisionState, decide, standardise
from rt_engine.kernels.matched_filter import apply_filter, empty_ring, push_samples
from rt_engine.kernels.sample_codes import EXPECTED_MISSING, GOOD
from rt_engine.kernels.trace_output import TraceOutput, publish_traces
from rt_engine.pipeline.adoption import adopt_cells, adopt_each
from rt_engine.pipeline.deconvolution import SMALLEST_JUMP, DeconvolutionStage
from rt_engine.pipeline.drive import DriveStage
from rt_engine.pipeline.network import NetworkStage
from rt_engine.pipeline.neuropil import NeuropilUpdate
from rt_engine.pipeline.template_bank import template_bank
from rt_engine.pipeline.trace_parameters import baseline_parameters, decision_parameters

LONGEST_GAP_S = 2.0  # a longer one leaves nothing in the filter worth trusting


class TraceStage:
    """Owns the state of all cells of a plane, and the arrays that a frame's results stand in.

    Parameters
    ----------
    calibration : Calibration
        If it has `drive`, rates, z, probabilities and events are those of the combined decision; else those of the
        matched filter, and the spikes those of the deconvolution.
    track_baseline : bool
        False where the traces are dF/F already: F0 stays that of the calibration.
    smallest_jump : float
        Of the deconvolution, spikes; see `DeconvolutionStage`.

    Attributes
    ----------
    fluorescence, neuropil : float32 ndarray, shape (n_rois,), counts, offset subtracted
        Of the last frame; this and the next are NaN where there was no sample.
    dff, calcium, spike : float32 ndarray, shape (n_rois,)
        dF/F; deconvolved calcium in dF/F; spikes in the frame `hold_frames` ago.
    z, probability : float32 ndarray, shape (n_rois,)
        Output of the matched filter in noise standard deviations, NaN where there may be no decision; probability of
        a spike in the frame `hold_frames` ago.
    valid : float32 ndarray, shape (n_rois,)
        1 where there was a sample, else 0.
    f0 : float32 ndarray, shape (n_rois,), counts
        Baseline that `dff` refers to.
    provisional : bool
        The calibration rests on too few frames; every event says so.
    threshold : float64 or float32 ndarray, shape (n_rois,)
        z that an event must reach; may be overwritten between two frames.
    events : EVENT_DTYPE ndarray, shape (n_rois,)
        The first `process` many are of the last frame; `t_event_ns` is left 0.
    """

    def __init__(
        self,
        calibration: Calibration,
        *,
        track_baseline: bool = True,
        smallest_jump: float = SMALLEST_JUMP,
    ) -> None:
        n = calibration.n_rois
        self._drive: DriveStage | None = None
        if calibration.drive is not None:
            roi_id = np.ascontiguousarray(calibration.roi_id, np.uint32)
            drive = replace(calibration.drive, threshold=calibration.drive.threshold.copy())
            self._drive = DriveStage(
                drive,
                roi_id,
                calibration.f0_counts,
                calibration.hold_frames,
                calibration.network,
                calibration.frame_rate_hz,
            )
        elif calibration.network is not None:
            raise CalibrationError("decides by the matched filter: no network can vote", "calibrate again")
        self._tracks_baseline = track_baseline
        self._deconvolution = DeconvolutionStage(calibration, calibration.hold_frames, smallest_jump)
        self.hold_frames = calibration.hold_frames
        self.n_taps = calibration.filter_taps.shape[0]
        self._n_before = self.n_taps - 1 - calibration.hold_frames
        self._longest_gap = max(1, int(LONGEST_GAP_S * calibration.frame_rate_hz))
        self.provisional = calibration.provisional
        self._flags = int(EventFlag.PROVISIONAL) if self.provisional else 0
        for name in ("fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid", "f0"):
            setattr(self, name, np.full(n, np.nan, np.float32))
        self._output = TraceOutput(*(getattr(self, name) for name in TraceOutput._fields))
        self.events = np.zeros(n, EVENT_DTYPE)
        self._code = np.zeros(n, np.uint8)
        self._learns = np.zeros(n, np.uint8)
        self._told = np.zeros(n, np.uint8)
        self._muted = np.zeros(n, np.uint8)
        self._most_unexplained = LARGEST_UNEXPLAINED * self.n_taps
        self._energy = np.zeros(n, np.float32)
        self._mean_before = np.zeros(n, np.float32)
        self._lost = np.full(n, EXPECTED_MISSING, np.uint8)
        self._taps = np.ascontiguousarray(calibration.filter_taps, np.float32)
        self._f0_start = calibration.f0_counts.astype(np.float64)
        self._baseline = baseline_parameters(calibration)
        self._bank = template_bank(calibration)
        self._decision = decision_parameters(calibration)
        self.threshold: NDArray[np.floating] = (
            self._decision.threshold if calibration.drive is None else drive.threshold
        )
        self.neuropil_update = NeuropilUpdate(calibration) if calibration.updates_neuropil else None
        self._quantile = np.zeros(n)
        self._ring = empty_ring(self.n_taps, n)
        self._decision_state = _empty_decision_state(n)
        self.reset()

    fluorescence: NDArray[np.float32]
    neuropil: NDArray[np.float32]
    dff: NDArray[np.float32]
    calcium: NDArray[np.float32]
    spike: NDArray[np.float32]
    z: NDArray[np.float32]
    probability: NDArray[np.float32]
    valid: NDArray[np.float32]
    f0: NDArray[np.float32]

    @property
    def network(self) -> NetworkStage | None:
        """The network that votes, if any."""
        return None if self._drive is None else self._drive.network

    @property
    def floor_hits(self) -> NDArray[np.int64]:
        """Merges that the bound on memory made impossible, int64, shape (n_rois,); 0 certifies exactness."""
        return self._deconvolution.floor_hits

    @property
    def spike_error(self) -> NDArray[np.float32]:
        """Standard error of a deconvolved spike by noise, float32, shape (n_rois,)."""
        return self._deconvolution.spike_error

    @property
    def neuropil_coefficient(self) -> NDArray[np.float64]:
        """r of every cell as it is now, shape (n_rois,); a view that moves on where r is updated."""
        return self._baseline.neuropil_coefficient

    def reset(self) -> None:
        """Forget all frames; the baseline starts again at that of the calibration."""
        np.subtract(self._f0_start, self._baseline.lift_counts, out=self._quantile)
        n = len(self._quantile)
        fresh = empty_ring(self.n_taps, n), _empty_decision_state(n)
        for state, start in zip((self._ring, self._decision_state), fresh, strict=True):
            for array, value in zip(state, start, strict=True):
                np.copyto(array, value)
        self._deconvolution.reset()
        if self._drive is not None:
            self._drive.reset()
        if self.neuropil_update is not None:
            self.neuropil_update.reset(self._baseline.neuropil_coefficient)
        self._row = 0
        self._n_to_warm = self.n_taps
        self._n_since_gap = self.n_taps
        self._unsettled: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    @property
    def memory(self) -> tuple[int, int]:
        """Frames until the first decision, and good frames since a gap as far as they are counted."""
        return self._n_to_warm, self._n_since_gap

    @property
    def is_settled(self) -> bool:
        """True once every frame is decided like the one before: no start and no gap is felt any more."""
        return self.memory == (0, self.n_taps)

    def adopt(self, parts: Sequence[TraceStage]) -> None:
        """Go on where several stages were whose cells, one stage after the other, are those of this one.

        All parts must have the same `memory`, and decide as this stage does.
        """
        for part in parts:
            part.settle()
        self._n_to_warm, self._n_since_gap = parts[0].memory
        for name in ("threshold", "neuropil_coefficient", "_quantile", "dff", "f0", *TraceOutput._fields):
            adopt_cells(getattr(self, name), [getattr(part, name) for part in parts])
        self._row = 0
        adopt_each(self._ring, [part._oldest_first() for part in parts])
        adopt_each(self._decision_state, [part._decision_state for part in parts])
        self._deconvolution.adopt([part._deconvolution for part in parts])
        if self._drive is not None:
            self._drive.adopt([part._drive for part in parts if part._drive is not None])
        if self.neuropil_update is not None:
            self.neuropil_update.adopt([part.neuropil_update for part in parts if part.neuropil_update is not None])

    def _oldest_first(self) -> list[NDArray[Any]]:
        return [np.roll(array, -self._row, axis=0) if array.ndim > 1 else array for array in self._ring]

    def warm_up(self) -> None:
        """Run every kernel once, then forget it. Call before the first frame, from the thread of the frame loop."""
        n = len(self._quantile)
        ones, flags = np.ones(n, np.float32), np.ones(n, np.uint8)
        for n_gap in (0, 1):
            self.process(0, n_gap, ones, ones, flags, np.zeros(n, np.uint8))
        self.reset()

    def process(
        self,
        frame: int,
        n_gap: int,
        f_roi: NDArray[np.float32],
        f_np: NDArray[np.float32],
        valid: NDArray[np.uint8],
        censored: NDArray[np.uint8],
    ) -> int:
        """Advance all cells by one frame, `decide` and `settle`; allocates nothing.

        Parameters as of `decide`.

        Returns
        -------
        int
            Number of events, which stand in ``events[:n]`` until the next call.
        """
        n_events = self.decide(frame, n_gap, f_roi, f_np, valid, censored)
        self.settle()
        return n_events

    def decide(
        self,
        frame: int,
        n_gap: int,
        f_roi: NDArray[np.float32],
        f_np: NDArray[np.float32],
        valid: NDArray[np.uint8],
        censored: NDArray[np.uint8],
    ) -> int:
        """Events of one frame; what this frame changes for later ones is left to `settle`.

        Parameters
        ----------
        frame : int
            Number of this frame.
        n_gap : int
            Frames missing before it.
        f_roi, f_np : float32 ndarray, shape (n_rois,), mean counts, offset subtracted, read
        valid : uint8 ndarray, shape (n_rois,), read
            A code of `kernels.sample_codes`: 0 no sample, 1 good, 2 no sample for a known reason (blanked while our
            own light was on), which does not count towards the inhibit rule.
        censored : uint8 ndarray, shape (n_rois,), read
            1 where saturation makes the sample a lower bound.

        Returns
        -------
        int
            Number of events, which stand in ``events[:n]`` until the next call.
        """
        self.settle()
        if n_gap > 0:
            self._pass_gap(n_gap)
        code = self._code
        normalise(f_roi, f_np, valid, censored, self._baseline, self._quantile, self.f0, self.dff, code)
        push_samples(self.dff, code, self._row, self._ring)
        self._row = (self._row + 1) % self.n_taps
        np.equal(code, GOOD, out=self._learns, casting="unsafe")
        self._deconvolution.process(self.dff, self._learns, n_gap, self.calcium, self.spike)
        flags = self._flags
        if self._n_since_gap < self.n_taps:
            self._n_since_gap += 1
            flags |= int(EventFlag.AFTER_GAP)
        if self._drive is None:
            n_events = self._decide_matched(frame, flags)
        else:
            n_events = self._decide_drive(self._drive, frame, flags)
        self._unsettled = f_roi, f_np
        return int(n_events)

    def settle(self) -> None:
        """Move baselines on and fill the arrays of the frame decided last; for after its events are out.

        `f_roi` and `f_np` of that frame must still stand where they stood. Nothing happens the second time.
        """
        if self._unsettled is None:
            return
        (f_roi, f_np), self._unsettled = self._unsettled, None
        code = self._code
        hold_off = self._decision_state.hold_off if self._drive is None else self._drive.hold_off
        if self._tracks_baseline:
            track_quantile(self.dff, self.f0, code, hold_off, self._baseline, self._quantile)
        if self.neuropil_update is not None:
            self.neuropil_update.process(f_roi, f_np, code, hold_off, self._baseline.neuropil_coefficient)
        publish_traces(self._drive is not None, f_roi, f_np, self.dff, code, self._muted, self._output)

    def _decide_drive(self, drive: DriveStage, frame: int, flags: int) -> int:
        """Combined decision; none where too many samples were lost, or too few have been seen since the start."""
        told = self._told
        np.greater(self._ring.n_unexplained, self._most_unexplained, out=self._muted, casting="unsafe")
        if self._n_to_warm > 0:
            self._n_to_warm -= 1
            self._muted.fill(1)
        np.copyto(told, self._code)
        np.copyto(told, EXPECTED_MISSING, where=self._muted.view(np.bool_))
        return drive.process(
            frame, flags, self.dff, self.f0, self._learns, told, self.spike, self.z, self.probability, self.events
        )

    def _decide_matched(self, frame: int, flags: int) -> int:
        """Matched filter, its noise, its decision."""
        apply_filter(
            self._row,
            self._n_before,
            self._taps,
            self._decision.gamma,
            self._ring,
            self.z,
            self._energy,
            self._mean_before,
        )
        standardise(
            self._n_before,
            self._energy,
            self._mean_before,
            self.f0,
            self._code,
            self._ring,
            self._decision,
            self.z,
        )
        if self._n_to_warm > 0:
            self._n_to_warm -= 1
            self.z.fill(np.nan)
        return int(
            decide(
                frame,
                self._row,
                flags,
                self.z,
                self._energy,
                self._ring,
                self._bank,
                self._decision,
                self._decision_state,
                self.probability,
                self.events,
            )
        )

    def _pass_gap(self, n_gap: int) -> None:
        for _ in range(min(n_gap, self.n_taps)):
            push_samples(self.dff, self._lost, self._row, self._ring)
            self._row = (self._row + 1) % self.n_taps
        self._decision_state.hold_off[...] -= n_gap
        if self._drive is not None:
            out = self.spike, self.z, self.probability, self.events
            self._drive.pass_gap(min(n_gap, self._longest_gap), *out)
        self._n_since_gap = 0
        if n_gap > self._longest_gap:
            self._n_to_warm = self.n_taps


def _empty_decision_state(n_rois: int) -> DecisionState:
    return DecisionState(np.zeros(n_rois, np.int64), np.zeros(n_rois, np.float32))
