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


class Samples(NamedTuple):
    """Rows of one block; arrays of shape (n_rois, n_frames).

    ``inputs`` : float16, shape (n_rois, n_frames, N_INPUTS); ``probability``, ``rate`` : float32, of the decision
    without the network, of the frame `hold` ago, NaN where there is none; ``counts`` : int16, spikes in each frame, -1
    beyond the end; ``hold`` : int, place in `HOLDS`.
    """

    inputs: NDArray[np.float16]
    probability: NDArray[np.float32]
    rate: NDArray[np.float32]
    counts: NDArray[np.int16]
    hold: int

    def save(self, path: Path) -> None:
        """Write to exactly `path`."""
        with path.open("wb") as file:
            np.savez(file, **self._asdict())

    @classmethod
    def load(cls, path: Path) -> Samples:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in cls._fields}
        return cls(**arrays | {"hold": int(arrays["hold"])})


class _Recorder(TraceGroup):
    """Runs traces through the stage and keeps what a network would be given.

    Calibrated less often than in use, which is most of the time that it takes.
    """

    first_calibration_s = 2.0
    schedule_ratio = 3.0

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


def record_samples(
    traces: NDArray[np.float32], counts: NDArray[np.int16], frame_rate_hz: float, indicator: Indicator, at: int
) -> Samples:
    """Samples of rows of one frame rate.

    Parameters
    ----------
    traces : float32 ndarray, shape (n_rois, n_frames), dF/F, read
    counts : int16 ndarray, shape (n_rois, n_frames)
        -1 where nothing is known.
    frame_rate_hz : float
    indicator : Indicator
    at : int
        Place of the hold in `HOLDS`.
    """
    settings = InferenceSettings(
        indicator=indicator, method=Method.NETWORK, hold_frames=HOLDS[at], network=random_weights(1, 1, 0, 0.0)
    )
    group = _Recorder(traces, None, frame_rate_hz, settings)
    group.run()
    return Samples(
        np.ascontiguousarray(group.inputs.transpose(2, 0, 1)),
        np.ascontiguousarray(group.odds_of.T),
        np.ascontiguousarray(group.rate_of.T),
        counts,
        at,
    )


def samples_of_synthetic(synthetic: SyntheticTraces, at: int) -> Samples:
    """Samples of a synthetic block."""
    counts = synthetic.counts.astype(np.int16)
    return record_samples(synthetic.traces, counts, synthetic.frame_rate_hz, synthetic.indicator, at)


def samples_of_views(views: Sequence[View], indicator: Indicator, at: int) -> list[Samples]:
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
        found.append(record_samples(traces, counts, 1 / dt_s, indicator, at))
    return found
