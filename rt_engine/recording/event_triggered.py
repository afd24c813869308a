"""Average response of the target cells to light, against the triggers from which light was withheld."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

F64 = NDArray[np.float64]

CONFIDENCE = 0.95
_FEWEST_TRIALS = 2


@dataclass(frozen=True, slots=True, eq=False)
class TriggeredAverage:
    """Mean over trials with its pointwise confidence band.

    Attributes
    ----------
    t_s : float64 ndarray, shape (n_samples,), seconds from the trigger
    mean, low, high : float64 ndarray, shape (n_samples,), dF/F
        `low` and `high` are NaN for fewer than two trials.
    response : float64 ndarray, shape (n_trials,), dF/F
        Mean of each trial over the response window, NaN where it has no valid sample.
    """

    t_s: F64
    mean: F64
    low: F64
    high: F64
    response: F64

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.response)


def triggered_average(
    frame: NDArray[np.int64],
    dff: NDArray[np.float32],
    trials: Iterable[tuple[float, list[int]]],
    frame_period_s: float,
    *,
    before_s: float = 1.0,
    after_s: float = 3.0,
    response_s: float = 1.0,
) -> TriggeredAverage | None:
    """Average dF/F of each trial's target cells around its trigger, minus their mean before it.

    Parameters
    ----------
    frame : int64 ndarray, shape (n_rows,), ascending
    dff : float32 ndarray, shape (n_rows, n_rois)
        NaN where invalid.
    trials : iterable of (float, list of int)
        Time of the trigger in frames, and the columns of the target cells.
    frame_period_s : float
    before_s, after_s : float
        Window around the trigger.
    response_s : float
        Length of the response window, from the trigger.

    Returns
    -------
    TriggeredAverage or None
        None without a trial inside the recording.

    Notes
    -----
    A frame counts with the time at which it is complete, (i + 1) periods. A trial is the mean of its target cells:
    cells of one trial are not independent, so the band counts trials.
    """
    step = max(1, int(np.median(np.diff(frame)))) if len(frame) > 1 else 1
    offsets = np.arange(-round(before_s / frame_period_s / step), round(after_s / frame_period_s / step) + 1)
    rows: list[F64] = []
    for t_frames, columns in trials:
        centre = int(np.searchsorted(frame, t_frames - 1.0))
        index = centre + offsets
        if not columns or index[0] < 0 or index[-1] >= len(frame):
            continue
        if frame[index[-1]] - frame[index[0]] != step * (len(offsets) - 1):
            continue
        rows.append(_mean_over_cells(dff[index][:, columns].astype(np.float64)))
    if not rows:
        return None
    t_s = (offsets * step * frame_period_s).astype(np.float64)
    traces = np.array(rows)
    before, response = t_s < 0, (t_s >= 0) & (t_s <= response_s)
    traces -= _mean_over_cells(traces[:, before])[:, None]
    mean = _mean_over_cells(traces.T)
    low, high = _band(traces, mean)
    return TriggeredAverage(t_s, mean, low, high, _mean_over_cells(traces[:, response]))


class Estimate(NamedTuple):
    """A mean, or a difference of two, with its 95 % interval, dF/F; `p` of a difference, two-sided."""

    value: float
    low: float
    high: float
    p: float | None = None


def mean_response(average: TriggeredAverage) -> Estimate | None:
    """Mean response over trials with its interval (Student's t); None with fewer than two trials."""
    a = _known(average)
    if len(a) < _FEWEST_TRIALS:
        return None
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(a) - 1) * a.std(ddof=1) / np.sqrt(len(a)))
    return Estimate(float(a.mean()), float(a.mean()) - half, float(a.mean()) + half)


def difference(treated: TriggeredAverage, control: TriggeredAverage) -> Estimate | None:
    """Mean response, treated minus control, with the interval and the p value of Welch's t-test.

    Returns
    -------
    Estimate or None
        None with fewer than two trials in an arm.
    """
    a, b = _known(treated), _known(control)
    if min(len(a), len(b)) < _FEWEST_TRIALS:
        return None
    test = stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(CONFIDENCE)
    return Estimate(float(a.mean() - b.mean()), float(interval.low), float(interval.high), float(test.pvalue))


def _known(average: TriggeredAverage) -> F64:
    return average.response[~np.isnan(average.response)]


def _mean_over_cells(values: F64) -> F64:
    """Mean along the last axis of what is not NaN; NaN where nothing is."""
    valid = ~np.isnan(values)
    n = valid.sum(axis=-1)
    total = np.where(valid, values, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))


def _band(traces: F64, mean: F64) -> tuple[F64, F64]:
    n = (~np.isnan(traces)).sum(axis=0)
    enough = n >= _FEWEST_TRIALS
    squares = np.where(np.isnan(traces), 0.0, (traces - mean) ** 2).sum(axis=0)
    half = np.full(mean.shape, np.nan)
    variance = squares[enough] / (n[enough] - 1)
    half[enough] = stats.t.ppf(0.5 + CONFIDENCE / 2, n[enough] - 1) * np.sqrt(variance / n[enough])
    return mean - half, mean + half
