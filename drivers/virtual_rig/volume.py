"""The planes of a virtual volume, scanned one after the other: one sample each, one brain that moves, one light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drivers.virtual_rig.sample import VirtualSample
from drivers.virtual_rig.truth import FrameTruth
from rt_engine.interfaces.rig_config import VirtualMicroscope

_SEED_STEP = 1_000_003
"""Between the seeds of two planes; plane 0 has the seed of the rig, so that it shows what a rig of one plane shows."""


class VirtualVolume:
    """Fields of cells above each other under a scanning microscope whose focus moves.

    Parameters
    ----------
    config : rig_config.VirtualMicroscope
        A volume is `n_planes` frames and `n_flyback_frames` dark ones.

    Attributes
    ----------
    planes : tuple of VirtualSample
        Each in its own time: its frame v is volume v.
    frames_per_volume : int
    next_frame : int
        By the frame counter, which runs through planes and flyback: frame i is plane i modulo `frames_per_volume`.

    Notes
    -----
    A plane is blind while the others are scanned, so its sample v tells of the time from the end of its frame in volume
    v - 1 to that in volume v; its lines are scanned in the last part of it. All planes move alike, once a volume.
    Light aimed at a plane reaches the others as a Gaussian of their distance (`opsin.axial_fwhm_um`); its artefact is
    seen in whatever is being scanned. With one plane and no flyback this is a `VirtualSample`, bit for bit.
    """

    def __init__(self, config: VirtualMicroscope) -> None:
        self._config = config
        self.frames_per_volume = config.frames_per_volume
        self.next_frame = 0
        seed = config.sample.seed
        self.planes = tuple(
            VirtualSample(
                config.sample.model_copy(update={"seed": seed + plane * _SEED_STEP}),
                config.n_lines,
                config.pixels_per_line,
                config.um_per_px,
                config.frame_rate_hz / config.frames_per_volume,
                scan_fraction=1 / config.frames_per_volume,
                flyback_fraction=config.flyback_part / config.frames_per_volume,
                motion_seed=seed,
            )
            for plane in range(config.n_planes)
        )

    def place(self, frame: int) -> tuple[int, int]:
        """Volume and position in it; positions from `n_planes` on are flyback."""
        return divmod(frame, self.frames_per_volume)

    def is_flyback(self, frame: int) -> bool:
        """True for frames that show no plane."""
        return self.place(frame)[1] >= len(self.planes)

    def render(self, frame: int, out: NDArray[np.uint16]) -> FrameTruth:
        """Draw the next frame; flyback is dark.

        Parameters
        ----------
        frame : int
            Must be `next_frame`.
        out : uint16 ndarray, shape (n_lines, pixels_per_line), C order, detector counts, overwritten

        Returns
        -------
        FrameTruth
            Of the plane since it was scanned last, in numbers of the frame counter.

        Raises
        ------
        ValueError
            Frames are asked for out of order.
        """
        if frame != self.next_frame:
            raise ValueError(f"frame {frame} asked for, the next one is {self.next_frame}")
        self.next_frame += 1
        volume, position = self.place(frame)
        if self.is_flyback(frame):
            out[...] = round(self._config.sample.detector.offset_counts)
            nothing = np.zeros(0)
            cells, evoked = np.zeros(0, np.int64), np.zeros(0, np.bool_)
            return FrameTruth(
                frame=frame, shift_y_px=0.0, shift_x_px=0.0, spike_frame=nothing, spike_cell=cells, evoked=evoked,
                blanked=(), light_frame=nothing,
            )  # fmt: skip
        truth = self.planes[position].render(volume, out)
        if self.frames_per_volume == 1:
            return truth
        return replace(
            truth,
            frame=frame,
            spike_frame=self._counted(truth.spike_frame, position),
            light_frame=self._counted(truth.light_frame, position),
        )

    def render_structural(self, frame: int, photons: float, out: NDArray[np.uint16]) -> None:
        """Draw the frame drawn last, which is not flyback, as the structural channel sees it.

        Parameters
        ----------
        frame : int
            By the frame counter.
        photons : float
            Of the ring of every cell, photons/pixel/frame.
        out : uint16 ndarray, shape (n_lines, pixels_per_line), C order, detector counts, overwritten
        """
        self.planes[self.place(frame)[1]].render_structural(photons, out)

    def receive_light(
        self,
        t_s: float,
        width_s: float,
        power_mw: NDArray[np.float64],
        targets_yx_px: NDArray[np.float64],
        target_planes: Sequence[int] = (),
    ) -> None:
        """One pulse on all targets at once.

        Parameters
        ----------
        t_s : float
            Time of the frame counter: frame i covers [i, i + 1)/frame_rate_hz.
        width_s : float
        power_mw : float64 ndarray, shape (n_targets,), read
        targets_yx_px : float64 ndarray, shape (n_targets, 2), read
        target_planes : sequence of int
            Plane of every target; none: plane 0.
        """
        of_target = np.zeros(len(power_mw)) if not len(target_planes) else np.asarray(target_planes, np.float64)
        fwhm_um = self._config.sample.opsin.axial_fwhm_um
        for plane, sample in enumerate(self.planes):
            distance_um = (of_target - plane) * self._config.plane_spacing_um
            received = np.exp(-4 * np.log(2) * (distance_um / fwhm_um) ** 2)
            sample.receive_light(
                self._own_s(t_s, plane), width_s, power_mw * received, targets_yx_px, total_mw=float(power_mw.sum())
            )

    def _own_s(self, t_s: float, plane: int) -> float:
        """Time of the frame counter as the plane's own: its frame v ends at (v + 1) volumes."""
        if self.frames_per_volume == 1:
            return t_s
        return t_s + (self.frames_per_volume - 1 - plane) / self._config.frame_rate_hz

    def _counted(self, volumes: NDArray[np.float64], plane: int) -> NDArray[np.float64]:
        """Fractional volumes of a plane's own time as fractional frames of the counter."""
        return np.asarray(volumes * self.frames_per_volume - (self.frames_per_volume - 1 - plane))
