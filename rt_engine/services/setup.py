"""What the supervisor hands to every service it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rt_engine.interfaces.rig_config import RigConfig

SERVICES = ("recording", "inference", "stimulation", "acquisition", "telemetry")
"""The five services in the order they are started; they are stopped in the order light needs (see `supervisor`)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a service process needs; plain values, so that any start method can carry it.

    Attributes
    ----------
    service : str
        One of `SERVICES`.
    rig : dict
        `RigConfig` as JSON values.
    session : str
        Session id.
    folder : str
        Session folder.
    t_wall_ns, t_monotonic_ns : int
        Wall and monotonic time of the start of the session, nanoseconds.
    dry_run : bool
        True if nothing may leave an output.
    lossless : bool
        True if the source waits for inference and recorder (`pace: max`), so nothing is ever skipped.
    recorded : bool
        False if there is no recorder (benchmarks).
    """

    service: str
    rig: dict[str, Any]
    session: str
    folder: str
    t_wall_ns: int
    t_monotonic_ns: int
    dry_run: bool
    lossless: bool
    recorded: bool = True

    def rig_config(self) -> RigConfig:
        """The rig, validated again on this side."""
        return RigConfig.model_validate(self.rig)

    def path(self) -> Path:
        """The session folder."""
        return Path(self.folder)
