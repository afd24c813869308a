"""Spikes from traces as the live engine would tell them: the same stage, frame by frame, from the past alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rt_engine.interfaces.drive_constants import DriveConstants
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.events import EventFlag
from rt_engine.interfaces.network_weights import HEADS, HOLDS, NetworkWeights
from rt_engine.models.count_law import expected_counts
from rt_engine.models.detection import frames_before
from rt_engine.models.drive_calibration import measure_noise
from rt_engine.models.drive_fit import MIN_FRAMES, USUAL_FALSE_ALARMS_PER_MIN, DriveFit, fit_drive
from rt_engine.models.indicators import Indicator
from rt_engine.models.stage_run import RunSettings, TraceCalibration, calibration_of, run_stage
from rt_engine.models.trace_calibration import calibrate_from_priors, calibrate_traces
from rt_engine.pipeline.deconvolution import SMALLEST_JUMP
from rt_engine.pipeline.traces import TraceStage

INFERRED_EVENT_DTYPE = np.dtype(
    [
        ("roi_index", "<i8"),
        ("event_frame", "<i8"),
        ("decided_frame", "<i8"),
        ("n_spikes", "<f4"),
        ("probability", "<f4"),
        ("flags", "<u4"),
    ]
)
"""An event of `infer`; `flags` are `EventFlag` bits."""

FIRST_CALIBRATION_S = 0.5
SCHEDULE_RATIO = 1.5  # each calibration uses so many times the frames of the one before
WARM_UP_S = 20.0  # of the past that a new calibration is run over before it answers
# Of `oasis`, see docs/explanation/inference.md.
OASIS_DECAY = 2.5  # of the library's decay of one spike: trains decay more slowly
JUMP_Z = 3.5  # standard errors of a jump that make an event
JUMP_FLOOR_Z, JUMP_POWER = 1.2, 0.6  # taken off a jump for the rate, and the power of the rest
_COUNT_HEADS = len(HOLDS) * np.array([HEADS.index("count"), HEADS.index("dispersion")])
JUMP_REFRACTORY_S = 0.1  # after an event, jumps are of the same one


class Method(Enum):
    """What the rates and events come from."""

    COMBINED = "combined"
    NETWORK = "network"
    OASIS = "oasis"
    MATCHED_FILTER = "matched_filter"


class TraceKind(Enum):
    """What the traces are: dF/F as a fraction, or fluorescence in detector counts."""

    DFF = "dff"
    COUNTS = "counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """How traces are read.

    Attributes
    ----------
    indicator : Indicator
    kind : TraceKind
    method : Method
    hold_frames : int
        Frames between a spike and the decision.
    baseline_s : float or None
        Seconds at the start that may be used whole for calibration; None: only the past is used.
    false_alarms_per_min : float or None
        Per cell, under noise. None: events of `combined` with a hold are told by their probability, others at
        `drive_fit.USUAL_FALSE_ALARMS_PER_MIN`.
    neuropil_coefficient : float
    network : NetworkWeights or None
        Of `network`, which is `combined` with the network's vote, and needs them.
    false_event_cost : float or None
        Of `combined` and `network`: cost of a false event, in units of that of a missed one; see `drive_fit.fit_drive`.
    """

    indicator: Indicator
    kind: TraceKind = TraceKind.DFF
    method: Method = Method.COMBINED
    hold_frames: int = 3
    baseline_s: float | None = None
    false_alarms_per_min: float | None = None
    neuropil_coefficient: float = 0.7
    false_event_cost: float | None = None
    network: NetworkWeights | None = None

    @property
    def uses_drive(self) -> bool:
        """Whether the decision is that on the smoothed drive."""
        return self.method in (Method.COMBINED, Method.NETWORK)


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """Result of `infer_traces`.

    Attributes
    ----------
    spike_rate, probability : float32 ndarray, shape (n_rois, n_frames)
        Column t uses frames up to t and speaks of frame t - hold; rate in spikes per frame.
    events : INFERRED_EVENT_DTYPE ndarray
        In order of decision.
    expected_count, count_deviation : float32 ndarray, shape (n_rois, n_frames), or None
        Of `network`: mean and standard deviation of the spikes of frame t - hold.
    """

    spike_rate: NDArray[np.float32]
    probability: NDArray[np.float32]
    events: NDArray[np.void]
    expected_count: NDArray[np.float32] | None = None
    count_deviation: NDArray[np.float32] | None = None


def infer_traces(
    traces: NDArray[np.float32],
    frame_rate_hz: NDArray[np.float64],
    settings: InferenceSettings,
    neuropil: NDArray[np.float32] | None = None,
) -> Inference:
    """Infer all rows; rows of one frame rate go through one stage.

    Parameters
    ----------
    traces : float32 ndarray, shape (n_rois, n_frames), read
        NaN where there is no sample.
    frame_rate_hz : float64 ndarray, shape (n_rois,)
    settings : InferenceSettings
    neuropil : float32 ndarray, shape (n_rois, n_frames), counts, optional, read

    Returns
    -------
    Inference
    """
    rate, probability, mean, deviation = (np.zeros(traces.shape, np.float32) for _ in range(4))
    events = [np.zeros(0, INFERRED_EVENT_DTYPE)]
    for rate_hz in np.unique(frame_rate_hz):
        rows = np.flatnonzero(frame_rate_hz == rate_hz)
        group = TraceGroup(traces[rows], None if neuropil is None else neuropil[rows], float(rate_hz), settings)
        group.run()
        rate[rows] = group.rate.T
        probability[rows] = group.probability.T
        if group.count_heads is not None:
            mean[rows], deviation[rows] = expected_counts(group.probability.T, *group.count_heads.transpose(1, 2, 0))
        for found in group.events:
            found["roi_index"] = rows[found["roi_index"]]
            events.append(found)
    joined = np.concatenate(events)
    order = np.lexsort((joined["roi_index"], joined["decided_frame"]))
    if settings.method is Method.NETWORK:
        return Inference(rate, probability, joined[order], mean, deviation)
    return Inference(rate, probability, joined[order])


class TraceGroup:
    """Rows of one frame rate, frames first."""

    first_calibration_s = FIRST_CALIBRATION_S
    schedule_ratio = SCHEDULE_RATIO

    def __init__(
        self,
        traces: NDArray[np.float32],
        neuropil: NDArray[np.float32] | None,
        frame_rate_hz: float,
        settings: InferenceSettings,
    ) -> None:
        self._settings = settings
        self._network: NetworkWeights | None = None
        if settings.method is Method.NETWORK:
            if settings.network is None:
                raise ConfigError("the method network needs weights", "train some: `spikeloop train`", key="network")
            self._network = settings.network
        self._rate_hz = frame_rate_hz
        shift = 1.0 if settings.kind is TraceKind.DFF else 0.0
        self._f = np.ascontiguousarray(traces.T + np.float32(shift), np.float32)
        self._np = np.zeros_like(self._f) if neuropil is None else np.ascontiguousarray(neuropil.T, np.float32)
        self._good = np.isfinite(self._f) & np.isfinite(self._np)
        self._valid = np.where(self._good, 1, 2).astype(np.uint8)
        self._censored = np.zeros(self._f.shape[1], np.uint8)
        self._coefficient = 0.0 if neuropil is None else settings.neuropil_coefficient
        self.rate = np.zeros_like(self._f)
        self.probability = np.zeros_like(self._f)
        self.events: list[NDArray[np.void]] = []
        self.count_heads: NDArray[np.float32] | None = None
        if self._network is not None:
            self.count_heads = np.zeros((len(self._f), 2, self._f.shape[1]), np.float32)
        self._last_told = np.full(self._f.shape[1], -np.inf)

    def run(self) -> None:
        """Calibrate, advance, calibrate again on the longer past."""
        n_frames = len(self._f)
        if self._settings.baseline_s is not None:
            n_baseline = min(n_frames, max(MIN_FRAMES, round(self._settings.baseline_s * self._rate_hz)))
            self._advance(self._stage(n_baseline), 0, n_frames)
            return
        first = max(MIN_FRAMES, round(self.first_calibration_s * self._rate_hz))
        while first < n_frames:
            last = min(n_frames, round(first * self.schedule_ratio))
            stage = self._stage(first)
            self._warm(stage, first)
            self._advance(stage, first, last)
            first = last

    def _stage(self, n_past: int) -> TraceStage:
        """Stage calibrated on the first `n_past` frames."""
        settings = self._settings
        asked = settings.false_alarms_per_min
        false_alarms_per_min = USUAL_FALSE_ALARMS_PER_MIN if asked is None else asked
        combined = settings.uses_drive
        deconvolves = settings.method is Method.OASIS
        matched = settings.method is Method.MATCHED_FILTER
        calibrate = partial(calibrate_traces, whitens=True) if matched else calibrate_from_priors
        found: TraceCalibration = calibrate(
            self._f[:n_past],
            self._np[:n_past],
            self._good[:n_past].astype(np.uint8),
            frame_rate_hz=self._rate_hz,
            indicator=settings.indicator,
            hold_frames=settings.hold_frames,
            false_alarms_per_min=false_alarms_per_min,
            neuropil_coefficient=self._coefficient,
        )
        run = RunSettings(
            self._rate_hz,
            settings.indicator,
            settings.hold_frames,
            frames_before(settings.indicator.tau_s, self._rate_hz),
            false_alarms_per_min,
        )
        if deconvolves:
            found = replace(found, tau_s=found.tau_s * np.float32(OASIS_DECAY))
        tracks = settings.kind is TraceKind.COUNTS or not combined
        if not tracks:
            found.f0_counts.fill(1.0)
        drive = None
        if combined:
            f_c = self._f[:n_past] - found.neuropil_coefficient * (self._np[:n_past] - found.neuropil_median_counts)
            fit = fit_drive(
                ((f_c - found.f0_counts) / found.f0_counts).astype(np.float32),
                self._good[:n_past],
                frame_rate_hz=self._rate_hz,
                prior=settings.indicator,
                hold_frames=settings.hold_frames,
                false_alarms_per_min=asked,
                false_event_cost=settings.false_event_cost,
                voted=self._network is not None,
            )
            drive = fit.constants
            if asked is not None:
                drive = self._measured(fit, found, run, n_past, tracks=tracks)
        return TraceStage(
            replace(calibration_of(found, run, n_past), drive=drive, network=self._network),
            track_baseline=tracks,
            smallest_jump=0.0 if deconvolves else SMALLEST_JUMP,
        )

    def _measured(
        self, fit: DriveFit, found: TraceCalibration, run: RunSettings, n_past: int, *, tracks: bool
    ) -> DriveConstants:
        """Constants whose z is measured on the past, as the live calibration does."""
        past = self._f[:n_past], self._np[:n_past], self._good[:n_past]
        told = run_stage(found, *past, run, fit.constants, track_baseline=tracks)
        return measure_noise(fit, told, found, past[2], run, np.zeros(self._f.shape[1])).constants

    def _warm(self, stage: TraceStage, n_past: int) -> None:
        for t in range(max(0, n_past - round(WARM_UP_S * self._rate_hz)), n_past):
            stage.process(t, 0, self._f[t], self._np[t], self._valid[t], self._censored)

    def _advance(self, stage: TraceStage, first: int, last: int) -> None:
        hold = self._settings.hold_frames
        for t in range(first, last):
            n_events = stage.process(t, 0, self._f[t], self._np[t], self._valid[t], self._censored)
            if t < hold:
                continue
            if self._settings.method is Method.OASIS:
                self._tell_jumps(stage, t)
                continue
            if self._settings.method is Method.MATCHED_FILTER:
                self._place_events(stage.events[:n_events], t)
            else:
                self.rate[t] = stage.spike
            if self.count_heads is not None and stage.network is not None:
                self.count_heads[t] = stage.network.told[_COUNT_HEADS + HOLDS.index(hold)]
            self.probability[t] = stage.probability
            if n_events:
                self.events.append(_record(stage.events[:n_events], t))
        np.nan_to_num(self.rate[first:last], copy=False)
        np.nan_to_num(self.probability[first:last], copy=False)

    def _place_events(self, events: NDArray[np.void], frame: int) -> None:
        """Rate of the matched filter: the spikes of each event, in the column that speaks of its frame."""
        for event in events:
            column = max(frame, int(event["event_frame"]) + self._settings.hold_frames)
            if column < len(self.rate):
                self.rate[column, event["roi_id"]] += event["n_spikes"]

    def _tell_jumps(self, stage: TraceStage, frame: int) -> None:
        """Jumps of the deconvolution as rates and events; their probability is that the jump is no noise, nominally."""
        flags = EventFlag.PROVISIONAL if stage.provisional else EventFlag(0)
        z = np.nan_to_num(stage.spike / stage.spike_error)
        self.rate[frame] = (np.maximum(z - JUMP_FLOOR_Z, 0.0) * stage.spike_error) ** JUMP_POWER
        self.probability[frame] = np.where(z > 0, ndtr(z - JUMP_Z), 0.0)
        told = np.flatnonzero((z >= JUMP_Z) & (frame - self._last_told > JUMP_REFRACTORY_S * self._rate_hz + 1e-6))
        if len(told):
            self._last_told[told] = frame
            events = np.zeros(len(told), INFERRED_EVENT_DTYPE)
            events["roi_index"], events["decided_frame"] = told, frame
            events["event_frame"] = frame - self._settings.hold_frames
            events["n_spikes"] = np.maximum(1, np.round(stage.spike[told]))
            events["probability"], events["flags"] = self.probability[frame, told], int(flags)
            self.events.append(events)


def _record(events: NDArray[np.void], frame: int) -> NDArray[np.void]:
    found = np.zeros(len(events), INFERRED_EVENT_DTYPE)
    found["roi_index"] = events["roi_id"]
    found["decided_frame"] = frame
    for name in ("event_frame", "n_spikes", "probability", "flags"):
        found[name] = events[name]
    return found
