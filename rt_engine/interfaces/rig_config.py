"""Schema of a rig YAML: frozen, unknown keys refused, a unit in every key, limits without defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.marks_config import MarksConfig, require_no_light
from rt_engine.interfaces.metrics_config import MetricsConfig
from rt_engine.interfaces.microscope_config import VendorMicroscope
from rt_engine.interfaces.mqtt_config import MqttConfig
from rt_engine.interfaces.ni_config import NiAnalogInput, NiEdgeInput, NiLineInput
from rt_engine.interfaces.output_config import (
    LONGEST_WATCHDOG_MS,
    OutputConfig,
    RealOutput,
    SessionLimits,
    VirtualOutput,
)
from rt_engine.interfaces.plugin_config import PluginInput, PluginMicroscope
from rt_engine.interfaces.power_table import read_measured_files
from rt_engine.interfaces.sample_config import SampleConfig
from rt_engine.interfaces.scan_gate_config import require_scanner
from rt_engine.interfaces.service_config import InferenceConfig, Ports, RecordingConfig, SchedulingConfig
from rt_engine.interfaces.specimen_config import AnimalConfig, ExperimentConfig, OpticsConfig
from rt_engine.interfaces.stream_config import StreamMicroscope
from rt_engine.interfaces.strict import Strict
from rt_engine.interfaces.virtual_inputs import VirtualEdgesInput, VirtualLine, VirtualVoltageInput
from rt_engine.interfaces.yaml_files import config_error, read_yaml

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
    frame_flyback_ms: float = Field(
        0.0, ge=0, le=100, description="behind the last line of each frame the mirror returns for so long; no line then"
    )
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

    @property
    def flyback_part(self) -> float:
        """The part of a frame's time, at its end, in which no line is scanned."""
        return self.frame_flyback_ms / 1000 * self.frame_rate_hz

    @model_validator(mode="after")
    def _lines_have_time(self) -> VirtualMicroscope:
        if self.flyback_part > 0.5:
            whole_ms = 1000 / self.frame_rate_hz
            raise ValueError(f"frame_flyback_ms {self.frame_flyback_ms:g} is more than half a frame, {whole_ms:.2f} ms")
        return self

    def first_plane_alone(self) -> VirtualMicroscope:
        """Plane 0 as often as the volume shows it, without the others."""
        rate_hz = self.frame_rate_hz / self.frames_per_volume
        return self.model_copy(update={"frame_rate_hz": rate_hz, "n_planes": 1, "n_flyback_frames": 0})


class ReplayMicroscope(Strict):
    """Frames of a movie file or of a recorded session. `speed` 1 is real time; `max` as fast as it is consumed.

    `axes` is the order of a movie's axes where it does not say, slowest first (``TZCYX``); `frame_shape` the lines and
    pixels of a file of bare numbers. `from_traces` starts from the recorded traces of a session, not from its frames;
    `traces_from_frame` goes on from them at that frame (volume, where the source gave volumes).
    """

    driver: Literal["replay"]
    path: str
    from_traces: bool = False
    traces_from_frame: int | None = Field(None, ge=0, description="null: never, as long as there are frames")
    frame_rate_hz: float | None = Field(None, gt=0)
    channel: int = Field(0, ge=0)
    plane: int = Field(0, ge=0)
    axes: str | None = Field(None, pattern="^[TZCYXtzcyx]{2,5}$")
    frame_shape: tuple[int, int] | None = None
    um_per_px: float | None = Field(None, gt=0)
    speed: float | Literal["max"] = 1.0
    strip_lines: int | None = Field(None, ge=4, description="lines of a message, of a movie; null: whole frames")
    live_silence_s: float | None = Field(None, gt=0, description="null: max_idle_s; longest silence that did not trip")

    @property
    def first_frame_of_traces(self) -> int | None:
        """From where on the recorded traces stand in for pixels; None: nowhere."""
        return 0 if self.from_traces else self.traces_from_frame


MicroscopeConfig = Annotated[
    VirtualMicroscope | ReplayMicroscope | StreamMicroscope | VendorMicroscope | PluginMicroscope,
    Field(discriminator="driver"),
]


InputConfig = Annotated[
    VirtualLine | VirtualEdgesInput | VirtualVoltageInput | NiEdgeInput | NiLineInput | NiAnalogInput | PluginInput,
    Field(discriminator="driver"),
]
_TELLS = {
    **{"virtual": "level", "virtual_edges": "edges", "virtual_voltage": "samples"},
    **{"ni_line": "level", "ni_edges": "edges", "ni_analog": "samples"},
}


def _kind(config: InputConfig | None) -> str | None:
    """What an input tells: edges, a level, or samples."""
    if isinstance(config, PluginInput):
        return config.kind
    return None if config is None else _TELLS[config.driver]


def _is_none_of(kind: str) -> str:
    """What is wrong with an input that has to tell `kind`, and which drivers do."""
    drivers = ", ".join(driver for driver, tells in _TELLS.items() if tells == kind)
    return f"is no input that tells {kind}: take driver {drivers}, or plugin with kind {kind}"


class StopLine(Strict):
    """The line of `inputs` that breaks the light's enable circuit; the program only reads it. Open means: trip."""

    line: str = Field(min_length=1)
    closed: Literal["low", "high"]


class RigConfig(Strict):
    """One rig: microscope, inference, outputs with their limits, recording and ports.

    `planes` are those that are inferred (null: all of the virtual rig, the one replayed, plane 0 of a stream) and
    `channel` the one that carries the indicator. `registration_channel` is a structural one by which movement is told,
    if there is one. Frames of others are recorded and passed on, and change nothing else.
    """

    schema_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")
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
    marks: MarksConfig | None = None
    protocol: str | None = None
    recording: RecordingConfig = RecordingConfig()
    scheduling: SchedulingConfig = SchedulingConfig()
    ports: Ports = Ports()
    keys: str | None = Field(None, description="folder of `spikeloop keys`, beside the rig file; null: loopback alone")
    mqtt: MqttConfig | None = None
    metrics: MetricsConfig | None = None
    subject: str | None = None
    experiment: ExperimentConfig = ExperimentConfig()
    animal: AnimalConfig = AnimalConfig()
    optics: OpticsConfig = OpticsConfig()
    max_idle_s: float = Field(10.0, gt=0)
    trial_gated: bool = Field(
        False,
        description="true: frames come in trials (loops, external triggers), and silence between them, up to "
        "`max_idle_s`, is a pause without light; false: it is a fault",
    )

    @model_validator(mode="after")
    def _beyond_loopback_with_keys(self) -> RigConfig:
        if self.ports.host in ("0.0.0.0", "*", "::"):
            raise ValueError(f"ports.host {self.ports.host} names no computer; give this one's address in its network")
        if self.keys is None and not self.ports.is_loopback:
            beyond = ", ".join(sorted({self.ports.host, *self.ports.hosts.values()}))
            raise ValueError(f"ports: {beyond} is beyond loopback, which needs keys (key `keys`)")
        if self.keys is None and isinstance(self.microscope, StreamMicroscope) and self.microscope.needs_keys():
            raise ValueError(f"microscope.listen {self.microscope.listen} is beyond loopback, which needs `keys`")
        return self

    @model_validator(mode="after")
    def _stop_line_is_an_input(self) -> RigConfig:
        if self.stop_line is not None and self.stop_line.line not in self.inputs:
            raise ValueError(f"stop_line {self.stop_line.line!r} is not among inputs {sorted(self.inputs)}")
        return self

    @model_validator(mode="after")
    def _light_is_measured_by_edges(self) -> RigConfig:
        for name, output in self.outputs.items():
            line = getattr(output, "measured_by", None)
            if line is not None and _kind(self.inputs.get(line)) != "edges":
                raise ValueError(f"outputs.{name}.measured_by {line!r} {_is_none_of('edges')}")
        if self.frame_clock is not None and _kind(self.inputs.get(self.frame_clock)) != "edges":
            raise ValueError(f"frame_clock {self.frame_clock!r} {_is_none_of('edges')}")
        if self.stop_line is not None and _kind(self.inputs[self.stop_line.line]) != "level":
            raise ValueError(f"stop_line {self.stop_line.line!r} {_is_none_of('level')}")
        return self

    @model_validator(mode="after")
    def _virtual_light_waits_for_a_virtual_scan(self) -> RigConfig:
        scan = self.microscope if isinstance(self.microscope, VirtualMicroscope) else None
        one = self.ports.host_of("acquisition") == self.ports.host_of("stimulation")
        for name, output in self.outputs.items():
            if isinstance(output, VirtualOutput) and output.scan_gate is not None:
                frame_ms = None if scan is None else 1000 / scan.frame_rate_hz
                require_scanner(name, output.scan_gate, frame_ms, one_computer=one)
        return self

    @model_validator(mode="after")
    def _marks_light_nothing(self) -> RigConfig:
        if self.marks is not None:
            require_no_light(self.marks, self.outputs)
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
        for name in self.ports.hosts:
            number = name.partition(".")[2]
            if number and int(number) not in planes:
                raise ValueError(f"ports.hosts.{name}: plane {number} is not inferred, planes {list(planes)} are")
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
        rig = RigConfig.model_validate(read_measured_files(read_yaml(path), path.parent, read_yaml))
    except ValidationError as error:
        raise config_error(str(path), error) from error
    mqtt = None if rig.mqtt is None else rig.mqtt.beside(path.parent)
    keys = None if rig.keys is None else str((path.parent / rig.keys).absolute())
    return rig.model_copy(update={"mqtt": mqtt, "keys": keys})
