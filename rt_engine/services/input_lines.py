"""Digital lines of the rig on topic `sync`: every edge at once, every level twice a second."""

from __future__ import annotations

from typing import Any

from drivers.inputs.virtual import VirtualLine
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import SyncHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.rig_config import VirtualLine as VirtualConfig
from rt_engine.transport.publisher import Publisher

LEVEL_PERIOD_NS = NS_PER_S // 2


class InputLines:
    """Reads the lines of a rig; on the acquisition thread.

    Parameters
    ----------
    rig : RigConfig
    clock : Clock
    publisher : Publisher
        Of the acquisition service.
    """

    def __init__(self, rig: RigConfig, clock: Clock, publisher: Publisher) -> None:
        self._lines = {
            name: VirtualLine(one.level == "high", clock)
            for name, one in rig.inputs.items()
            if isinstance(one, VirtualConfig)
        }
        self._clock, self._publisher = clock, publisher
        self._level_due_ns = 0

    def step(self) -> None:
        """Publish what has changed, and now and then what has not; call it in every turn."""
        if not self._lines:
            return
        for name, line in self._lines.items():
            for edge in line.take_edges():
                self._send(name, "edge", edge.t_edge_ns, "rising" if edge.is_high else "falling")
        now_ns = self._clock.now_ns()
        if now_ns < self._level_due_ns:
            return
        self._level_due_ns = now_ns + LEVEL_PERIOD_NS
        for name, line in self._lines.items():
            self._send(name, "level", now_ns, "high" if line.is_high else "low")

    def press(self, args: dict[str, Any]) -> dict[str, Any]:
        """Change a virtual line: the command `press`.

        Raises
        ------
        ConfigError
            There is no such line.
        """
        line = self._lines.get(str(args.get("line")))
        if line is None:
            known = ", ".join(self._lines) or "none"
            raise ConfigError(f"no line {args.get('line')!r} in this rig", f"its lines: {known}")
        line.press()
        self.step()
        return {"line": args["line"], "level": "high" if line.is_high else "low"}

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
