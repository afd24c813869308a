"""What the supervisor hands to every service it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rt_engine.interfaces.rig_config import RigConfig


def inference_services(rig: RigConfig) -> dict[int, str]:
    """Plane to the service that infers it: ``inference`` where there is one plane, else ``inference.<plane>``."""
    planes = rig.planes_inferred
    return {plane: "inference" if len(planes) == 1 else f"inference.{plane}" for plane in planes}


def far_services(rig: RigConfig) -> dict[str, str]:
    """Service to the address of the computer that carries it, for those that do not live with the supervisor."""
    wire_names = {name: f"inference.{plane}" for plane, name in inference_services(rig).items()}
    hosts = {name: rig.ports.host_of(wire_names.get(name, name)) for name in service_names(rig)}
    return {name: host for name, host in hosts.items() if host != rig.ports.host}


def service_names(rig: RigConfig) -> tuple[str, ...]:
    """All services in the order they are started; they are stopped in the order light needs (see `supervisor`)."""
    return ("recording", *inference_services(rig).values(), "stimulation", "acquisition", "telemetry")


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a service process needs; plain values, so that any start method can carry it.

    Attributes
    ----------
    service : str
        One of `service_names`.
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
    far : bool
        True if the supervisor is on another computer, so that files have to be handed over.
    secret : str
        Of this run: who has it is one of its services, and may speak as one where there are no keys; empty where
        nobody asks for it.
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
    far: bool = False
    secret: str = ""

    def rig_config(self) -> RigConfig:
        """The rig, validated again on this side."""
        return RigConfig.model_validate(self.rig)

    @property
    def kind(self) -> str:
        """What the service is: its name without the plane."""
        return self.service.partition(".")[0]

    def plane(self) -> int:
        """The plane that an inference service serves."""
        by_name = {name: plane for plane, name in inference_services(self.rig_config()).items()}
        return by_name[self.service]

    def path(self) -> Path:
        """The session folder."""
        return Path(self.folder)
