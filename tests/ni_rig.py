"""An NI output on a simulated card, both in the time of a test, with an interlock around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safety_rig import MS, FakeClock, Rig

from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import NiServicer, serving
from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.ni_config import NiDaqSettings

ENABLE = "port0/line1"
MEASURED = {"date": "2026-11-29", "person": "tests"}
GATE = {"kind": "gate", "line": "port0/line0", "power": MEASURED | {"power_mw": 8.0}}
ANALOG = {
    "kind": "analog",
    "channel": "ao0",
    "max_v": 5.0,
    "power": MEASURED | {"volts": [0.0, 1.0, 2.0], "power_mw": [0.0, 4.0, 20.0]},
}
COUNTER = {"kind": "counter", "counter": "ctr0", "power": MEASURED | {"power_mw": 8.0}}
PULSES = {"gate": GATE, "analog": ANALOG, "counter": COUNTER}
CHANNEL = {"gate": "port0/line0", "analog": "ao0", "counter": "ctr0"}
EDGE = {"line": "port0/line7", "terminal": "PFI0"}
WIRES = {"PFI0": "port0/line7"}


def settings(port: int | None, kind: str = "analog", **changes: Any) -> NiDaqSettings:
    """The output of these tests; `changes` are keys of it, or of its pulse with ``pulse__`` before them."""
    pulse = PULSES[kind] | {key[7:]: value for key, value in changes.items() if key.startswith("pulse__")}
    server = None if port is None else f"127.0.0.1:{port}"
    values: dict[str, Any] = {
        **{"driver": "ni_daq", "device": "Dev1", "server": server, "enable_line": ENABLE, "watchdog_ms": 50.0},
        **{"pulse": pulse, "max_beam_mw": 20.0},
        **{key: value for key, value in changes.items() if not key.startswith("pulse__")},
    }
    return NiDaqSettings.model_validate(values)


class NiRig(Rig):
    """An interlock whose output `led` is an NI card; `card` is that card, `turn` the decision loop."""

    def __init__(
        self,
        port: int,
        servicer: NiServicer,
        card: SimulatedCard,
        clock: FakeClock,
        bounds: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(clock, virtual=False, **(bounds or {}))
        self.servicer, self.card, self.emitted = servicer, card, list[LightFields]()
        self.config = settings(port, **changes)
        self.channel = CHANNEL[self.config.pulse.kind]
        self.output = NiDaqOutput("led", self.config, clock, self.emitted.append)
        self.outputs["led"] = self.output  # type: ignore[assignment]
        self.interlock._outputs["led"] = self.output

    def turn(self, ms: float, *, alive: bool = True) -> None:
        """The decision loop for so long, five milliseconds a turn; it only stands still if it is not `alive`."""
        for _ in range(round(ms / 5)):
            self.clock.step(5 * MS)
            if alive:
                self.beat()
                self.interlock.tend(self.clock.now_ns())

    def light(self, since_ns: int = 0) -> list[tuple[int, float]]:
        """Steps of the light behind the enable line."""
        return self.card.light(self.channel, ENABLE, since_ns)


@contextmanager
def ni_rig(**changes: Any) -> Iterator[NiRig]:
    """An `NiRig` with its server; `bounds` change the limits, anything else the output."""
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, WIRES)
    with serving([card]) as (servicer, port):
        rig = NiRig(port, servicer, card, clock, **changes)
        try:
            yield rig
        finally:
            rig.output.close()
