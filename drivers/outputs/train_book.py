"""Trains that a device times by itself: told when they are due, and how far one had come when it was cut."""

from __future__ import annotations

from collections.abc import Callable

from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_US
from rt_engine.interfaces.devices import CutTrain, PulseCommand


class TrainBook:
    """The train that is running on a device, if any.

    Parameters
    ----------
    name : str
        Of the output.
    emit : callable
        Publishes one pulse on topic `light`: what was commanded.
    """

    def __init__(self, name: str, emit: Callable[[LightFields], None]) -> None:
        self._name, self._emit = name, emit
        self._command: PulseCommand | None = None
        self._t_first_ns = self._told = 0
        self._cut: list[CutTrain] = []

    @property
    def is_running(self) -> bool:
        """True until `close_ended`, `recall` or the next train."""
        return self._command is not None

    def begin(self, command: PulseCommand, t_first_ns: int) -> None:
        """A train was commanded at `t_first_ns`; its first pulse is told."""
        self._command, self._t_first_ns, self._told = command, t_first_ns, 0

    @property
    def has_been_told(self) -> bool:
        """True once a pulse of it was published."""
        return self._told > 0

    def ended_at(self, now_ns: int) -> None:
        """The train, whose start was not known, has just ended: its pulses are told as of then."""
        if self._command is not None:
            self._t_first_ns = now_ns - self._ends_ns(self._command) + self._t_first_ns + NS_PER_MS

    def has_ended(self, now_ns: int) -> bool:
        """True when the last pulse has fallen, with a millisecond to spare."""
        return self._command is None or now_ns >= self._ends_ns(self._command)

    def tell(self, now_ns: int) -> None:
        """Publish the pulses whose onset has passed."""
        command = self._command
        if command is None:
            return
        begun = self._begun(command, now_ns)
        for pulse in range(self._told, begun):
            self._emit(
                LightFields(
                    output=self._name,
                    t_on_ns=self._t_first_ns + pulse * command.period_us * NS_PER_US,
                    width_us=command.width_us,
                    power_uw=list(command.power_uw),
                    targets_yx_px=[list(position) for position in command.targets_yx_px],
                    target_planes=list(command.target_planes),
                )
            )
        self._told = begun

    def close_ended(self) -> None:
        """The train is over, whole."""
        self._command = None

    def recall(self, now_ns: int) -> None:
        """The train ends here: unless it is over, note how many of its pulses can have been light at most."""
        command, self._command = self._command, None
        if command is not None and now_ns < self._ends_ns(command) - NS_PER_MS:
            self._cut.append(CutTrain(command.decision_id, self._begun(command, now_ns + NS_PER_MS)))

    def take_cut(self) -> tuple[CutTrain, ...]:
        """Trains that ended before their last pulse, each told once."""
        cut, self._cut = tuple(self._cut), []
        return cut

    def _begun(self, command: PulseCommand, now_ns: int) -> int:
        if command.pulses == 1:
            return 1
        passed_ns = max(0, now_ns - self._t_first_ns)
        return min(command.pulses, 1 + passed_ns // (command.period_us * NS_PER_US))

    def _ends_ns(self, command: PulseCommand) -> int:
        last_us = (command.pulses - 1) * command.period_us + command.width_us
        return self._t_first_ns + last_us * NS_PER_US + NS_PER_MS
