"""What of an NI card an output uses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rt_engine.interfaces.file_schema import OrFile
from rt_engine.interfaces.power_table import MeasuredPower, PowerTable
from rt_engine.interfaces.scan_gate_config import NiScanGate, Terminal
from rt_engine.interfaces.strict import Strict

Line = Annotated[str, Field(pattern=r"^port\d+/line\d+$")]
Counter = Annotated[str, Field(pattern=r"^ctr\d+$")]


class NiTrigger(Strict):
    """A wire on the connector block: the driver raises `line`, and the card starts the pulse at the edge on `terminal`.

    The lowest jitter. Without it the pulse is started by a call to the driver.
    """

    line: Line
    terminal: Terminal


class _OnOff(Strict):
    """A source with one power."""

    power: Annotated[MeasuredPower | None, OrFile()] = Field(
        description="measured at the sample; null: uncalibrated, for --dry-run only"
    )

    @property
    def highest_mw(self) -> float | None:
        """The highest power that was measured; None where none was."""
        return None if self.power is None else self.power.power_mw


class NiGate(_OnOff):
    """A digital line opens the light for the width of the pulse: LED or laser with a TTL gate, fixed power."""

    kind: Literal["gate"]
    line: Line
    sample_rate_hz: float = Field(100_000.0, ge=1000, le=10_000_000)


class NiAnalog(Strict):
    """A voltage sets the power for the width of the pulse: LED driver, AOM, Pockels cell; the last sample is 0 V."""

    kind: Literal["analog"]
    channel: str = Field(pattern=r"^ao\d+$")
    max_v: float = Field(gt=0, le=10, description="what the device behind it bears; never exceeded")
    sample_rate_hz: float = Field(100_000.0, ge=1000, le=1_000_000)
    power: Annotated[PowerTable | None, OrFile()] = Field(
        description="volts to mW at the sample, or the file that `calibrate-power` has written; null: uncalibrated"
    )

    @property
    def highest_mw(self) -> float | None:
        """The highest power that was measured; None where none was."""
        return None if self.power is None else self.power.power_mw[-1]


class NiCounter(_OnOff):
    """A counter makes the pulses, to the microsecond and without a buffer: TTL gate, fixed power."""

    kind: Literal["counter"]
    counter: Counter


class NiShutter(Strict):
    """A counter whose output is high around each train: it opens a shutter, or gates the PMT off, and ends by itself.

    The card itself makes light wait for it: the pulse starts at its rising edge, `lead_ms` later. It falls `lag_ms`
    after the last pulse, also where the program has died meanwhile.
    """

    counter: Counter
    lead_ms: float = Field(gt=0, le=100)
    lag_ms: float = Field(ge=0, le=1000)


class NiDaqSettings(Strict):
    """An output of an NI card.

    `enable_line` stands in series with the light (AND gate, shutter, interlock input): it is high while armed, and the
    card's own watchdog makes it low when the decision loop has not fed it for `watchdog_ms`. `server` is the address of
    an NI gRPC Device Server; null: the card is in this computer.
    """

    driver: Literal["ni_daq"]
    device: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    server: str | None = Field(None, pattern=r"^[^\s:]+:\d+$", description="host:port of a gRPC Device Server")
    enable_line: Line
    watchdog_ms: float = Field(ge=20, le=100)
    pulse: Annotated[NiGate | NiAnalog | NiCounter, Field(discriminator="kind")]
    trigger: NiTrigger | None = None
    shutter: NiShutter | None = None
    scan_gate: NiScanGate | None = None
    measured_by: str | None = Field(None, description="the input (driver ni_edges) that sees each pulse begin")
    splits_beam: bool = Field(
        False, description="true: an SLM divides the beam, so it carries the power of all targets"
    )
    max_beam_mw: float = Field(gt=0, description="at the sample, of all targets together; never exceeded")

    @property
    def highest_mw(self) -> float | None:
        """The highest power that was measured; None where none was."""
        return self.pulse.highest_mw

    @property
    def power(self) -> PowerTable | MeasuredPower | None:
        """What was measured."""
        return self.pulse.power

    @property
    def more_lines(self) -> tuple[str, ...]:
        """Digital lines beyond those of the pulse, the enable circuit and the trigger."""
        return ()

    @property
    def longest_wait_ms(self) -> float:
        """By how much light may begin after the command at the latest, whatever becomes of this program.

        A train that the scanner holds back is recalled by the loop, and by the watchdog where there is no loop.
        """
        lead_ms = self.shutter.lead_ms if self.shutter else 0.0
        return self.scan_gate.give_up_ms + self.watchdog_ms if self.scan_gate else lead_ms

    @model_validator(mode="after")
    def _starts_in_one_way(self) -> NiDaqSettings:
        shutter, gate, counter = self.shutter, self.scan_gate, isinstance(self.pulse, NiCounter)
        if gate is not None and self.trigger is not None:
            raise ValueError("trigger and scan_gate: the frame clock starts the pulse, leave out trigger")
        if shutter is not None and gate is not None and gate.after_ms <= shutter.lead_ms:
            raise ValueError(f"scan_gate.after_ms {gate.after_ms:g} leaves no time for shutter.lead_ms")
        if shutter is not None and counter and self.trigger is not None:
            raise ValueError("a counter fired by an edge does not wait for the shutter each time: leave out trigger")
        if shutter is not None and isinstance(self.pulse, NiCounter) and self.pulse.counter == shutter.counter:
            raise ValueError(f"{shutter.counter} has two roles: pulse and shutter")
        return self


class NiEdgeInput(Strict):
    """Times of rising edges on a terminal of an NI card: frame clock, loop-back of the light, a button.

    `counter` latches the card's 100 MHz clock at every edge; one counter is used for each such input.
    """

    driver: Literal["ni_edges"]
    device: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    server: str | None = Field(None, pattern=r"^[^\s:]+:\d+$")
    counter: Counter
    terminal: Terminal
    max_rate_hz: float = Field(10_000.0, gt=0, le=1e6)


class NiLineInput(Strict):
    """The level of a digital line of an NI card, read in every turn of the acquisition: a stop line, a lever."""

    driver: Literal["ni_line"]
    device: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    server: str | None = Field(None, pattern=r"^[^\s:]+:\d+$")
    line: Line


class NiAnalogInput(Strict):
    """A voltage, sampled by the clock of an NI card: running wheel, photodiode, lick sensor."""

    driver: Literal["ni_analog"]
    device: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    server: str | None = Field(None, pattern=r"^[^\s:]+:\d+$")
    channel: str = Field(pattern=r"^ai\d+$")
    sample_rate_hz: float = Field(1000.0, gt=0, le=100_000)
    range_v: float = Field(10.0, gt=0, le=10)
    mw_per_v: float | None = Field(
        None, gt=0, description="of a photodiode: mW at the sample for a volt, as measured; null: none, or not known"
    )
