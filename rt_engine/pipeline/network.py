"""The causal network of a plane: what it is told of every cell beside the frames, and its state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.network_weights import HOLDS, NetworkWeights
from rt_engine.kernels.drive_smoother import BLOCK, DriveParameters, DriveState, drive_step, empty_drive_state
from rt_engine.kernels.network import (
    MOST_ODDS,
    MOST_RATE,
    N_LAGS,
    empty_network_state,
    network_layers,
    network_step,
)
from rt_engine.pipeline.adoption import adopt_blocks
from rt_engine.pipeline.plain_functions import exp, log

FloatArray = NDArray[np.float64]

_N_SETTLE, _N_AFTER = 200, 150  # frames until the smoother has settled, and after which an impulse is forgotten
CENTRES = (1.0, 2.5, 0.5, 0.0, -3.0, 1.0)
"""Taken off the conditions, so that they are of the order of 1."""
MOST = 6.0
"""Of a condition, either way: what is beyond was never seen."""
TRUST_IN_ODDS, TRUST_IN_RATE = 0.75, 0.75
"""How much is believed of what the network adds to the log odds, and to the logarithm of the rate at high noise: on
data sets that it has not seen it is surer than it is right (docs/explanation/network.md)."""
NOISE_OF_TRUST, WIDTH_OF_TRUST = 2.7, 0.15
"""Standardised noise, percent per root hertz, at which half of `TRUST_IN_RATE` is given, and how gradually (of its
logarithm): below, the rate without network is the better one."""
LONGEST_GAP_FRAMES = 8
"""Frames without a sample after which the units have nothing new to learn of more of them."""


def lag_filters(parameters: DriveParameters) -> tuple[FloatArray, FloatArray]:
    """Of the settled smoother, for every lag of `HOLDS` and every cell, shape (len(HOLDS), n_rois).

    Returns
    -------
    noise : float64 ndarray
        Standard deviation of the drive under white noise, dF/F.
    response : float64 ndarray
        Drive told for a spike of unit peak.
    """
    n_rois = len(parameters.decay)
    state = empty_drive_state(n_rois, N_LAGS, parameters)
    usable, y = np.ones(n_rois, np.uint8), np.zeros(n_rois, np.float32)
    for _ in range(_N_SETTLE):
        drive_step(y, usable, state)
    impulse = np.empty((_N_AFTER, N_LAGS, n_rois))
    for t in range(_N_AFTER):
        y.fill(1.0 if t == 0 else 0.0)
        drive_step(y, usable, state)
        impulse[t] = state.drive
    of_hold = impulse[:, list(HOLDS)]
    noise = np.sqrt(parameters.noise_variance * (of_hold**2).sum(axis=0))
    p = parameters
    template = np.stack([p.step_decay * p.decay**k - p.step_rise * p.rise**k for k in range(N_LAGS)])
    response = np.stack([sum(template[k] * impulse[lag - k, lag] for k in range(lag + 1)) for lag in HOLDS])
    return noise, response


def conditions(constants: DriveConstants, frame_rate_hz: float, gain: FloatArray) -> NDArray[np.float32]:
    """What the network knows of a cell beside its frames, float32, shape (6, n_rois).

    Logarithms of the standardised noise (percent per root hertz), of decay and rise in frames, of the frame rate over
    30 Hz, of the variance of the drive over that of the noise, and of `gain` (mean z of one spike at hold 3).
    """
    told = np.stack(
        [
            log(standardised_noise(constants, frame_rate_hz)),
            log(-1 / log(constants.decay)),
            log(-1 / log(constants.rise)),
            np.full(len(gain), log(frame_rate_hz / 30)),
            log(constants.drive_variance / constants.noise_variance),
            log(np.maximum(gain, 1e-3)),
        ]
    )
    centred = np.clip(np.nan_to_num(told - np.array(CENTRES)[:, None]), -MOST, MOST)
    return np.asarray(centred, np.float32)


def standardised_noise(constants: DriveConstants, frame_rate_hz: float) -> FloatArray:
    """Noise of a sample, percent of dF/F per root hertz, shape (n_rois,)."""
    return np.asarray(100 * np.sqrt(constants.noise_variance / frame_rate_hz))


def bounds_of_trust(constants: DriveConstants, frame_rate_hz: float) -> NDArray[np.float32]:
    """Bounds of the vote on every cell, float32, shape (2, n_rois), see `network_step`."""
    above = log(standardised_noise(constants, frame_rate_hz) / NOISE_OF_TRUST) / WIDTH_OF_TRUST
    rate = TRUST_IN_RATE * MOST_RATE / (1.0 + exp(-above))
    return np.stack([np.full(len(rate), TRUST_IN_ODDS * MOST_ODDS), rate]).astype(np.float32)


class NetworkStage:
    """Owns the state of the network of all cells.

    Parameters
    ----------
    weights : NetworkWeights
    constants : DriveConstants
    parameters : DriveParameters
        Of the same constants.
    frame_rate_hz : float
    hold_frames : int
        One of `HOLDS`.

    Raises
    ------
    CalibrationError
        The network does not answer for this hold.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        constants: DriveConstants,
        parameters: DriveParameters,
        frame_rate_hz: float,
        hold_frames: int,
    ) -> None:
        if hold_frames not in HOLDS:
            holds = ", ".join(str(hold) for hold in HOLDS)
            raise CalibrationError(
                f"the network does not answer for a hold of {hold_frames} frames", f"choose one of {holds}, or none"
            )
        self._at = HOLDS.index(hold_frames)
        self._layers = network_layers(weights)
        noise, response = lag_filters(parameters)
        self._per_noise = np.concatenate([1 / noise, 1 / np.sqrt(parameters.noise_variance)[None]]).astype(np.float32)
        amplitude = constants.gain * constants.noise_dff / constants.response
        at_3 = HOLDS.index(3)
        self._conditions = conditions(constants, frame_rate_hz, amplitude * response[at_3] / noise[at_3])
        self._bounds = bounds_of_trust(constants, frame_rate_hz)
        self._state = empty_network_state(self._layers, self._conditions)

    @property
    def inputs(self) -> NDArray[np.float32]:
        """What the network was given with the last frame, float32, shape (N_INPUTS, n_rois); a copy."""
        n_hidden = self._layers.state.shape[1]
        by_field = self._state.seen.reshape(len(self._state.seen), -1, BLOCK).swapaxes(0, 1)
        n_rois = self._conditions.shape[1]
        return by_field[n_hidden:].reshape(-1, len(self._state.seen) * BLOCK)[:, :n_rois].copy()

    @property
    def told(self) -> NDArray[np.float32]:
        """Heads of the last frame before their bounds, float32, shape (N_OUT, n_rois); a view."""
        return self._state.told[:, : self._conditions.shape[1]]

    def reset(self) -> None:
        """Forget all frames."""
        for state, start in zip(self._state, empty_network_state(self._layers, self._conditions), strict=True):
            np.copyto(state, start)

    def adopt(self, parts: Sequence[NetworkStage]) -> None:
        """Go on where several stages were whose cells, one stage after the other, are those of this one."""
        sizes = [part._conditions.shape[1] for part in parts]
        adopt_blocks(self._state.seen, [part._state.seen for part in parts], sizes, BLOCK)

    def process(
        self, dff: NDArray[np.float32], usable: NDArray[np.uint8], drive: DriveState, vote_out: NDArray[np.float32]
    ) -> None:
        """Advance by the frame that the smoother was given last; allocates nothing.

        Parameters as of `network_step`.
        """
        network_step(
            self._at,
            dff,
            usable,
            drive.cells,
            drive.drive,
            self._per_noise,
            self._bounds,
            self._layers,
            self._state,
            vote_out,
        )
