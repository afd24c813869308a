"""The tasks of one form of train on an NI card: finite, timed by its clock, of any level, dark by themselves."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from drivers.ni.connection import NiConnection
from drivers.outputs.ni_shape import Shape, pulse_samples
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.ni_config import NiAnalog, NiCounter, NiDaqSettings, NiGate, NiShutter

_SHORTEST_S = 10e-6


class NiTrain:
    """Trains of one form: a task for the light, and one for the shutter where there is one.

    It holds the card, primed for one level, or is let go: then it only is a description that the card keeps, drives
    nothing, and another form can be held.

    Parameters
    ----------
    card : NiConnection
    config : NiDaqSettings
    form : Shape
        Its level is of no meaning.
    slot : int
        Makes the names of its tasks.

    Raises
    ------
    DeviceError
        The card, or the form cannot be made of its samples.
    """

    def __init__(self, card: NiConnection, config: NiDaqSettings, form: Shape, slot: int) -> None:
        self._card, self._config, self.slot = card, config, slot
        self._trigger, self._shutter, self._scan_gate = config.trigger, config.shutter, config.scan_gate
        self._level: float | None = None
        self._begun = False
        self._cover: Any = None
        self._write: Callable[[float], object] | None = None
        with ExitStack() as undo:
            self._light = card.task(f"pulse{slot}")
            undo.callback(self.end)
            self._make(form)
            undo.pop_all()

    def hold(self, level: float) -> None:
        """Be primed for this level: nothing to do, one write, or what it takes to hold the card. Raises DeviceError."""
        primed, self._level = self._level, None
        if primed is None:
            self._put(level)
            self._arm()
        else:
            self._ready_again()
            if primed != level:
                self._rewrite(level)
        self._level = level

    def start(self) -> None:
        """Start it, or have it wait for the frame clock: one call, inside `NiConnection.errors`."""
        self._begun = True
        self._first.start()

    def ready_again(self) -> None:
        """After a train: stand ready for the next. Raises DeviceError."""
        if self._level is not None:
            self._ready_again()

    def has_fallen(self) -> bool:
        """True when the last pulse is over, whatever the shutter does; raises DeviceError as the card does."""
        return bool(self._light.is_task_done())

    def is_done(self) -> bool:
        """True when the train has ended, with its shutter."""
        return self.has_fallen() and (self._cover is None or bool(self._cover.is_task_done()))

    def let_go(self) -> None:
        """End whatever it does now, and free the card; the channel may stay where it is. Raises DeviceError."""
        from nidaqmx.constants import TaskMode

        self._level, self._begun = None, False
        for task in (self._cover, self._light):
            if task is not None:
                task.control(TaskMode.TASK_ABORT)

    def end(self) -> None:
        """Release its tasks; never raises."""
        self._level = None
        for task in (self._cover, self._light):
            if task is not None:
                self._card.end(task)

    @property
    def _first(self) -> Any:
        """What is started: the shutter, whose edge starts the pulse, or the pulse."""
        return self._light if self._cover is None else self._cover

    def _make(self, form: Shape) -> None:
        before_us = 0 if self._scan_gate is None else round(self._scan_gate.after_ms * 1000)
        if self._shutter is not None:
            lead_us = round(self._shutter.lead_ms * 1000)
            held = form._replace(delay_us=form.delay_us + lead_us)
            self._cover = self._card.task(f"shutter{self.slot}")
            _make_shutter(self._card, self._shutter, self._cover, held, max(0, before_us - lead_us))
        else:
            held = form._replace(delay_us=form.delay_us + before_us)
        pulse = self._config.pulse
        if isinstance(pulse, NiCounter):
            _make_counter(self._card, pulse, self._light, held)
        else:
            self._write = _make_buffer(self._card, pulse, self._light, held)
        if self._shutter is not None:
            self._starts_at(self._light, f"Ctr{self._shutter.counter[3:]}InternalOutput")
        if self._trigger is not None:
            self._starts_at(self._first, self._trigger.terminal)
        elif self._scan_gate is not None:
            self._starts_at(self._first, self._scan_gate.terminal)

    def _put(self, level: float) -> None:
        if self._write is not None:
            self._write(level)

    def _arm(self) -> None:
        """Hold the card; what waits for an edge is started, what a call starts is committed."""
        from nidaqmx.constants import TaskMode

        if self._cover is not None:
            self._light.start()
        if self._trigger is not None:
            self._first.start()
        else:
            self._first.control(TaskMode.TASK_COMMIT)

    def _ready_again(self) -> None:
        if self._trigger is None and self._begun:
            self._first.stop()
            if self._cover is not None:
                self._light.stop()
                self._light.start()
        self._begun = False

    def _rewrite(self, level: float) -> None:
        """Other samples of the same number, into the buffer of a task that stands still meanwhile."""
        waits = self._trigger is not None or self._cover is not None
        if waits:
            self._light.stop()
        self._put(level)
        if waits:
            self._light.start()

    def _starts_at(self, task: Any, terminal: str) -> None:
        """Have a task wait for an edge, and for the next one after it where nobody starts it again."""
        start = task.triggers.start_trigger
        start.cfg_dig_edge_start_trig(self._card.terminal(terminal))
        if self._trigger is not None:
            start.retriggerable = True


def line_writer(card: NiConnection, task: Any, line: str) -> Callable[[bool], object]:
    """Make `task` drive a line; what comes back sets it with one call to the driver."""
    from nidaqmx.stream_writers import DigitalSingleChannelWriter

    task.do_channels.add_do_chan(card.path(line))
    write: Callable[[bool], object] = DigitalSingleChannelWriter(
        task.out_stream, auto_start=True
    ).write_one_sample_one_line
    return write


def _make_buffer(card: NiConnection, settings: NiGate | NiAnalog, task: Any, form: Shape) -> Callable[[float], object]:
    """Make the task of a buffered train; what comes back fills the buffer for a level."""
    from nidaqmx.constants import AcquisitionType, WriteRelativeTo
    from nidaqmx.stream_writers import AnalogSingleChannelWriter, DigitalSingleChannelWriter

    try:
        samples = pulse_samples(form._replace(level=1.0), settings.sample_rate_hz)
    except ValueError as error:
        raise DeviceError(card.name, str(error), "change the protocol or `sample_rate_hz`") from error
    if isinstance(settings, NiAnalog):
        task.ao_channels.add_ao_voltage_chan(card.path(settings.channel), min_val=0.0, max_val=settings.max_v)
    else:
        task.do_channels.add_do_chan(card.path(settings.line))
    task.timing.cfg_samp_clk_timing(
        settings.sample_rate_hz, sample_mode=AcquisitionType.FINITE, samps_per_chan=len(samples)
    )
    # From its beginning each time, wherever a write before has ended.
    task.out_stream.relative_to = WriteRelativeTo.FIRST_SAMPLE
    if isinstance(settings, NiAnalog):
        scaled = np.empty_like(samples)
        analog = AnalogSingleChannelWriter(task.out_stream, auto_start=False)
        analog.verify_array_shape = False  # it would ask the card at every write
        return lambda level: analog.write_many_sample(np.multiply(samples, level, out=scaled))
    bit = int(settings.line.rpartition("line")[2])
    words = (samples > 0).astype(np.uint32) << np.uint32(bit)
    digital = DigitalSingleChannelWriter(task.out_stream, auto_start=False)
    digital.verify_array_shape = False
    return lambda level: digital.write_many_sample_port_uint32(words)


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
