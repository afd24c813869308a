"""A protocol on the virtual rig, faster than real time: what it would trigger, deliver, withhold, and be refused."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.outputs.virtual import LightFields
from drivers.virtual_rig.trace_sample import FrameOfTraces, TraceSample
from protocols.rois import RoiTable
from protocols.running.evaluator import ProtocolRun
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.messages import Mode, Outcome
from rt_engine.interfaces.output_config import limits_at_command
from rt_engine.interfaces.rig_config import RigConfig, VirtualMicroscope
from rt_engine.interfaces.stimulation import Decision, MarkCommand, ProtocolCommand, PulseRequest
from rt_engine.models.indicators import indicator
from rt_engine.safety.interlock import Interlock, Precondition
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.wal import WriteAheadLog
from rt_engine.safety.watchdog import HeartbeatMonitor
from rt_engine.services.virtual_light import virtual_output

LATENCY_NS = 5 * NS_PER_MS
"""From the end of the scan to the decision, as on a rig: what the interlock sees as the age of a decision."""
_FIELDS = ("dff",)


class FrameClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.t_ns = NS_PER_S

    def now_ns(self) -> int:
        """Simulated time."""
        return self.t_ns


@dataclass(slots=True)
class DryLook:
    """What happened.

    Attributes
    ----------
    duration_s, frame_rate_hz : float
    decisions : list of (PulseRequest, Decision)
    marks : list of (float, str)
        Seconds and name.
    phases : list of (float, str)
        Seconds at which each phase began.
    signals : dict of str to float64 ndarray, shape (n_frames,)
        Smoothed value of every signal after each frame; NaN while unknown.
    event_s, event_roi : ndarray, shape (n_events,)
        Time of the spike and cell of every event.
    light_s : list of (float, float, float)
        Seconds, energy in mJ over all targets, power for each target in mW.
    spike_s, spike_cell : ndarray
        The truth.
    trips : list of str
    effects : dict
        `ProtocolRun.conclude`.
    rois : RoiTable
    state : dict
        `ProtocolRun.state` at the end.
    """

    duration_s: float
    frame_rate_hz: float
    rois: RoiTable
    decisions: list[tuple[PulseRequest, Decision]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    phases: list[tuple[float, str]] = field(default_factory=list)
    signals: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    event_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    event_roi: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    light_s: list[tuple[float, float, float]] = field(default_factory=list)
    spike_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    spike_cell: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    trips: list[str] = field(default_factory=list)
    effects: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def outcomes(self) -> dict[str, int]:
        """Decisions by outcome."""
        counts = {outcome.value: 0 for outcome in Outcome}
        for _, decision in self.decisions:
            if decision.outcome is not None:
                counts[decision.outcome.value] += 1
        return counts

    @property
    def n_eligible(self) -> int:
        """Requests that the protocol itself did not suppress."""
        return sum(request.suppressed is None for request, _ in self.decisions)


class DryRig:
    """The virtual rig in one process: traces, protocol, interlock and light, in simulated time.

    Parameters
    ----------
    config : ProtocolConfig
    rig : RigConfig
        With a virtual microscope.
    folder : Path
        For the write-ahead log.
    is_blanked : bool
        False: the light of the protocol looks like activity.
    partner_s : tuple of tuple of float
        Of a recorded partner.
    """

    def __init__(
        self,
        config: ProtocolConfig,
        rig: RigConfig,
        folder: Path,
        *,
        is_blanked: bool = True,
        partner_s: tuple[tuple[float, ...], ...] = (),
    ) -> None:
        microscope = rig.microscope
        if not isinstance(microscope, VirtualMicroscope):
            raise TypeError(f"a dry look needs a virtual microscope, not {microscope.driver}")
        microscope = microscope.first_plane_alone()
        self._clock = FrameClock()
        self._rate_hz = microscope.frame_rate_hz
        hold = rig.inference.hold_frames
        hold = indicator(rig.inference.indicator).default_hold_frames(self._rate_hz) if hold is None else hold
        rule = rig.inference
        self.sample = TraceSample(
            microscope, hold, rule.false_alarms_per_min, is_blanked=is_blanked, false_event_cost=rule.false_event_cost
        )
        self.rois = cells_of(self.sample, microscope.um_per_px)
        self.protocol = ProtocolRun(config, self.rois, partner_s)
        self._wal = WriteAheadLog(folder / "stim_000.wal")
        self.interlock = self._make_interlock(rig)
        self.interlock.set_protocol_limits(config.limits)
        self._live_ns = self._clock.t_ns
        self.look = DryLook(0.0, self._rate_hz, self.rois)
        self._frame = 0
        self._events: list[NDArray[np.void]] = []
        self._spikes: list[FrameOfTraces] = []

    def _make_interlock(self, rig: RigConfig) -> Interlock:
        frames = LineClock(self._rate_hz, self._clock.t_ns)
        outputs: dict[str, Output] = {
            name: virtual_output(name, one, self._clock, self._shine, frames, watchdog_ms=math.inf, latest_ms=math.inf)
            for name, one in rig.outputs.items()
        }
        limits = {name: limits_at_command(one) for name, one in rig.outputs.items()}
        um_per_px = getattr(rig.microscope, "um_per_px", None) or 1.0
        ledger = DoseLedger(limits, rig.session_limits, self._clock.t_ns, None, grid_px=5.0 / um_per_px)
        heartbeat = HeartbeatMonitor(10 * NS_PER_S, 10 * NS_PER_S)
        interlock = Interlock(limits, outputs, self._clock, ledger, self._wal, heartbeat, id_prefix="dry")
        interlock.self_test()
        for one in (Precondition.RECORDING_LIVE, Precondition.CALIBRATION_MATCHES):
            interlock.set_precondition(one, True)
        interlock.heartbeat(self._clock.t_ns, Mode.LIVE)
        return interlock

    def run(self, duration_s: float, progress: Callable[[float], None] | None = None) -> DryLook:
        """Run for so long of simulated time; ends early only if the protocol has stopped."""
        self.interlock.arm(automatic=True)
        n_frames = max(1, round(duration_s * self._rate_hz))
        names = list(self.protocol.signals)
        values = np.full((len(names), n_frames), np.nan)
        for frame in range(n_frames):
            self._step()
            values[:, frame] = [self.protocol.signals[name].value for name in names]
            if progress is not None and frame % 300 == 0:
                progress(frame / n_frames)
        look = self.look
        look.duration_s = n_frames / self._rate_hz
        look.signals = dict(zip(names, values, strict=True))
        events = np.concatenate(self._events)
        look.event_s = events["t_event_ns"] / NS_PER_S
        look.event_roi = events["roi_id"].astype(np.int64)
        look.spike_s = np.concatenate([one.spike_s for one in self._spikes])
        look.spike_cell = np.concatenate([one.spike_cell for one in self._spikes])
        look.trips = [trip.text for trip in self.interlock.trips]
        look.effects = self.protocol.conclude()
        look.state = self.protocol.state()
        return look

    def close(self) -> None:
        """Dark, and the log closed."""
        if self.interlock.is_armed:
            self.interlock.disarm("end of the dry look")
        self._wal.close()

    def _step(self) -> None:
        self._frame += 1
        t_scan_ns = self._live_ns + round(self._frame / self._rate_hz * NS_PER_S)
        self._clock.t_ns = t_scan_ns
        self.interlock.tend(t_scan_ns)
        taken = self.sample.step()
        self._events.append(taken.events)
        self._spikes.append(taken)
        self._clock.t_ns = t_scan_ns + LATENCY_NS
        self.interlock.heartbeat(self._clock.t_ns, Mode.LIVE)
        events = taken.events.copy()
        events["t_event_ns"] += self._live_ns
        number = self._frame - 1
        self._carry_out(self.protocol.on_spikes(number, t_scan_ns, self._clock.t_ns, Mode.LIVE, events))
        self._carry_out(self.protocol.on_activity(number, t_scan_ns, 0, _FIELDS, taken.dff[None, :]))
        phase = self.protocol.phase
        if not self.look.phases or self.look.phases[-1][1] != phase:
            self.look.phases.append(((t_scan_ns - self._live_ns) / NS_PER_S, phase))

    def _carry_out(self, commands: Any) -> None:
        command: ProtocolCommand
        for command in commands:
            if isinstance(command, PulseRequest):
                decision = self.interlock.request(command)
                self.look.decisions.append((command, decision))
                if decision.outcome is not None:
                    self.protocol.on_outcome(command, decision.outcome)
            elif isinstance(command, MarkCommand):
                self.look.marks.append(((command.t_scan_ns - self._live_ns) / NS_PER_S, command.mark))

    def _shine(self, light: LightFields) -> None:
        power_mw = np.array(light["power_uw"]) / 1e3
        t_s = (light["t_on_ns"] - self._live_ns) / NS_PER_S
        width_s = light["width_us"] / 1e6
        self.sample.receive_light(t_s, width_s, power_mw, np.array(light["targets_yx_px"], np.float64))
        self.look.light_s.append((t_s, float(power_mw.sum() * width_s), float(power_mw.max())))


def cells_of(sample: TraceSample, um_per_px: float) -> RoiTable:
    """The cells as a calibration would tell them: all found, and exactly where they are."""
    n = len(sample.y_px)
    return RoiTable(
        roi_id=np.arange(n, dtype=np.uint32),
        centroid_yx_px=np.stack([sample.y_px, sample.x_px], axis=1),
        expected_detection=sample.expected_detection.astype(np.float32),
        snr=sample.a_over_sigma.astype(np.float32),
        um_per_px=um_per_px,
    )


def dry_look(
    config: ProtocolConfig,
    rig: RigConfig,
    duration_s: float,
    *,
    is_blanked: bool = True,
    partner_s: tuple[tuple[float, ...], ...] = (),
    progress: Callable[[float], None] | None = None,
) -> DryLook:
    """Run a protocol on the traces of the virtual rig; opens no output.

    Parameters
    ----------
    config : ProtocolConfig
    rig : RigConfig
        With a virtual microscope.
    duration_s : float
        Of simulated time.
    is_blanked : bool
    partner_s : tuple of tuple of float
    progress : callable, optional
        Called with the share done.
    """
    with tempfile.TemporaryDirectory() as folder:
        dry = DryRig(config, rig, Path(folder), is_blanked=is_blanked, partner_s=partner_s)
        try:
            return dry.run(duration_s, progress)
        finally:
            dry.close()
