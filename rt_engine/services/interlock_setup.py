"""The interlock of a session: limits, ledger files, log and heartbeat bounds, from the rig and the session folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.devices import Output
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import Limits, RigConfig
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.safety.interlock import Interlock
from rt_engine.safety.ledger import DoseLedger
from rt_engine.safety.plane_heartbeats import PlaneHeartbeats
from rt_engine.safety.wal import WriteAheadLog, next_wal_path
from rt_engine.safety.watchdog import HeartbeatMonitor, live_silence_ns
from rt_engine.services.setup import Setup

_SUBJECT = re.compile(r"^[A-Za-z0-9_.-]+$")
_PLACE_UM = 5.0
_PLACE_PX = 6.0
"""Size of a place of the template where the size of a pixel is unknown."""
_UNBOUNDED_REFUSALS = 100_000


class SafetyParts(NamedTuple):
    """The interlock with its files and its ear for the engine."""

    interlock: Interlock
    ledger: DoseLedger
    wal: WriteAheadLog
    heartbeat: HeartbeatMonitor


def make_interlock(
    setup: Setup, outputs: Mapping[str, Output], clock: Clock, on_intent: Callable[[PulseRequest, Decision], None]
) -> SafetyParts:
    """The interlock of a session; tripped where the session has a log already, for then its service was restarted.

    Parameters
    ----------
    setup : Setup
    outputs : mapping of str to Output
        By their name in the rig.
    clock : Clock
    on_intent : callable
        Called before light, see `Interlock`.

    Raises
    ------
    ConfigError
        The subject's name cannot be a folder.
    RecordingError
        The log cannot be made.
    SafetyError
        The dose file of the subject is damaged.
    """
    rig, now_ns = setup.rig_config(), clock.now_ns()
    limits = {name: _limits(output.limits, setup) for name, output in rig.outputs.items()}
    um_per_px = getattr(rig.microscope, "um_per_px", None)
    ledger = DoseLedger(
        limits,
        rig.session_limits,
        now_ns,
        _dose_folder(setup, rig),
        grid_px=_PLACE_UM / um_per_px if um_per_px else _PLACE_PX,
        session_path=None if setup.dry_run else setup.path() / "session.dose",
    )
    path = next_wal_path(setup.path())
    wal = WriteAheadLog(path)
    heartbeat = _heartbeat(setup, rig)
    interlock = Interlock(
        limits,
        outputs,
        clock,
        ledger,
        wal,
        heartbeat,
        dry_run=setup.dry_run,
        restarted=path.name != "stim_000.wal",
        has_stop_line=rig.stop_line is not None,
        id_prefix=f"{setup.session}-{path.stem[-3:]}",
        on_intent=on_intent,
    )
    return SafetyParts(interlock, ledger, wal, heartbeat)


def _limits(limits: Limits, setup: Setup) -> Limits:
    """The rig's limits; a source that is not tied to the clock asks faster than any loop, and has not run away."""
    return limits.model_copy(update={"max_refused_per_min": _UNBOUNDED_REFUSALS}) if setup.lossless else limits


def _heartbeat(setup: Setup, rig: RigConfig) -> HeartbeatMonitor:
    rate_hz = getattr(rig.microscope, "frame_rate_hz", None) or 1.0
    rate_hz /= getattr(rig.microscope, "frames_per_volume", 1)
    idle_ns = round(rig.max_idle_s * NS_PER_S)
    live_ns = idle_ns if setup.lossless else live_silence_ns(round(NS_PER_S / rate_hz))
    planes = rig.planes_inferred
    return PlaneHeartbeats(live_ns, idle_ns, planes) if len(planes) > 1 else HeartbeatMonitor(live_ns, idle_ns)


def _dose_folder(setup: Setup, rig: RigConfig) -> Path | None:
    """Where this subject's dose is kept across sessions; in the session folder without a subject."""
    if setup.dry_run:
        return None
    if rig.subject is None:
        return setup.path()
    if not _SUBJECT.match(rig.subject):
        raise ConfigError(f"subject {rig.subject!r} may hold letters, digits, '.', '_' and '-' only", key="subject")
    folder = Path.home() / ".spikeloop" / "dose" / rig.subject
    folder.mkdir(parents=True, exist_ok=True)
    return folder
