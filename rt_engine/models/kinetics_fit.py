"""Decay time and size of one spike from isolated events, shrunk to the indicator library."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rt_engine.pipeline.template_bank import spike_template

FloatArray = NDArray[np.float64]

PRIOR_LOG_SD = 0.3  # of the library's constants: log-normal, coefficient of variation 30 %
CELL_LOG_SD = 0.15  # of the decay time between cells of one population
EVENT_LOG_SD = 0.15  # of the decay time between events of one cell: bursts, and spikes too small to be told
N_PRIOR_CELLS = 4.0  # weight of `PRIOR_LOG_SD` in the spread of amplitudes between cells
N_POPULATION_STEPS = 30
EVENT_CV = 0.2  # spread of the size of one spike: sampling phase, nonlinearity
BURST_SIZES = (0.5, 0.2, 0.12, 0.08, 0.06, 0.04)  # prior of 1, 2, ... spikes in an isolated event


class IsolatedEvents(NamedTuple):
    """Windows of dF/F around events with no other near: ``roi`` int64 (n,), ``windows`` float64 (n, n_lags), from
    `FIRST_LAG` frames after the spike's frame on, in noise standard deviations of the cell.
    """

    roi: NDArray[np.int64]
    windows: FloatArray


class LogPosterior(NamedTuple):
    """Of a positive constant of every cell, float64 ndarrays, shape (n_rois,): ``median`` (exponential of the mean of
    its logarithm) and ``log_sd`` (standard deviation of its logarithm: about the relative standard error).
    """

    median: FloatArray
    log_sd: FloatArray


FIRST_LAG = -4
BURST_S = 0.07  # the tail of an event is read from here on, when a burst is over
TAIL_DECAYS = 4.0  # decay times of the tail that are used
CERTAIN_Z = 6.0  # events of this size are no noise
FEWEST_AFTER = 3  # frames after an event that `event_sizes` needs: two fitted, and one to look for the best place


def isolated_events(
    dff: NDArray[np.float32], event_frame: NDArray[np.int64], event_roi: NDArray[np.int64], n_after: int
) -> IsolatedEvents:
    """Windows around the events that have no neighbour within the window.

    Parameters
    ----------
    dff : float32 ndarray, shape (n_frames, n_rois)
    event_frame, event_roi : int64 ndarray, shape (n_events,)
    n_after : int
        Frames after the event that must be free of others; `FEWEST_AFTER` at least, for frames that last seconds.
    """
    n_after = max(n_after, FEWEST_AFTER)
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


def fit_decay(
    events: IsolatedEvents, sigma_dff: FloatArray, tau_rise_s: float, tau_prior_s: float, frame_rate_hz: float
) -> FloatArray:
    """Decay time of every cell, float64 ndarray, shape (n_rois,), seconds: the median of `decay_posterior`."""
    return decay_posterior(events, sigma_dff, tau_rise_s, tau_prior_s, frame_rate_hz).median


def decay_posterior(
    events: IsolatedEvents, sigma_dff: FloatArray, tau_rise_s: float, tau_prior_s: float, frame_rate_hz: float
) -> LogPosterior:
    """Decay time of every cell: library, moved by the population, moved by the cell's own events.

    Parameters
    ----------
    events : IsolatedEvents
    sigma_dff : float64 ndarray, shape (n_rois,)
    tau_rise_s, tau_prior_s : float
    frame_rate_hz : float

    Returns
    -------
    LogPosterior
        Seconds.

    Notes
    -----
    Posterior of log tau on a grid: Gaussian likelihood of the response plus a constant from when a burst
    is over. A cell without events gets the population's, a population without events the library's.
    """
    n_rois = len(sigma_dff)
    grid = tau_prior_s * np.exp(np.linspace(-0.9, 0.9, 37))
    log_tau = np.log(grid)
    first = 2 + round(BURST_S * frame_rate_hz)
    first = min(first, events.windows.shape[1] - 4 + FIRST_LAG)
    last = first + max(4, round(TAIL_DECAYS * tau_prior_s * frame_rate_hz))
    tails = events.windows[:, first - FIRST_LAG : last - FIRST_LAG]
    misfit = np.empty((len(grid), len(tails)))
    for i, tau in enumerate(grid):
        response = spike_template(tau_rise_s, tau, frame_rate_hz, first + tails.shape[1])[first:]
        basis, _ = np.linalg.qr(np.stack([response, np.ones(tails.shape[1])], axis=1))
        misfit[i] = (tails**2).sum(axis=1) - ((tails @ basis) ** 2).sum(axis=1)
    # Brighter than at rest, the noise is stronger, and the model is never exact: temper the likelihood by its misfit.
    per_event = -0.5 * misfit / (sigma_dff[events.roi] ** 2 * _excess(misfit, tails.shape[1], sigma_dff[events.roi]))
    # The same for what differs between events: none may say more than `EVENT_LOG_SD` allows.
    _, variance = _moments(per_event.T, log_tau)
    own = np.zeros((n_rois, len(grid)))
    np.add.at(own, events.roi, per_event.T * (variance / (variance + EVENT_LOG_SD**2))[:, None])
    population = own.sum(axis=0) - 0.5 * ((log_tau - np.log(tau_prior_s)) / PRIOR_LOG_SD) ** 2
    centre, centre_variance = _moments(population, log_tau)
    mean, variance = _moments(own - 0.5 * (log_tau - centre) ** 2 / (CELL_LOG_SD**2 + centre_variance), log_tau)
    return LogPosterior(np.exp(mean), np.sqrt(variance))


def _excess(misfit: FloatArray, n_lags: int, sigma_dff: FloatArray) -> FloatArray:
    best = misfit.min(axis=0) if misfit.size else np.zeros(misfit.shape[1])
    return np.asarray(np.maximum(best / (sigma_dff**2 * max(n_lags - 2, 1)), 1.0))


def _moments(log_density: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and variance over the last axis."""
    weight = np.exp(log_density - log_density.max(axis=-1, keepdims=True))
    weight /= weight.sum(axis=-1, keepdims=True)
    mean = (weight * values).sum(axis=-1)
    return mean, (weight * (values - mean[..., None]) ** 2).sum(axis=-1)


def fit_amplitude(
    events: IsolatedEvents, size: FloatArray, error: FloatArray, smallest: FloatArray, amplitude_prior: float
) -> FloatArray:
    """Peak dF/F of one spike of every cell, float64 ndarray, shape (n_rois,): the median of `amplitude_posterior`."""
    return amplitude_posterior(events, size, error, smallest, amplitude_prior).median


def amplitude_posterior(
    events: IsolatedEvents, size: FloatArray, error: FloatArray, smallest: FloatArray, amplitude_prior: float
) -> LogPosterior:
    """Peak dF/F of one spike of every cell, from the sizes of its isolated events and from the other cells.

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
    LogPosterior
        dF/F.

    Notes
    -----
    Sizes are a mixture over 1, 2, ... spikes, truncated at `smallest`. Empirical Bayes: log A of the cells is normal
    around a population mean, itself normal around the library's value, with a spread learned from the cells (as if
    `N_PRIOR_CELLS` more had shown that of the library); mean and spread by expectation maximisation, all on a grid.
    """
    log_library = float(np.log(amplitude_prior))
    log_grid = log_library + np.linspace(-1.2, 1.2, 41)
    own = _size_likelihood(events, size, error, smallest, np.exp(log_grid))
    informed = np.unique(events.roi)
    centre, centre_variance, spread = np.float64(log_library), PRIOR_LOG_SD**2, PRIOR_LOG_SD**2
    for _ in range(N_POPULATION_STEPS if len(informed) else 0):
        mean, variance = _moments(own[informed] - 0.5 * (log_grid - centre) ** 2 / spread, log_grid)
        precision = len(informed) / spread + 1 / PRIOR_LOG_SD**2
        centre = (mean.sum() / spread + log_library / PRIOR_LOG_SD**2) / precision
        squares = float((variance + (mean - centre) ** 2).sum()) + N_PRIOR_CELLS * PRIOR_LOG_SD**2
        spread, centre_variance = squares / (len(informed) + N_PRIOR_CELLS), 1 / float(precision)
    mean, variance = _moments(own - 0.5 * (log_grid - centre) ** 2 / (spread + centre_variance), log_grid)
    return LogPosterior(np.exp(mean), np.sqrt(variance))


def _size_likelihood(
    events: IsolatedEvents, size: FloatArray, error: FloatArray, smallest: FloatArray, grid: FloatArray
) -> FloatArray:
    """Log likelihood of each cell's event sizes for the amplitudes of `grid`, shape (n_rois, n_grid)."""
    likelihood = np.zeros((len(size), len(grid)))
    visible = np.zeros_like(likelihood)
    for n, share in enumerate(BURST_SIZES, start=1):
        mean = n * grid[None, :]
        spread = np.sqrt(error[:, None] ** 2 + (EVENT_CV * grid[None, :]) ** 2 * n)
        likelihood += share * np.exp(-0.5 * ((size[:, None] - mean) / spread) ** 2) / spread
        visible += share * ndtr((mean - smallest[events.roi][:, None]) / spread)
    own = np.zeros((len(smallest), len(grid)))
    np.add.at(own, events.roi, np.log(likelihood + 1e-12) - np.log(visible + 1e-12))
    return own


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
