"""The interlock of a session: limits, ledger files, log and heartbeat bounds, from the rig and the session folder."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.pattern_ttl.output import PatternTtlOutput
from drivers.outputs.pulse_box.output import PulseBoxOutput
from drivers.outputs.virtual import LATEST_MS, LightFields
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.output_config import NiDaqOutput as NiDaqConfig
from rt_engine.interfaces.output_config import OutputConfig, limits_at_command
from rt_engine.interfaces.output_config import PatternTtlOutput as PatternTtlConfig
from rt_engine.interfaces.output_config import PulseBoxOutput as PulseBoxConfig
from rt_engine.interfaces.plugin_config import PluginOutputSettings
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, StopLine, VirtualMicroscope
from rt_engine.safety.interlock import Interlock
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.limits import untied
from rt_engine.safety.plane_heartbeats import PlaneHeartbeats
from rt_engine.safety.wal import WriteAheadLog, next_wal_path
from rt_engine.safety.watchdog import HeartbeatMonitor
from rt_engine.services.plugins import plugin_output
from rt_engine.services.replay_interlock import Say, interlock_clock, make_interlock, silence_bounds_ns
from rt_engine.services.setup import Setup
from rt_engine.services.virtual_light import virtual_output

_SUBJECT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""It names a folder: it begins with no dot, so it can lead to no other."""
_PLACE_UM = 5.0
_PLACE_PX = 6.0
"""Size of a place of the template where the size of a pixel is unknown."""


class SafetyParts(NamedTuple):
    """The interlock with what it stands on: outputs, files, and its ear for the engine."""

    interlock: Interlock
    outputs: dict[str, Output]
    ledger: DoseLedger
    wal: WriteAheadLog
    heartbeat: HeartbeatMonitor
    stop_line: StopLine | None


def open_safety(
    setup: Setup,
    machine_clock: Clock,
    emit: Callable[[LightFields], None],
    say: Say,
) -> SafetyParts:
    """The interlock of a session; tripped where the session has a log already, for then its service was restarted.

    Parameters
    ----------
    setup : Setup
    machine_clock : Clock
        Of the service; a replay judges by the clock of its recording.
    emit : callable
        Publishes a pulse of virtual light.
    say : callable
        Told a level and a sentence.

    Raises
    ------
    ConfigError
        The subject's name cannot be a folder.
    RecordingError
        The log cannot be made.
    SafetyError
        The dose file of the subject is damaged.
    """
    rig, clock = setup.rig_config(), interlock_clock(setup.rig_config(), machine_clock)
    replays = isinstance(rig.microscope, ReplayMicroscope)
    limits = {name: limits_at_command(output) for name, output in rig.outputs.items()}
    if setup.lossless and not replays:  # the source is not tied to a clock
        limits = {name: untied(one) for name, one in limits.items()}
    frames = frame_clock_of(rig)
    outputs = {
        name: make_output(name, one, clock, emit, stepped=replays, frames=frames) for name, one in rig.outputs.items()
    }
    um_per_px = getattr(rig.microscope, "um_per_px", None)
    forgets = setup.dry_run or replays
    ledger = DoseLedger(
        limits,
        rig.session_limits,
        clock.now_ns(),
        None if forgets else _dose_folder(setup, rig),
        grid_px=_PLACE_UM / um_per_px if um_per_px else _PLACE_PX,
        session_path=None if forgets else setup.path() / "session.dose",
    )
    path = next_wal_path(setup.path())
    wal = WriteAheadLog(path)
    bounds_ns, planes = silence_bounds_ns(rig, lossless=setup.lossless), rig.planes_inferred
    heartbeat = PlaneHeartbeats(*bounds_ns, planes) if len(planes) > 1 else HeartbeatMonitor(*bounds_ns)
    stop_line = None if replays else rig.stop_line
    interlock = make_interlock(rig, clock, say)(
        limits,
        outputs,
        clock,
        ledger,
        wal,
        heartbeat,
        dry_run=setup.dry_run,
        restarted=path.name != "stim_000.wal",
        has_stop_line=stop_line is not None,
        id_prefix=f"{setup.session}-{path.stem[-3:]}",
    )
    return SafetyParts(interlock, outputs, ledger, wal, heartbeat, stop_line)


def make_output(
    name: str,
    config: OutputConfig,
    clock: Clock,
    emit: Callable[[LightFields], None],
    *,
    stepped: bool = False,
    frames: LineClock | None = None,
) -> Output:
    """The driver of an output; it touches no hardware before the interlock opens it.

    Parameters
    ----------
    name : str
    config : OutputConfig
    clock : Clock
    emit : callable
        Publishes a pulse of light.
    stepped : bool
        The clock comes in steps, those of a recording: no loop can be watched by it.
    frames : LineClock, optional
        Of the virtual scan, for virtual light that waits for it.
    """
    if isinstance(config, NiDaqConfig):
        return NiDaqOutput(name, config, clock, emit)
    if isinstance(config, PatternTtlConfig):
        return PatternTtlOutput(name, config, clock, emit)
    if isinstance(config, PulseBoxConfig):
        return PulseBoxOutput(name, config, clock, emit)
    if isinstance(config, PluginOutputSettings):
        return plugin_output(name, config, clock, emit)
    watchdog_ms, latest_ms = (math.inf, math.inf) if stepped else (config.watchdog_ms, LATEST_MS)
    return virtual_output(name, config, clock, emit, frames, watchdog_ms=watchdog_ms, latest_ms=latest_ms)


def frame_clock_of(rig: RigConfig) -> LineClock | None:
    """The frame clock of the virtual microscope, where there is one."""
    return LineClock(rig.microscope.frame_rate_hz) if isinstance(rig.microscope, VirtualMicroscope) else None


def _dose_folder(setup: Setup, rig: RigConfig) -> Path:
    """Where this subject's dose is kept across sessions; in the session folder without a subject."""
    if rig.subject is None:
        return setup.path()
    if not _SUBJECT.fullmatch(rig.subject):
        raise ConfigError(
            f"subject {rig.subject!r} may hold letters, digits, '.', '_' and '-' only, and not begin with '.'",
            key="subject",
        )
    folder = Path.home() / ".spikeloop" / "dose" / rig.subject
    folder.mkdir(parents=True, exist_ok=True)
    return folder
