"""A real stimulation service with an NI output on a simulated card: killed, it leaves the light off."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
import zmq
from ni_rig import ANALOG, CHANNEL, COUNTER, ENABLE, ni_rig
from safety_rig import MS
from stimulation_bench import StimulationBench
from system_rig import ROOT, RunningRig, Start, small_rig, summary_of

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.messages import Outcome, StimHeader
from rt_engine.recording.reader import open_session
from rt_engine.transport.control import ControlClient

WATCHDOG_MS = 100.0
S = 1_000_000_000


def ni_outputs(port: int, pulse: dict[str, Any], **limits: Any) -> dict[str, Any]:
    """The small rig with an NI card for its light."""
    rig = small_rig(microscope__pace="real_time")
    bounds = rig["outputs"]["led"]["limits"] | {"max_refused_per_min": 100_000, "max_decision_age_ms": 500.0, **limits}
    rig["outputs"]["led"] = {
        **{"driver": "ni_daq", "device": "Dev1", "server": f"127.0.0.1:{port}", "enable_line": ENABLE},
        **{"watchdog_ms": WATCHDOG_MS, "max_beam_mw": 20.0, "pulse": pulse, "limits": bounds},
    }
    return rig


def _armed(bench: StimulationBench) -> None:
    """Armed by a person, also after a trip that a busy machine has caused."""
    bench.pump(lambda: bool(bench.states))
    bench.send_rois()
    bench.pump(lambda: bool(bench.ask("status")["has_rois"]))
    bench.ask("set_protocol", {"path": str(bench.protocol_path)})
    _arm_again(bench)


def _arm_again(bench: StimulationBench) -> None:
    def armed() -> bool:
        try:
            if bench.ask("status")["interlock"] == "tripped":
                bench.ask("reset", {"reason": "a busy machine"})
            bench.ask("arm", {"operator": "tests"})
        except SpikeloopError:
            return False
        return True

    bench.pump(armed)


def test_a_killed_service_leaves_the_light_off_and_the_next_one_takes_the_card_over(tmp_path: Path) -> None:
    card = SimulatedCard("Dev1", time.perf_counter_ns)
    pulse = COUNTER | {"power": COUNTER["power"]}
    with serving([card]) as (_, port):
        rig = ni_outputs(port, pulse, max_power_mw=8.0)
        bench = StimulationBench(tmp_path, rig, pulses=40, period_ms=250.0)
        try:
            bench.start()
            _armed(bench)

            def lit() -> bool:
                if bench.interlock() not in ("armed", "firing"):
                    _arm_again(bench)
                bench.events()
                return len(card.light("ctr0", ENABLE)) >= 4

            bench.pump(lit)
            assert bench.process is not None
            bench.process.kill()
            bench.process.wait()
            t_dead_ns = time.perf_counter_ns()
            bench.pump(2.0)
            falls = [t for t, level in card.light("ctr0", ENABLE) if level == 0]
            assert card.light("ctr0", ENABLE)[-1][1] == 0.0
            assert falls[-1] <= t_dead_ns + WATCHDOG_MS * MS
            assert card.level(ENABLE) == 0.0
            bench.start()
            bench.pump(lambda: bench.interlock() == "tripped")
            bench.ask("reset", {"reason": "killed on purpose"})
            _armed(bench)
            assert card.level(ENABLE) == 1.0
        finally:
            bench.close()


KILLS = 200
KILLED_KINDS = ("gate", "analog", "counter", "analog+shutter")
PHASES = ("opening", "arming", "firing", "disarming")
EARLY_S = {"opening": 0.05, "arming": 0.006, "firing": 0.3, "disarming": 0.006}
LIFE_S = 1.6
"""About as long as a child takes from opening to closing."""
PATIENCE_S = 20.0
"""On a busy computer its watchdog ends one train after the other; it is killed all the same."""


def _kill_one(turn: int, random: Random) -> tuple[str, bool]:
    """Phase in which it died, and whether the pulse channel was high then; half die early in a phase of choice."""
    kind = KILLED_KINDS[turn % len(KILLED_KINDS)]
    channel = CHANNEL[kind.partition("+")[0]]
    wanted = PHASES[turn // 8 % len(PHASES)] if turn // 4 % 2 else ""
    card = SimulatedCard("Dev1", time.perf_counter_ns)
    with serving([card]) as (_, port):
        command = [sys.executable, str(ROOT / "tests" / "ni_child.py"), str(port), kind]
        env = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        child = subprocess.Popen(command, cwd=ROOT / "tests", env=env, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        try:
            phase = child.stdout.readline().strip()
            while wanted and phase != wanted:
                phase = child.stdout.readline().strip()
                assert phase, "the child ended by itself"
            give_up_s = time.monotonic() + PATIENCE_S
            while wanted == "firing" and not card.light(channel, ENABLE) and time.monotonic() < give_up_s:
                assert child.poll() is None
                time.sleep(0.002)
            time.sleep(random.uniform(0.0, EARLY_S.get(wanted, LIFE_S)))
        finally:
            child.kill()
            child.wait()
        t_dead_ns = time.perf_counter_ns()
        told = child.stdout.read().split()
        child.stdout.close()
        was_lit = card.signal(channel).at(t_dead_ns) > 0
        time.sleep(0.5)
        assert card.level(ENABLE) == 0.0
        assert [t for t, _ in card.signal(ENABLE).steps() if t > t_dead_ns + 50 * MS] == []
        after = [level for t, level in card.light(channel, ENABLE) if t > t_dead_ns + 50 * MS]
        assert [level for level in after if level > 0] == []
        assert card.level("ctr2") == 0.0
        return (told or [phase])[-1], was_lit


@pytest.mark.realtime
@pytest.mark.timeout(3600)
def test_killed_at_any_instant_the_light_is_off_within_the_watchdog() -> None:
    with ThreadPoolExecutor(3) as pool:
        died = list(pool.map(_kill_one, range(KILLS), (Random(turn) for turn in range(KILLS))))
    counts = Counter(phase for phase, _ in died)
    sys.stdout.write(f"{len(died)} kills: {dict(counts)}, {sum(lit for _, lit in died)} in a pulse\n")
    assert set(counts) == set(PHASES)
    assert any(lit for _, lit in died)


@pytest.mark.statistics
@pytest.mark.parametrize("kind", ["gate", "counter", "analog"])
def test_ten_thousand_pulses_are_as_commanded(kind: str) -> None:
    bounds = {"max_total_energy_mj": 1e6, "max_energy_per_target_mj": 1e6, "max_duty": 1.0, "min_gap_ms": 10.0}
    with ni_rig(kind=kind, bounds={**bounds, "max_rate_hz": 50.0, "max_width_ms": 10.0}) as rig:
        rig.armed()
        commanded: list[int] = []
        for _ in range(2000):
            decision = rig.interlock.request(rig.request(pulses=5, period_ms=25.0, width_ms=5.0))
            assert decision.outcome is Outcome.DELIVERED
            assert decision.t_command_ns is not None
            commanded += [decision.t_command_ns + i * 25 * MS for i in range(5)]
            rig.turn(130)
        light = rig.light()
        rises, falls = [t for t, level in light if level > 0], [t for t, level in light if level == 0]
        assert len(rises) == len(falls) == len(commanded) == 10_000
        assert {fall - rise for rise, fall in zip(rises, falls, strict=True)} == {5 * MS}
        late = {rise - t for rise, t in zip(rises, commanded, strict=True)}
        assert max(late) - min(late) == 0
        assert max(late) < MS


def _keep_armed(port: int, run: RunningRig, lit: Callable[[], int]) -> None:
    """Until there were three pulses: after a trip, which a busy machine causes, a person looks and arms again."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = ControlClient(context, f"tcp://127.0.0.1:{port}", Role.OPERATOR)
    try:
        while run.process.poll() is None and lit() < 3:
            try:
                state = client.request("status", timeout_s=5.0)["interlock"]
                if state == "tripped":
                    client.request("reset", {"reason": "a busy machine"}, timeout_s=5.0)
                if state not in ("armed", "firing"):
                    client.request("arm", {"operator": "tests"}, timeout_s=5.0)
            except SpikeloopError:
                time.sleep(0.05)
            time.sleep(0.05)
        time.sleep(1.0)
        client.request("disarm", {"reason": "enough"}, timeout_s=60.0)
        time.sleep(1.0)
    finally:
        client.close()
        context.destroy(linger=0)


@pytest.mark.realtime
@pytest.mark.timeout(3600)
def test_a_run_fires_through_the_card(start: Start, small_calibration: Path, tmp_path: Path) -> None:
    protocol = {
        **{"schema_version": 2, "name": "often"},
        "cells": {"watched": {"select": "best", "n": 6}, "lit": {"select": "best", "n": 3, "but_not": ["watched"]}},
        "triggers": {"spike": {"when": "event", "cells": "watched", "refractory_ms": 150.0}},
        "actions": {"pulse": {"do": "pulse", "output": "led", "targets": "lit", "power_mw": 12.0, "width_ms": 5.0}},
        "phases": {"watch": {"reactions": [{"trigger": "spike", "do": ["pulse"], "trial": True}]}},
        "design": {"seed": 1},
    }
    (tmp_path / "often.yaml").write_text(yaml.safe_dump(protocol), encoding="utf-8")
    card = SimulatedCard(
        "Dev1", time.perf_counter_ns, {"PFI3": "ao0"}, drift_ppm=30.0
    )  # the wire sees the channel, not the gate behind it
    with serving([card]) as (_, port):
        rig = ni_outputs(port, ANALOG)
        edges = {"driver": "ni_edges", "device": "Dev1", "server": f"127.0.0.1:{port}"}
        rig["inputs"] = {"light": edges | {"counter": "ctr1", "terminal": "PFI3"}}
        rig["outputs"]["led"]["measured_by"] = "light"
        lines = {"frame_line": "port0/line20", "decision_line": "port0/line21"}
        rig["marks"] = {"device": "Dev1", "server": f"127.0.0.1:{port}"} | lines
        arguments = ("--calibration", small_calibration, "--protocol", tmp_path / "often.yaml")
        run = start(rig, *arguments)
        run.live()
        assert card.light("ao0", ENABLE) == []  # nothing real is armed by itself
        with suppress(RuntimeError):
            run.ctl("arm", "tests")
        lit = lambda: sum(level > 0 for _, level in card.light("ao0", ENABLE))  # noqa: E731
        _keep_armed(rig["ports"]["stimulation_control"], run, lit)
        run.ctl("stop")
        assert run.wait() == 0, run.output()
        light = card.light("ao0", ENABLE)
    summary = summary_of(run.session)
    stims = [m.header for m in open_session(run.session).messages("stim") if isinstance(m.header, StimHeader)]
    delivered = {one.decision_id for one in stims if one.phase == "done" and one.outcome == "delivered"}
    measured = {one.decision_id: one.t_output_ns or 0 for one in stims if one.phase == "measured"}
    rises = [(t, level) for t, level in light if level > 0]
    assert len(delivered) == summary["stim"]["delivered"] > 0
    assert delivered <= set(measured)
    assert max(min(abs(measured[one] - t) for t, _ in rises) for one in delivered) < 2_000_000
    assert [level for _, level in rises] == pytest.approx([1.5] * len(rises))
    assert summary["latency_ms"]["scan_to_output"]["p50"] >= summary["latency_ms"]["scan_to_command"]["p50"]
    assert card.level(ENABLE) == 0.0
    judged = {one.decision_id for one in stims if one.phase == "done"}
    assert len(card.signal("port0/line21").steps()) == len(judged)
    decided = sum(1 for _ in open_session(run.session).messages("activity.0"))
    assert len(card.signal("port0/line20").steps()) == decided > 0
