"""What the network learns from: its own inputs, as the live stage gives them, with the true spikes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.network_weights import HOLDS, N_INPUTS, random_weights
from rt_engine.models.ground_truth import View
from rt_engine.models.indicators import Indicator
from rt_engine.models.synthetic_traces import SyntheticTraces
from rt_engine.models.trace_inference import InferenceSettings, Method, TraceGroup
from rt_engine.pipeline.traces import TraceStage

USUAL_HOLD = 3


class Samples(NamedTuple):
    """Rows of one block.

    ``inputs`` : float16, shape (n_rois, n_frames, N_INPUTS); ``probability``, ``rate`` : float32, shape (n_rois,
    n_frames, len(HOLDS)), of the decision without the network with every hold, of the frame so long ago, NaN where
    there is none; ``counts`` : int16, shape (n_rois, n_frames), spikes in each frame, -1 beyond the end.
    """

    inputs: NDArray[np.float16]
    probability: NDArray[np.float32]
    rate: NDArray[np.float32]
    counts: NDArray[np.int16]

    def save(self, path: Path) -> None:
        """Write to exactly `path`."""
        with path.open("wb") as file:
            np.savez(file, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> Samples:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in cls._fields})


class _Recorder(TraceGroup):
    """Runs traces through the stage as in use, and keeps what a network would be given."""

    def run(self) -> None:
        n_frames, n_rois = self._f.shape
        self.inputs = np.zeros((n_frames, N_INPUTS, n_rois), np.float16)
        self.odds_of = np.full((n_frames, n_rois), np.nan, np.float32)
        self.rate_of = np.full((n_frames, n_rois), np.nan, np.float32)
        super().run()

    def _advance(self, stage: TraceStage, first: int, last: int) -> None:
        network = stage.network
        if network is None:
            return
        for t in range(first, last):
            stage.process(t, 0, self._f[t], self._np[t], self._valid[t], self._censored)
            self.inputs[t] = network.inputs
            self.odds_of[t], self.rate_of[t] = stage.probability, stage.spike


class _QuickRecorder(_Recorder):
    """Calibrated less often, which is most of the time that it takes."""

    first_calibration_s = 1.0
    schedule_ratio = 2.0


def record_samples(
    traces: NDArray[np.float32],
    counts: NDArray[np.int16],
    frame_rate_hz: float,
    indicator: Indicator,
    *,
    quick: bool = False,
) -> Samples:
    """Samples of rows of one frame rate.

    Parameters
    ----------
    traces : float32 ndarray, shape (n_rois, n_frames), dF/F, read
    counts : int16 ndarray, shape (n_rois, n_frames)
        -1 where nothing is known.
    frame_rate_hz : float
    indicator : Indicator
    quick : bool
        Calibrate less often than in use.
    """
    recorder = _QuickRecorder if quick else _Recorder
    groups = []
    for hold in HOLDS:
        weights = random_weights(1, 1, 0, 0.0)
        settings = InferenceSettings(indicator=indicator, method=Method.NETWORK, hold_frames=hold, network=weights)
        groups.append(recorder(traces, None, frame_rate_hz, settings))
        groups[-1].run()
    # What is put in differs between holds by nothing but the size of a spike that was learned.
    inputs = groups[HOLDS.index(USUAL_HOLD)].inputs
    return Samples(
        np.ascontiguousarray(inputs.transpose(2, 0, 1)),
        np.stack([group.odds_of.T for group in groups], axis=-1),
        np.stack([group.rate_of.T for group in groups], axis=-1),
        counts,
    )


def samples_of_synthetic(synthetic: SyntheticTraces) -> Samples:
    """Samples of a synthetic block."""
    counts = synthetic.counts.astype(np.int16)
    return record_samples(synthetic.traces, counts, synthetic.frame_rate_hz, synthetic.indicator, quick=True)


def samples_of_views(views: Sequence[View], indicator: Indicator) -> list[Samples]:
    """Samples of real recordings of one indicator; one block for each frame rate."""
    found = []
    for dt_s in sorted({v.dt_s for v in views}):
        rows = [v for v in views if v.dt_s == dt_s]
        n_frames = max(len(v.y) for v in rows)
        traces = np.full((len(rows), n_frames), np.nan, np.float32)
        counts = np.full((len(rows), n_frames), -1, np.int16)
        for row, v in enumerate(rows):
            n = len(v.y)
            traces[row, :n] = v.y
            frame = np.floor((v.recording.spikes_s - v.t_s[0]) / v.dt_s).astype(np.int64)
            counts[row, :n] = np.bincount(frame[(frame >= 0) & (frame < n)], minlength=n)[:n]
        found.append(record_samples(traces, counts, 1 / dt_s, indicator))
    return found
