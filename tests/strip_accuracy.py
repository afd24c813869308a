"""RMS error of whole-frame and of strip registration on samples that move. Run as a program it prints the table."""

from __future__ import annotations

import numpy as np
from moving_field import MovingField, breathing_px, jitter_px

from rt_engine.pipeline.registration import RigidRegistration
from rt_engine.pipeline.strips import StripRegistration

STRIP_LINES = 32


def errors_px(sample: MovingField, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """RMS error over lines of whole-frame and of strip registration (y, x), and how many strips were muted."""
    whole = RigidRegistration(sample.template, 8.0)
    strips = StripRegistration(sample.template, 8.0, STRIP_LINES)
    of_whole, of_strips, n_muted = [], [], 0
    for shift in shifts:
        frame = sample.frame(shift)
        whole.process(frame)
        of_whole.append(np.array([whole.shift_y_px, whole.shift_x_px]) - shift)
        for strip, end in enumerate(strips.ends):
            strips.process(frame, strip)
            n_muted += strips.jumped
            lines = shift[end - STRIP_LINES : end]
            of_strips.append(np.array([strips.shift_y_px, strips.shift_x_px]) - lines)
    rms = [np.sqrt(np.mean(np.concatenate(errors) ** 2, axis=0)) for errors in (of_whole, of_strips)]
    return rms[0], rms[1], n_muted


def main() -> None:
    """Print the table of docs/explanation/registration.md."""
    for size_px, photons_per_px in ((512, 0.9), (256, 0.9), (256, 0.5)):
        motions = {
            "still": np.zeros((20, size_px, 2)),
            "between frames": jitter_px(20, size_px, np.random.default_rng(3)),
            "breath and lick": breathing_px(20, size_px),
        }
        for name, shifts in motions.items():
            whole, strips, n_muted = errors_px(MovingField(size_px, photons_per_px), shifts)
            title = f"{size_px} px, {photons_per_px} photons/px, {name}"
            print(f"{title}: whole {whole.round(3)}, strips {strips.round(3)} px, muted {n_muted}")


if __name__ == "__main__":
    main()
