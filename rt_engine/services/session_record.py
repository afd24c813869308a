"""What a session says of itself: its resolved config, and which wall time its times are."""

from __future__ import annotations

import datetime
import socket
import time
from typing import Any

from protocols.load import load_protocol
from rt_engine.interfaces.rig_config import RigConfig, VirtualMicroscope
from rt_engine.services.replay_plan import ReplayOf
from rt_engine.services.run_plan import RunPlan
from rt_engine.services.session_folder import driver_packages, file_digest, git_hash, machine, versions


def resolved_config(plan: RunPlan, session: str) -> dict[str, Any]:
    """Everything that ``config.yaml`` and topic `session` tell of a run."""
    return {
        "spikeloop": "session/1",
        "session": session,
        "kind": plan.kind,
        "rig": plan.rig.model_dump(mode="json"),
        "protocol": str(plan.protocol) if plan.protocol else None,
        "subject": plan.subject,
        "baseline_s": None if plan.calibration else plan.baseline_s,
        "duration_s": plan.duration_s,
        "dry_run": plan.dry_run,
        "seeds": seeds(plan),
        "versions": versions(),
        "git_hash": git_hash(),
        "host": socket.gethostname(),
        "machine": machine(),
        "clock": clock_facts(),
        "drivers": drivers(plan.rig),
        "driver_packages": driver_packages(),
        "protocol_sha256": None if plan.protocol is None else file_digest(plan.protocol),
        "calibration_sha256": None,
        "replay": plan.replay.described() if plan.replay else None,
    }


def seeds(plan: RunPlan) -> dict[str, int]:
    """All that is drawn in a run is drawn from these: the sample of a virtual rig, the design of the protocol."""
    microscope, found = plan.rig.microscope, {}
    if isinstance(microscope, VirtualMicroscope):
        found["sample"] = microscope.sample.seed
    if plan.protocol is not None:
        found["protocol"] = load_protocol(plan.protocol).design.seed
    return found


def drivers(rig: RigConfig) -> dict[str, str]:
    """Driver of every device of a rig, by its name."""
    devices = {"microscope": rig.microscope, **rig.outputs, **rig.inputs}
    return {name: f"plugin {one.name}" if one.driver == "plugin" else one.driver for name, one in devices.items()}


def clock_facts() -> dict[str, Any]:
    """The monotonic clock that all times of the session are of."""
    facts = time.get_clock_info("perf_counter")
    return {"implementation": facts.implementation, "resolution_s": facts.resolution, "monotonic": facts.monotonic}


def time_base(replay: ReplayOf | None, t_wall_ns: int, t_monotonic_ns: int) -> dict[str, Any]:
    """Which wall time a monotonic time of the session is; a replay lives in the times of its recording."""
    if replay is not None:
        t_wall_ns, t_monotonic_ns = replay.t_wall_ns, replay.t_monotonic_ns
    utc = datetime.datetime.fromtimestamp(t_wall_ns / 1e9, datetime.UTC).isoformat()
    return {"wall_time_utc": utc, "t_wall_ns": t_wall_ns, "t_monotonic_ns": t_monotonic_ns}
