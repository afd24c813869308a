"""How surely an effect of a given size would be found."""

from __future__ import annotations

import math

from scipy.stats import nct, norm
from scipy.stats import t as student


def power(effect_sd: float, n_treated: int, n_control: int, alpha: float) -> float:
    """Probability that a two-sided test of two means finds an effect.

    Parameters
    ----------
    effect_sd : float
        Effect in standard deviations of a trial's response.
    n_treated, n_control : int
        Complete trials.
    alpha : float

    Notes
    -----
    Student's t with equal variances: 1 - F(t_crit; df, ncp) + F(-t_crit; df, ncp), ncp = d / sqrt(1/n1 + 1/n0). The
    randomisation test has asymptotically the same power.
    """
    if min(n_treated, n_control) < 2:
        return 0.0
    df, ncp = n_treated + n_control - 2, effect_sd / math.sqrt(1 / n_treated + 1 / n_control)
    critical = float(student.ppf(1 - alpha / 2, df))
    found = float(nct.sf(critical, df, ncp) + nct.cdf(-critical, df, ncp))
    return found if math.isfinite(found) else float(norm.sf(critical - abs(ncp)))


def detectable_sd(n_treated: int, n_control: int, alpha: float, wanted: float = 0.8) -> float:
    """Smallest effect, in standard deviations of a trial's response, that is found with probability `wanted`."""
    if min(n_treated, n_control) < 2:
        return math.inf
    low, high = 0.0, 1.0
    while power(high, n_treated, n_control, alpha) < wanted:
        high *= 2
        if high > 1e3:
            return math.inf
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, n_treated, n_control, alpha) < wanted else (low, middle)
    return high
