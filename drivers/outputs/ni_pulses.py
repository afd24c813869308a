"""Pulses as finite tasks of an NI card: timed by its clock, primed before they are needed, dark by themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.ni.connection import NiConnection
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.ni_config import NiAnalog, NiCounter, NiDaqSettings, NiGate, NiShutter

MAX_SAMPLES = 1_000_000
_SHORTEST_S = 10e-6


class Shape(NamedTuple):
    """What a train looks like; `level` is volts of an analogue output, 1 of all others; `delay_us` before the first,
    beyond what the shutter and the scanner ask for."""

    pulses: int
    width_us: int
    period_us: int
    level: float
    delay_us: int = 0


def pulse_samples(shape: Shape, sample_rate_hz: float) -> NDArray[np.float64]:
    """Samples of a train; never longer than commanded, and zero at the end.

    Parameters
    ----------
    shape : Shape
    sample_rate_hz : float

    Returns
    -------
    float64 ndarray, shape (n_samples,)
        `shape.level` while there is light, else 0; the last one is 0. Widths are cut to whole samples.

    Raises
    ------
    ValueError
        A pulse is shorter than a sample, pulses touch, or the train has too many samples.
    """
    width = int(shape.width_us * sample_rate_hz / 1e6)
    if width < 1:
        raise ValueError(f"width_us {shape.width_us} is shorter than a sample at {sample_rate_hz:g} Hz")
    delay = math.ceil(shape.delay_us * sample_rate_hz / 1e6)
    starts = [delay + round(i * shape.period_us * sample_rate_hz / 1e6) for i in range(shape.pulses)]
    if any(later - earlier <= width for earlier, later in pairwise(starts)):
        raise ValueError(f"pulses of {shape.width_us} us every {shape.period_us} us touch at {sample_rate_hz:g} Hz")
    n_samples = starts[-1] + width + 1
    if n_samples > MAX_SAMPLES:
        raise ValueError(f"a train of {n_samples} samples is more than {MAX_SAMPLES}; use a counter")
    samples = np.zeros(n_samples)
    for start in starts:
        samples[start : start + width] = shape.level
    return samples


class PulseTask:
    """The pulse of one output: at most one task on the card, and one of its shutter, made for one shape of train.

    Parameters
    ----------
    card : NiConnection
    config : NiDaqSettings
        What makes the pulse, and what starts it: a call, an edge that we make on a terminal, or the frame clock. Where
        there is a shutter, that is started so, and the pulse by the shutter's rising edge, inside the card.
    """

    def __init__(self, card: NiConnection, config: NiDaqSettings) -> None:
        self._card, self._settings, self._trigger = card, config.pulse, config.trigger
        self._shutter, self._scan_gate = config.shutter, config.scan_gate
        self.channel = _channel_of(config.pulse)
        self._task: Any = None
        self._cover: Any = None
        self._shape: Shape | None = None
        self._begun = False
        self._rest: Any = None
        self._write_rest: Callable[[], object] | None = None
        self._line: Any = None
        self._raise_line: Callable[[bool], object] | None = None
        self.edge_high = False

    def open(self) -> None:
        """Make the tasks that keep light off, and use them. Raises DeviceError."""
        with self._card.errors(self.channel):
            if not isinstance(self._settings, NiCounter):
                self._rest = self._card.task("rest")
                self._write_rest = _rest_writer(self._card, self._settings, self._rest)
            if self._trigger is not None:
                self._line = self._card.task("trigger")
                self._raise_line = line_writer(self._card, self._line, self._trigger.line)
        self.rest()

    def prime(self, shape: Shape) -> None:
        """Have a train of this shape ready, so that `begin` is one call. Raises DeviceError."""
        if shape == self._shape and self._task is not None:
            self._ready_again()
            return
        self._end()
        with self._card.errors(self.channel):
            self._task = self._card.task("pulse")
            self._begun = False
            before_us = 0 if self._scan_gate is None else round(self._scan_gate.after_ms * 1000)
            held = shape
            if self._shutter is not None:
                lead_us = round(self._shutter.lead_ms * 1000)
                held = shape._replace(delay_us=shape.delay_us + lead_us)
                self._cover = self._card.task("shutter")
                _make_shutter(self._card, self._shutter, self._cover, held, max(0, before_us - lead_us))
            else:
                held = shape._replace(delay_us=shape.delay_us + before_us)
            if isinstance(self._settings, NiCounter):
                _make_counter(self._card, self._settings, self._task, held)
            else:
                _make_buffer(self._card, self._settings, self._task, held)
            self._arm()
        self._shape = shape

    def begin(self) -> None:
        """Start the primed train, or have it wait for the frame clock: one call, inside `NiConnection.errors`."""
        self._begun = True
        if self._raise_line is not None:
            self.edge_high = True
            self._raise_line(True)
        else:
            self._first.start()

    def has_fallen(self) -> bool:
        """True when the last pulse is over, whatever the shutter does; raises DeviceError as `check`."""
        with self._card.errors(self.channel):
            return bool(self._task.is_task_done())

    def check(self) -> bool:
        """True when the train has ended, with its shutter; raises DeviceError if the card could not go on with it."""
        with self._card.errors(self.channel):
            done = bool(self._task.is_task_done()) and (self._cover is None or bool(self._cover.is_task_done()))
        return done or self._trigger is not None

    def finish(self) -> None:
        """After the end of a train: make the next one ready. Raises DeviceError."""
        if self._task is not None:
            self._ready_again()

    def lower_edge(self) -> None:
        """Take the trigger line back. Raises DeviceError."""
        if self._raise_line is not None and self.edge_high:
            with self._card.errors(self._trigger.line if self._trigger else self.channel):
                self._raise_line(False)
            self.edge_high = False

    def rest(self) -> None:
        """Dark now: the train ended wherever it is, the channel at zero. Raises DeviceError."""
        self._end()
        with self._card.errors(self.channel):
            if self._raise_line is not None:
                self._raise_line(False)
                self.edge_high = False
            if self._write_rest is not None:
                self._write_rest()
                self._free_rest()

    def close(self) -> None:
        """Release the card."""
        tasks = [task for task in (self._task, self._cover, self._rest, self._line) if task is not None]
        self._task = self._cover = self._rest = self._line = self._shape = self._raise_line = self._write_rest = None
        for task in tasks:
            self._card.end(task)

    def _ready_again(self) -> None:
        if self._trigger is None and self._begun:
            with self._card.errors(self.channel):
                self._first.stop()
                if self._cover is not None:
                    self._task.stop()
                    self._task.start()
            self._begun = False

    @property
    def _first(self) -> Any:
        """What is started: the shutter, whose edge starts the pulse, or the pulse."""
        return self._task if self._cover is None else self._cover

    def _arm(self) -> None:
        from nidaqmx.constants import TaskMode

        if self._shutter is not None:
            self._starts_at(self._task, f"Ctr{self._shutter.counter[3:]}InternalOutput")
            self._task.start()
        if self._trigger is not None:
            self._starts_at(self._first, self._trigger.terminal)
            self._first.start()
            return
        if self._scan_gate is not None:
            self._starts_at(self._first, self._scan_gate.terminal)
        self._first.control(TaskMode.TASK_COMMIT)

    def _starts_at(self, task: Any, terminal: str) -> None:
        """Have a task wait for an edge, and for the next one after it where nobody starts it again."""
        start = task.triggers.start_trigger
        start.cfg_dig_edge_start_trig(self._card.terminal(terminal))
        if self._trigger is not None:
            start.retriggerable = True

    def _free_rest(self) -> None:
        """Give the channel to the pulse: it stays at zero."""
        from nidaqmx.constants import TaskMode

        self._rest.stop()
        self._rest.control(TaskMode.TASK_UNRESERVE)

    def _end(self) -> None:
        tasks = [task for task in (self._cover, self._task) if task is not None]
        self._task = self._cover = self._shape = None
        self._begun = False
        for task in tasks:
            self._card.end(task)


def line_writer(card: NiConnection, task: Any, line: str) -> Callable[[bool], object]:
    """Make `task` drive a line; what comes back sets it with one call to the driver."""
    from nidaqmx.stream_writers import DigitalSingleChannelWriter

    task.do_channels.add_do_chan(card.path(line))
    write: Callable[[bool], object] = DigitalSingleChannelWriter(
        task.out_stream, auto_start=True
    ).write_one_sample_one_line
    return write


def _channel_of(settings: NiGate | NiAnalog | NiCounter) -> str:
    if isinstance(settings, NiGate):
        return settings.line
    return settings.channel if isinstance(settings, NiAnalog) else settings.counter


def _rest_writer(card: NiConnection, settings: NiGate | NiAnalog, task: Any) -> Callable[[], object]:
    from nidaqmx.stream_writers import AnalogSingleChannelWriter

    if isinstance(settings, NiGate):
        write = line_writer(card, task, settings.line)
        return lambda: write(False)
    task.ao_channels.add_ao_voltage_chan(card.path(settings.channel), min_val=0.0, max_val=settings.max_v)
    writer = AnalogSingleChannelWriter(task.out_stream, auto_start=True)
    return lambda: writer.write_one_sample(0.0)


def _make_buffer(card: NiConnection, settings: NiGate | NiAnalog, task: Any, shape: Shape) -> None:
    from nidaqmx.constants import AcquisitionType
    from nidaqmx.stream_writers import AnalogSingleChannelWriter, DigitalSingleChannelWriter

    try:
        samples = pulse_samples(shape, settings.sample_rate_hz)
    except ValueError as error:
        raise DeviceError(card.name, str(error), "change the protocol or `sample_rate_hz`") from error
    if isinstance(settings, NiAnalog):
        task.ao_channels.add_ao_voltage_chan(card.path(settings.channel), min_val=0.0, max_val=settings.max_v)
    else:
        task.do_channels.add_do_chan(card.path(settings.line))
    task.timing.cfg_samp_clk_timing(
        settings.sample_rate_hz, sample_mode=AcquisitionType.FINITE, samps_per_chan=len(samples)
    )
    if isinstance(settings, NiAnalog):
        AnalogSingleChannelWriter(task.out_stream, auto_start=False).write_many_sample(samples)
        return
    bit = int(settings.line.rpartition("line")[2])
    words = (samples > 0).astype(np.uint32) << np.uint32(bit)
    DigitalSingleChannelWriter(task.out_stream, auto_start=False).write_many_sample_port_uint32(words)


def _make_counter(card: NiConnection, settings: NiCounter, task: Any, shape: Shape) -> None:
    from nidaqmx.constants import AcquisitionType, Level

    high_s = shape.width_us / 1e6
    low_s = (shape.period_us - shape.width_us) / 1e6 if shape.pulses > 1 else _SHORTEST_S
    task.co_channels.add_co_pulse_chan_time(
        card.path(settings.counter),
        idle_state=Level.LOW,
        initial_delay=max(_SHORTEST_S, shape.delay_us / 1e6),
        low_time=max(low_s, _SHORTEST_S),
        high_time=high_s,
    )
    if shape.pulses > 1:
        task.timing.cfg_implicit_timing(sample_mode=AcquisitionType.FINITE, samps_per_chan=shape.pulses)


def _make_shutter(card: NiConnection, settings: NiShutter, task: Any, shape: Shape, before_us: int) -> None:
    """High from `before_us` after its start until the last pulse of `shape`, and the lag: one pulse of a counter."""
    from nidaqmx.constants import Level

    train_us = shape.delay_us + (shape.pulses - 1) * shape.period_us + shape.width_us
    task.co_channels.add_co_pulse_chan_time(
        card.path(settings.counter),
        idle_state=Level.LOW,
        initial_delay=max(_SHORTEST_S, before_us / 1e6),
        low_time=_SHORTEST_S,
        high_time=train_us / 1e6 + settings.lag_ms / 1000,
    )
