"""The virtual sample: planted cells that fire, glow, move, bleach and answer light; its frames and its truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from drivers.virtual_rig.field import plant_field
from drivers.virtual_rig.light_record import LightRecord
from drivers.virtual_rig.motion import Motion
from drivers.virtual_rig.neuropil import Neuropil
from drivers.virtual_rig.opsin import Opsin
from drivers.virtual_rig.silencing import Silencing
from drivers.virtual_rig.streams import Stream, generator
from drivers.virtual_rig.truth import FrameTruth
from rt_engine.interfaces.sample_config import SampleConfig, SpikingConfig
from rt_engine.kernels.render import add_cells, detect, draw_background
from rt_engine.models.forward import CalciumPopulation
from rt_engine.models.indicators import indicator
from rt_engine.models.spike_process import SpikeProcess, SpikeStatistics

N_QUANTILES = 4096
STRUCTURAL_TISSUE = 0.1
"""Mean light of the tissue in the structural channel, as a part of that of a cell."""


def spike_statistics(config: SpikingConfig) -> SpikeStatistics:
    """The sample's spiking in the units of the spike process."""
    return SpikeStatistics(
        min_rate_hz=config.min_rate_hz,
        max_rate_hz=config.max_rate_hz,
        burst_fraction=config.burst_fraction,
        burst_spikes=(config.burst_min_spikes, config.burst_max_spikes),
        burst_isi_s=(config.burst_min_isi_ms / 1000, config.burst_max_isi_ms / 1000),
        n_groups=config.n_groups,
        group_size=config.group_size,
        shared_fraction=config.shared_fraction,
        group_jitter_s=config.group_jitter_ms / 1000,
    )


class VirtualSample:
    """A field of cells under a scanning microscope.

    Parameters
    ----------
    config : SampleConfig
    n_lines, pixels_per_line : int
    um_per_px : float
    frame_rate_hz : float
    scan_fraction : float
        The lines are scanned in this last part of the frame period: the rest is spent elsewhere.
    flyback_fraction : float
        Of the frame period, at its end, behind the last line: the mirror returns, and nothing is scanned.
    motion_seed : int, optional
        Seed of the motion alone; that of `config` where it is None.

    Attributes
    ----------
    field : Field
        What is planted.
    somata : Somata
        The field's, for short.
    a_over_sigma : float64 ndarray, shape (n_cells,)
        The field's, for short.
    margin_px : int
        Sample beyond the frame on every side, so that motion never shows an edge.

    Notes
    -----
    Every cell is sampled when its central line is scanned. Frames are drawn in order. The same seed and the same light
    give the same frames, bit for bit.
    """

    def __init__(
        self,
        config: SampleConfig,
        n_lines: int,
        pixels_per_line: int,
        um_per_px: float,
        frame_rate_hz: float,
        *,
        scan_fraction: float = 1.0,
        flyback_fraction: float = 0.0,
        motion_seed: int | None = None,
    ) -> None:
        self.config = config
        self.frame_rate_hz = frame_rate_hz
        self.um_per_px = um_per_px
        self.n_lines, self.pixels_per_line = n_lines, pixels_per_line
        self.next_frame = 0
        self.margin_px = int(np.ceil(config.motion.max_um / um_per_px)) + 2
        self.indicator = indicator(config.indicator)
        self.spikes = SpikeProcess(spike_statistics(config.spiking), config.n_cells, (config.seed, Stream.SPIKES))
        self._late = np.arange(config.n_cells) < round(config.spiking.late_fraction * config.n_cells)
        shape = (n_lines + 2 * self.margin_px, pixels_per_line + 2 * self.margin_px)
        self.field = plant_field(config, shape, self.margin_px, um_per_px, self.indicator.amplitude_dff)
        self.somata = self.field.somata
        self.a_over_sigma = self.field.a_over_sigma
        self._scene = np.zeros(shape, dtype=np.float32)
        seed = config.seed if motion_seed is None else motion_seed
        self.motion = Motion(config.motion, um_per_px, frame_rate_hz, generator(seed, Stream.MOTION))
        self.neuropil = self._make_neuropil()
        centres = np.stack([self.somata.y_px, self.somata.x_px], axis=1)
        self.opsin = Opsin(config.opsin, centres, um_per_px, (config.seed, Stream.OPSIN))
        self._silencing = Silencing(config.opsin.silences_ms / 1e3)
        artefact = config.opsin.artefact_photons_per_mw
        self.light = LightRecord(n_lines, frame_rate_hz, artefact, scan_fraction, flyback_fraction)
        self._flyback_fraction = flyback_fraction
        self._calcium = CalciumPopulation(self.indicator.physics, config.n_cells, 1 / frame_rate_hz)
        lines = scan_fraction - flyback_fraction
        self._phase = 1 - scan_fraction + lines * np.clip((self.somata.y_px + 0.5) / n_lines, 0, 1)
        self._waiting_s: NDArray[np.float64] = np.zeros(0)
        self._waiting_cell: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._evoked_s: NDArray[np.float64] = np.zeros(0)
        self._evoked_cell: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._shift_px = np.zeros(2)
        detector = config.detector
        self.adc_max_counts = 2**detector.adc_bits - 1
        self._detector = np.array(
            [detector.gain_counts, detector.read_noise_counts, detector.offset_counts, self.adc_max_counts]
        )
        quantiles = norm.ppf((np.arange(N_QUANTILES) + 0.5) / N_QUANTILES)
        self._normal = quantiles / quantiles.std()
        self._bits = np.zeros(pixels_per_line, dtype=np.uint64)
        self._scratch = np.zeros((2, pixels_per_line))
        self._keys = np.random.SeedSequence((config.seed, Stream.DETECTOR)).generate_state(2, np.uint64)
        structural = np.random.SeedSequence((config.seed, Stream.STRUCTURAL))
        self._structural_keys = structural.generate_state(2, np.uint64)
        self._transmission = 1.0

    @property
    def dff(self) -> NDArray[np.float64]:
        """dF/F of every cell in the last frame, shape (n_cells,); a view that the next frame overwrites."""
        return self._calcium.dff

    def render(self, frame_index: int, out: NDArray[np.uint16]) -> FrameTruth:
        """Draw the next frame.

        Parameters
        ----------
        frame_index : int
            Must be `next_frame`.
        out : uint16 ndarray, shape (n_lines, pixels_per_line), C order, detector counts, overwritten

        Raises
        ------
        ValueError
            Frames are asked for out of order.
        """
        if frame_index != self.next_frame:
            raise ValueError(f"frame {frame_index} asked for, the next one is {self.next_frame}")
        self.next_frame += 1
        spike_s, spike_cell, evoked = self._fire(frame_index)
        self._shift_px = self.motion.step()
        light = self.light.expose(frame_index)
        bleaching = self.config.bleaching
        elapsed = frame_index / self.frame_rate_hz / bleaching.time_constant_s
        self._transmission = 1 - bleaching.fraction * (1 - np.exp(-elapsed))
        draw_background(self.field.base, self.neuropil.modulation, self.neuropil.spacing_px, self._scene)
        add_cells(self.somata.start, self.somata.pixels, self.field.footprint, 1.0 + self.dff, self._scene.reshape(-1))
        self._detect(self._scene, self._keys, out)
        return FrameTruth(
            frame=frame_index,
            shift_y_px=float(self._shift_px[0]),
            shift_x_px=float(self._shift_px[1]),
            spike_frame=spike_s * self.frame_rate_hz,
            spike_cell=spike_cell,
            evoked=evoked,
            blanked=light.blanked,
            light_frame=light.onsets_s * self.frame_rate_hz,
        )

    def render_structural(self, photons: float, out: NDArray[np.uint16]) -> None:
        """Draw the frame drawn last as a second channel sees it: cells and faint tissue, whatever their calcium does.

        Parameters
        ----------
        photons : float
            Of the ring of every cell, photons/pixel/frame.
        out : uint16 ndarray, shape (n_lines, pixels_per_line), C order, detector counts, overwritten
        """
        somata = self.somata
        draw_background(
            self.field.base * np.float32(STRUCTURAL_TISSUE * photons / max(float(self.field.base.mean()), 1e-9)),
            np.ones_like(self.neuropil.modulation),
            self.neuropil.spacing_px,
            self._scene,
        )
        weight = np.asarray(photons * somata.weight, np.float32)
        add_cells(somata.start, somata.pixels, weight, np.ones(self.config.n_cells), self._scene.reshape(-1))
        self._detect(self._scene, self._structural_keys, out)

    def _detect(self, scene: NDArray[np.float32], keys: NDArray[np.unsignedinteger], out: NDArray[np.uint16]) -> None:
        """What the detector makes of a scene where the sample is in the frame drawn last."""
        frame = self.next_frame - 1
        detect(
            scene,
            np.array([*(self.margin_px - self._shift_px), self._transmission]),
            self.light.line_photons,
            np.uint64((int(keys[0]) + frame * int(keys[1] | np.uint64(1))) % 2**64),
            self._normal,
            self._detector,
            self._bits,
            self._scratch,
            out,
        )

    def receive_light(
        self,
        t_s: float,
        width_s: float,
        power_mw: NDArray[np.float64],
        targets_yx_px: NDArray[np.float64],
        total_mw: float | None = None,
    ) -> None:
        """One pulse on all targets at once.

        Parameters
        ----------
        t_s : float
            Sample time: frame i covers [i, i + 1)/frame_rate_hz. Before the last line of the last frame drawn it acts
            when that has been scanned.
        width_s : float
        power_mw : float64 ndarray, shape (n_targets,), read
            Power at the sample on each target.
        targets_yx_px : float64 ndarray, shape (n_targets, 2), read
            Where the optics aim, template coordinates.
        total_mw : float, optional
            Power that makes the artefact, where it is another than the sum of `power_mw`.
        """
        begin_s = max(t_s, (self.next_frame - self._flyback_fraction) / self.frame_rate_hz)
        self.light.add(begin_s, width_s, float(power_mw.sum()) if total_mw is None else total_mw)
        received_mw = self.opsin.received_mw(power_mw, targets_yx_px.reshape(-1, 2), self._shift_px)
        latency_s, cell = self.opsin.answer(width_s, received_mw)
        if self.config.opsin.silences_ms > 0:
            self._silencing.add(begin_s + latency_s, cell)
            return
        self._evoked_s = np.concatenate([self._evoked_s, begin_s + latency_s])
        self._evoked_cell = np.concatenate([self._evoked_cell, cell])

    def _make_neuropil(self) -> Neuropil:
        law = self.spikes.statistics
        low, high = law.burst_spikes
        squares = np.mean(np.arange(low, high + 1) ** 2.0)
        volley = (1 - law.burst_fraction + law.burst_fraction * squares) / law.spikes_per_event
        centres = np.stack([self.somata.y_px, self.somata.x_px], axis=1) + self.margin_px
        return Neuropil(
            self.config.background,
            self._scene.shape,
            self.um_per_px,
            self.frame_rate_hz,
            centres,
            self.spikes.rate_hz,
            float(volley),
            generator(self.config.seed, Stream.NEUROPIL),
        )

    def _fire(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """Advance spikes, neuropil and calcium to the end of `frame`; returns the spikes within it.

        The drive of the neuropil is that of the scheduled spikes, also where `spontaneous: false` silences them, and
        of cells that are silent at first.
        """
        end_s = (frame + 1) / self.frame_rate_hz
        own_s, own_cell = self.spikes.take_until(end_s)
        self.neuropil.step(own_cell)
        late = self._late[own_cell] & (own_s < self.config.spiking.late_from_s)
        own_s, own_cell = own_s[~late], own_cell[~late]
        if not self.config.spontaneous:
            own_s, own_cell = own_s[:0], own_cell[:0]
        spared = self._silencing.spared(own_s, own_cell, end_s)
        own_s, own_cell = own_s[spared], own_cell[spared]
        if self.config.opsin.imaging_rate_hz > 0:
            since_s, cell = self.opsin.imaged(frame, 1 / self.frame_rate_hz)
            self._evoked_s = np.concatenate([self._evoked_s, frame / self.frame_rate_hz + since_s])
            self._evoked_cell = np.concatenate([self._evoked_cell, cell])
        due = self._evoked_s < end_s
        spike_s = np.concatenate([own_s, self._evoked_s[due]])
        spike_cell = np.concatenate([own_cell, self._evoked_cell[due]])
        evoked = np.arange(len(spike_s)) >= len(own_s)
        self._evoked_s, self._evoked_cell = self._evoked_s[~due], self._evoked_cell[~due]
        order = np.argsort(spike_s, kind="stable")
        spike_s, spike_cell, evoked = spike_s[order], spike_cell[order], evoked[order]
        self._advance_calcium(frame, spike_s, spike_cell)
        return spike_s, spike_cell, evoked

    def _advance_calcium(self, frame: int, spike_s: NDArray[np.float64], spike_cell: NDArray[np.int64]) -> None:
        """Bring every cell to the time at which its central line is scanned; later spikes wait for the next frame."""
        times = np.concatenate([self._waiting_s, spike_s])
        cells = np.concatenate([self._waiting_cell, spike_cell])
        since_s = times - (frame - 1 + self._phase[cells]) / self.frame_rate_hz
        now = since_s < self._calcium.step_s
        self._waiting_s, self._waiting_cell = times[~now], cells[~now]
        cells, since_s = cells[now], np.maximum(since_s[now], 0.0)
        order = np.lexsort((since_s, cells))
        start = np.zeros(len(self._phase) + 1, dtype=np.int64)
        np.cumsum(np.bincount(cells, minlength=len(self._phase)), out=start[1:])
        self._calcium.advance(start, np.ascontiguousarray(since_s[order]))
