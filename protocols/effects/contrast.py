"""One arm against another: the trials that count, and what is estimated from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from protocols.effects.confidence_sequence import interval
from protocols.effects.e_value import capital
from protocols.running.trials import TrialStatus, TrialTable


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Complete trials of a treated and a control arm, in order of their drawing.

    Attributes
    ----------
    draw : int64 ndarray, shape (n,)
        Place of each in the order of drawing, voids counted.
    arm : int64 ndarray, shape (n,)
    is_treated : bool ndarray, shape (n,)
    response : float64 ndarray, shape (n,)
    probability : float64 ndarray, shape (n,)
        That the trial was treated, given that it was one of the two arms, as of just before its draw.
    share : float
        The same over the whole design.
    """

    draw: NDArray[np.int64]
    arm: NDArray[np.int64]
    is_treated: NDArray[np.bool_]
    response: NDArray[np.float64]
    probability: NDArray[np.float64]
    share: float


def contrast_of(table: TrialTable, treated: int, control: int, share: float) -> Contrast:
    """Trials of two arms.

    Parameters
    ----------
    table : TrialTable
    treated, control : int
        Arms.
    share : float
        Share of the treated arm among the two.
    """
    n = table.n
    keep = (table.status[:n] == TrialStatus.COMPLETE) & table.is_drawn[:n] & np.isin(table.arm[:n], (treated, control))
    row = np.flatnonzero(keep)
    of_treated, of_control = table.probability[row, treated], table.probability[row, control]
    draw = np.cumsum(table.is_drawn[:n])[row] - 1
    arm = table.arm[row]
    return Contrast(draw, arm, arm == treated, table.response[row], of_treated / (of_treated + of_control), share)


def estimate(contrast: Contrast, block_size: int | None, alpha: float) -> dict[str, float]:
    """Estimates of the effect of light on eligible trials, E[Y(1) - Y(0) | eligible].

    Parameters
    ----------
    contrast : Contrast
    block_size : int or None
        Trials of a block of the design; None: every trial was drawn by itself.
    alpha : float
        The interval misses the effect at any time with at most this probability (asymptotically).

    Returns
    -------
    dict of str to float
        `n_treated`, `n_control`; `difference` of the means; `ipw`, weighted by the inverse of the assignment
        probability; `low`, `high` of the anytime-valid interval around `estimate`; `fixed_low`, `fixed_high` of
        Student's interval, for a session whose length did not depend on what was seen; `e_value` against no effect on
        anybody. What cannot be told yet is left out.

    Notes
    -----
    IPW: (1/n) sum(T Y / pi - (1 - T) Y / (1 - pi)) (Horvitz & Thompson 1952). The interval is around its augmented
    form, each trial's score centred on the running means of both arms (Robins, Rotnitzky & Zhao 1994), which keeps
    the mean and takes out the variance of Y that has nothing to do with the arm. With blocks the unit is the block.
    """
    treated, response, share = contrast.is_treated, contrast.response, contrast.share
    found = {"n_treated": float(treated.sum()), "n_control": float((~treated).sum())}
    if len(response) == 0 or not 0 < share < 1:
        return found
    found["ipw"] = float(np.mean(np.where(treated, response / share, -response / (1 - share))))
    if treated.all() or not treated.any():
        return found
    found["difference"] = float(response[treated].mean() - response[~treated].mean())
    scores = _trial_scores(contrast) if block_size is None else _block_scores(contrast, block_size)
    if len(scores):
        found["estimate"] = float(scores.mean())
        bounds = interval(scores, alpha)
        if bounds is not None:
            found["low"], found["high"] = bounds
            half = student.ppf(1 - alpha / 2, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores))
            found["fixed_low"], found["fixed_high"] = (
                found["estimate"] - float(half),
                found["estimate"] + float(half),
            )
    found["e_value"] = float(capital(treated, response, contrast.probability)[-1])
    return found


def _trial_scores(contrast: Contrast) -> NDArray[np.float64]:
    """Augmented IPW scores; the means used for a trial are those of the trials before it."""
    treated, y, p = contrast.is_treated, contrast.response, contrast.share
    means = []
    for arm in (treated, ~treated):
        total = np.concatenate([[0.0], np.cumsum(np.where(arm, y, 0.0))[:-1]])
        n = np.concatenate([[0], np.cumsum(arm)[:-1]])
        pooled = np.concatenate([[0.0], np.cumsum(y)[:-1]]) / np.maximum(np.arange(len(y)), 1)
        means.append(np.where(n > 0, total / np.maximum(n, 1), pooled))
    of_treated, of_control = means
    residual = np.where(treated, (y - of_treated) / p, -(y - of_control) / (1 - p))
    return np.asarray((of_treated - of_control + residual)[1:])


def _block_scores(contrast: Contrast, block_size: int) -> NDArray[np.float64]:
    """Difference of the means within every block that has both arms left."""
    block = contrast.draw // block_size
    scores = []
    for one in np.unique(block):
        here = block == one
        treated = contrast.is_treated[here]
        if treated.any() and not treated.all():
            y = contrast.response[here]
            scores.append(y[treated].mean() - y[~treated].mean())
    return np.array(scores)
