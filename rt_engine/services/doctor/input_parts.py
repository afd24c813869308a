"""Inputs of a rig, looked at for a few seconds: what comes, how evenly, and whether it can fill its role."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.findings import Examinable, Finding, Verdict, failed, passed
from rt_engine.interfaces.inputs import AnyInput, LevelInput, LineEdge, SampleInput, TellsClock
from rt_engine.interfaces.output_config import RealOutput
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.virtual_inputs import VIRTUAL_INPUTS
from rt_engine.recording.input_clocks import clock_in_words
from rt_engine.services.input_drivers import make_input

WATCH_S = 3.0
"""The longer, the better the drift of a clock is known."""
_TURN_S = 0.05
_DRIFT_PPM = 200.0
_NOT_READ = "a run of this rig would not start"


def inputs(rig: RigConfig, clock: Clock | None = None, sleep: Callable[[float], None] = time.sleep) -> list[Finding]:
    """Every input: its device and channels, and what it tells while it is watched. Nothing is driven."""
    clock, found = clock or MonotonicClock(), list[Finding]()
    watched: dict[str, AnyInput] = {}
    with ExitStack() as undo:
        for name, config in rig.inputs.items():
            part = f"input {name}"
            if isinstance(config, VIRTUAL_INPUTS):
                found.append(passed(part, "virtual"))
                continue
            try:
                device = make_input(name, config, clock)
                looked = device.examine() if isinstance(device, Examinable) else []
                found += looked
                if all(one.verdict is Verdict.PASS for one in looked):
                    undo.callback(device.close)
                    device.open()
                    watched[name] = device
            except SpikeloopError as error:
                found.append(failed(part, error, _NOT_READ))
        return found + _watch(rig, watched, clock, sleep)


def _watch(rig: RigConfig, devices: dict[str, AnyInput], clock: Clock, sleep: Callable[[float], None]) -> list[Finding]:
    """Read all of them for a while, as a run does, and judge what came."""
    found = []
    seen: dict[str, list[Any]] = {name: [] for name in devices}
    begun_ns = clock.now_ns()
    while devices and clock.now_ns() - begun_ns < WATCH_S * NS_PER_S:
        sleep(_TURN_S)
        for name, device in tuple(devices.items()):
            try:
                if isinstance(device, SampleInput):
                    block = device.take_block()
                    seen[name] += [] if block is None else [block.volts]
                else:
                    seen[name] += device.take_edges()
            except SpikeloopError as error:
                found.append(failed(f"input {name}", error, "it would be silent in a run"))
                del devices[name]
    watched_s = (clock.now_ns() - begun_ns) / NS_PER_S
    for name, device in devices.items():
        if isinstance(device, SampleInput):
            found.append(_samples(rig, name, device, seen[name], watched_s))
        elif isinstance(device, LevelInput):
            found.append(_level(rig, name, device, seen[name], watched_s))
        else:
            found += _edges(rig, name, device, seen[name], watched_s)
    return found


def _samples(
    rig: RigConfig, name: str, device: SampleInput, blocks: list[np.ndarray[Any, Any]], watched_s: float
) -> Finding:
    part, volts = f"input {name}", np.concatenate([np.empty(0, np.float32), *blocks])
    if len(volts) == 0:
        remedy = "look at `sample_rate_hz`, and that no other program uses the converter"
        return Finding(Verdict.FAIL, part, f"no sample in {watched_s:.1f} s", "it would be silent in a run", remedy)
    rate_hz = len(volts) / watched_s
    text = f"{rate_hz:.0f} samples a second, {volts.mean():+.3f} V, sd {volts.std() * 1000:.1f} mV"
    range_v = getattr(rig.inputs[name], "range_v", float("inf"))
    if float(np.abs(volts).max()) >= 0.98 * range_v:
        meaning = f"the end of its range of {range_v:g} V: what is beyond is cut off"
        return Finding(Verdict.WARN, part, text, meaning, "raise `range_v`, or lower the gain in front of it")
    if abs(rate_hz / device.sample_rate_hz - 1) > 0.02:
        meaning = f"{device.sample_rate_hz:g} are asked for: times of samples would be wrong"
        return Finding(Verdict.WARN, part, text, meaning, "ask for a rate that the card can make, of its timebase")
    return passed(part, text)


def _level(rig: RigConfig, name: str, device: LevelInput, edges: list[LineEdge], watched_s: float) -> Finding:
    part, level = f"input {name}", "high" if device.is_high else "low"
    if len(edges) > 4:
        text = f"changed {len(edges)} times in {watched_s:.1f} s"
        meaning = "a line that nobody holds picks up its neighbours"
        return Finding(Verdict.WARN, part, text, meaning, "a resistor of 10 kOhm to ground or 5 V, a shorter wire")
    stop = rig.stop_line
    if stop is not None and stop.line == name and level != stop.closed:
        meaning = "light cannot be armed while the stop circuit is open"
        remedy = f"release the button; if it is released, write `closed: {level}`, or follow the wire"
        return Finding(Verdict.WARN, part, f"is {level}: the stop circuit is open", meaning, remedy)
    return passed(part, f"is {level}" + (": the stop circuit is closed" if stop and stop.line == name else ""))


def _edges(rig: RigConfig, name: str, device: AnyInput, edges: list[LineEdge], watched_s: float) -> list[Finding]:
    part = f"input {name}"
    found = [_roles(rig, name, edges, watched_s)]
    if isinstance(device, TellsClock) and (told := device.tell_clock()) is not None:
        text = clock_in_words(told)
        if abs(told.drift_ppm) > _DRIFT_PPM + told.drift_uncertainty_ppm:
            meaning = "no crystal is so far off: a clock is being stepped, or the card runs on an external one"
            found.append(
                Finding(
                    Verdict.WARN, part, text, meaning, "stop time synchronisation; look at the card's reference clock"
                )
            )
        else:
            found.append(passed(part, text))
    return found


def _roles(rig: RigConfig, name: str, edges: list[LineEdge], watched_s: float) -> Finding:
    """Whether what came fits what the rig uses it for."""
    part, n = f"input {name}", len(edges)
    text = f"{n} edges in {watched_s:.1f} s"
    if any(isinstance(one, RealOutput) and one.measured_by == name for one in rig.outputs.values()):
        if n == 0:
            return passed(part, f"no edge in {watched_s:.1f} s while nothing is fired")
        remedy = "end the cable in 50 Ohm or shield it; look for another source on that wire"
        return Finding(Verdict.WARN, part, f"{text} though nothing is fired", "noise would count as light", remedy)
    if name != rig.frame_clock:
        return passed(part, text)
    if n < 3:
        remedy = "start the microscope; if it runs, follow the wire of its frame clock"
        return Finding(Verdict.WARN, part, text, "a frame that software loses could not be found", remedy)
    gaps_ms = [(b.t_edge_ns - a.t_edge_ns) / NS_PER_MS for a, b in pairwise(edges)]
    usual_ms = statistics.median(gaps_ms)
    text = f"frame clock {1000 / usual_ms:.2f} Hz, {min(gaps_ms):.2f} to {max(gaps_ms):.2f} ms"
    rate_hz = getattr(rig.microscope, "frame_rate_hz", None)
    if min(gaps_ms) < usual_ms / 2:
        remedy = "a Schmitt trigger or a filter on the line; end the cable"
        return Finding(Verdict.WARN, part, text, "one frame makes several edges: frames would seem lost", remedy)
    if rate_hz and abs(usual_ms * rate_hz / 1000 - 1) > 0.05:
        remedy = "correct `frame_rate_hz`, or take the clock of frames, not of lines or volumes"
        return Finding(Verdict.WARN, part, text, f"the rig file says {rate_hz:g} Hz", remedy)
    return passed(part, text)
