"""Light behind a serial pulse box: primed, fired with one line, dark by itself when it is not fed."""

from __future__ import annotations

import time
from collections.abc import Callable

from drivers.outputs.pulse_box.connection import BoxConnection
from drivers.outputs.train_book import TrainBook
from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.devices import CutTrain, PulseCommand, require_command
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Finding, failed, passed
from rt_engine.interfaces.pulse_box_config import PulseBoxSettings

_TOLERANCE = 0.005
"""Share by which a command may differ from the power that the source has."""

_DARK_S = 0.1
"""How long it waits to hear that the box is dark; other outputs want to become dark too."""


class PulseBoxOutput:
    """One serial pulse box. Belongs to the stimulation thread; the constructor touches no hardware.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : PulseBoxSettings
    clock : Clock
    emit : callable
        Publishes one pulse on topic `light` when it is due: what was commanded.
    sleep : callable
    """

    is_virtual = False
    longest_wait_ns = 0
    next_due_ns: int | None = None
    """The box times its trains."""

    def __init__(
        self,
        name: str,
        config: PulseBoxSettings,
        clock: Clock,
        emit: Callable[[LightFields], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name, self.watchdog_ms = name, config.watchdog_ms
        self._config, self._clock = config, clock
        self._box = BoxConnection(name, config.port, sleep)
        self._trains = TrainBook(name, emit)
        self._armed = False
        self._failure: DeviceError | None = None
        self._max_width_us = 0
        self._primed: tuple[int, int, int] | None = None
        self._last: PulseCommand | None = None
        self._fed_ns = self._answered_ns = 0

    def open(self) -> None:
        """Find the box, dark; again after a failure. Raises DeviceError."""
        if self._box.is_open and self._failure is None:
            return
        self._box.close()
        self._failure = None
        self._max_width_us = self._box.open()
        self._box.ask("SAFE")

    @property
    def versions(self) -> dict[str, str]:
        """Firmware of the box; see `interfaces.devices.TellsVersions`."""
        return self._box.versions

    def examine(self) -> list[Finding]:
        """Whether the box answers, and how long its pulses may be. It is asked for nothing else."""
        part = f"output {self.name}"
        box = BoxConnection(self.name, self._config.port)
        try:
            width_us = box.open()
            return [passed(part, f"pulse box on {self._config.port}, pulses up to {width_us / 1000:g} ms")]
        except DeviceError as error:
            return [failed(part, error, "this output cannot be armed")]
        finally:
            box.close()

    def self_test(self) -> bool:
        """True if the box answers that it is dark. Raises DeviceError."""
        if self._armed or not self._box.is_open:
            return False
        if self._failure is not None:
            raise self._failure
        return self._box.ask("STATUS") == "OK STATUS dark"

    def arm(self) -> None:
        """Start the box's watchdog. Raises DeviceError."""
        if not self._box.is_open:
            raise DeviceError(self.name, "is not open")
        if self._failure is not None:
            raise self._failure
        if self._armed:
            return
        self._box.ask(f"ARM {round(self.watchdog_ms)}")
        self._primed, self._armed = None, True
        self._fed_ns = self._answered_ns = self._clock.now_ns()

    def feed(self, now_ns: int) -> None:
        """Hold the watchdog off, and hear what the box has said.

        Raises
        ------
        DeviceError
            The connection is gone, the box is silent for longer than its watchdog, or it has refused something. Dark.
        """
        if not self._armed:
            return
        try:
            self._hear(now_ns)
            if now_ns - self._fed_ns >= self.watchdog_ms * NS_PER_MS / 10:
                self._box.send("FEED")
                self._fed_ns = now_ns
        except DeviceError as error:
            self._failure = error
            self.safe_state()
            raise
        self._trains.tell(now_ns)
        if self._trains.has_ended(now_ns):
            self._trains.close_ended()

    def fire(self, command: PulseCommand) -> int:
        """Fire the train; returns `t_command_ns`, taken right before the line is sent.

        Parameters
        ----------
        command : PulseCommand

        Raises
        ------
        DeviceError
            Not the interlock's command for this output, fired before, not armed, another power or a longer pulse than
            the source and box have, a train is running, not fed within the watchdog, or the box fails.
        WithdrawnError
            The interlock's last word, asked for when the box is primed, is no.
        """
        command = require_command(self.name, command, armed=self._armed, last=self._last)
        self._require_possible(command)
        train = (command.pulses, command.width_us, command.period_us)
        if train != self._primed:
            self._primed = None
            self._box.ask("PRIME {} {} {}".format(*train))
            self._primed = train
        self._last = command
        self._require_fed()
        t_command_ns = command.last_word()
        self._trains.begin(command, t_command_ns)
        self._box.send(f"FIRE {command.decision_id[-40:]}")
        self._trains.tell(t_command_ns)
        return t_command_ns

    def cut_trains(self) -> tuple[CutTrain, ...]:
        """Trains that ended before their last pulse, each told once."""
        return self._trains.take_cut()

    def safe_state(self) -> None:
        """Dark at once, the rest of a train recalled, and unable to fire until armed again.

        What fails here leaves the box unfed, so that it goes dark by itself.
        """
        self._armed = False
        self._trains.recall(self._clock.now_ns())
        if not self._box.is_open:
            return
        try:
            self._box.ask("SAFE", _DARK_S)
        except DeviceError as error:
            self._failure = self._failure or error

    def close(self) -> None:
        """Dark, and the port released."""
        self.safe_state()
        self._box.close()

    def _hear(self, now_ns: int) -> None:
        if self._box.answers() or not self._box.waits:
            self._answered_ns = now_ns
        elif now_ns - self._answered_ns > self.watchdog_ms * NS_PER_MS:
            text = f"{self._config.port} has not answered for {(now_ns - self._answered_ns) / NS_PER_MS:.0f} ms"
            raise DeviceError(self.name, text, "check the cable; reset the box")

    def _require_fed(self) -> None:
        """Before the line that makes light: a box that has gone dark by itself would answer it with an error."""
        silent_ns = self._clock.now_ns() - self._fed_ns
        if silent_ns > self.watchdog_ms * NS_PER_MS:
            text = f"its watchdog expired: not fed for {silent_ns / NS_PER_MS:.0f} ms, {self.watchdog_ms:g} are allowed"
            raise DeviceError(self.name, text, "look at the latencies and at the box, then reset and arm again")

    def _require_possible(self, command: PulseCommand) -> None:
        power = self._config.power
        if power is None:
            raise DeviceError(self.name, "is not calibrated", "measure its power, or run with --dry-run")
        asked_mw = max(command.power_uw, default=0) / 1000
        if abs(asked_mw - power.power_mw) > _TOLERANCE * power.power_mw:
            text = f"can only be on or off: {power.power_mw} mW, not the {asked_mw:g} commanded"
            raise DeviceError(self.name, text, f"command {power.power_mw} mW")
        if command.width_us > self._max_width_us:
            text = f"makes pulses up to {self._max_width_us} us, not the {command.width_us} commanded"
            raise DeviceError(self.name, text, "change the protocol, or MAX_WIDTH_US in the sketch")
        if self._trains.is_running and not self._trains.has_ended(self._clock.now_ns()):
            raise DeviceError(self.name, "a train is running", "leave more time between trains (min_gap_ms)")
