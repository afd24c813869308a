"""A program outside spikeloop as the microscope: where it is heard, and who it has to be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.service_config import is_of_this_computer
from rt_engine.interfaces.strict import Strict

Endpoint = Annotated[str, Field(pattern=r"^tcp://[^/:\s]+:\d{1,5}$")]


class StreamMicroscope(Strict):
    """A program outside spikeloop that publishes `frame` messages; size and rate come from the messages.

    It is connected to at `endpoint`, plain; or it connects to `listen`, an address of acquisition's computer, where
    keys of role ``source`` alone may send, encrypted. Without `keys` in the rig file `listen` is for loopback.
    """

    driver: Literal["stream"]
    endpoint: Endpoint = "tcp://127.0.0.1:5999"
    listen: Endpoint | None = Field(None, description="instead of endpoint: the program connects here, with its key")
    private_link: bool = Field(
        False, description="true: `endpoint` is on a cable that nobody else can reach; frames go plain"
    )
    um_per_px: float | None = Field(None, gt=0)

    @property
    def where(self) -> str:
        """Where frames are awaited."""
        return self.listen or self.endpoint

    @property
    def is_private_link(self) -> bool:
        """True if the program is on another computer and sends plain frames."""
        return self.listen is None and not is_of_this_computer(_host(self.endpoint))

    def needs_keys(self) -> bool:
        """True if the program can only be told from others by its key."""
        return self.listen is not None and not is_of_this_computer(_host(self.listen))

    @model_validator(mode="after")
    def _plain_on_private_links_alone(self) -> StreamMicroscope:
        if self.is_private_link and not self.private_link:
            raise ValueError(
                f"microscope.endpoint {self.endpoint} is on another computer, where anybody could send frames: let the "
                "program connect with a key (microscope.listen), or say private_link: true for a cable of its own"
            )
        if self.listen is not None and self.private_link:
            raise ValueError("microscope.private_link is for `endpoint`; programs that connect to `listen` show a key")
        return self


def _host(endpoint: str) -> str:
    return endpoint.removeprefix("tcp://").rpartition(":")[0]
