"""Ways to have another program show a pattern: by hand, by lines, by counted edges, by coordinates over TCP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np

from drivers.ni.connection import NiConnection
from drivers.outputs.ni_train import line_writer
from drivers.outputs.pattern_ttl.holoblink import HoloBlink
from rt_engine.interfaces.pattern_config import ByCount, ByHoloBlink, ByLines, Pattern, PatternTtlSettings
from rt_engine.interfaces.slm_registration import SlmRegistration


class Selector(Protocol):
    """Shows one pattern. `open` and `close` may be repeated; `close` never raises."""

    def open(self) -> None:
        """Be ready to show. Raises DeviceError."""
        ...

    def show(self, pattern: Pattern) -> None:
        """Have the pattern shown; it stands some time after. Raises DeviceError."""
        ...

    def close(self) -> None:
        """Release what was opened."""
        ...


class HandSelector:
    """A person has loaded the one pattern there is."""

    def open(self) -> None:
        """Nothing to do."""

    def show(self, pattern: Pattern) -> None:
        """It stands."""

    def close(self) -> None:
        """Nothing to release."""


class LineSelector:
    """The number of the pattern on digital lines, written with one call.

    Parameters
    ----------
    card : NiConnection
    config : ByLines
    """

    def __init__(self, card: NiConnection, config: ByLines) -> None:
        self._card, self._lines = card, config.lines
        self._task: Any = None
        self._writer: Any = None

    def open(self) -> None:
        """Make the task that drives the lines. Raises DeviceError."""
        from nidaqmx.constants import LineGrouping
        from nidaqmx.stream_writers import DigitalSingleChannelWriter

        if self._task is not None:
            return
        with ExitStack() as undo:
            undo.callback(self.close)
            with self._card.errors(", ".join(self._lines)):
                self._task = self._card.task("pattern")
                names = ",".join(self._card.path(line) for line in self._lines)
                self._task.do_channels.add_do_chan(names, line_grouping=LineGrouping.CHAN_FOR_ALL_LINES)
                self._writer = DigitalSingleChannelWriter(self._task.out_stream, auto_start=True)
                self._writer.verify_array_shape = False
            undo.pop_all()

    def show(self, pattern: Pattern) -> None:
        """Write its number in binary. Raises DeviceError."""
        bits = np.array([pattern.number >> bit & 1 for bit in range(len(self._lines))], bool)
        with self._card.errors(", ".join(self._lines)):
            self._writer.write_one_sample_multi_line(bits)

    def close(self) -> None:
        """Release the lines."""
        task, self._task = self._task, None
        if task is not None:
            self._card.end(task)


class CountSelector:
    """The place of the pattern in a sequence: back to the first, then on by so many edges.

    Parameters
    ----------
    card : NiConnection
    config : ByCount
    """

    def __init__(self, card: NiConnection, config: ByCount) -> None:
        self._card, self._config = card, config
        self._tasks: list[Any] = []
        self._write: dict[str, Callable[[bool], object]] = {}

    def open(self) -> None:
        """Make the tasks that drive the two lines. Raises DeviceError."""
        if self._tasks:
            return
        with ExitStack() as undo:
            undo.callback(self.close)
            for role, line in (("reset", self._config.reset_line), ("step", self._config.step_line)):
                with self._card.errors(line):
                    task = self._card.task(f"pattern-{role}")
                    self._tasks.append(task)
                    self._write[role] = line_writer(self._card, task, line)
                    self._write[role](False)
            undo.pop_all()

    def show(self, pattern: Pattern) -> None:
        """One edge on the reset line, then as many as its number on the other. Raises DeviceError."""
        for role, line, n in (
            ("reset", self._config.reset_line, 1),
            ("step", self._config.step_line, pattern.number),
        ):
            with self._card.errors(line):
                for _ in range(n):
                    self._write[role](True)
                    self._write[role](False)

    def close(self) -> None:
        """Release the lines."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self._card.end(task)


class HoloBlinkSelector:
    """The targets' places on the SLM, by its registration, to a program that makes the hologram.

    Parameters
    ----------
    name : str
        Of the output, for messages.
    config : ByHoloBlink
    registration : SlmRegistration
    """

    def __init__(self, name: str, config: ByHoloBlink, registration: SlmRegistration) -> None:
        self._registration = registration
        self._link = HoloBlink(name, config.server)

    def open(self) -> None:
        """Connect. Raises DeviceError."""
        self._link.open()

    def show(self, pattern: Pattern) -> None:
        """Send the coordinates, and wait until it says that it is done. Raises DeviceError."""
        self._link.open()
        self._link.show([self._registration.slm_xy(y_px, x_px) for y_px, x_px in pattern.targets_yx_px])

    def close(self) -> None:
        """Leave the program."""
        self._link.close()


def make_selector(card: NiConnection, config: PatternTtlSettings) -> Selector:
    """What the rig file says."""
    select = config.select
    if isinstance(select, ByLines):
        return LineSelector(card, select)
    if isinstance(select, ByCount):
        return CountSelector(card, select)
    if isinstance(select, ByHoloBlink) and config.registration is not None:
        return HoloBlinkSelector(card.name, select, config.registration)
    return HandSelector()
