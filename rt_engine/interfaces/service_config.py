"""Sections of a rig file about the programs: how they infer, record, are scheduled, and where they are reached."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rt_engine.interfaces.strict import Strict


class NewCells(StrEnum):
    """What happens with cells that are found while the rig runs."""

    OFF = "off"
    OFFER = "offer"
    TAKE = "take"


class FrameWay(StrEnum):
    """How inference gets its frames."""

    SHARED_MEMORY = "shared_memory"
    MESSAGES = "messages"


USUAL_FALSE_ALARMS_PER_MIN = 0.5
"""Of each cell, where a rig file chooses neither a rate nor a cost of false events."""


class InferenceConfig(Strict):
    """How traces become decisions. `hold_frames: null` takes the indicator's default."""

    indicator: str = "jGCaMP8m"
    hold_frames: int | None = Field(None, ge=0, le=30)
    false_alarms_per_min: float | None = Field(
        None, gt=0, le=60, description="of each cell, by noise alone; 0.5 where no false_event_cost is given"
    )
    false_event_cost: float | None = Field(
        None, gt=0, le=8, description="instead: cost C of a false event, a missed one 1; told from C / (1 + C) on"
    )
    neuropil_coefficient: float | None = Field(None, ge=0, le=1, description="null: estimated; 0.7 is customary")
    neuropil_update: bool = Field(False, description="let the coefficient follow the recording, 0.01 a minute at most")
    network: str | None = Field(None, description="weights of the network: synthetic+real, synthetic, or a file")
    max_shift_px: float = Field(8.0, gt=0, le=64)
    template_adaptation: bool = Field(False, description="let the template follow the look of the field, slowly")
    max_backlog_frames: int = Field(
        32, ge=1, le=1000, description="so many may wait; beyond, or where newer frames would be late, some are skipped"
    )
    deadline_ms: float | None = Field(None, gt=0, description="null: the shortest max_decision_age_ms of the outputs")
    new_cells: NewCells = Field(NewCells.OFFER, description="off, offer, or take what is found while the rig runs")
    frames_by: FrameWay = Field(
        FrameWay.SHARED_MEMORY, description="shared_memory on one computer, where it can be; messages always can"
    )
    spare_rois: int = Field(32, ge=0, le=256, description="rows for cells that are added while the rig runs")

    @model_validator(mode="before")
    @classmethod
    def _one_rule(cls, values: Any) -> Any:
        """Exactly one of the two ways to decide."""
        if not isinstance(values, dict):
            return values
        rate, cost = values.get("false_alarms_per_min"), values.get("false_event_cost")
        if rate is not None and cost is not None:
            raise ValueError("false_alarms_per_min and false_event_cost exclude each other: leave one out")
        if cost is not None and values.get("hold_frames") == 0:
            raise ValueError("false_event_cost needs hold_frames of at least 1: before, no probability is high enough")
        usual = {"false_alarms_per_min": USUAL_FALSE_ALARMS_PER_MIN}
        return values | usual if rate is None and cost is None else values

    @field_validator("new_cells", mode="before")
    @classmethod
    def _yaml_off(cls, value: object) -> object:
        """YAML reads a bare ``off`` as false."""
        return NewCells.OFF if value is False else value


class RecordingConfig(Strict):
    """What the journal keeps, and how often it reaches the disk. Frames of the baseline are always kept."""

    frames: Literal["all", "crops", "none"] = "all"
    every_nth_frame: int = Field(1, ge=1, description="keep frames whose number (or volume) n divides")
    crop_margin_px: int = Field(8, ge=0, le=256, description="around the cells, with `frames: crops`")
    frame_store: Literal["none", "zarr"] = Field("none", description="a compressed copy beside the journal")
    file_mb: float = Field(2000.0, gt=0, description="a journal file of this size is ended and the next begun")
    flush_s: float = Field(0.2, gt=0, le=0.2)
    min_free_mb: float = Field(500.0, gt=0, description="frames end here, events do not; a warning comes at twice")


class SchedulingConfig(Strict):
    """How the system shall treat the processes between the last line and the light; wishes, never required."""

    high_priority: bool = Field(False, description="nice -10 on Linux and macOS, HIGH_PRIORITY_CLASS on Windows")
    realtime_priority: int | None = Field(None, ge=1, le=90, description="Linux: SCHED_FIFO; leave a core to others")
    cores: dict[Literal["acquisition", "inference", "stimulation"], Annotated[tuple[int, ...], Field(min_length=1)]] = (
        Field({}, description="cores of each service, counted from 0")
    )


LOOPBACK = ("localhost", "::1")


def is_of_this_computer(host: str) -> bool:
    """True for names that mean the computer itself, which nobody else can reach."""
    return host in LOOPBACK or host.startswith("127.")


MAY_BE_ELSEWHERE = ("acquisition", "inference", "stimulation")
"""Services that another computer may carry. Journal and telemetry stay with the supervisor, which reads the journal."""


_CARRIED_BY = {"engine_frames": "acquisition", "shared_frames": "acquisition", "stimulation_control": "stimulation"}
"""Ports that a service has beside that of its name."""


class Ports(Strict):
    """TCP ports on `host`; inference of plane p uses `inference` + p.

    `hosts` tells the address of each service that lives on another computer: ``acquisition``, ``stimulation``,
    ``inference`` (of all planes) or ``inference.<plane>``. `spikeloop serve` carries it there.
    """

    host: str = "127.0.0.1"
    hosts: dict[str, Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")]] = Field(
        {}, description="address of each service on another computer: acquisition, stimulation, inference[.plane]"
    )
    control: int = Field(5570, ge=1024, le=65535)
    acquisition: int = Field(5571, ge=1024, le=65535)
    inference: int = Field(5572, ge=1024, le=65535)
    stimulation: int = Field(5560, ge=1024, le=65535)
    stimulation_control: int = Field(5561, ge=1024, le=65535)
    recording: int = Field(5562, ge=1024, le=65535)
    telemetry: int = Field(5563, ge=1024, le=65535)
    supervisor: int = Field(5564, ge=1024, le=65535)
    recorder_inlet: int = Field(5565, ge=1024, le=65535)
    decisions: int = Field(5567, ge=1024, le=65535, description="spikes for stimulation on the same computer")
    engine_frames: int = Field(5566, ge=1024, le=65535, description="frames for inference, which gets them first")
    shared_frames: int = Field(5568, ge=1024, le=65535, description="frames in shared memory: word that they are there")

    def endpoint(self, name: str) -> str:
        """``tcp://host:port`` of one of the fields."""
        return f"tcp://{self.host_of(_CARRIED_BY.get(name, name))}:{getattr(self, name)}"

    def inference_endpoint(self, plane: int) -> str:
        """``tcp://host:port`` of the inference of one plane."""
        return f"tcp://{self.host_of(f'inference.{plane}')}:{self.inference + plane}"

    def host_of(self, service: str) -> str:
        """Address of the computer that carries a service, by its name on the wire (`inference.<plane>`)."""
        return self.hosts.get(service) or self.hosts.get(service.partition(".")[0]) or self.host

    def all_ports(self) -> dict[str, int]:
        """Every port by name."""
        return {name: value for name, value in self.model_dump().items() if name not in ("host", "hosts")}

    @model_validator(mode="after")
    def _known_hosts(self) -> Ports:
        for name in self.hosts:
            kind, _, plane = name.partition(".")
            if kind not in MAY_BE_ELSEWHERE or (plane and not (kind == "inference" and plane.isdecimal())):
                known = ", ".join(MAY_BE_ELSEWHERE)
                raise ValueError(
                    f"hosts.{name}: only {known} and inference.<plane> can live elsewhere; "
                    "journal and telemetry live where `run` is started"
                )
        return self

    @model_validator(mode="after")
    def _distinct(self) -> Ports:
        seen: dict[int, str] = {}
        for name, port in self.all_ports().items():
            if port in seen:
                raise ValueError(f"{name} and {seen[port]} are both {port}")
            seen[port] = name
        return self

    @property
    def is_loopback(self) -> bool:
        """True if only this computer can reach them."""
        return all(map(is_of_this_computer, (self.host, *self.hosts.values())))
