"""Light behind an NI card: bounded by its clock, its enable line and its watchdog, fired with one call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from drivers.ni.connection import NiConnection
from drivers.ni.examination import examine_output
from drivers.outputs.ni_pulses import PulseTask
from drivers.outputs.ni_shape import Shape
from drivers.outputs.ni_train import line_writer
from drivers.outputs.train_book import TrainBook
from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_US, Clock
from rt_engine.interfaces.devices import CutTrain, PulseCommand, require_command
from rt_engine.interfaces.errors import DeviceError, LimitError
from rt_engine.interfaces.findings import Finding
from rt_engine.interfaces.ni_config import NiAnalog, NiDaqSettings

_SLOW = "the loop was not fast enough to feed it; look at the latencies, then reset and arm again"
_UNLOCKS = 5
_GATE_TOLERANCE = 0.005
"""Share by which a command may differ from the power that a gated source has."""


class NiDaqOutput:
    """One output of an NI card. Belongs to the stimulation thread; the constructor touches no hardware.

    Armed, the enable line is high and the card's watchdog runs: without `feed` the card itself makes it low. A pulse is
    a finite task of the card, primed for the shape of the last train, so that another of that shape is one call; for
    another power its buffer is written anew first, and the tasks of a few other shapes are kept.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiDaqSettings
    clock : Clock
    emit : callable
        Publishes one pulse on topic `light` when it is due: what was commanded.
    """

    is_virtual = False
    next_due_ns: int | None = None
    """The card times its trains."""

    def __init__(self, name: str, config: NiDaqSettings, clock: Clock, emit: Callable[[LightFields], None]) -> None:
        self.name, self.watchdog_ms = name, config.watchdog_ms
        self._config, self._clock = config, clock
        self._card = NiConnection(name, config.device, config.server)
        self._pulse = PulseTask(self._card, config)
        self.longest_wait_ns = round(config.longest_wait_ms * NS_PER_MS)
        self._enable_task: Any = None
        self._enable: Callable[[bool], object] | None = None
        self._watchdog: Any = None
        self._watching = self._armed = False
        self._failure: DeviceError | None = None
        self._fed_ns = self._give_up_ns = 0
        self._last: PulseCommand | None = None
        self._trains = TrainBook(name, emit)

    def open(self) -> None:
        """Find the card and make everything dark; again after a failure. Raises DeviceError."""
        if self._enable is not None and self._failure is None:
            return
        self._release()
        with ExitStack() as undo:
            undo.callback(self._release)
            self._card.open()
            with self._card.errors(self._config.enable_line):
                self._enable_task = self._card.task("enable")
                enable = line_writer(self._card, self._enable_task, self._config.enable_line)
            self._make_dark(enable)
            self._pulse.open()
            self._enable, self._failure = enable, None
            undo.pop_all()

    @property
    def versions(self) -> dict[str, str]:
        """Driver and card; see `interfaces.devices.TellsVersions`."""
        return self._card.versions

    def examine(self) -> list[Finding]:
        """What card there is, whether it has the channels, and where the enable line floats while nobody drives it."""
        return examine_output(NiConnection(self.name, self._config.device, self._config.server), self._config)

    def self_test(self) -> bool:
        """True if the card answers, and the enable line is low where it can be read back.

        Raises
        ------
        DeviceError
            It does not answer, or the enable line reads high while it is driven low.
        """
        if self._enable is None or self._armed:
            return False
        if self._failure is not None:
            raise self._failure
        from nidaqmx.stream_readers import DigitalSingleChannelReader

        with self._card.errors(self._config.enable_line):
            self._enable(False)
            high = DigitalSingleChannelReader(self._enable_task.in_stream).read_one_sample_one_line()
        if high:
            text = f"{self._config.device} {self._config.enable_line} reads high while it is driven low"
            raise DeviceError(self.name, text, "look for a short, a pull-up, or another program that drives the line")
        return True

    def arm(self) -> None:
        """Start the watchdog, then raise the enable line. Raises DeviceError."""
        if self._enable is None:
            raise DeviceError(self.name, f"{self._config.device} is not open", "run its self-test, then arm again")
        if self._armed:
            return
        if self._failure is not None:
            raise self._failure
        with self._card.errors("watchdog"):
            if self._watching:
                self._watchdog.stop()
            self._watchdog.start()
            self._watching = True
            self._fed_ns = self._clock.now_ns()
            self._watchdog.clear_expiration()
        with self._card.errors(self._config.enable_line):
            self._enable(True)
        self._armed = True

    def feed(self, now_ns: int) -> None:
        """Hold the watchdog off, and look after a train.

        Raises
        ------
        DeviceError
            The watchdog has expired, the card does not answer, or could not go on with a train. Dark.
        """
        if not self._armed:
            return
        try:
            if now_ns - self._fed_ns >= self.watchdog_ms * NS_PER_MS / 10:
                self._hold_off(now_ns)
            self._follow(now_ns)
        except DeviceError as error:
            self._failure = error
            self.safe_state()
            raise

    def fire(self, command: PulseCommand) -> int:
        """Emit the train; returns `t_command_ns`, taken right before the call that starts it.

        Parameters
        ----------
        command : PulseCommand

        Raises
        ------
        DeviceError
            Not the interlock's command for this output, fired before, not armed, a power that was not measured, or the
            card fails.
        WithdrawnError
            The interlock's last word, asked for when the card is primed, is no.
        """
        command = require_command(self.name, command, armed=self._armed, last=self._last)
        level = self._level(command)
        self._require_fed()
        self._cut_short()
        self._require_window(command)
        delay_us = self._aim(command)
        shape = Shape(command.pulses, command.width_us, command.period_us, level, delay_us)
        wait_ns = self._wait_ns(delay_us)
        self._last = command
        self._pulse.lower_edge()
        self._pulse.prime(shape)
        self._require_fed()
        t_command_ns = command.last_word()
        self._trains.begin(command, t_command_ns + wait_ns)
        self._give_up_ns = t_command_ns + wait_ns
        with self._card.errors(self._pulse.channel):
            self._pulse.begin()
        self._require_fed()
        if self._config.scan_gate is None:
            self._trains.tell(t_command_ns)
        return t_command_ns

    def cut_trains(self) -> tuple[CutTrain, ...]:
        """Trains that ended before their last pulse, each told once."""
        return self._trains.take_cut()

    def safe_state(self) -> None:
        """Dark at once, the rest of a train recalled, and unable to fire until armed again.

        What fails here leaves the watchdog running, unfed, so that the card makes the enable line low by itself.
        """
        self._armed = False
        if self._enable is None:
            return
        dark = self._try(lambda: self._set_enable(False))
        self._trains.recall(self._clock.now_ns())
        self._try(self._pulse.rest)
        if dark and self._watching:
            self._try(self._stop_watchdog)

    def close(self) -> None:
        """Dark, and the card released."""
        self.safe_state()
        self._release()

    def _aim(self, command: PulseCommand) -> int:
        """Make the light fall where the command says; by how much it has to wait for that, microseconds."""
        return 0

    def _level(self, command: PulseCommand) -> float:
        """Level of the channel for the power commanded.

        The beam carries what one target gets, or what all get together; a gated source has one power only.
        """
        powers_mw = [one / 1000 for one in command.power_uw]
        beam_mw = sum(powers_mw) if self._config.splits_beam else max(powers_mw, default=0.0)
        settings = self._config.pulse
        if settings.power is None:
            raise DeviceError(self.name, "is not calibrated", "spikeloop calibrate-power, or run with --dry-run")
        try:
            if beam_mw > self._config.max_beam_mw:
                raise LimitError(self.name, "beam power_mw", beam_mw, self._config.max_beam_mw)
            if isinstance(settings, NiAnalog):
                volts = settings.power.volts_for(self.name, beam_mw) if settings.power else 0.0
                if volts > settings.max_v:
                    raise LimitError(self.name, "voltage_v", volts, settings.max_v)
                return volts
        except LimitError as error:
            raise DeviceError(self.name, str(error), "change the protocol, or measure the power again") from error
        fixed_mw = settings.power.power_mw
        if not isinstance(fixed_mw, float) or abs(beam_mw - fixed_mw) > _GATE_TOLERANCE * fixed_mw:
            text = f"can only be on or off: {fixed_mw} mW, not the {beam_mw:g} commanded"
            raise DeviceError(self.name, text, f"command {fixed_mw} mW, or use an analogue output")
        return 1.0

    def _hold_off(self, now_ns: int) -> None:
        """Reset the card's timer; it is asked whether it has expired where our own clock cannot exclude that."""
        with self._card.errors("watchdog"):
            self._watchdog.reset_timer()
            late = self._clock.now_ns() - self._fed_ns > self.watchdog_ms * NS_PER_MS
            expired = late and bool(self._watchdog.expired)
        if expired:
            text = f"{self._config.device} watchdog: it expired, not fed within {self.watchdog_ms:g} ms"
            raise DeviceError(self.name, text, _SLOW)
        self._fed_ns = now_ns

    def _require_fed(self) -> None:
        """Before and after the call that makes light: with the enable line low there is none, so it is no delivery."""
        silent_ns = self._clock.now_ns() - self._fed_ns
        if silent_ns > self.watchdog_ms * NS_PER_MS:
            text = f"its watchdog expired: not fed for {silent_ns / NS_PER_MS:.0f} ms, {self.watchdog_ms:g} are allowed"
            raise DeviceError(self.name, text, _SLOW)

    def _follow(self, now_ns: int) -> None:
        """Tell the pulses that are due; at the end of the train make the card ready for the next."""
        if not self._trains.is_running:
            return
        if self._config.scan_gate is not None and not self._has_come(now_ns):
            return
        self._trains.tell(now_ns)
        self._pulse.lower_edge()
        if self._pulse.check() and self._trains.has_ended(now_ns):
            self._trains.close_ended()
            self._pulse.finish()

    def _has_come(self, now_ns: int) -> bool:
        """Whether the scanner has let the train through; one that has waited for too long is recalled."""
        if self._trains.has_been_told:
            return True
        if self._pulse.has_fallen():
            self._trains.ended_at(now_ns)
            return True
        if now_ns >= self._give_up_ns:
            self._trains.recall(now_ns)
            self._pulse.rest()
        return False

    def _wait_ns(self, delay_us: int) -> int:
        """From the command until light begins; with a scanner, until it is given up."""
        config = self._config
        if config.scan_gate is not None:
            return round(config.scan_gate.give_up_ms * NS_PER_MS)
        lead_ns = round(config.shutter.lead_ms * NS_PER_MS) if config.shutter else 0
        return delay_us * NS_PER_US + lead_ns

    def _require_window(self, command: PulseCommand) -> None:
        """A train that the lines would not hold is none for this output."""
        gate = self._config.scan_gate
        train_us = (command.pulses - 1) * command.period_us + command.width_us
        if gate is not None and train_us > gate.window_ms * 1000:
            text = f"a train of {train_us / 1000:g} ms does not fit into scan_gate.window_ms {gate.window_ms:g}"
            raise DeviceError(self.name, text, "command one short pulse, or light without scan_gate")

    def _cut_short(self) -> None:
        """A train is followed by another: end it on the card."""
        if not self._trains.is_running:
            return
        now_ns = self._clock.now_ns()
        if self._trains.has_ended(now_ns):
            self._trains.close_ended()
            self._pulse.finish()
        else:
            self._trains.recall(now_ns)
            self._pulse.rest()

    def _make_dark(self, enable: Callable[[bool], object]) -> None:
        """Make the watchdog, and the enable line low: one of a process before this one may still hold it.

        On a computer that is busy it can expire anew between two calls that unlock it; then once more. Raises
        DeviceError.
        """
        with self._card.errors("watchdog"):
            self._watchdog = self._card.watchdog(self.watchdog_ms / 1000, [self._config.enable_line])
        for left in reversed(range(_UNLOCKS)):
            with self._card.errors("watchdog"):
                self._watchdog.start()
                self._watchdog.clear_expiration()
                self._watchdog.stop()
            try:
                with self._card.errors(self._config.enable_line):
                    enable(False)
                return
            except DeviceError:
                if not left:
                    raise

    def _set_enable(self, high: bool) -> None:
        if self._enable is not None:
            with self._card.errors(self._config.enable_line):
                self._enable(high)

    def _stop_watchdog(self) -> None:
        with self._card.errors("watchdog"):
            self._watchdog.stop()
        self._watching = False

    def _try(self, step: Callable[[], None]) -> bool:
        """Do a step of becoming dark; the first failure is kept for the next self-test."""
        try:
            step()
        except DeviceError as error:
            self._failure = self._failure or error
            return False
        return True

    def _release(self) -> None:
        self._enable = None
        self._pulse.close()
        tasks = [task for task in (self._enable_task, self._watchdog) if task is not None]
        self._enable_task = self._watchdog = None
        self._watching = False
        for task in tasks:
            self._card.end(task)
        self._card.close()
