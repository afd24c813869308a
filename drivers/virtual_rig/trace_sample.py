"""The virtual sample without its pixels: the same cells, indicator and opsin as traces and events, and much faster.

What it leaves out is said in `docs/explanation/virtual-rig.md`: there is no image, so no motion, no neuropil and no
overlap of cells; an event is drawn with the probability of the matched filter, not decided by the engine.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from drivers.virtual_rig.field import plant_field
from drivers.virtual_rig.opsin import Opsin
from drivers.virtual_rig.sample import spike_statistics
from drivers.virtual_rig.silencing import Silencing
from drivers.virtual_rig.streams import Stream, generator
from rt_engine.interfaces.drive_constants import EVENT_RATE_HZ
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.rig_config import VirtualMicroscope
from rt_engine.interfaces.service_config import USUAL_FALSE_ALARMS_PER_MIN
from rt_engine.models.forward import CalciumPopulation, response
from rt_engine.models.indicators import indicator
from rt_engine.models.spike_process import SpikeProcess

DEAD_FRAMES = 2
"""Frames after an event in which a cell has no second one: its filter still sees the first."""
_GAIN_S = 0.002


class FrameOfTraces(NamedTuple):
    """What one frame gives.

    Attributes
    ----------
    dff : float32 ndarray, shape (n_cells,)
        With noise; NaN where the cell's lines were lit and blanked.
    events : EVENT_DTYPE ndarray
        Decided at the end of this frame; `roi_id` is the cell, times in nanoseconds from the beginning.
    spike_cell, spike_s : ndarray, shape (n_spikes,)
        The truth.
    """

    dff: NDArray[np.float32]
    events: NDArray[np.void]
    spike_cell: NDArray[np.int64]
    spike_s: NDArray[np.float64]


class TraceSample:
    """Traces and events of a virtual rig.

    Parameters
    ----------
    microscope : VirtualMicroscope
    hold_frames : int
    false_alarms_per_min : float or None
        Of each cell, on noise; None: `false_event_cost` decides.
    is_blanked : bool
        False: light on a cell's lines is not taken out but looks like activity.
    false_event_cost : float, optional
        Of a false event, in units of that of a missed one.

    Attributes
    ----------
    y_px, x_px : float64 ndarray, shape (n_cells,)
    expected_detection : float64 ndarray, shape (n_cells,)
        Probability that an isolated spike raises an event.
    a_over_sigma : float64 ndarray, shape (n_cells,)
    opsin : Opsin
    rate_hz : float64 ndarray, shape (n_cells,)

    Notes
    -----
    Matched filter of white noise over the frames from the spike to the decision: z = sqrt(sum s_k^2) A n / sigma + N(0,
    1), an event where z exceeds the threshold kappa of the rate of false alarms, or, by cost C, where the odds of a
    spike exceed C: kappa = gain / 2 + log(C / prior) / gain; n spikes of one frame count together.
    """

    def __init__(
        self,
        microscope: VirtualMicroscope,
        hold_frames: int,
        false_alarms_per_min: float | None,
        *,
        is_blanked: bool = True,
        false_event_cost: float | None = None,
    ) -> None:
        config = microscope.sample
        self._config, self._microscope = config, microscope
        self.frame_rate_hz = microscope.frame_rate_hz
        self._hold, self._is_blanked = hold_frames, is_blanked
        kind = indicator(config.indicator)
        margin_px = math.ceil(config.motion.max_um / microscope.um_per_px) + 2
        shape = (microscope.n_lines + 2 * margin_px, microscope.pixels_per_line + 2 * margin_px)
        field = plant_field(config, shape, margin_px, microscope.um_per_px, kind.amplitude_dff)
        somata = field.somata
        self.y_px, self.x_px, self.a_over_sigma = somata.y_px, somata.x_px, field.a_over_sigma
        self._sigma = kind.amplitude_dff / self.a_over_sigma
        self._rest_photons = np.maximum(field.photons, 1e-6)
        lines = 1 - microscope.flyback_part
        self._first = lines * np.clip((somata.y_px - somata.radius_px) / microscope.n_lines, 0, 1)
        self._last = lines * np.clip((somata.y_px + somata.radius_px + 1) / microscope.n_lines, 0, 1)
        self._spikes = SpikeProcess(spike_statistics(config.spiking), config.n_cells, (config.seed, Stream.SPIKES))
        self.rate_hz = self._spikes.rate_hz
        centres = np.stack([somata.y_px, somata.x_px], axis=1)
        self.opsin = Opsin(config.opsin, centres, microscope.um_per_px, (config.seed, Stream.OPSIN))
        self._silencing = Silencing(config.opsin.silences_ms / 1e3)
        self._calcium = CalciumPopulation(kind.physics, config.n_cells, 1 / self.frame_rate_hz)
        self._gain = _gain(response(kind.physics, np.array([0.0]), 2.0), self.frame_rate_hz, hold_frames)
        self._kappa = self._threshold(false_alarms_per_min, false_event_cost)
        self._false_per_frame = norm.sf(self._kappa)
        self.expected_detection = norm.cdf(self.a_over_sigma * self._gain - self._kappa)
        self._random = generator(config.seed, Stream.DETECTOR)
        self._quiet_until = np.zeros(config.n_cells, np.int64)
        self._frame = 0
        self._decided: list[NDArray[np.void]] = []
        self._evoked: list[tuple[NDArray[np.float64], NDArray[np.int64]]] = []
        self._pulses: list[tuple[float, float, float]] = []

    def _threshold(self, false_alarms_per_min: float | None, false_event_cost: float | None) -> NDArray[np.float64]:
        """z at which an event is told, shape (n_cells,)."""
        if false_event_cost is not None:
            gain = np.maximum(self._gain * self.a_over_sigma, 1e-3)
            return np.asarray(gain / 2 + np.log(false_event_cost * self.frame_rate_hz / EVENT_RATE_HZ) / gain)
        per_frame = (false_alarms_per_min or USUAL_FALSE_ALARMS_PER_MIN) / 60 / self.frame_rate_hz
        return np.full(len(self.y_px), norm.isf(min(per_frame, 0.4)))

    def receive_light(
        self, t_s: float, width_s: float, power_mw: NDArray[np.float64], targets_yx_px: NDArray[np.float64]
    ) -> None:
        """One pulse on all targets at once; see `VirtualSample.receive_light`."""
        begin_s = max(t_s, self._frame / self.frame_rate_hz)
        received = self.opsin.received_mw(power_mw, targets_yx_px.reshape(-1, 2), np.zeros(2))
        latency_s, cell = self.opsin.answer(width_s, received)
        if self._config.opsin.silences_ms > 0:
            self._silencing.add(begin_s + latency_s, cell)
        else:
            self._evoked.append((begin_s + latency_s, cell))
        self._pulses.append((begin_s, begin_s + width_s, float(power_mw.sum())))

    def step(self) -> FrameOfTraces:
        """The next frame."""
        frame, rate_hz = self._frame, self.frame_rate_hz
        self._frame += 1
        spike_s, cell = self._fire((frame + 1) / rate_hz)
        n_spikes = np.bincount(cell, minlength=len(self.y_px)).astype(np.float64)
        start = np.zeros(len(self.y_px) + 1, np.int64)
        np.cumsum(n_spikes.astype(np.int64), out=start[1:])
        order = np.lexsort((spike_s, cell))
        since_s = np.clip(spike_s[order] - frame / rate_hz, 0, (1 - 1e-9) / rate_hz)
        self._calcium.advance(start, since_s)
        lit = self._exposure(frame)
        dff = self._calcium.dff + self._sigma * self._random.standard_normal(len(self.y_px))
        apparent = np.zeros(len(self.y_px))
        if lit is not None and self._is_blanked:
            dff[lit > 0] = np.nan
            n_spikes[lit > 0] = np.where(self._random.random(np.count_nonzero(lit > 0)) < 0.5, 0, n_spikes[lit > 0])
        elif lit is not None:
            dff += lit
            apparent = lit / self._sigma
        self._decided.append(self._decide(frame, n_spikes, apparent))
        events = self._decided.pop(0) if len(self._decided) > self._hold else np.zeros(0, EVENT_DTYPE)
        return FrameOfTraces(dff.astype(np.float32), events, cell, spike_s)

    def _fire(self, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        own_s, own_cell = self._spikes.take_until(end_s)
        if not self._config.spontaneous:
            own_s, own_cell = own_s[:0], own_cell[:0]
        spared = self._silencing.spared(own_s, own_cell, end_s)
        own_s, own_cell = own_s[spared], own_cell[spared]
        times, cells, later = [own_s], [own_cell], []
        for evoked_s, evoked_cell in self._evoked:
            due = evoked_s < end_s
            times.append(evoked_s[due])
            cells.append(evoked_cell[due])
            if not due.all():
                later.append((evoked_s[~due], evoked_cell[~due]))
        self._evoked = later
        return np.concatenate(times), np.concatenate(cells)

    def _exposure(self, frame: int) -> NDArray[np.float64] | None:
        """Light of stimulation on every cell's lines in this frame, as dF/F; None where there is none."""
        begin, end = frame / self.frame_rate_hz, (frame + 1) / self.frame_rate_hz
        found = None
        for on_s, off_s, power_mw in self._pulses:
            if on_s >= end or off_s <= begin:
                continue
            low, high = (on_s - begin) * self.frame_rate_hz, (off_s - begin) * self.frame_rate_hz
            overlap = np.clip(np.minimum(self._last, high) - np.maximum(self._first, low), 0, None)
            share = overlap / (self._last - self._first)
            photons = self._config.opsin.artefact_photons_per_mw * power_mw * share
            found = photons / self._rest_photons + (0.0 if found is None else found)
        self._pulses = [pulse for pulse in self._pulses if pulse[1] > end]
        return found

    def _decide(self, frame: int, n_spikes: NDArray[np.float64], apparent: NDArray[np.float64]) -> NDArray[np.void]:
        """Events of spikes in this frame, and false ones."""
        random, n_cells = self._random, len(self.y_px)
        signal = self._gain * (self.a_over_sigma * n_spikes + apparent)
        z = signal + random.standard_normal(n_cells)
        is_event = (signal > 0) & (z > self._kappa)
        is_event |= random.random(n_cells) < self._false_per_frame
        is_event &= frame >= self._quiet_until
        found = np.flatnonzero(is_event)
        self._quiet_until[found] = frame + 1 + DEAD_FRAMES
        out = np.zeros(len(found), EVENT_DTYPE)
        out["roi_id"], out["event_frame"] = found, frame
        out["t_event_ns"] = np.round((frame + (self._first[found] + self._last[found]) / 2) / self.frame_rate_hz * 1e9)
        excess = np.maximum(z[found] - self._kappa[found], 0.0)
        out["z"] = self._kappa[found] + excess
        out["n_spikes"] = np.maximum(1, np.round(z[found] / (self._gain * self.a_over_sigma[found])))
        out["probability"] = 1 - 0.5 * np.exp(-excess)
        out["amplitude"] = out["z"] * self._sigma[found] / self._gain
        return out


def _gain(pulse_dff: NDArray[np.float64], frame_rate_hz: float, hold_frames: int) -> float:
    """Output of the matched filter per A/sigma: root sum square of the frame-averaged kernel, peak 1, any phase."""
    step_s = 2.0 / len(pulse_dff)
    at_s = np.arange(len(pulse_dff)) * step_s
    peak = pulse_dff.max()
    squares = []
    for phase_s in np.arange(0, 1 / frame_rate_hz, _GAIN_S):
        edges = np.arange(hold_frames + 2) / frame_rate_hz - phase_s
        means = [
            float(np.mean(pulse_dff[(at_s >= low) & (at_s < high)])) if high > 0 else 0.0
            for low, high in zip(np.maximum(edges[:-1], 0), edges[1:], strict=True)
        ]
        squares.append(sum((mean / peak) ** 2 for mean in means))
    return math.sqrt(float(np.mean(squares)))
