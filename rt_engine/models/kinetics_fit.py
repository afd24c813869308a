"""Decay time and size of one spike from isolated events, shrunk to the indicator library."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rt_engine.models.detection import spike_template

FloatArray = NDArray[np.float64]

PRIOR_LOG_SD = 0.3  # of the library's constants: log-normal, coefficient of variation 30 %
CELL_LOG_SD = 0.15  # of the decay time between cells of one population
EVENT_CV = 0.2  # spread of the size of one spike: sampling phase, nonlinearity
BURST_SIZES = (0.5, 0.2, 0.12, 0.08, 0.06, 0.04)  # prior of 1, 2, ... spikes in an isolated event


class IsolatedEvents(NamedTuple):
    """Windows of dF/F around events with no other near: ``roi`` int64 (n,), ``windows`` float64 (n, n_lags), from
    `FIRST_LAG` frames after the spike's frame on, in noise standard deviations of the cell.
    """

    roi: NDArray[np.int64]
    windows: FloatArray


FIRST_LAG = -4
BURST_S = 0.07  # the tail of an event is read from here on, when a burst is over
CERTAIN_Z = 6.0  # events of this size are no noise


def isolated_events(
    dff: NDArray[np.float32], event_frame: NDArray[np.int64], event_roi: NDArray[np.int64], n_after: int
) -> IsolatedEvents:
    """Windows around the events that have no neighbour within the window.

    Parameters
    ----------
    dff : float32 ndarray, shape (n_frames, n_rois)
    event_frame, event_roi : int64 ndarray, shape (n_events,)
    n_after : int
        Frames after the event that must be free of others.
    """
    order = np.lexsort((event_frame, event_roi))
    frame, roi = event_frame[order], event_roi[order]
    far = n_after - FIRST_LAG
    apart = np.concatenate([[True], (np.diff(frame) > far) | (np.diff(roi) != 0), [True]])
    fits = (frame + FIRST_LAG >= 0) & (frame + n_after < len(dff))
    lonely = apart[:-1] & apart[1:] & fits
    frame, roi = frame[lonely], roi[lonely]
    windows = dff[frame[:, None] + np.arange(FIRST_LAG, n_after + 1)[None, :], roi[:, None]].astype(np.float64)
    whole = np.isfinite(windows).all(axis=1)
    return IsolatedEvents(roi[whole], windows[whole])


def fit_decay(events: IsolatedEvents, sigma_dff: FloatArray, tau_prior_s: float, frame_rate_hz: float) -> FloatArray:
    """Decay time of every cell: library, moved by the population, moved by the cell's own events.

    Parameters
    ----------
    events : IsolatedEvents
    sigma_dff : float64 ndarray, shape (n_rois,)
    tau_prior_s : float
    frame_rate_hz : float

    Returns
    -------
    float64 ndarray, shape (n_rois,), seconds

    Notes
    -----
    Posterior mean of log tau on a grid: Gaussian likelihood of an exponential plus a constant from when
    a burst is over. A cell without events gets the population's, a population without events the library's.
    """
    n_rois = len(sigma_dff)
    grid = tau_prior_s * np.exp(np.linspace(-0.9, 0.9, 37))
    log_tau = np.log(grid)
    first = 2 + round(BURST_S * frame_rate_hz)
    tails = events.windows[:, min(first - FIRST_LAG, events.windows.shape[1] - 4) :]
    misfit = np.empty((len(grid), len(tails)))
    for i, tau in enumerate(grid):
        model = np.stack([np.exp(-np.arange(tails.shape[1]) / (tau * frame_rate_hz)), np.ones(tails.shape[1])], axis=1)
        basis, _ = np.linalg.qr(model)
        misfit[i] = (tails**2).sum(axis=1) - ((tails @ basis) ** 2).sum(axis=1)
    # Brighter than at rest, the noise is stronger, and the model is never exact: temper the likelihood by its misfit.
    per_event = -0.5 * misfit / (sigma_dff[events.roi] ** 2 * _excess(misfit, tails.shape[1], sigma_dff[events.roi]))
    own = np.zeros((n_rois, len(grid)))
    np.add.at(own, events.roi, per_event.T)
    population = own.sum(axis=0) - 0.5 * ((log_tau - np.log(tau_prior_s)) / PRIOR_LOG_SD) ** 2
    centre = _posterior_mean(population, log_tau)
    return np.exp(_posterior_mean(own - 0.5 * ((log_tau - centre) / CELL_LOG_SD) ** 2, log_tau))


def _excess(misfit: FloatArray, n_lags: int, sigma_dff: FloatArray) -> FloatArray:
    best = misfit.min(axis=0) if misfit.size else np.zeros(misfit.shape[1])
    return np.asarray(np.maximum(best / (sigma_dff**2 * max(n_lags - 2, 1)), 1.0))


def _posterior_mean(log_density: FloatArray, values: FloatArray) -> FloatArray:
    weight = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    return np.asarray((weight * values).sum(axis=-1) / weight.sum(axis=-1))


def fit_amplitude(
    events: IsolatedEvents, size: FloatArray, error: FloatArray, smallest: FloatArray, amplitude_prior: float
) -> FloatArray:
    """Peak dF/F of one spike of every cell, from the sizes of its isolated events.

    Parameters
    ----------
    events : IsolatedEvents
    size, error : float64 ndarray, shape (n_events,), dF/F
        From `event_sizes`.
    smallest : float64 ndarray, shape (n_rois,), dF/F
        Events below this size have been left out.
    amplitude_prior : float

    Returns
    -------
    float64 ndarray, shape (n_rois,)

    Notes
    -----
    Sizes are a mixture over 1, 2, ... spikes, truncated at `smallest`; posterior mean of log A on a grid under a
    log-normal prior around the library's value.
    """
    grid = amplitude_prior * np.exp(np.linspace(-1.2, 1.2, 41))
    log_grid = np.log(grid)
    own = np.tile(-0.5 * ((log_grid - np.log(amplitude_prior)) / PRIOR_LOG_SD) ** 2, (len(smallest), 1))
    likelihood = np.zeros((len(size), len(grid)))
    visible = np.zeros_like(likelihood)
    for n, share in enumerate(BURST_SIZES, start=1):
        mean = n * grid[None, :]
        spread = np.sqrt(error[:, None] ** 2 + (EVENT_CV * grid[None, :]) ** 2 * n)
        likelihood += share * np.exp(-0.5 * ((size[:, None] - mean) / spread) ** 2) / spread
        visible += share * ndtr((mean - smallest[events.roi][:, None]) / spread)
    np.add.at(own, events.roi, np.log(likelihood + 1e-12) - np.log(visible + 1e-12))
    return np.exp(_posterior_mean(own, log_grid))


def _n_fitted(tau_s: float, frame_rate_hz: float, n_lags: int) -> int:
    return max(2, min(round(2 * tau_s * frame_rate_hz), n_lags + FIRST_LAG - 2))


def event_size_error(tau_rise_s: float, tau_s: float, frame_rate_hz: float, n_lags: int) -> float:
    """Standard error of `event_sizes` in windows of `n_lags` frames, for noise of unit variance."""
    template = spike_template(tau_rise_s, tau_s, frame_rate_hz, _n_fitted(tau_s, frame_rate_hz, n_lags) + 1)[1:]
    energy = float(template @ template)
    n_rest = -FIRST_LAG - 1
    return float(np.sqrt(1 / energy + (template.sum() / energy) ** 2 / n_rest))


def event_sizes(
    events: IsolatedEvents, sigma_dff: FloatArray, tau_rise_s: float, tau_s: float, frame_rate_hz: float
) -> tuple[FloatArray, FloatArray]:
    """Least-squares size of each event at the best of three neighbouring frames, and its standard error.

    Parameters
    ----------
    events : IsolatedEvents
    sigma_dff : float64 ndarray, shape (n_rois,)
    tau_rise_s, tau_s, frame_rate_hz : float

    Returns
    -------
    size, error : float64 ndarray, shape (n_events,), dF/F
    """
    n_lags = events.windows.shape[1]
    n_fit = _n_fitted(tau_s, frame_rate_hz, n_lags)
    template = spike_template(tau_rise_s, tau_s, frame_rate_hz, n_fit + 1)[1:]
    rest = events.windows[:, : -FIRST_LAG - 1].mean(axis=1)
    fits = []
    for shift in (-1, 0, 1):
        first = 1 - FIRST_LAG + shift
        fits.append((events.windows[:, first : first + n_fit] - rest[:, None]) @ template / (template @ template))
    error = sigma_dff[events.roi] * event_size_error(tau_rise_s, tau_s, frame_rate_hz, n_lags)
    return np.max(fits, axis=0), error
