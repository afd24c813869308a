"""The driver of each input that a rig file can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from drivers.inputs.ni_analog import NiAnalog
from drivers.inputs.ni_edges import NiEdges
from drivers.inputs.ni_line import NiLine
from drivers.inputs.virtual import VirtualEdges, VirtualLine, VirtualVoltage
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.inputs import AnyInput
from rt_engine.interfaces.ni_config import NiAnalogInput, NiEdgeInput
from rt_engine.interfaces.rig_config import InputConfig
from rt_engine.services.plugins import plugin_input

Make = Callable[[str, Any, Clock], AnyInput]

INPUT_DRIVERS: dict[str, Make] = {
    "virtual": lambda name, config, clock: VirtualLine(name, config.level == "high", clock),
    "virtual_edges": lambda name, config, clock: VirtualEdges(name, config.follows, clock),
    "virtual_voltage": VirtualVoltage,
    "ni_edges": NiEdges,
    "ni_line": NiLine,
    "ni_analog": NiAnalog,
    "plugin": plugin_input,
}
"""By the `driver` of the rig file. Every one of them passes ``tests/unit/drivers/inputs/test_conformance.py``."""


def follow_card_clocks(configs: Mapping[str, InputConfig], devices: Mapping[str, AnyInput]) -> None:
    """Let samples of a card be counted by its clock, where an input of edges on the same card reads it."""
    readers = {
        (config.device, config.server): devices[name]
        for name, config in configs.items()
        if isinstance(config, NiEdgeInput)
    }
    for name, config in configs.items():
        device = devices[name]
        if isinstance(config, NiAnalogInput) and isinstance(device, NiAnalog):
            edges = readers.get((config.device, config.server))
            if isinstance(edges, NiEdges):
                device.follow(edges)


def make_input(name: str, config: InputConfig, clock: Clock) -> AnyInput:
    """Driver of one input; it touches no hardware before it is opened.

    Raises
    ------
    ConfigError
        A driver of another package is missing, or is not what the rig file says.
    """
    return INPUT_DRIVERS[config.driver](name, config, clock)
