"""Light that exists only on the wire: what it commands is published, and the virtual sample answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from rt_engine.interfaces.clock import NS_PER_US, Clock
from rt_engine.interfaces.devices import PulseCommand
from rt_engine.interfaces.errors import DeviceError


class LightFields(TypedDict):
    """The fields that `messages.LightHeader` adds to a header."""

    output: str
    t_on_ns: int
    width_us: int
    power_uw: list[int]
    targets_yx_px: list[list[float]]
    target_planes: list[int]


class VirtualOutput:
    """An output without hardware.

    Parameters
    ----------
    name : str
        Name in the rig.
    clock : Clock
    emit : callable
        Publishes one pulse on topic `light`; called on the stimulation thread once for each pulse of a train, all at
        the time of the command, with the time at which that pulse is due.

    Attributes
    ----------
    pulses : int
        Pulses emitted since the start.
    """

    is_virtual = True

    def __init__(self, name: str, clock: Clock, emit: Callable[[LightFields], None]) -> None:
        self.name = name
        self.pulses = 0
        self._clock = clock
        self._emit = emit
        self._open = False
        self._armed = False
        self._last: PulseCommand | None = None

    def open(self) -> None:
        """Ready, dark."""
        self._open = True

    def self_test(self) -> bool:
        """True if open and dark."""
        return self._open and not self._armed

    def arm(self) -> None:
        """Prepare to fire.

        Raises
        ------
        DeviceError
            Not open.
        """
        if not self._open:
            raise DeviceError(self.name, "is not open")
        self._armed = True

    def fire(self, command: PulseCommand) -> int:
        """Emit the train; returns `t_command_ns`.

        Parameters
        ----------
        command : PulseCommand

        Raises
        ------
        DeviceError
            Not armed, made for another output, or fired before.
        """
        if not isinstance(command, PulseCommand):
            raise DeviceError(self.name, f"accepts a PulseCommand, not {type(command).__name__}")
        if not self._armed:
            raise DeviceError(self.name, "is not armed")
        if command.output != self.name:
            raise DeviceError(self.name, f"got a command for output {command.output}")
        if command is self._last:
            raise DeviceError(self.name, f"decision {command.decision_id} has been fired before")
        self._last = command
        t_command_ns = self._clock.now_ns()
        for pulse in range(command.pulses):
            self.pulses += 1
            self._emit(
                LightFields(
                    output=self.name,
                    t_on_ns=t_command_ns + pulse * command.period_us * NS_PER_US,
                    width_us=command.width_us,
                    power_uw=list(command.power_uw),
                    targets_yx_px=[list(position) for position in command.targets_yx_px],
                    target_planes=list(command.target_planes),
                )
            )
        return t_command_ns

    def safe_state(self) -> None:
        """Dark, and unable to fire until armed again."""
        self._armed = False

    def close(self) -> None:
        """Dark, and released."""
        self._armed = False
        self._open = False
