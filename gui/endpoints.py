"""Where the services of a rig are to be reached."""

from __future__ import annotations

from dataclasses import dataclass

from rt_engine.interfaces.service_config import Ports

_PUBLISHERS = ("acquisition", "stimulation", "recording", "telemetry", "supervisor")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of one rig.

    Attributes
    ----------
    host : str
        Computer on which the rig runs.
    ports : Ports
        As in its rig file.
    planes : tuple of int
        Planes that are inferred, as far as they are known beforehand; the session tells all.
    """

    host: str
    ports: Ports
    planes: tuple[int, ...] = (0,)

    def of(self, name: str) -> str:
        """``tcp://host:port`` of a field of `Ports`."""
        return self._here.endpoint(name)

    def publishers(self) -> list[str]:
        """Every service that publishes, inference left out: there is one for each plane."""
        return [self.of(name) for name in _PUBLISHERS]

    def inference_of(self, plane: int) -> str:
        """Inference has one port for each plane, from `inference` upwards."""
        return self._here.inference_endpoint(plane)

    @property
    def _here(self) -> Ports:
        """The ports where the rig runs; services on other computers keep their addresses."""
        return self.ports.model_copy(update={"host": self.host})

    @property
    def is_local(self) -> bool:
        """True if files of the rig's computer can be opened here."""
        return self.host in ("127.0.0.1", "localhost", "::1")
