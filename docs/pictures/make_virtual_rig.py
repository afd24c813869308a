"""Draw `virtual-rig.png`: mean of 600 frames of the default rig beside one of them; prints what a frame costs."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from drivers.virtual_rig.sample import VirtualSample
from rt_engine.interfaces.sample_config import SampleConfig

N_FRAMES = 600


def main() -> None:
    """Render, time, draw."""
    sample = VirtualSample(SampleConfig(), 512, 512, 0.8, 30.0)
    frame = np.zeros((512, 512), dtype=np.uint16)
    total = np.zeros((512, 512))
    cost_ms = np.zeros(N_FRAMES)
    for k in range(N_FRAMES):
        begin_s = time.perf_counter()
        sample.render(k, frame)
        cost_ms[k] = 1000 * (time.perf_counter() - begin_s)
        total += frame
    print("ms per frame: median {:.1f}, p99 {:.1f}".format(*np.percentile(cost_ms, [50, 99])))
    figure, axes = plt.subplots(1, 2, figsize=(12, 6))
    for axis, image, title in zip(axes, (total / N_FRAMES, frame), ("mean of 600 frames", "one frame"), strict=True):
        axis.imshow(image, cmap="gray", vmin=np.percentile(image, 1), vmax=np.percentile(image, 99.7))
        axis.set_title(title)
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(Path(__file__).with_name("virtual-rig.png"), dpi=80)


if __name__ == "__main__":
    main()
