"""What tells the power of a step that is lit: a person at a power meter, or a photodiode on an analogue input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.errors import ConfigError, DeviceError, SafetyError
from rt_engine.interfaces.inputs import SampleInput

_EARLY_MS, _LATE_MS = 5.0, 15.0
"""A pulse is looked for from so long before its command to so long after its end: light and diode are late."""
_LEAST_SAMPLES = 5
_FULL = 0.98
_SURE = 5.0
_SAME = 0.05
"""Share by which two readings of the meter may tell another mW per volt."""


class Flicker(NamedTuple):
    """Pulses of the same width, evenly spaced."""

    width_ms: float
    period_ms: float

    @property
    def duty(self) -> float:
        """Share of time with light."""
        return self.width_ms / self.period_ms


class Lit(NamedTuple):
    """A step as it was lit: when each pulse was commanded; none at step 0."""

    step: float
    train: Flicker
    commands_ns: tuple[int, ...]

    @property
    def duty(self) -> float:
        """Share of time with light as it really was, for a busy computer is late."""
        if len(self.commands_ns) < 2:
            return self.train.duty
        span_ns = self.commands_ns[-1] - self.commands_ns[0]
        return self.train.width_ms * NS_PER_MS * (len(self.commands_ns) - 1) / span_ns


class Meter(Protocol):
    """Tells the power of each step."""

    def begin(self, step: float) -> None:
        """The step will be lit now."""
        ...

    def look(self) -> None:
        """A pulse has passed; called several times a second while there is light."""
        ...

    def power_mw(self, lit: Lit) -> float:
        """Power in each pulse of the step that was lit, at the sample."""
        ...


class TypedMeter:
    """A person looks at a power meter, which averages, and types what it showed.

    Parameters
    ----------
    announce : callable
        Told the step that is being lit.
    read_mw : callable
        Told the step; returns the average power that the meter showed meanwhile, mW.
    """

    def __init__(self, announce: Callable[[float], None], read_mw: Callable[[float], float]) -> None:
        self._announce, self._read_mw = announce, read_mw

    def begin(self, step: float) -> None:
        """Say that it is time to look."""
        self._announce(step)

    def look(self) -> None:
        """The person looks."""

    def power_mw(self, lit: Lit) -> float:
        """Average over the share of time with light."""
        return self._read_mw(lit.step) / lit.duty


class DiodeReading(NamedTuple):
    """Volts above the dark while there is light, with the standard error over the pulses, and the highest sample."""

    volts: float
    error_v: float
    highest_v: float


def read_pulses(
    times_ns: NDArray[np.int64], volts: NDArray[np.float32], sample_rate_hz: float, lit: Lit
) -> DiodeReading:
    """What a photodiode shows during the pulses: the area of each above the dark around it, over its width.

    The area does not ask when exactly light began, nor how fast the photodiode is.

    Parameters
    ----------
    times_ns : int64 ndarray, shape (n_samples,)
        On the clock of the commands, read.
    volts : float32 ndarray, shape (n_samples,)
        Read.
    sample_rate_hz : float
    lit : Lit
    """
    highest_v = float(volts.max(initial=0.0))
    if not lit.commands_ns:
        return DiodeReading(0.0, 0.0, highest_v)
    spare_ms = (lit.train.period_ms - lit.train.width_ms) / 4
    early_ns = round(min(_EARLY_MS, spare_ms) * NS_PER_MS)
    late_ns = round((lit.train.width_ms + min(_LATE_MS, spare_ms)) * NS_PER_MS)
    first = np.searchsorted(times_ns, [t - early_ns for t in lit.commands_ns])
    last = np.searchsorted(times_ns, [t + late_ns for t in lit.commands_ns])
    dark = np.ones(len(volts), bool)
    for i, j in zip(first, last, strict=True):
        dark[i:j] = False
    dark_v = float(volts[dark].mean()) if dark.any() else 0.0
    areas = [float(np.sum(volts[i:j] - dark_v)) / sample_rate_hz for i, j in zip(first, last, strict=True)]
    pulses = np.array(areas) * 1000 / lit.train.width_ms
    error_v = float(pulses.std(ddof=1) / np.sqrt(len(pulses))) if len(pulses) > 1 else 0.0
    return DiodeReading(float(pulses.mean()), error_v, highest_v)


class DiodeMeter:
    """A photodiode that sees a share of the light.

    Parameters
    ----------
    device : SampleInput
    range_v : float
        Beyond it nothing is told.
    mw_per_v : float or None
        At the sample; None while it is not known: then only `volts` may be asked.

    Attributes
    ----------
    name : str
    mw_per_v : float or None
    readings : list of DiodeReading
        Of every step, in turn.
    """

    def __init__(self, device: SampleInput, range_v: float, mw_per_v: float | None) -> None:
        self.name, self.mw_per_v = device.name, mw_per_v
        self._device, self._range_v = device, range_v
        self._times: list[NDArray[np.int64]] = []
        self._volts: list[NDArray[np.float32]] = []
        self.readings: list[DiodeReading] = []

    def begin(self, step: float) -> None:
        """Begin to sample; anew for each step, so that no drift of the card adds up. Raises DeviceError."""
        self._device.close()
        self._times, self._volts = [], []
        self._device.open()

    def look(self) -> None:
        """Take what has been sampled. Raises DeviceError."""
        block = self._device.take_block()
        if block is not None:
            period_ns = NS_PER_S / self._device.sample_rate_hz
            steps = np.round(np.arange(len(block.volts)) * period_ns).astype(np.int64)
            self._times.append(block.t_first_ns + steps)
            self._volts.append(block.volts)

    def volts(self, lit: Lit) -> float:
        """Volts above the dark during the pulses.

        Raises
        ------
        DeviceError
            The photodiode is at the end of its range.
        """
        self.look()
        self._device.close()
        times_ns = np.concatenate([np.empty(0, np.int64), *self._times])
        volts = np.concatenate([np.empty(0, np.float32), *self._volts])
        reading = read_pulses(times_ns, volts, self._device.sample_rate_hz, lit)
        if reading.highest_v >= _FULL * self._range_v:
            text = f"shows {reading.highest_v:.3g} V at step {lit.step:g}, the end of its range"
            raise DeviceError(self._device.name, text, "lower its gain, put a filter before it, or raise `range_v`")
        self.readings.append(reading)
        return reading.volts

    def power_mw(self, lit: Lit) -> float:
        """Power by what a volt is at the sample.

        Raises
        ------
        DeviceError
            The photodiode is at the end of its range.
        SafetyError
            What a volt is is not known.
        """
        if self.mw_per_v is None:
            raise SafetyError(f"{self._device.name}: what a volt of it is at the sample is not known")
        return max(0.0, self.volts(lit) * self.mw_per_v)

    def require_seen(self) -> None:
        """Refuse readings that are no light.

        Raises
        ------
        DeviceError
            The strongest is within its noise.
        """
        strongest = max(self.readings, key=lambda one: one.volts)
        if strongest.volts <= _SURE * strongest.error_v or strongest.volts <= 0:
            text = f"does not see the light: {strongest.volts:.3g} V, known to {strongest.error_v:.2g}"
            raise DeviceError(self._device.name, text, "follow its wire, take the cap off, put it behind the gate")

    def close(self) -> None:
        """Release the device."""
        self._device.close()


class AnchorMeter:
    """Both at once: what a volt of the photodiode is follows from what a person reads.

    Parameters
    ----------
    diode : DiodeMeter
    typed : TypedMeter
    """

    def __init__(self, diode: DiodeMeter, typed: TypedMeter) -> None:
        self._diode, self._typed = diode, typed

    def begin(self, step: float) -> None:
        """Both look."""
        self._typed.begin(step)
        self._diode.begin(step)

    def look(self) -> None:
        """The photodiode is asked."""
        self._diode.look()

    def power_mw(self, lit: Lit) -> float:
        """Of the power meter; tells the photodiode what a volt is, or compares with what it was told before.

        Raises
        ------
        DeviceError
            The photodiode sees nothing, is at the end of its range, or does not follow the power meter.
        """
        volts = self._diode.volts(lit)
        self._diode.require_seen()
        power_mw = self._typed.power_mw(lit)
        now, before = power_mw / volts, self._diode.mw_per_v
        if before is not None and abs(now / before - 1) > _SAME:
            text = f"does not follow the power meter: {now:.4g} mW a volt at step {lit.step:g}, {before:.4g} before"
            remedy = "keep other light away, stay in its linear range, let the meter settle"
            raise DeviceError(self._diode.name, text, remedy)
        self._diode.mw_per_v = now if before is None else (now + before) / 2
        return power_mw


def require_fast(name: str, sample_rate_hz: float, train: Flicker) -> None:
    """Refuse a photodiode that is sampled too seldom for the pulses.

    Raises
    ------
    ConfigError
        Naming the key and what it has to be.
    """
    if sample_rate_hz * train.width_ms / 1000 < _LEAST_SAMPLES:
        least_hz = _LEAST_SAMPLES * 1000 / train.width_ms
        raise ConfigError(
            f"{sample_rate_hz:g} Hz is too seldom for pulses of {train.width_ms:g} ms",
            f"at least {least_hz:g}",
            key=f"inputs.{name}.sample_rate_hz",
        )
