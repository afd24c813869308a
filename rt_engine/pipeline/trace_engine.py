"""The engine behind its extraction: traces that were recorded become events and activity once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import Clock
from rt_engine.kernels.sample_codes import GOOD, MISSING
from rt_engine.pipeline.cell_group import CellGroup
from rt_engine.pipeline.engine import Engine


class Sample(Protocol):
    """What one frame gave of all cells; as `recording.recorded_traces.TraceSample`."""

    @property
    def fluorescence(self) -> NDArray[np.float32]:
        """Counts, offset subtracted, shape (n_rois,)."""
        ...

    @property
    def neuropil(self) -> NDArray[np.float32]:
        """Counts, offset subtracted, shape (n_rois,)."""
        ...

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where there was a sample, shape (n_rois,)."""
        ...

    @property
    def shift_y_px(self) -> float:
        """Displacement of the content against the template."""
        ...

    @property
    def shift_x_px(self) -> float:
        """Displacement of the content against the template."""
        ...

    @property
    def quality(self) -> float:
        """Registration quality."""
        ...


class Samples(Protocol):
    """Samples in the order of their frames."""

    def take(self, index: int) -> Sample | None:
        """Sample of a frame; None if there is none."""
        ...


class TraceEngine(Engine):
    """An `Engine` that looks at no pixel: fluorescence, neuropil and shift of every frame are those of `samples`.

    With `from_frame` it is an `Engine` like any other before that frame.

    Parameters
    ----------
    samples : Samples
    calibration, max_shift_px, clock, strip_lines, frames_per_volume, spare_rois, adapts_template
        As for `Engine`; the cells, row by row, must be those whose traces were recorded.
    from_frame : int
        First frame (as given to `begin`) whose pixels are not there.

    Notes
    -----
    Traces go over the wire as the float32 that the engine computes with, so what follows from them is the same bit for
    bit. Why a sample is missing is told from the recorded shift and the blanked lines, by the same extraction on an
    empty frame; where that finds a sample and all of a group have none, the frame had jumped. Two things are not
    known again. That a sample was a lower bound, of a saturated detector: it counts as whole here. And, of frames in
    strips, the shift before the last strip, by which a cell may be decided with another strip of its frame.
    """

    def __init__(
        self,
        samples: Samples,
        calibration: Calibration,
        max_shift_px: float,
        clock: Clock,
        strip_lines: int | None = None,
        frames_per_volume: int = 1,
        spare_rois: int = 0,
        adapts_template: bool = False,
        from_frame: int = 0,
    ) -> None:
        super().__init__(calibration, max_shift_px, clock, strip_lines, frames_per_volume, spare_rois, adapts_template)
        self._samples = samples
        self._from_frame = from_frame
        self._reads_traces = from_frame <= 0
        self._sample: Sample | None = None

    def begin(self, frame_number: int, n_gap: int) -> None:
        """As `Engine.begin`; takes the recorded sample of the frame."""
        super().begin(frame_number, n_gap)
        self._reads_traces = frame_number >= self._from_frame
        if not self._reads_traces:
            return
        self._sample = sample = self._samples.take(frame_number)
        if sample is not None:
            registration = self._registration
            registration.shift_y_px, registration.shift_x_px = sample.shift_y_px, sample.shift_x_px
            registration.quality = sample.quality

    def maintain(self, frame: NDArray[Any], frame_number: int) -> None:
        """As `Engine.maintain` while there are pixels; without, there is no look of the field to follow."""
        if not self._reads_traces:
            super().maintain(frame, frame_number)

    def _register(self, frame: NDArray[Any], strip: int) -> None:
        """Nothing without pixels: the shift is the recorded one."""
        if not self._reads_traces:
            super()._register(frame, strip)

    def _read(self, group: CellGroup, frame: NDArray[Any], blanked: Sequence[Sequence[int]]) -> bool:
        jumped = super()._read(group, frame, blanked)
        if not self._reads_traces:
            return jumped
        sample, extraction = self._sample, group.extraction
        if sample is None:
            extraction.valid[:] = MISSING
            return False
        known = group.rows[group.rows < len(sample.valid)]
        n_known, has = len(known), np.zeros(len(group.rows), np.bool_)
        has[:n_known] = sample.valid[known]
        np.copyto(extraction.f_roi[:n_known], sample.fluorescence[known], where=has[:n_known])
        np.copyto(extraction.f_np[:n_known], sample.neuropil[known], where=has[:n_known])
        has_jumped = not has.any() and bool((extraction.valid == GOOD).any())
        lost = ~has & (extraction.valid == GOOD)
        extraction.valid[lost] = MISSING
        extraction.valid[has] = GOOD
        extraction.censored[:] = 0
        return has_jumped
