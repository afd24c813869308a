"""Wires of an output that can be tried in the dark."""

from __future__ import annotations

from contextlib import ExitStack

from drivers.inputs.ni_edges import NiEdges
from drivers.ni.connection import NiConnection
from drivers.outputs.ni_train import line_writer
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.ni_config import NiCounter, NiDaqSettings, NiEdgeInput
from rt_engine.interfaces.rig_config import RigConfig

_EDGES = 5


def trigger_wire(rig: RigConfig, name: str, config: NiDaqSettings, clock: Clock) -> list[Finding]:
    """Whether the card sees, on the terminal, what it puts on the trigger line.

    No pulse is primed and the enable line is not touched, so that no light can come of it; nothing is said where the
    output has no trigger, or no counter of the card is free.

    Parameters
    ----------
    rig : RigConfig
    name : str
        Of the output.
    config : NiDaqSettings
    clock : Clock
    """
    part, trigger = f"output {name}", config.trigger
    if trigger is None:
        return []
    card = NiConnection(f"{name}-wire", config.device, config.server)
    with ExitStack() as undo:
        undo.callback(card.close)
        try:
            card.open()
            counter = _free_counter(card, rig, config)
            if counter is None:
                return []
            values = {"driver": "ni_edges", "device": config.device, "server": config.server}
            wired = NiEdgeInput.model_validate(values | {"counter": counter, "terminal": trigger.terminal})
            edges = NiEdges(f"{name}-wire", wired, clock)
            undo.callback(edges.close)
            edges.open()
            with card.errors(trigger.line):
                task = card.task("trigger-wire")
                undo.callback(card.end, task)
                write = line_writer(card, task, trigger.line)
                for level in (False, *(True, False) * _EDGES):
                    write(level)
            seen = len(edges.take_edges())
        except DeviceError as error:
            return [failed(part, error, "this output cannot stimulate")]
    text = f"{_EDGES} edges on {trigger.line}, {seen} seen on {trigger.terminal}"
    if seen == _EDGES:
        return [passed(part, text)]
    meaning = "nothing would be fired" if seen == 0 else "a pulse might be fired by something else"
    return [Finding(Verdict.FAIL, part, text, meaning, f"wire {trigger.line} to {trigger.terminal}, and nothing else")]


def _free_counter(card: NiConnection, rig: RigConfig, config: NiDaqSettings) -> str | None:
    """A counter of the card that this rig does not use."""
    used = {one.counter for one in rig.inputs.values() if isinstance(one, NiEdgeInput) and one.device == config.device}
    if isinstance(config.pulse, NiCounter):
        used.add(config.pulse.counter)
    if config.shutter is not None:
        used.add(config.shutter.counter)
    return next(
        (one for one in reversed(card.describe()["counters"]) if one.startswith("ctr") and one not in used), None
    )
