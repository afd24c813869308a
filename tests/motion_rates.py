"""How often registration flags what moved, and what did not; truth is planted. Run as a program it prints all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.sample_config import MotionConfig, SampleConfig
from rt_engine.pipeline.registration import HOLD_OFF_FRAMES, RigidRegistration

ROOT = Path(__file__).parents[1]
MOVIE = "movies/cortex_mesoscope_128x128x1000_15hz.tif"
MAX_SHIFT_PX = 8.0
STILL = MotionConfig(jitter_um=0.0, jump_rate_hz=0.0, drift_um=0.0)
MOVING = MotionConfig(jump_rate_hz=0.0)
N_LOST, N_BETWEEN = 3, 40
LOSSES = (0.3, 0.5, 0.7, 1.0)


def movie_path() -> Path:
    """The real movie; it may be absent."""
    return Path(os.environ.get("SPIKELOOP_DATA", ROOT.parent / "shared" / "data")) / MOVIE


class Gate:
    """Registration, and whether each frame by itself was called a jump."""

    def __init__(self, template: np.ndarray) -> None:
        self.registration = RigidRegistration(template.astype(np.float32), MAX_SHIFT_PX)

    def flags(self, frame: np.ndarray) -> bool:
        """True if this frame starts, or starts anew, the hold-off."""
        self.registration.process(frame)
        return self.registration._hold_off == HOLD_OFF_FRAMES + 1


class Rig:
    """The virtual sample at 0.8 um per pixel, 30 Hz; as many cells per area as the default rig."""

    def __init__(self, size_px: int, seed: int, motion: MotionConfig) -> None:
        n_cells = max(4, round(200 * (size_px / 512) ** 2))
        config = SampleConfig(seed=seed, n_cells=n_cells, motion=motion)
        self.sample = VirtualSample(config, size_px, size_px, 0.8, 30.0)
        self._footprint = self.sample.field.footprint.copy()
        self._frame = np.zeros((size_px, size_px), np.uint16)
        inner = slice(self.sample.margin_px, -self.sample.margin_px)
        light = self.sample.field.rest_photons()[inner, inner]
        detector = config.detector
        self.photons_per_px = float(light.mean())
        self.gate = Gate(detector.gain_counts * light + detector.offset_counts)

    def frame(self, brightness: float | np.ndarray = 1.0) -> tuple[bool, np.ndarray]:
        """Whether the next frame is flagged, and its true shift; the cells' light is multiplied by `brightness`."""
        self.sample.field.footprint[:] = self._footprint * brightness
        truth = self.sample.render(self.sample.next_frame, self._frame)
        return self.gate.flags(self._frame), np.array([truth.shift_y_px, truth.shift_x_px])

    def some_brighter(self, part: float, times: float, rng: np.random.Generator) -> np.ndarray:
        """Brightness of every footprint pixel if a part of the cells, drawn at random, is `times` as bright."""
        start = self.sample.somata.start
        return np.repeat(np.where(rng.random(len(start) - 1) < part, times, 1.0), np.diff(start))


def false_flags(rig: Rig, n_frames: int) -> int:
    """Frames flagged while the plane is kept and nothing jumps."""
    return sum(rig.frame()[0] for _ in range(n_frames))


def flags_while_cells_fire_together(rig: Rig, n_volleys: int) -> tuple[int, int]:
    """Frames flagged, of how many, while volleys make part or all of the cells 2 to 4 times as bright at once."""
    rng = np.random.default_rng(0)
    flagged = n_frames = 0
    for volley in range(n_volleys):
        part, times = ((0.1, 4.0), (0.3, 2.0), (0.3, 4.0), (1.0, 2.0), (1.0, 4.0))[volley % 5]
        brighter = rig.some_brighter(part, times, rng)
        for step in range(30):
            brightness = 1 + (brighter - 1) * np.exp(-step / 5.0)
            flagged += rig.frame(brightness)[0]
            n_frames += 1
    return flagged, n_frames


class Caught(NamedTuple):
    """Part of the first frames, and of all frames, of the losses that are flagged; part of the frames between."""

    first: float
    all_frames: float
    between: float


def caught_losses(rig: Rig, loss: float, n_losses: int) -> Caught:
    """The cells lose part of their light for 3 frames, as when the plane moves; 40 frames of rest in between."""
    lost, between = [], []
    for _ in range(n_losses):
        lost.append([rig.frame(1 - loss)[0] for _ in range(N_LOST)])
        between.append([rig.frame()[0] for _ in range(N_BETWEEN)])
    return Caught(float(np.mean(lost, axis=0)[0]), float(np.mean(lost)), float(np.mean(between)))


class Jumps(NamedTuple):
    """Jumps by their true size: how many, how many flagged; rms error of the shift within the limit."""

    n_above: int
    caught_above: int
    n_below: int
    flagged_below: int
    rms_px: float
    largest_px: float


def lateral_jumps(size_px: int, n_frames: int, seed: int) -> Jumps:
    """Jumps of 1 to 5 um twice a second; 0.25 px around the 2 px limit belongs to neither side."""
    rig = Rig(size_px, seed, MotionConfig(jump_rate_hz=2.0, jump_min_um=1.0, jump_max_um=5.0))
    registration = rig.gate.registration
    before, above, below, errors = None, [], [], []
    for _ in range(n_frames):
        flagged, shift = rig.frame()
        if np.abs(shift).max() < MAX_SHIFT_PX - 0.5:
            errors.append(np.array([registration.shift_y_px, registration.shift_x_px]) - shift)
        if before is not None:
            moved_px = np.abs(shift - before).max()
            (above if moved_px > 2.25 else below if moved_px < 1.75 else []).append(flagged)
        before = shift
    rms_px = float(np.sqrt(np.mean(np.square(errors), axis=0)).max())
    return Jumps(len(above), sum(above), len(below), sum(below), rms_px, float(np.abs(errors).max()))


class RealMovie:
    """The real movie, with photons counted by the slope of variance over mean."""

    def __init__(self, path: Path) -> None:
        self.frames = np.ascontiguousarray(tifffile.imread(path))
        part = self.frames[:400].astype(float)
        mean, variance = part.mean(axis=0), np.diff(part, axis=0).var(axis=0) / 2
        self.gain_counts, intercept = np.polyfit(mean.ravel(), variance.ravel(), 1)
        self.offset_counts = -intercept / self.gain_counts
        self.template = self.frames[::5].mean(axis=0).astype(np.float32)
        self._rng = np.random.default_rng(0)

    def without_cells(self, frame: np.ndarray, loss: float) -> np.ndarray:
        """Bright small structure dimmed by `loss`, and the shot noise it would then have."""
        light = np.maximum(self.template - self.offset_counts, 1.0)
        cells = np.clip((light - gaussian_filter(light, 12.0)) / light, 0.0, 1.0)
        keep = 1 - loss * cells
        lit = np.maximum(frame - self.offset_counts, 0.0)
        thinned = keep * lit + self._rng.normal(size=frame.shape) * np.sqrt(self.gain_counts * keep * (1 - keep) * lit)
        return np.rint(thinned + self.offset_counts).astype(frame.dtype)

    def false_flags(self) -> tuple[int, int]:
        """Frames flagged as they are, of how many."""
        gate = Gate(self.template)
        return sum(gate.flags(frame) for frame in self.frames), len(self.frames)

    def caught(self, loss: float | None) -> Caught:
        """Every 40 frames, 3 whose cells lose light; None: whose left is right, another image of the same light."""
        gate = Gate(self.template)
        lost, between = [], []
        for index, frame in enumerate(self.frames):
            place = index % (N_LOST + N_BETWEEN) - N_BETWEEN
            if place < 0:
                between.append(gate.flags(frame))
                continue
            changed = frame[:, ::-1].copy() if loss is None else self.without_cells(frame, loss)
            lost.append(gate.flags(changed))
        return Caught(float(np.mean(lost[::N_LOST])), float(np.mean(lost)), float(np.mean(between)))

    def jumps(self, size_px: int) -> tuple[float, float]:
        """Windows of the frames, moved by whole pixels every 20 frames: part flagged, largest error of the shift."""
        flagged, errors = [], []
        inner = slice(8, -8)
        gate = Gate(self.template[inner, inner])
        still = Gate(self.template[inner, inner])
        for index, frame in enumerate(self.frames[:400]):
            away = index % 40 >= 20
            window = frame[inner, 8 - size_px : -8 - size_px] if away else frame[inner, inner]
            result = gate.flags(np.ascontiguousarray(window))
            still.flags(np.ascontiguousarray(frame[inner, inner]))
            moved_px = gate.registration.shift_x_px - still.registration.shift_x_px
            errors.append(abs(moved_px - (size_px if away else 0)))
            if index % 20 == 0 and index:
                flagged.append(result)
        return float(np.mean(flagged)), float(max(errors))


def main() -> None:
    """Print every figure."""
    for size_px, seed, n_frames in ((512, 3, 1500), (512, 4, 1500), (128, 3, 3000), (128, 5, 3000), (128, 8, 3000)):
        rig = Rig(size_px, seed, MOVING)
        print(f"rig {size_px} px, seed {seed}, {rig.photons_per_px:.2f} photons/px, {rig.sample.config.n_cells} cells")
        print(f"  moving, in plane: {false_flags(rig, n_frames)} of {n_frames} flagged")
        for loss in LOSSES:
            first, of_all, between = caught_losses(rig, loss, 20)
            print(f"  cells lose {loss:.0%}: first frame {first:.0%}, all {of_all:.0%}; between {between:.2%}")
        still = Rig(size_px, seed, STILL)
        false_flags(still, 100)
        print("  still, cells fire together: {} of {} flagged".format(*flags_while_cells_fire_together(still, 30)))
        print(f"  {lateral_jumps(size_px, 600, seed)}")
    if not movie_path().exists():
        print(f"{movie_path()} is missing")
        return
    movie = RealMovie(movie_path())
    print("real movie: {} of {} flagged".format(*movie.false_flags()))
    for loss in (*LOSSES, None):
        print(f"  {'another image' if loss is None else f'cells lose {loss:.0%}'}: {movie.caught(loss)}")
    for size_px in (1, 2, 3, 5):
        print("  moved by {} px: {:.0%} flagged, largest error {:.2f} px".format(size_px, *movie.jumps(size_px)))


if __name__ == "__main__":
    main()
