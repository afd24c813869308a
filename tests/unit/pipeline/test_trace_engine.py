"""From the traces in a journal the engine gives the bytes that it gave from the frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_field import N_BASELINE, PERIOD_NS, SIZE
from synthetic_session import SessionMaker

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.clock import MonotonicClock
from rt_engine.interfaces.errors import RecordingError
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import ActivityHeader, FateHeader
from rt_engine.pipeline.cell_group import CellGroup, cells_of
from rt_engine.pipeline.engine import ACTIVITY_FIELDS, Engine
from rt_engine.pipeline.trace_engine import TraceEngine
from rt_engine.recording.reader import open_session
from rt_engine.recording.recorded_traces import KnownFrames, RecordedTraces

FIRST, ADDED_AT, REMOVED_AT = 1000, 120, 140
Step = tuple[int, int, list[list[int]], NDArray[np.uint16]]


def script(frames: NDArray[np.uint16], seed: int) -> list[Step]:
    """Frame number, frames missing before it, blanked lines, pixels: gaps, light, jumps and another image."""
    random, shift, steps, missing = np.random.default_rng(seed), (0, 0), [], 0
    for number, frame in enumerate(frames[N_BASELINE:]):
        chance = random.random()
        if chance < 0.04:
            missing += 1
            continue
        if chance < 0.06:
            shift = tuple(random.integers(-5, 6, 2))
        elif chance < 0.07:
            frame = random.integers(0, 4000, frame.shape).astype(np.uint16)
        blanked = [[int(random.integers(0, SIZE - 20)), 20]] if 0.07 < chance < 0.12 else []
        steps.append((FIRST + number, missing, blanked, np.roll(frame, shift, (0, 1))))
        missing = 0
    return steps


def rows(calibration: Calibration, first: int, end: int) -> Calibration:
    return cells_of(calibration, np.arange(first, end), 0, SIZE)


def run(engine: Engine, calibration: Calibration, steps: list[Step], dark: bool) -> list[tuple[bytes, bytes]]:
    """Events and activity of every frame; half-way one cell is added and another taken out."""
    n_known, out = calibration.n_rois - 1, []
    for number, missing, blanked, frame in steps:
        if engine.n_rois == n_known and number >= FIRST + ADDED_AT:
            new = rows(calibration, n_known, n_known + 1)
            engine.take(CellGroup(new, np.arange(1), 8.0, first_row=n_known), new.roi_id)
        if number >= FIRST + REMOVED_AT:
            engine.remove(1)
        pixels = np.zeros_like(frame) if dark else frame
        n_events = engine.process(pixels, number, number * PERIOD_NS, missing, blanked)
        out.append((engine.events[:n_events].tobytes(), engine.fill_activity().tobytes()))
        engine.maintain(pixels, number)
    return out


def journal(folder: Path, steps: list[Step], out: list[tuple[bytes, bytes]], shifts: list[tuple[float, ...]]) -> None:
    maker = SessionMaker(folder)
    for (number, _, blanked, _), (_, traces), (y, x, quality) in zip(steps, out, shifts, strict=True):
        maker.send(
            "activity.0", ActivityHeader, "inference", traces, plane=0, frame=number, t_scan_ns=number * PERIOD_NS,
            shift_y_px=y, shift_x_px=x, quality=quality, rois_rev=1, n_rois=len(traces) // 4 // len(ACTIVITY_FIELDS),
            fields=list(ACTIVITY_FIELDS), stage_ns={},
        )  # fmt: skip
        if blanked:
            maker.send("fate.0", FateHeader, "inference", plane=0, fate=Fate.BLANKED, first=number, n=1,
                       reason=f"lines {blanked}")  # fmt: skip
    maker.close()


class Told(Engine):
    """An engine whose shifts are kept, as topic `activity` does."""

    def fill_activity(self) -> NDArray[np.float32]:
        values = super().fill_activity()
        if not hasattr(self, "told"):
            self.told: list[tuple[float, ...]] = []
        self.told.append((*self.shift_yx_px, self.quality))
        return values


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.statistics) for seed in range(1, 10))])
def test_traces_give_the_same_bytes_as_frames(
    calibration: Calibration, frames: NDArray[np.uint16], tmp_path: Path, seed: int
) -> None:
    steps, known = script(frames, seed), rows(calibration, 0, calibration.n_rois - 1)
    live, again = (Told(known, 8.0, MonotonicClock(), spare_rois=1, adapts_template=True) for _ in range(2))
    recorded = run(live, calibration, steps, dark=False)
    assert run(again, calibration, steps, dark=False) == recorded
    journal(tmp_path, steps, recorded, live.told)
    session = open_session(tmp_path)
    replayed = TraceEngine(RecordedTraces(session, 0), known, 8.0, MonotonicClock(), spare_rois=1)
    replayed.warm_up()
    frames_known = KnownFrames(session, 0)
    as_told = [(number, gap, frames_known.blanked(number, 0, SIZE), frame) for number, gap, _, frame in steps]
    assert [step[2] for step in as_told] == [step[2] for step in steps]
    found = run(replayed, calibration, as_told, dark=True)
    assert [events for events, _ in found] == [events for events, _ in recorded]
    assert [traces for _, traces in found] == [traces for _, traces in recorded]
    assert (*replayed.shift_yx_px, replayed.quality) == live.told[-1]
    assert sum(len(events) for events, _ in recorded) > 0
    lost = np.isnan(np.frombuffer(recorded[-30][1], np.float32)).sum()
    assert lost > 0, "nothing was ever missing: the script tests nothing"


def test_where_frames_end_traces_go_on_to_the_same_bytes(
    calibration: Calibration, frames: NDArray[np.uint16], tmp_path: Path
) -> None:
    steps, known = script(frames, 3), rows(calibration, 0, calibration.n_rois - 1)
    live = Told(known, 8.0, MonotonicClock(), spare_rois=1, adapts_template=True)
    recorded = run(live, calibration, steps, dark=False)
    journal(tmp_path, steps, recorded, live.told)
    at = len(steps) // 2
    ended = steps[at][0]
    kept = [(n, gap, blanked, frame if n < ended else np.zeros_like(frame)) for n, gap, blanked, frame in steps]
    replayed = TraceEngine(
        RecordedTraces(open_session(tmp_path), 0), known, 8.0, MonotonicClock(), spare_rois=1,
        adapts_template=True, from_frame=ended,
    )  # fmt: skip
    replayed.warm_up()
    assert run(replayed, calibration, kept, dark=False) == recorded
    assert any(events for events, _ in recorded[at:])


def test_a_frame_without_traces_is_a_frame_without_samples(calibration: Calibration, tmp_path: Path) -> None:
    SessionMaker(tmp_path).close()
    engine = TraceEngine(RecordedTraces(open_session(tmp_path), 0), calibration, 8.0, MonotonicClock())
    assert engine.process(np.zeros((SIZE, SIZE), np.uint16), 5, PERIOD_NS, 0) == 0
    assert not engine.fill_activity()[ACTIVITY_FIELDS.index("valid")].any()


def test_traces_of_other_fields_are_refused_by_name(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.send(
        "activity.0", ActivityHeader, "inference", bytes(4), plane=0, frame=1, t_scan_ns=1, shift_y_px=0.0,
        shift_x_px=0.0, quality=1.0, rois_rev=1, n_rois=1, fields=["dff"], stage_ns={},
    )  # fmt: skip
    maker.close()
    with pytest.raises(RecordingError, match="holds traces of dff, a replay needs fluorescence and neuropil"):
        RecordedTraces(open_session(tmp_path), 0)
