"""Templates of a spike some frames ago, whitened against the noise and blind to baseline and tails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rt_engine.kernels.filter_bank import BankShapes
from rt_engine.models.detection import spike_template

FloatArray = NDArray[np.float64]

N_COUNTS = 3  # spikes in one frame that are told apart


def bank_shapes(
    tau_rise_s: float,
    tau_s: FloatArray,
    noise_correlation: FloatArray,
    frame_rate_hz: float,
    n_before: int,
    n_lags: int,
) -> BankShapes:
    """Bank of every pair of decay time and noise correlation.

    Parameters
    ----------
    tau_rise_s : float
    tau_s : float64 ndarray, shape (n_shapes,)
    noise_correlation : float64 ndarray, shape (n_shapes,)
        Of neighbouring frames, in (-1, 1); the noise is AR(1).
    frame_rate_hz : float
    n_before : int
        Samples before the earliest spike of the bank: from them baseline and tail are learned.
    n_lags : int
        Lags 0 to ``n_lags - 1``, frames.

    Returns
    -------
    BankShapes
        With ``n_before + n_lags`` taps.

    Notes
    -----
    M = C^-1 - C^-1 N (N'C^-1 N)^-1 N'C^-1 with C_ij = phi^|i - j| and N = [1, gamma^k]. A / sigma sqrt(s'M s) is the
    signal-to-noise ratio that no linear filter blind to N beats.
    """
    n_taps = n_before + n_lags
    frames = np.arange(n_taps)
    shape = (len(tau_s), n_lags, n_taps)
    found = BankShapes(
        template=np.zeros(shape),
        filter=np.zeros(shape),
        energy=np.zeros(shape[:2]),
        nuisance=np.zeros((len(tau_s), 2, n_taps)),
        phi=np.ascontiguousarray(noise_correlation, np.float64),
    )
    for i, (tau, phi) in enumerate(zip(tau_s, noise_correlation, strict=True)):
        response = spike_template(tau_rise_s, float(tau), frame_rate_hz, n_lags)
        for lag in range(n_lags):
            found.template[i, lag, n_taps - 1 - lag :] = response[: lag + 1]
        found.nuisance[i] = np.stack([np.ones(n_taps), np.exp(-frames / (tau * frame_rate_hz))])
        whitener = np.linalg.inv(np.linalg.cholesky(phi ** np.abs(frames[:, None] - frames[None, :])))
        basis, _ = np.linalg.qr(whitener @ found.nuisance[i].T)
        projected = whitener - basis @ (basis.T @ whitener)
        found.filter[i] = found.template[i] @ (projected.T @ projected)
        found.energy[i] = np.sum(found.template[i] * found.filter[i], axis=1)
    return found


def poisson_log_prior(rate_hz: FloatArray, frame_rate_hz: float) -> FloatArray:
    """Logarithm of the Poisson probability of 1 to `N_COUNTS` spikes in a frame, shape (n_rois, N_COUNTS)."""
    mean = np.asarray(rate_hz, np.float64)[:, None] / frame_rate_hz
    counts = np.arange(1, N_COUNTS + 1)
    return np.asarray(counts * np.log(mean) - mean - np.cumsum(np.log(counts)))
