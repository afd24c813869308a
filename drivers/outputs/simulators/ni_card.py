"""A simulated X Series card: lines, counters, converters, wires between them, a watchdog, and faults on demand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from drivers.outputs.simulators.ni_signal import Signal, both
from drivers.outputs.simulators.ni_task import NS_PER_S, Kind, SimulatedTask, TaskState

TIMEBASE_HZ = 100_000_000
BAD_DEVICE, BAD_CHANNEL, RESERVED = -200220, -200170, -50103
BAD_VOLTAGE, BAD_TASK = -200561, -200088
UNPLUGGED, UNDERFLOW, NO_SAMPLES, TOO_FEW = -201003, -200016, -200462, -200284
WATCHDOG_BLOCKS, WATCHDOG_OVER, BAD_TIMEOUT, NO_WATCHDOG = -200678, -200644, -200668, -200662
WRITES_AFTER_START, BAD_COUNT = -200295, -200547
_MAX_WATCHDOG_S = 34.0
_FAR_NS = 3600 * NS_PER_S
"""How far ahead somebody outside can have scheduled what a terminal will see."""


class CardError(Exception):
    """What the driver of the card says.

    Parameters
    ----------
    code : int
        Of NI-DAQmx.
    text : str
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class SimulatedCard:
    """One card, in the time of `now_ns`.

    Parameters
    ----------
    name : str
        Like ``Dev1``.
    now_ns : callable
        Monotonic time of this host.
    wires : dict of str to str
        Terminal to the line, counter or other source whose signal it sees: ``{"PFI0": "port0/line7"}``.
    drift_ppm : float
        How much faster the card's timebase runs than the host.
    model : str

    Attributes
    ----------
    faults : set of str
        ``unplugged``, ``underrun``, ``old``, ``no watchdog``, ``stuck:<line>``, ``reserved:<resource>``,
        ``locked:<line>`` (by the watchdog of a process that is gone).
    """

    def __init__(
        self,
        name: str,
        now_ns: Callable[[], int],
        wires: dict[str, str] | None = None,
        *,
        drift_ppm: float = 0.0,
        model: str = "PCIe-6353",
    ) -> None:
        self.name, self.model = name, model
        self._now_ns = now_ns
        self._rate = 1.0 + drift_ppm * 1e-6
        self.wires = dict(wires or {})
        self.faults: set[str] = set()
        self.lines = [f"port{p}/line{i}" for p, n in ((0, 32), (1, 8), (2, 8)) for i in range(n)]
        self.channels = {
            Kind.DO: self.lines,
            Kind.DI: self.lines,
            Kind.AO: [f"ao{i}" for i in range(4)],
            Kind.AI: [f"ai{i}" for i in range(16)],
            Kind.CO: [f"ctr{i}" for i in range(4)],
            Kind.CI: [f"ctr{i}" for i in range(4)],
        }
        self.terminals = [f"PFI{i}" for i in range(16)]
        self._signals: dict[str, Signal] = {}
        self._diodes: dict[str, tuple[str, str, Callable[[float], float]]] = {}
        self.tasks: dict[str, SimulatedTask] = {}

    def signal(self, name: str) -> Signal:
        """What a line, channel or terminal carries, through wires."""
        name = self.wires.get(name, name)
        return self._signals.setdefault(name, Signal())

    def light(self, gate: str, enable: str, since_ns: int = 0) -> list[tuple[int, float]]:
        """Steps of the light: what `gate` commands while `enable` is high."""
        self.look()
        return both(self.signal(gate), self.signal(enable), since_ns)

    def watch(self, channel: str, gate: str, enable: str, volts_of: Callable[[float], float]) -> None:
        """Put a photodiode on an analogue input: it shows `volts_of` the level of `gate` behind the enable line."""
        self._diodes[channel] = gate, enable, volts_of

    def seen(self, channel: str, t_ns: int) -> float:
        """What an input sees at a time."""
        if channel not in self._diodes:
            return self.signal(channel).at(t_ns)
        gate, enable, volts_of = self._diodes[channel]
        return volts_of(self.signal(gate).at(t_ns) if self.signal(enable).at(t_ns) > 0 else 0.0)

    def drive(self, name: str, steps: Iterable[tuple[int, float]]) -> None:
        """Let something outside the card change a terminal: a frame clock, a button, an analogue voltage."""
        for t_ns, level in steps:
            self._put(name, t_ns, level)

    def device_ns(self, task: SimulatedTask, t_ns: int) -> int:
        """Time since the start of a task by the card's own timebase."""
        return round((t_ns - task.started_ns) * self._rate)

    def look(self) -> int:
        """Let what has happened meanwhile happen: an expired watchdog; returns the time."""
        now_ns = self._now_ns()
        for task in self.tasks.values():
            if task.kind is not Kind.WATCHDOG or task.state is not TaskState.RUNNING or task.expired_ns is not None:
                continue
            expires_ns = task.fed_ns + round(task.timeout_s * NS_PER_S)
            if now_ns >= expires_ns:
                task.expired_ns = expires_ns
                for line, level in task.states.items():
                    self._put(line, expires_ns, level)
        return now_ns

    def check_there(self) -> None:
        """Raise if the card cannot be reached."""
        if "unplugged" in self.faults:
            raise CardError(UNPLUGGED, f"Device cannot be accessed. Device: {self.name}")

    def unplug(self) -> None:
        """Pull the card out: everything it drives goes low, its tasks are gone with it."""
        now_ns = self.look()
        for task in self.tasks.values():
            for channel in task.channels if task.is_output else ():
                self._put(channel, now_ns, 0.0)
            task.state = TaskState.MADE
        self.faults.add("unplugged")

    def local(self, physical: str, kind: Kind) -> list[str]:
        """Names on this card of a flattened list of channels.

        Raises
        ------
        CardError
            Another device, or a channel that does not exist.
        """
        found = []
        for one in physical.split(","):
            device, _, name = one.strip().strip("/").partition("/")
            if device != self.name:
                raise CardError(BAD_DEVICE, f"Device identifier is invalid. Device Specified: {device}")
            if name not in self.channels[kind]:
                text = f"Physical channel specified does not exist on this device. Physical Channel Name: {one.strip()}"
                raise CardError(BAD_CHANNEL, text)
            found.append(name)
        return found

    def terminal(self, name: str) -> str:
        """Name of a terminal without the device; of a counter's inner output, the counter."""
        local = name.strip("/").removeprefix(f"{self.name}/")
        inner = re.fullmatch(r"Ctr(\d)InternalOutput", local)
        return f"ctr{inner[1]}" if inner else local

    def commit(self, task: SimulatedTask) -> None:
        """Reserve what a task needs."""
        if task.state is not TaskState.MADE:
            return
        needed = task.needs()
        held = {one.partition(":")[2] for one in self.faults if one.startswith("reserved:")}
        for other in self.tasks.values():
            if other is not task and other.state is not TaskState.MADE:
                held |= other.needs()
        if needed & held:
            text = f"The specified resource is reserved: {', '.join(sorted(needed & held))}. Task Name: {task.name}"
            raise CardError(RESERVED, text)
        task.state = TaskState.COMMITTED

    def start(self, task: SimulatedTask) -> None:
        """Run a task, or arm it for its trigger."""
        now_ns = self.look()
        if task.state is TaskState.RUNNING:
            raise CardError(-200479, f"Specified operation cannot be performed while the task is running. {task.name}")
        self.commit(task)
        if task.kind in (Kind.AO, Kind.DO) and task.is_timed and not task.buffer:
            raise CardError(NO_SAMPLES, f"Generation cannot be started: no samples written. Task Name: {task.name}")
        task.state, task.started_ns, task.ends_ns, task.failure = TaskState.RUNNING, now_ns, None, 0
        task.read_from = 0
        if task.kind is Kind.WATCHDOG:
            task.fed_ns, task.expired_ns = now_ns, None
        elif task.is_output and task.is_timed:
            starts_ns = [now_ns] if task.trigger is None else self.signal(task.trigger).rises(now_ns, now_ns + _FAR_NS)
            for t0_ns in starts_ns[:1]:
                self._generate(task, t0_ns)

    def stop(self, task: SimulatedTask) -> None:
        """Stop a task: a line or voltage stays where it is, a counter goes idle."""
        now_ns = self.look()
        if task.state is not TaskState.RUNNING:
            return
        task.state = TaskState.COMMITTED
        if task.is_output and task.is_timed:
            for channel in task.channels:
                self.signal(channel).cut(now_ns)
                if task.kind is Kind.CO:
                    self._put(channel, now_ns, 0.0)

    def clear(self, task: SimulatedTask) -> None:
        """End a task and forget it."""
        self.stop(task)
        self.tasks.pop(task.name, None)

    def is_done(self, task: SimulatedTask) -> bool:
        """True when all samples are out; raises what stopped it."""
        now_ns = self.look()
        if task.failure:
            raise CardError(task.failure, f"Onboard device memory underflow. Task Name: {task.name}")
        if task.state is not TaskState.RUNNING:
            return True
        return not task.retriggerable and task.ends_ns is not None and now_ns >= task.ends_ns

    def write_static(self, task: SimulatedTask, levels: list[float]) -> None:
        """Set lines or voltages at once."""
        now_ns = self.look()
        blocked = self._blocked_lines()
        if task.kind is Kind.DO and blocked & set(task.channels):
            text = "Write failed, because the watchdog timer expired"
            raise CardError(WATCHDOG_BLOCKS, f"{text}. Device: {self.name}. Task Name: {task.name}")
        self.check_voltages(task, levels)
        self.commit(task)
        for channel, level in zip(task.channels, levels, strict=True):
            self._put(channel, now_ns, level)

    def fill(self, task: SimulatedTask, levels: list[float]) -> None:
        """Write the buffer of a timed task that does not run: what it needs is held from then on."""
        if task.state is TaskState.RUNNING:
            raise CardError(
                WRITES_AFTER_START, f"Write cannot be performed while the task runs. Task Name: {task.name}"
            )
        if len(levels) != task.samples:
            raise CardError(BAD_COUNT, f"{len(levels)} samples for a train of {task.samples}. Task Name: {task.name}")
        self.commit(task)
        task.buffer = levels

    def check_voltages(self, task: SimulatedTask, levels: Iterable[float]) -> None:
        """Raise if a voltage is beyond the range of its channel."""
        low_v, high_v = task.range_v
        for level in levels if task.kind is Kind.AO else ():
            if not low_v <= level <= high_v:
                text = f"Requested value {level} is beyond {low_v} to {high_v} V. Task Name: {task.name}"
                raise CardError(BAD_VOLTAGE, text)

    def set_watchdog(self, task: SimulatedTask, timeout_s: float) -> None:
        """Set the time after which it expires."""
        if not 0 < timeout_s <= _MAX_WATCHDOG_S or math.isnan(timeout_s):
            raise CardError(BAD_TIMEOUT, f"Watchdog timeout {timeout_s} s is out of range. Device: {self.name}")
        task.kind, task.timeout_s = Kind.WATCHDOG, timeout_s

    def feed(self, task: SimulatedTask) -> None:
        """Reset the timer of a watchdog."""
        now_ns = self.look()
        if task.expired_ns is not None:
            raise CardError(WATCHDOG_OVER, f"Watchdog timer has expired and cannot be reset. Device: {self.name}")
        task.fed_ns = now_ns

    def clear_expiration(self, task: SimulatedTask) -> None:
        """Unlock the lines, whoever's watchdog has locked them."""
        task.expired_ns, task.fed_ns = None, self.look()
        self.faults -= {f"locked:{line}" for line in task.states}

    def level(self, name: str) -> float:
        """Level of a line as the card reads it."""
        now_ns = self.look()
        return 1.0 if f"stuck:{name}" in self.faults else self.signal(name).at(now_ns)

    def _blocked_lines(self) -> set[str]:
        tasks = self.tasks.values()
        locked = {one.partition(":")[2] for one in self.faults if one.startswith("locked:")}
        return locked | {line for task in tasks if task.expired_ns is not None for line in task.states}

    def _put(self, name: str, t_ns: int, level: float) -> None:
        """A step of a signal, and what it triggers."""
        source = self.wires.get(name, name)
        if not self.signal(source).step(t_ns, level):
            return
        for task in list(self.tasks.values()):
            if task.trigger is None or task.state is not TaskState.RUNNING or not task.is_output:
                continue
            if self.wires.get(task.trigger, task.trigger) != source:
                continue
            if task.ends_ns is None or (task.retriggerable and t_ns >= task.ends_ns):
                self._generate(task, t_ns)

    def _generate(self, task: SimulatedTask, t0_ns: int) -> None:
        """Schedule what a task puts out; with the fault `underrun` it stops in the middle, as it is then."""
        task.ends_ns = task.end_ns(t0_ns)
        steps, until_ns = task.steps(t0_ns), task.ends_ns
        if "underrun" in self.faults:
            self.faults.discard("underrun")
            task.failure = UNDERFLOW
            first = next((t for t, level in steps if level > 0), t0_ns)
            until_ns = first + 1
        for channel in task.channels[:1]:
            for t_ns, level in steps:
                if t_ns < until_ns:
                    self._put(channel, t_ns, level)
