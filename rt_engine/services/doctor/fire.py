"""Real pulses of a real output, after a person has typed consent, and what the loop-back saw of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from rt_engine.interfaces.clock import NS_PER_MS, Clock, MonotonicClock
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.inputs import EdgeInput, TellsClock
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.output_config import NiDaqOutput, PatternTtlOutput, RealOutput
from rt_engine.interfaces.power_table import PowerTable
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.recording.input_clocks import clock_in_words
from rt_engine.services.bench_light import BenchLight
from rt_engine.services.doctor.wiring import trigger_wire
from rt_engine.services.input_drivers import make_input
from rt_engine.services.interlock_setup import make_output

CONSENT = "FIRE"
N_PULSES = 10
WIDTH_MS = 1.0
_NOT_SEEN = "the light of this output may not follow what the program commands"


def lowest_power_mw(config: RealOutput) -> float:
    """The weakest light that the output can give, above none; 0 where it is not calibrated."""
    if isinstance(config.power, PowerTable):
        return next(one for one in config.power.power_mw if one > 0)
    return config.highest_mw or 0.0


def question(name: str, config: RealOutput) -> str:
    """What a person has to know before consent."""
    width_ms = min(WIDTH_MS, config.limits.max_width_ms)
    return (
        f"{name}: {N_PULSES} pulses of {width_ms:g} ms at {lowest_power_mw(config):g} mW will leave it. "
        f"Nobody's eyes, and no animal, in the beam? Type {CONSENT} to go on: "
    )


def fire_test(
    rig: RigConfig,
    name: str,
    config: RealOutput,
    folder: Path,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Finding]:
    """Fire through the interlock and compare with the edges that the loop-back input saw."""
    part, clock = f"output {name}", clock or MonotonicClock()
    config = config.beam_alone if isinstance(config, PatternTtlOutput) else config
    driver = make_output(name, config, clock, lambda light: None)
    wired = rig.inputs.get(config.measured_by or "")
    edges = None if wired is None else cast(EdgeInput, make_input(config.measured_by or "", wired, clock))
    commands_ns: list[int] = []
    seen_ns: list[int] = []
    wires = trigger_wire(rig, name, config, clock) if isinstance(config, NiDaqOutput) else []
    if any(one.verdict is Verdict.FAIL for one in wires):
        return wires
    try:
        if edges is not None:
            edges.open()
        with BenchLight(name, driver, config.limits, clock, folder, sleep) as light:
            for _ in range(N_PULSES):
                decision = light.pulse(lowest_power_mw(config), min(WIDTH_MS, config.limits.max_width_ms))
                if decision.outcome is not Outcome.DELIVERED or decision.t_command_ns is None:
                    text = f"a pulse was {decision.outcome}: {decision.reason}"
                    return [*wires, Finding(Verdict.FAIL, part, text, "this output cannot stimulate", "see the reason")]
                commands_ns.append(decision.t_command_ns)
                light.run_for(light.gap_s)
                seen_ns += [edge.t_edge_ns for edge in edges.take_edges()] if edges else []
    except SpikeloopError as error:
        return [*wires, failed(part, error, "this output cannot stimulate")]
    finally:
        if edges is not None:
            edges.close()
    if edges is None:
        text = f"{len(commands_ns)} pulses were commanded, none was measured"
        remedy = (
            "wire the light from behind the gate (or a photodiode) to a PFI terminal; name that input in `measured_by`"
        )
        return [*wires, Finding(Verdict.WARN, part, text, _NOT_SEEN, remedy)]
    return [*wires, _judged(part, commands_ns, seen_ns, edges)]


def _judged(part: str, commands_ns: list[int], seen_ns: list[int], edges: EdgeInput) -> Finding:
    if len(seen_ns) != len(commands_ns):
        text = f"{len(commands_ns)} pulses were commanded, the loop-back saw {len(seen_ns)}"
        remedy = "follow the wires: pulse channel, enable gate, loop-back terminal"
        return Finding(Verdict.FAIL, part, text, _NOT_SEEN, remedy)
    delays_ms = [(seen - sent) / NS_PER_MS for sent, seen in zip(commands_ns, seen_ns, strict=True)]
    text = (
        f"{len(seen_ns)} of {len(commands_ns)} pulses seen by the loop-back, {statistics.median(delays_ms):.4f} ms "
        f"after the command ({min(delays_ms):.4f} to {max(delays_ms):.4f})"
    )
    if isinstance(edges, TellsClock) and (told := edges.tell_clock()) is not None:
        text += f"; {clock_in_words(told)}"
    return passed(part, text)
