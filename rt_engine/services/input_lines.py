"""Inputs of the rig on topic `sync`: every edge at once, every level twice a second, samples in blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, cast

from drivers.inputs.virtual import VirtualEdges, VirtualLine, VirtualVoltage
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock
from rt_engine.interfaces.errors import ConfigError, DeviceError
from rt_engine.interfaces.inputs import AnyInput, EdgeInput, LevelInput, LineEdge, SampleInput
from rt_engine.interfaces.messages import SyncHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.input_drivers import follow_card_clocks, make_input
from rt_engine.transport.publisher import Publisher

_VIRTUAL = (VirtualLine, VirtualEdges, VirtualVoltage)
LEVEL_PERIOD_NS = NS_PER_S // 2
_EDGES_PERIOD_NS = 5 * NS_PER_MS
_BLOCK_PERIOD_NS = 50 * NS_PER_MS
_RETRY_NS = 2 * NS_PER_S


class InputLines:
    """Reads the inputs of a rig; on the acquisition thread.

    A device that fails while it runs is said once, is silent meanwhile (whoever needs its level notices), and is tried
    again every two seconds.

    Parameters
    ----------
    rig : RigConfig
    clock : Clock
    publisher : Publisher
        Of the acquisition service.
    say : callable
        Told a level and a sentence.
    on_edge : callable
        Told the name of the input and the time of every edge.

    Raises
    ------
    DeviceError
        A device cannot be opened.
    """

    def __init__(
        self,
        rig: RigConfig,
        clock: Clock,
        publisher: Publisher,
        say: Callable[[str, str], None] = lambda level, text: None,
        on_edge: Callable[[str, LineEdge], None] = lambda name, edge: None,
    ) -> None:
        self._clock, self._publisher, self._say, self._on_edge = clock, publisher, say, on_edge
        self._devices = {name: make_input(name, one, clock) for name, one in rig.inputs.items()}
        follow_card_clocks(rig.inputs, self._devices)
        self._levels = {name: one for name, one in self._devices.items() if isinstance(one, LevelInput)}
        self._period_ns = {name: _period_ns(one) for name, one in self._devices.items()}
        self._due_ns = dict.fromkeys(self._devices, 0)
        self._failed: set[str] = set()
        self._level_due_ns = 0
        with ExitStack() as undo:
            undo.callback(self.close)
            for device in self._devices.values():
                device.open()
            undo.pop_all()

    @property
    def devices(self) -> Mapping[str, AnyInput]:
        """Every device by its name in the rig, open."""
        return self._devices

    def step(self) -> None:
        """Publish what has changed, and now and then what has not; call it in every turn."""
        if not self._devices:
            return
        now_ns = self._clock.now_ns()
        for name, device in self._devices.items():
            if now_ns < self._due_ns[name]:
                continue
            try:
                self._read(name, device, now_ns)
            except DeviceError as error:
                self._lose(name, device, error, now_ns)
        if now_ns < self._level_due_ns:
            return
        self._level_due_ns = now_ns + LEVEL_PERIOD_NS
        for name, line in self._levels.items():
            if name not in self._failed:
                self._send(name, "level", now_ns, "high" if line.is_high else "low")

    def press(self, args: dict[str, Any]) -> dict[str, Any]:
        """Change a virtual line, give an edge, step a voltage: the command `press`.

        Raises
        ------
        ConfigError
            There is no such line.
        """
        line = self._devices.get(str(args.get("line")))
        if not isinstance(line, _VIRTUAL):
            known = ", ".join(n for n, one in self._devices.items() if isinstance(one, _VIRTUAL)) or "none"
            raise ConfigError(f"no virtual line {args.get('line')!r} in this rig", f"its virtual lines: {known}")
        line.press()
        self.step()
        if isinstance(line, VirtualLine):
            return {"line": args["line"], "level": "high" if line.is_high else "low"}
        return {"line": args["line"]}

    def follow(self, what: str, t_ns: int) -> None:
        """Something has begun, or will, that virtual edges follow: a frame (``frames``) or a pulse (``light``)."""
        for device in self._devices.values():
            if isinstance(device, VirtualEdges) and device.follows == what:
                device.pulse(t_ns)

    def close(self) -> None:
        """Release every device."""
        for device in self._devices.values():
            device.close()

    def _read(self, name: str, device: AnyInput, now_ns: int) -> None:
        if name in self._failed:
            device.open()
            self._failed.discard(name)
            self._say("info", f"input {name} is back")
        self._due_ns[name] = now_ns + self._period_ns[name]
        if self._period_ns[name] == _BLOCK_PERIOD_NS:
            self._send_block(name, cast(SampleInput, device))
            return
        for edge in cast(EdgeInput, device).take_edges():
            self._on_edge(name, edge)
            self._send(name, "edge", edge.t_edge_ns, "rising" if edge.is_high else "falling")

    def _lose(self, name: str, device: AnyInput, error: DeviceError, now_ns: int) -> None:
        if name not in self._failed:
            self._failed.add(name)
            self._say("error", f"input {name}: {error}")
        device.close()
        self._due_ns[name] = now_ns + _RETRY_NS

    def _send(self, line: str, kind: str, t_ns: int, edge: str) -> None:
        header = SyncHeader(
            **self._publisher.stamp("sync"),
            line=line,
            kind=kind,
            t_edge_ns=t_ns,
            edge=edge,
            t_first_ns=None,
            sample_rate_hz=None,
            dtype=None,
        )
        self._publisher.send("sync", header)

    def _send_block(self, line: str, device: SampleInput) -> None:
        block = device.take_block()
        if block is None:
            return
        header = SyncHeader(
            **self._publisher.stamp("sync"),
            line=line,
            kind="samples",
            t_edge_ns=None,
            edge=None,
            t_first_ns=block.t_first_ns,
            sample_rate_hz=device.sample_rate_hz,
            dtype="f4",
        )
        self._publisher.send("sync", header, block.volts.tobytes())


def _period_ns(device: AnyInput) -> int:
    """How often a device is asked: a virtual line in every turn, for nothing waits on it."""
    if isinstance(device, SampleInput):
        return _BLOCK_PERIOD_NS
    return 0 if isinstance(device, VirtualLine) else _EDGES_PERIOD_NS
