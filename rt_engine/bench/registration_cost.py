"""Rows of the pixel benchmark: the shift of a 512 x 512 frame, against template matching and phase correlation.

Compared is a search of all lags. In a run the peak is looked for near the last one first, and all lags are looked at
when the decisions are out: what both cost is told beside it, on a sample that moves by up to a pixel a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift, gaussian_filter

from rt_engine.bench.rounds import Contestant, Row, Spread, measure
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.pipeline.registration import RigidRegistration

SIZE_PX = 512
MARGIN_PX = 32
PHOTONS_PER_PX = 0.9
COUNTS_PER_PHOTON, OFFSET_COUNTS, READ_NOISE_COUNTS = 20.0, 100.0, 5.0
MAX_SHIFT_PX = 10
LARGEST_WHOLE_PX = 5
N_FRAMES = 8
N_KNOWN_FRAMES = 32
"""Frames after which an estimate relies on the last shift, as it does in a run."""
N_ACCURACY_FRAMES = 200
N_PARTS = 5
FLICKERING = 0.1
"""Part of the cells that are 1 to 4 times as bright in a frame as in the template."""


class PlantedField:
    """Cells and puncta on haze; frames at known shifts with shot noise, in which a tenth of the cells flickers.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    template : float32 ndarray, shape (512, 512), counts
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        shape = (SIZE_PX + 2 * MARGIN_PX,) * 2
        y, x = np.indices(shape)
        cells = np.zeros(shape)
        owner = np.zeros(shape, np.int64)
        for cell in range(1, 401):
            centre = self._rng.uniform(0, shape[0], 2)
            near = tuple(slice(max(int(middle) - 10, 0), int(middle) + 11) for middle in centre)
            distance = np.hypot(y[near] - centre[0], x[near] - centre[1])
            cells[near] += self._rng.lognormal(0, 0.5) * np.exp(-0.5 * ((distance - 5.0) / 1.5) ** 2)
            owner[near][distance < 9] = cell
        puncta = np.zeros(shape)
        places = self._rng.integers(0, shape[0], (1500, 2))
        puncta[places[:, 0], places[:, 1]] = self._rng.lognormal(1.8, 0.5, len(places))
        rest = gaussian_filter(puncta, 1.0) + 0.3
        scale = PHOTONS_PER_PX / (cells + rest).mean()
        self._cells, self._rest, self._owner = scale * cells, scale * rest, owner
        self._planes: list[tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float]]] = []
        for _ in range(N_PARTS**2):
            part = tuple(self._rng.uniform(-0.5, 0.5, 2))
            self._planes.append((_moved(self._cells, part), _moved(self._rest, part), (part[0], part[1])))
        inner = slice(MARGIN_PX, -MARGIN_PX)
        self.template = (COUNTS_PER_PHOTON * (self._cells + self._rest)[inner, inner] + OFFSET_COUNTS).astype(
            np.float32
        )

    def frames(
        self, n_frames: int, largest_px: int = LARGEST_WHOLE_PX
    ) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.float64]]]:
        """Frames, and the shift (y, x) of each, px: up to `largest_px` and half a pixel, anew in every frame."""
        for _ in range(n_frames):
            cells, rest, part = self._planes[self._rng.integers(len(self._planes))]
            bright = np.ones(401)
            flickers = self._rng.random(401) < FLICKERING
            bright[flickers] = self._rng.uniform(1, 4, int(flickers.sum()))
            whole = self._rng.integers(-largest_px, largest_px + 1, 2)
            at = tuple(slice(MARGIN_PX - int(n), MARGIN_PX - int(n) + SIZE_PX) for n in whole)
            photons = self._rng.poisson(np.maximum(cells[at] * bright[self._owner[at]] + rest[at], 0.0))
            counts = COUNTS_PER_PHOTON * photons + self._rng.normal(OFFSET_COUNTS, READ_NOISE_COUNTS, photons.shape)
            yield np.rint(counts).clip(0, 65535).astype(np.uint16), whole + np.array(part)


def registration_rows(n_rounds: int, n_accuracy_frames: int = N_ACCURACY_FRAMES) -> list[Row]:
    """Time of the shift estimate, how often faster than others, and its error.

    Parameters
    ----------
    n_rounds : int
    n_accuracy_frames : int
        Frames from which the error is told.

    Raises
    ------
    SpikeloopError
        OpenCV or scikit-image is not installed.
    """
    planted = PlantedField(0)
    frames = [frame for frame, _ in planted.frames(N_FRAMES, 0)]
    ours, on_path, whole = (_in_a_run(planted.template, frames, coarsely) for coarsely in (False, True, True))

    def all_lags(frame: NDArray[np.uint16]) -> None:
        ours.forget_last_shift()
        ours.process(frame)

    contestants = [
        Contestant("shift, ours", N_FRAMES, _over(frames, all_lags)),
        Contestant("shift, ours in a run, until it is known", N_FRAMES, _over(frames, on_path.locate)),
        Contestant("shift, ours in a run, with the look at all lags", N_FRAMES, _over(frames, whole.process)),
        Contestant("shift, OpenCV matchTemplate", N_FRAMES, _over(frames, _match_template(planted.template))),
        Contestant("shift, scikit-image phase correlation", N_FRAMES, _over(frames, _phase(planted.template))),
    ]
    times_ns = measure(contestants, n_rounds)
    rows = [Row(name, "us", Spread.of(values / 1e3)) for name, values in times_ns.items()]
    for one in contestants[3:]:
        ratio = Spread.of(times_ns[one.name] / times_ns["shift, ours"])
        rows.append(Row(f"{one.name} over ours", "x", ratio, (">=", 8.0)))
        for own in contestants[1:3]:
            part = own.name.removeprefix("shift, ")
            rows.append(Row(f"{one.name} over {part}", "x", Spread.of(times_ns[one.name] / times_ns[own.name])))
    errors = shift_errors_px(planted, n_accuracy_frames)
    rms, largest = float(np.sqrt((errors**2).mean(axis=0)).max()), float(np.abs(errors).max())
    rows.append(Row(f"shift, rms error at {PHOTONS_PER_PX} photons/px", "px", Spread(rms, rms, rms), ("<=", 0.08)))
    title = f"shift, largest error of {n_accuracy_frames:,} frames"
    rows.append(Row(title, "px", Spread(largest, largest, largest), ("<=", 2.0)))
    return rows


def shift_errors_px(planted: PlantedField, n_frames: int) -> NDArray[np.float64]:
    """Estimate less truth, shape (n_frames, 2), axes (y, x)."""
    registration = RigidRegistration(planted.template, MAX_SHIFT_PX)
    errors = np.zeros((n_frames, 2))
    for index, (frame, shift) in enumerate(planted.frames(n_frames)):
        registration.process(frame)
        errors[index] = registration.shift_y_px - shift[0], registration.shift_x_px - shift[1]
    return errors


def _in_a_run(
    template: NDArray[np.float32], frames: list[NDArray[np.uint16]], verifies_coarsely: bool
) -> RigidRegistration:
    """A registration that has seen some frames; that of a run verifies coarsely."""
    registration = RigidRegistration(template, MAX_SHIFT_PX, verifies_coarsely=verifies_coarsely)
    for index in range(N_KNOWN_FRAMES):
        registration.process(frames[index % len(frames)])
    return registration


def _moved(image: NDArray[np.float64], shift_px: tuple[float, ...]) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = np.fft.ifft2(fourier_shift(np.fft.fft2(image), shift_px)).real
    return moved


def _over(frames: list[NDArray[np.uint16]], estimate: Callable[[NDArray[np.uint16]], Any]) -> Callable[[], None]:
    def run() -> None:
        for frame in frames:
            estimate(frame)

    return run


def _match_template(template: NDArray[np.float32]) -> Callable[[NDArray[np.uint16]], Any]:
    """Normalised correlation of the middle of the template, as OnACID does it; without moving the frame back."""
    try:
        import cv2
    except ImportError as error:
        raise SpikeloopError("opencv is not installed", "install spikeloop[bench]") from error
    cv2.setNumThreads(1)
    inner = template[MAX_SHIFT_PX:-MAX_SHIFT_PX, MAX_SHIFT_PX:-MAX_SHIFT_PX].copy()

    def estimate(frame: NDArray[np.uint16]) -> Any:
        return cv2.minMaxLoc(cv2.matchTemplate(frame.astype(np.float32), inner, cv2.TM_CCOEFF_NORMED))

    return estimate


def _phase(template: NDArray[np.float32]) -> Callable[[NDArray[np.uint16]], Any]:
    try:
        import skimage.registration
    except ImportError as error:
        raise SpikeloopError("scikit-image is not installed", "install spikeloop[bench]") from error

    phase_cross_correlation: Any = skimage.registration.phase_cross_correlation

    def estimate(frame: NDArray[np.uint16]) -> Any:
        return phase_cross_correlation(template, frame.astype(np.float32), upsample_factor=10)

    return estimate
