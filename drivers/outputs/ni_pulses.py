"""Pulses of an NI card: a few forms of train kept ready, of which one is primed; dark by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drivers.ni.connection import NiConnection
from drivers.outputs.ni_shape import Shape
from drivers.outputs.ni_train import NiTrain, line_writer
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.ni_config import NiAnalog, NiCounter, NiDaqSettings, NiGate

KEPT = 8
"""So many forms of train are kept: those of the actions of a protocol. Another one takes the place of the oldest."""


class PulseTask:
    """The pulse of one output: one form of train holds the card, the others that were fired lately are let go.

    Parameters
    ----------
    card : NiConnection
    config : NiDaqSettings
        What makes the pulse, and what starts it: a call, an edge that we make on a terminal, or the frame clock. Where
        there is a shutter, that is started so, and the pulse by the shutter's rising edge, inside the card.
    """

    def __init__(self, card: NiConnection, config: NiDaqSettings) -> None:
        self._card, self._config = card, config
        self._settings, self._trigger = config.pulse, config.trigger
        self.channel = _channel_of(config.pulse)
        self._trains: dict[Shape, NiTrain] = {}
        self._held: NiTrain | None = None
        self._rest: Any = None
        self._write_rest: Callable[[], object] | None = None
        self._line: Any = None
        self._raise_line: Callable[[bool], object] | None = None
        self.edge_high = False

    def open(self) -> None:
        """Make the tasks that keep light off, and use them. Raises DeviceError."""
        with self._card.errors(self.channel):
            for slot in range(KEPT):
                self._card.forget(f"pulse{slot}")
                if self._config.shutter is not None:
                    self._card.forget(f"shutter{slot}")
            if not isinstance(self._settings, NiCounter):
                self._rest = self._card.task("rest")
                self._write_rest = _rest_writer(self._card, self._settings, self._rest)
            if self._trigger is not None:
                self._line = self._card.task("trigger")
                self._raise_line = line_writer(self._card, self._line, self._trigger.line)
        self.rest()

    def prime(self, shape: Shape) -> None:
        """Have a train of this shape ready, so that `begin` is one call. Raises DeviceError.

        No call to the driver for the shape that was primed last, one where only the level is another.
        """
        form = shape._replace(level=0.0)
        train = self._trains.get(form)
        with self._card.errors(self.channel):
            if self._held is not None and self._held is not train:
                self._held.let_go()
                self._held = None
            if train is None:
                train = NiTrain(self._card, self._config, form, self._free_slot())
            else:
                del self._trains[form]
            self._trains[form] = self._held = train
            train.hold(shape.level)

    def begin(self) -> None:
        """Start the primed train, or have it wait for the frame clock: one call, inside `NiConnection.errors`."""
        if self._raise_line is not None:
            self.edge_high = True
            self._raise_line(True)
        elif self._held is not None:
            self._held.start()

    def has_fallen(self) -> bool:
        """True when the last pulse is over, whatever the shutter does; raises DeviceError as `check`."""
        with self._card.errors(self.channel):
            return self._held is None or self._held.has_fallen()

    def check(self) -> bool:
        """True when the train has ended, with its shutter; raises DeviceError if the card could not go on with it."""
        with self._card.errors(self.channel):
            done = self._held is None or self._held.is_done()
        return done or self._trigger is not None

    def finish(self) -> None:
        """After the end of a train: make the next one ready. Raises DeviceError."""
        if self._held is not None:
            with self._card.errors(self.channel):
                self._held.ready_again()

    def lower_edge(self) -> None:
        """Take the trigger line back. Raises DeviceError."""
        if self._raise_line is not None and self.edge_high:
            with self._card.errors(self._trigger.line if self._trigger else self.channel):
                self._raise_line(False)
            self.edge_high = False

    def rest(self) -> None:
        """Dark now: the train ended wherever it is, the channel at zero. Raises DeviceError."""
        self._drop()
        with self._card.errors(self.channel):
            if self._raise_line is not None:
                self._raise_line(False)
                self.edge_high = False
            if self._write_rest is not None:
                self._write_rest()
                self._free_rest()

    def close(self) -> None:
        """Release the card."""
        trains, self._trains, self._held = list(self._trains.values()), {}, None
        for train in trains:
            train.end()
        tasks = [task for task in (self._rest, self._line) if task is not None]
        self._rest = self._line = self._raise_line = self._write_rest = None
        for task in tasks:
            self._card.end(task)

    def _drop(self) -> None:
        """End the train that holds the card; one that cannot be ended so is released."""
        held, self._held = self._held, None
        if held is None:
            return
        try:
            with self._card.errors(self.channel):
                held.let_go()
        except DeviceError:
            self._trains = {form: train for form, train in self._trains.items() if train is not held}
            held.end()

    def _free_slot(self) -> int:
        """A place among those kept; where there is none, that of the one that was not fired for the longest time."""
        if len(self._trains) >= KEPT:
            oldest = self._trains.pop(next(iter(self._trains)))
            oldest.end()
            return oldest.slot
        return min(set(range(KEPT)) - {train.slot for train in self._trains.values()})

    def _free_rest(self) -> None:
        """Give the channel to the pulse: it stays at zero."""
        from nidaqmx.constants import TaskMode

        self._rest.stop()
        self._rest.control(TaskMode.TASK_UNRESERVE)


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
