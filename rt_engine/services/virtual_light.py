"""Virtual light as a rig file describes it: ahead of it a shutter, or held to some lines of the virtual scan."""

from __future__ import annotations

from collections.abc import Callable

from drivers.outputs.virtual import HeldBack, LightFields, VirtualOutput
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.line_clock import LineClock
from rt_engine.interfaces.output_config import OutputConfig
from rt_engine.interfaces.output_config import VirtualOutput as VirtualConfig


def virtual_output(
    name: str,
    config: OutputConfig,
    clock: Clock,
    emit: Callable[[LightFields], None],
    frames: LineClock | None,
    *,
    watchdog_ms: float,
    latest_ms: float,
) -> VirtualOutput:
    """An output without hardware in the place of `config`, whose light comes as late as that of `config` may.

    Parameters
    ----------
    name : str
    config : OutputConfig
        Of any driver.
    clock : Clock
    emit : callable
        Publishes a pulse of light.
    frames : LineClock or None
        When the frames of the virtual scan begin.
    watchdog_ms, latest_ms : float
        See `drivers.outputs.virtual.VirtualOutput`.
    """
    gate = config.scan_gate if isinstance(config, VirtualConfig) else None
    held_back = None if gate is None or frames is None else HeldBack(gate, frames)
    lead_ms = 0.0 if held_back else config.longest_wait_ms
    return VirtualOutput(name, clock, emit, watchdog_ms, latest_ms=latest_ms, lead_ms=lead_ms, held_back=held_back)
