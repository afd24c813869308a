"""What a session says of itself: its resolved config, and which wall time its times are."""

from __future__ import annotations

import datetime
import hashlib
import socket
import time
from pathlib import Path
from typing import Any

from rt_engine.interfaces.rig_config import VirtualMicroscope
from rt_engine.services.replay_plan import ReplayOf
from rt_engine.services.run_plan import RunPlan
from rt_engine.services.session_folder import git_hash, versions


def resolved_config(plan: RunPlan, session: str) -> dict[str, Any]:
    """Everything that ``config.yaml`` and topic `session` tell of a run."""
    microscope = plan.rig.microscope
    seeds = {"sample": microscope.sample.seed} if isinstance(microscope, VirtualMicroscope) else {}
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
        "seeds": seeds,
        "versions": versions(),
        "git_hash": git_hash(),
        "host": socket.gethostname(),
        "clock": clock_facts(),
        "drivers": {"microscope": microscope.driver} | {name: one.driver for name, one in plan.rig.outputs.items()},
        "calibration_sha256": None,
        "replay": plan.replay.described() if plan.replay else None,
    }


def clock_facts() -> dict[str, Any]:
    """The monotonic clock that all times of the session are of."""
    facts = time.get_clock_info("perf_counter")
    return {"implementation": facts.implementation, "resolution_s": facts.resolution, "monotonic": facts.monotonic}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def time_base(replay: ReplayOf | None, t_wall_ns: int, t_monotonic_ns: int) -> dict[str, Any]:
    """Which wall time a monotonic time of the session is; a replay lives in the times of its recording."""
    if replay is not None:
        t_wall_ns, t_monotonic_ns = replay.t_wall_ns, replay.t_monotonic_ns
    utc = datetime.datetime.fromtimestamp(t_wall_ns / 1e9, datetime.UTC).isoformat()
    return {"wall_time_utc": utc, "t_wall_ns": t_wall_ns, "t_monotonic_ns": t_monotonic_ns}
