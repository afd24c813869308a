"""Light that exists only on the wire: what it commands is published, and the virtual sample answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypedDict

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_US, Clock
from rt_engine.interfaces.devices import CutTrain, PulseCommand, require_command
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.scan_gate_config import ScanGate

LATEST_MS = 10.0
"""A pulse of a train that would come later than this is left out: late light is no light."""


class LightFields(TypedDict):
    """The fields that `messages.LightHeader` adds to a header."""

    output: str
    t_on_ns: int
    width_us: int
    power_uw: list[int]
    targets_yx_px: list[list[float]]
    target_planes: list[int]


class HeldBack(NamedTuple):
    """Light that the scanner lets through: in which lines, and when these are scanned."""

    gate: ScanGate
    frames: LineClock


class _Train(NamedTuple):
    """A train that is running: what is due next, and what has been light; `given_up_ns`: it never comes."""

    command: PulseCommand
    t_first_ns: int
    next_pulse: int
    emitted: int
    given_up_ns: int | None = None

    @property
    def due_ns(self) -> int:
        if self.given_up_ns is not None:
            return self.given_up_ns
        return self.t_first_ns + self.next_pulse * self.command.period_us * NS_PER_US


class VirtualOutput:
    """An output without hardware; a train goes out pulse by pulse, so that a trip recalls the rest of it.

    Parameters
    ----------
    name : str
        Name in the rig.
    clock : Clock
    emit : callable
        Publishes one pulse on topic `light`, when it is due; called on the stimulation thread.
    watchdog_ms : float
        Dark when it has not been fed for so long; infinite for a simulated clock that comes in steps.
    latest_ms : float
        See `LATEST_MS`.
    lead_ms : float
        Light comes so long after the command: a shutter that opens before.
    held_back : HeldBack, optional
        Light comes in some lines of a frame only, as at a card that waits for the frame clock. Where there is a
        shutter too, it opens within that wait: `lead_ms` is 0 then.

    Attributes
    ----------
    pulses : int
        Pulses emitted since the start.
    """

    is_virtual = True

    def __init__(
        self,
        name: str,
        clock: Clock,
        emit: Callable[[LightFields], None],
        watchdog_ms: float,
        *,
        latest_ms: float = LATEST_MS,
        lead_ms: float = 0.0,
        held_back: HeldBack | None = None,
    ) -> None:
        self.name = name
        self.watchdog_ms = watchdog_ms
        self.pulses = 0
        self._lead_ns, self._held_back = round(lead_ms * NS_PER_MS), held_back
        self.longest_wait_ns = self._lead_ns if held_back is None else round(held_back.gate.give_up_ms * NS_PER_MS)
        self._watchdog_ns, self._latest_ns = watchdog_ms * NS_PER_MS, latest_ms * NS_PER_MS
        self._clock = clock
        self._emit = emit
        self._open = False
        self._armed = False
        self._fed_ns = 0
        self._last: PulseCommand | None = None
        self._train: _Train | None = None
        self._cut: list[CutTrain] = []

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
        self._fed_ns = self._clock.now_ns()

    def feed(self, now_ns: int) -> None:
        """Hold the watchdog off, and emit what is due of a train.

        Raises
        ------
        DeviceError
            The watchdog had expired: dark, the train recalled.
        """
        if not self._armed:
            return
        self._require_fed(now_ns)
        self._fed_ns = now_ns
        while self._train is not None and self._train.due_ns <= now_ns:
            self._go_on(self._train, now_ns)

    def fire(self, command: PulseCommand) -> int:
        """Emit the first pulse and note the rest; returns `t_command_ns`.

        Parameters
        ----------
        command : PulseCommand

        Raises
        ------
        DeviceError
            Not the interlock's command for this output, fired before, not armed, the watchdog had expired, or the train
            is longer than the lines that it would have to fall in.
        WithdrawnError
            The interlock's last word is no.
        """
        command = require_command(self.name, command, armed=self._armed, last=self._last)
        self._require_fed(self._clock.now_ns())
        self._recall()
        self._require_window(command)
        self._last = command
        t_command_ns = command.last_word()
        self._train = self._begun(command, t_command_ns)
        if self._train.due_ns <= t_command_ns:
            self._go_on(self._train, t_command_ns)
        return t_command_ns

    @property
    def next_due_ns(self) -> int | None:
        """When the next pulse of a train is due; None if no train is running."""
        return None if self._train is None else self._train.due_ns

    def cut_trains(self) -> tuple[CutTrain, ...]:
        """Trains that ended before their last pulse, each told once."""
        if not self._cut:
            return ()
        cut = tuple(self._cut)
        self._cut.clear()
        return cut

    def safe_state(self) -> None:
        """Dark, the rest of a train recalled, and unable to fire until armed again."""
        self._armed = False
        self._recall()

    def close(self) -> None:
        """Dark, and released."""
        self.safe_state()
        self._open = False

    def _require_fed(self, now_ns: int) -> None:
        silent_ns = now_ns - self._fed_ns
        if silent_ns > self._watchdog_ns:
            self.safe_state()
            text = f"its watchdog expired: not fed for {silent_ns / NS_PER_MS:.0f} ms, {self.watchdog_ms:g} are allowed"
            raise DeviceError(self.name, text)

    def _require_window(self, command: PulseCommand) -> None:
        """A train that the lines would not hold is none for this output."""
        held = self._held_back
        if held is not None and _train_us(command) > held.gate.window_ms * 1000:
            text = f"a train of {_train_us(command) / 1000:g} ms does not fit into scan_gate.window_ms "
            raise DeviceError(
                self.name, f"{text}{held.gate.window_ms:g}", "command one short pulse, or light without scan_gate"
            )

    def _begun(self, command: PulseCommand, t_command_ns: int) -> _Train:
        """The train; where the scanner would let it through too late, one that is only waited for in vain."""
        held = self._held_back
        if held is None:
            return _Train(command, t_command_ns + self._lead_ns, 0, 0)
        t_first_ns = held.frames.next_edge_ns(t_command_ns) + round(held.gate.after_ms * NS_PER_MS)
        give_up_ns = t_command_ns + self.longest_wait_ns
        comes = t_first_ns + _train_us(command) * NS_PER_US <= give_up_ns
        return _Train(command, t_first_ns, 0, 0, None if comes else give_up_ns)

    def _recall(self) -> None:
        if self._train is not None:
            self._cut.append(CutTrain(self._train.command.decision_id, self._train.emitted))
            self._train = None

    def _go_on(self, train: _Train, now_ns: int) -> None:
        """Emit the pulse that is due, or leave it out if it is too late."""
        if train.given_up_ns is not None:
            self._recall()
            return
        command, emitted = train.command, train.emitted
        if now_ns - train.due_ns <= self._latest_ns:
            emitted += 1
            self.pulses += 1
            self._emit(
                LightFields(
                    output=self.name,
                    t_on_ns=train.due_ns,
                    width_us=command.width_us,
                    power_uw=list(command.power_uw),
                    targets_yx_px=[list(position) for position in command.targets_yx_px],
                    target_planes=list(command.target_planes),
                )
            )
        self._train = train._replace(next_pulse=train.next_pulse + 1, emitted=emitted)
        if self._train.next_pulse == command.pulses:
            if emitted == command.pulses:
                self._train = None
            else:
                self._recall()


def _train_us(command: PulseCommand) -> int:
    return (command.pulses - 1) * command.period_us + command.width_us
