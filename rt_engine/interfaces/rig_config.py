"""Schema of a rig YAML: frozen, unknown keys refused, a unit in every key, limits without defaults."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.metrics_config import MetricsConfig
from rt_engine.interfaces.microscope_config import MicroManagerMicroscope, ScanImageFile, ScanImageMicroscope
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.interfaces.ni_config import NiAnalogInput, NiDaqSettings, NiEdgeInput, NiLineInput
from rt_engine.interfaces.plugin_config import PluginMicroscope, PluginOutputSettings
from rt_engine.interfaces.power_table import read_power_files
from rt_engine.interfaces.pulse_box_config import PulseBoxSettings
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.interfaces.specimen_config import AnimalConfig, OpticsConfig


class Strict(BaseModel):
    """Base of all config sections."""

    model_config = ConfigDict(frozen=True, extra="forbid")


MAX_PLANES = 16
"""Planes that one run can infer, each in a process of its own."""


STRUCTURAL_CHANNEL = 1
"""Of the virtual rig, where it has one."""


class VirtualMicroscope(Strict):
    """The virtual rig: simulated cells that answer the light. `pace: max` renders as fast as it is consumed.

    With `n_planes` above 1 it scans a volume again and again: every plane once, then `n_flyback_frames` while the
    focus returns. `frame_rate_hz` counts all of them; each plane has `sample.n_cells` cells of its own.
    """

    driver: Literal["virtual"]
    frame_rate_hz: float = Field(30.0, gt=0, le=1000)
    n_lines: int = Field(512, ge=32, le=4096)
    pixels_per_line: int = Field(512, ge=32, le=4096)
    um_per_px: float = Field(0.8, gt=0)
    pace: Literal["real_time", "max"] = "real_time"
    n_planes: int = Field(1, ge=1, le=MAX_PLANES)
    n_flyback_frames: int = Field(0, ge=0, le=MAX_PLANES)
    plane_spacing_um: float = Field(40.0, gt=0, le=1000)
    strip_lines: int | None = Field(None, ge=4, description="lines of a message, as they are scanned; null: frames")
    structural_photons: float | None = Field(
        None,
        gt=0,
        le=1e4,
        description="photons per pixel and frame of a cell in channel 1, red light that does not depend on calcium; "
        "null: there is channel 0 alone",
    )
    sample: SampleConfig = SampleConfig()

    @property
    def frames_per_volume(self) -> int:
        """Planes and flyback frames of one volume."""
        return self.n_planes + self.n_flyback_frames

    def first_plane_alone(self) -> VirtualMicroscope:
        """Plane 0 as often as the volume shows it, without the others."""
        rate_hz = self.frame_rate_hz / self.frames_per_volume
        return self.model_copy(update={"frame_rate_hz": rate_hz, "n_planes": 1, "n_flyback_frames": 0})


class ReplayMicroscope(Strict):
    """Frames of a movie file or of a recorded session. `speed` 1 is real time; `max` as fast as it is consumed.

    `axes` is the order of a movie's axes where it does not say, slowest first (``TZCYX``); `frame_shape` the lines and
    pixels of a file of bare numbers. `from_traces` starts from the recorded traces of a session, not from its frames.
    """

    driver: Literal["replay"]
    path: str
    from_traces: bool = False
    frame_rate_hz: float | None = Field(None, gt=0)
    channel: int = Field(0, ge=0)
    plane: int = Field(0, ge=0)
    axes: str | None = Field(None, pattern="^[TZCYXtzcyx]{2,5}$")
    frame_shape: tuple[int, int] | None = None
    um_per_px: float | None = Field(None, gt=0)
    speed: float | Literal["max"] = 1.0
    strip_lines: int | None = Field(None, ge=4, description="lines of a message, of a movie; null: whole frames")
    live_silence_s: float | None = Field(None, gt=0, description="null: max_idle_s; longest silence that did not trip")


class StreamMicroscope(Strict):
    """A program outside spikeloop that publishes `frame` messages; size and rate come from the messages."""

    driver: Literal["stream"]
    endpoint: str = "tcp://127.0.0.1:5999"
    um_per_px: float | None = Field(None, gt=0)


MicroscopeConfig = Annotated[
    VirtualMicroscope
    | ReplayMicroscope
    | StreamMicroscope
    | MicroManagerMicroscope
    | ScanImageMicroscope
    | ScanImageFile
    | PluginMicroscope,
    Field(discriminator="driver"),
]


class ExclusionZone(Strict):
    """A disc of the template that light may never target."""

    y_px: float
    x_px: float
    radius_px: float = Field(gt=0)


class Limits(Strict):
    """Bounds of one output. Every one is required: there is no safe default for an animal.

    `target_refractory_ms`: dark time of one place of the template between two requests. `max_refused_per_min`: more
    requests beyond a limit than this within a minute are a loop that has run away, and trip. `allowed_phases`: what the
    engine must be doing; a paused one never allows light.
    """

    max_power_mw: float = Field(gt=0)
    max_width_ms: float = Field(gt=0)
    max_rate_hz: float = Field(gt=0)
    max_duty: float = Field(gt=0, le=1)
    duty_window_s: float = Field(gt=0)
    max_energy_per_target_mj: float = Field(gt=0)
    energy_window_s: float = Field(gt=0)
    max_total_energy_mj: float = Field(gt=0)
    min_gap_ms: float = Field(ge=0)
    target_refractory_ms: float = Field(ge=0)
    max_decision_age_ms: float = Field(gt=0)
    max_refused_per_min: int = Field(ge=0, le=100_000)
    allowed_phases: tuple[Literal["baseline", "calibrating", "live"], ...]
    exclusion_zones: tuple[ExclusionZone, ...]


class SessionLimits(Strict):
    """Bounds of one session, over all outputs together; a restart in the middle does not begin a new one."""

    max_energy_mj: float = Field(gt=0)
    max_pulses: int = Field(gt=0)


LONGEST_WATCHDOG_MS = 100.0
"""Longest time for which a real output may stay able to fire without being fed."""


class VirtualOutput(Strict):
    """Light that exists only on the wire: the virtual sample answers it, nothing else does.

    `watchdog_ms`: dark when the decision loop has not fed it for so long. A real output allows at most 100 ms; this one
    may be laxer, because a busy desktop computer is no danger to anybody.
    """

    driver: Literal["virtual"]
    watchdog_ms: float = Field(gt=0, le=60_000)
    limits: Limits


def _require_measured(limits: Limits, measured_mw: float | None) -> None:
    """What the limits allow must have been measured: nothing is extrapolated."""
    if measured_mw is not None and limits.max_power_mw > measured_mw:
        raise ValueError(f"limits.max_power_mw {limits.max_power_mw:g} is more than was measured, {measured_mw:g} mW")


class NiDaqOutput(NiDaqSettings):
    """Light behind an NI card, with its limits; see `NiDaqSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> NiDaqOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


class PulseBoxOutput(PulseBoxSettings):
    """Light behind a serial pulse box, with its limits; see `PulseBoxSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> PulseBoxOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


class PluginOutput(PluginOutputSettings):
    """Light by a driver of another package, with its limits; see `PluginOutputSettings`."""

    limits: Limits

    @model_validator(mode="after")
    def _power_was_measured(self) -> PluginOutput:
        _require_measured(self.limits, self.highest_mw)
        return self


MeasurableOutput = NiDaqOutput | PulseBoxOutput
"""Outputs whose power `calibrate-power` can measure."""
RealOutput = NiDaqOutput | PulseBoxOutput | PluginOutput
OutputConfig = Annotated[VirtualOutput | NiDaqOutput | PulseBoxOutput | PluginOutput, Field(discriminator="driver")]


class VirtualLine(Strict):
    """A digital line that exists only in the program: `spikeloop ctl press LINE` changes it."""

    driver: Literal["virtual"]
    level: Literal["low", "high"] = "high"


InputConfig = Annotated[VirtualLine | NiEdgeInput | NiLineInput | NiAnalogInput, Field(discriminator="driver")]


class StopLine(Strict):
    """The line of `inputs` that breaks the light's enable circuit; the program only reads it. Open means: trip."""

    line: str = Field(min_length=1)
    closed: Literal["low", "high"]


class NewCells(StrEnum):
    """What happens with cells that are found while the rig runs."""

    OFF = "off"
    OFFER = "offer"
    TAKE = "take"


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
    network: str | None = Field(None, description="weights of the network that votes: synthetic, or a file")
    max_shift_px: float = Field(8.0, gt=0, le=64)
    template_adaptation: bool = Field(False, description="let the template follow the look of the field, slowly")
    max_backlog_frames: int = Field(32, ge=1, le=1000)
    deadline_ms: float | None = Field(None, gt=0, description="null: the shortest max_decision_age_ms of the outputs")
    new_cells: NewCells = Field(NewCells.OFFER, description="off, offer, or take what is found while the rig runs")
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


class Ports(Strict):
    """TCP ports on `host`; inference of plane p uses `inference` + p."""

    host: str = "127.0.0.1"
    control: int = Field(5570, ge=1024, le=65535)
    acquisition: int = Field(5571, ge=1024, le=65535)
    inference: int = Field(5572, ge=1024, le=65535)
    stimulation: int = Field(5560, ge=1024, le=65535)
    stimulation_control: int = Field(5561, ge=1024, le=65535)
    recording: int = Field(5562, ge=1024, le=65535)
    telemetry: int = Field(5563, ge=1024, le=65535)
    supervisor: int = Field(5564, ge=1024, le=65535)
    recorder_inlet: int = Field(5565, ge=1024, le=65535)

    def endpoint(self, name: str) -> str:
        """``tcp://host:port`` of one of the fields."""
        return f"tcp://{self.host}:{getattr(self, name)}"

    def inference_endpoint(self, plane: int) -> str:
        """``tcp://host:port`` of the inference of one plane."""
        return f"tcp://{self.host}:{self.inference + plane}"

    def all_ports(self) -> dict[str, int]:
        """Every port by name."""
        return {name: value for name, value in self.model_dump().items() if name != "host"}

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
        return self.host in ("127.0.0.1", "localhost", "::1")


class RigConfig(Strict):
    """One rig: microscope, inference, outputs with their limits, recording and ports.

    `planes` are those that are inferred (null: all of the virtual rig, the one replayed, plane 0 of a stream) and
    `channel` the one that carries the indicator. `registration_channel` is a structural one by which movement is told,
    if there is one. Frames of others are recorded and passed on, and change nothing else.
    """

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    description: str = ""
    microscope: MicroscopeConfig
    planes: tuple[Annotated[int, Field(ge=0, le=255)], ...] | None = Field(None, min_length=1, max_length=MAX_PLANES)
    channel: int = Field(0, ge=0, le=255)
    registration_channel: int | None = Field(None, ge=0, le=255, description="null: movement is told by `channel`")
    inference: InferenceConfig = InferenceConfig()
    outputs: dict[str, OutputConfig]
    session_limits: SessionLimits
    inputs: dict[str, InputConfig] = {}
    stop_line: StopLine | None = None
    frame_clock: str | None = Field(None, description="the input (driver ni_edges) that sees each frame begin")
    protocol: str | None = None
    recording: RecordingConfig = RecordingConfig()
    scheduling: SchedulingConfig = SchedulingConfig()
    ports: Ports = Ports()
    keys: str | None = Field(None, description="folder of `spikeloop keys`, beside the rig file; null: loopback alone")
    mqtt: MqttConfig | None = None
    metrics: MetricsConfig | None = None
    subject: str | None = None
    animal: AnimalConfig = AnimalConfig()
    optics: OpticsConfig = OpticsConfig()
    max_idle_s: float = Field(10.0, gt=0)

    @model_validator(mode="after")
    def _beyond_loopback_with_keys(self) -> RigConfig:
        if self.ports.host in ("0.0.0.0", "*", "::"):
            raise ValueError(f"ports.host {self.ports.host} names no computer; give this one's address in its network")
        if self.keys is None and not self.ports.is_loopback:
            raise ValueError(f"ports.host {self.ports.host} is beyond loopback, which needs keys (key `keys`)")
        return self

    @model_validator(mode="after")
    def _stop_line_is_an_input(self) -> RigConfig:
        if self.stop_line is not None and self.stop_line.line not in self.inputs:
            raise ValueError(f"stop_line {self.stop_line.line!r} is not among inputs {sorted(self.inputs)}")
        return self

    @model_validator(mode="after")
    def _light_is_measured_by_edges(self) -> RigConfig:
        for name, output in self.outputs.items():
            line = output.measured_by if isinstance(output, RealOutput) else None
            if line is not None and not isinstance(self.inputs.get(line), NiEdgeInput):
                raise ValueError(f"outputs.{name}.measured_by {line!r} is no input with driver ni_edges")
        if self.frame_clock is not None and not isinstance(self.inputs.get(self.frame_clock), NiEdgeInput):
            raise ValueError(f"frame_clock {self.frame_clock!r} is no input with driver ni_edges")
        if self.stop_line is not None and isinstance(self.inputs[self.stop_line.line], NiEdgeInput | NiAnalogInput):
            raise ValueError(f"stop_line {self.stop_line.line!r} needs a level: use driver ni_line")
        return self

    @model_validator(mode="after")
    def _real_light_in_real_time(self) -> RigConfig:
        if not self.all_outputs_virtual and getattr(self.microscope, "pace", "real_time") == "max":
            raise ValueError("microscope.pace max: real outputs need a source that is tied to the clock; use real_time")
        return self

    @model_validator(mode="after")
    def _two_channels(self) -> RigConfig:
        if self.registration_channel is None:
            return self
        if self.registration_channel == self.functional_channel:
            raise ValueError(f"registration_channel is channel {self.functional_channel}, which is read; leave it out")
        if isinstance(self.microscope, VirtualMicroscope):
            if self.microscope.structural_photons is None:
                raise ValueError(
                    "registration_channel: the virtual rig has one only with microscope.structural_photons"
                )
            if self.registration_channel != STRUCTURAL_CHANNEL:
                raise ValueError(f"registration_channel: that of the virtual rig is {STRUCTURAL_CHANNEL}")
        return self

    @model_validator(mode="after")
    def _real_light_has_a_watchdog(self) -> RigConfig:
        """Whatever the driver's own section says: no real light without a watchdog, and none that bites late."""
        for name, output in self.outputs.items():
            watchdog_ms = getattr(output, "watchdog_ms", None)
            if str(output.driver) != "virtual" and not (watchdog_ms and 0 < watchdog_ms <= LONGEST_WATCHDOG_MS):
                told = "is required" if watchdog_ms is None else f"{watchdog_ms:g} is too long"
                raise ValueError(f"outputs.{name}.watchdog_ms {told}: at most {LONGEST_WATCHDOG_MS:g} for real light")
        return self

    @model_validator(mode="after")
    def _planes_there(self) -> RigConfig:
        planes = self.planes_inferred
        if list(planes) != sorted(set(planes)):
            raise ValueError(f"planes {list(planes)} must be different and ascending")
        if isinstance(self.microscope, VirtualMicroscope) and planes[-1] >= self.microscope.n_planes:
            raise ValueError(f"there is no plane {planes[-1]}: microscope.n_planes is {self.microscope.n_planes}")
        others = {port: name for name, port in self.ports.all_ports().items() if name != "inference"}
        for plane in planes:
            port = self.ports.inference + plane
            if port in others or port > 65535:
                taken = f"that of {others[port]}" if port in others else "beyond 65535"
                raise ValueError(f"the port of inference of plane {plane} would be {port}, {taken}")
        return self

    @property
    def planes_inferred(self) -> tuple[int, ...]:
        """The planes that inference serves, ascending."""
        if self.planes is not None:
            return self.planes
        if isinstance(self.microscope, VirtualMicroscope):
            return tuple(range(self.microscope.n_planes))
        return (self.microscope.plane,) if isinstance(self.microscope, ReplayMicroscope) else (0,)

    @property
    def functional_channel(self) -> int:
        """The channel that inference serves: the one replayed, else `channel`."""
        return self.microscope.channel if isinstance(self.microscope, ReplayMicroscope) else self.channel

    @property
    def deadline_ns(self) -> int:
        """Longest time from the scan to the decision after which a frame may still trigger, nanoseconds."""
        own_ms = self.inference.deadline_ms
        ages_ms = [output.limits.max_decision_age_ms for output in self.outputs.values()]
        return round(1e6 * (min(ages_ms, default=1e12) if own_ms is None else own_ms))

    @property
    def all_outputs_virtual(self) -> bool:
        """True if no output can emit real light."""
        return all(output.driver == "virtual" for output in self.outputs.values())


def require_measured_power(rig: RigConfig, rig_file: str) -> None:
    """Refuse a rig with an output whose power at the sample is not known; a dry run may use one.

    Raises
    ------
    ConfigError
        Naming the output, and how to measure.
    """
    for name, output in rig.outputs.items():
        if isinstance(output, RealOutput) and output.highest_mw is None:
            raise ConfigError(
                "its `power` is null: the power at the sample is not known",
                f"measure it with `spikeloop calibrate-power {rig_file} {name}`, or run with --dry-run",
                key=f"outputs.{name}",
            )


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, safely loaded.

    Raises
    ------
    ConfigError
        The file is missing, is no YAML, or holds no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"is not valid YAML: {' '.join(str(error).split())}", file=str(path)) from error
    if not isinstance(data, dict):
        raise ConfigError("must hold a mapping of keys to values", file=str(path))
    return data


_TAGGED = {"microscope": 1, "outputs": 2, "inputs": 2}
"""Where the path of a finding names the driver that a part of the rig was read as, which is no key of the file."""


def config_error(file: str, error: ValidationError) -> ConfigError:
    """First finding of a validation as one line: file, key, and what is allowed."""
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    what = {
        "missing": "is required and missing",
        "extra_forbidden": "is not a known key",
    }.get(first["type"], f"{first['msg'][:1].lower()}{first['msg'][1:]}, got {first.get('input')!r}")
    if first["type"] == "value_error":  # our own words say what is wrong; a whole section would bury them
        what = str(first["ctx"]["error"]) + ("" if isinstance(first["input"], dict) else f", got {first['input']!r}")
    context = first.get("ctx", {})
    if first["type"].startswith("union_tag"):
        loc.append(context["discriminator"].strip("'"))
        known = (
            f"one of {context['expected_tags']}" if "expected_tags" in context else "which tells what the rest means"
        )
        what = f"is {context['tag']!r}, not {known}" if "tag" in context else f"is required and missing, {known}"
    elif loc and len(loc) > _TAGGED.get(loc[0], len(loc)):
        del loc[_TAGGED[loc[0]]]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return ConfigError(what + more, file=file, key=".".join(loc))


def rig_schema() -> str:
    """JSON Schema of a rig file, for editors; committed as ``hardware_configs/rig.schema.json``."""
    return json.dumps(RigConfig.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def load_rig(path: Path) -> RigConfig:
    """Read and check a rig file.

    Raises
    ------
    ConfigError
        Naming the file, the key, and what is allowed.
    """
    try:
        rig = RigConfig.model_validate(read_power_files(read_yaml(path), path.parent, read_yaml))
    except ValidationError as error:
        raise config_error(str(path), error) from error
    mqtt = None if rig.mqtt is None else rig.mqtt.beside(path.parent)
    keys = None if rig.keys is None else str((path.parent / rig.keys).absolute())
    return rig.model_copy(update={"mqtt": mqtt, "keys": keys})
