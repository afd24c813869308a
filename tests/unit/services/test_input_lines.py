"""Inputs of a card become `sync` messages; the loop-back measures the light; hidden frames are found."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np
import pytest
from safety_rig import MS, FakeClock
from system_rig import small_rig

from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.messages import Outcome
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.stimulation import Decision
from rt_engine.services.frame_clock import FrameClockMatch
from rt_engine.services.input_lines import InputLines
from rt_engine.services.output_edges import OutputEdges

S = 1_000_000_000


class Wire:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, bytes]] = []

    def stamp(self, topic):
        return {"v": 1, "session": "s", "source": "t", "host": "h", "boot_id": "b", "seq": 0, "t_sent_ns": 0}

    def send(self, topic, header, payload=b""):
        self.sent.append((header, payload))


@contextmanager
def inputs(drift_ppm=0.0):
    clock, wire, said, edges = FakeClock(), Wire(), [], []
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=drift_ppm)
    with serving([card]) as (_, port):
        ni = {"device": "Dev1", "server": f"127.0.0.1:{port}"}
        rig = small_rig()
        rig["inputs"] = {
            "frames": ni | {"driver": "ni_edges", "counter": "ctr1", "terminal": "PFI3"},
            "lever": ni | {"driver": "ni_line", "line": "port0/line4"},
            "wheel": ni | {"driver": "ni_analog", "channel": "ai0", "sample_rate_hz": 1000.0},
            "key": {"driver": "virtual", "level": "low"},
        }
        rig["frame_clock"] = "frames"
        config = RigConfig.model_validate(rig)
        said_of = lambda level, text: said.append((level, text))  # noqa: E731
        lines = InputLines(config, clock, wire, said_of, lambda name, edge: edges.append((name, edge)))
        try:
            yield card, clock, lines, wire, said, edges
        finally:
            lines.close()


def test_edges_levels_and_samples_are_published_with_their_times():
    with inputs() as (card, clock, lines, wire, _, edges):
        t0_ns = clock.now_ns()
        card.drive("PFI3", [(t0_ns + (10 + 33 * i) * MS + off, lv) for i in range(10) for off, lv in ((0, 1), (MS, 0))])
        card.drive("port0/line4", [(t0_ns + 50 * MS, 1.0), (t0_ns + 90 * MS, 0.0)])
        card.drive("ai0", [(t0_ns + 100 * MS, 2.5)])
        for _ in range(100):
            clock.step(5 * MS)
            lines.step()
        headers = [header for header, _ in wire.sent]
        rises = [one.t_edge_ns for one in headers if one.line == "frames"]
        assert np.abs(np.array(rises) - [t0_ns + (10 + 33 * i) * MS for i in range(10)]).max() <= 20
        assert [edge.t_edge_ns for name, edge in edges if name == "frames"] == rises
        lever = [(one.edge, one.t_edge_ns) for one in headers if one.line == "lever" and one.kind == "edge"]
        assert [edge for edge, _ in lever] == ["rising", "falling"]
        assert [0 <= t - t0_ns - true * MS <= 5 * MS for (_, t), true in zip(lever, (50, 90), strict=True)] == [
            True
        ] * 2
        levels = {one.line for one in headers if one.kind == "level"}
        assert levels == {"lever", "key"}
        blocks = [(one, np.frombuffer(payload, "<f4")) for one, payload in wire.sent if one.kind == "samples"]
        volts = np.concatenate([block for _, block in blocks])
        firsts_ns = np.cumsum([0, *(MS * len(b) for _, b in blocks[:-1])])
        assert np.abs(np.array([one.t_first_ns - t0_ns for one, _ in blocks]) - firsts_ns).max() <= 20
        assert volts[:99].max() == 0.0
        assert (volts[101:] == 2.5).all()
        assert len(volts) >= 450


@pytest.mark.parametrize(("drift_ppm", "unplugged"), [(200.0, False), (-200.0, True)])
def test_samples_of_a_drifting_card_are_dated_by_its_clock_where_an_input_of_edges_reads_it(drift_ppm, unplugged):
    """A voltage changes every five seconds; the first sample that shows it is of that moment, also late in a run."""
    clock, wire, changes_ns = FakeClock(), Wire(), []
    card = SimulatedCard("Dev1", clock.now_ns, drift_ppm=drift_ppm)
    with serving([card]) as (_, port):
        ni = {"device": "Dev1", "server": f"127.0.0.1:{port}"}
        frames = ni | {"driver": "ni_edges", "counter": "ctr1", "terminal": "PFI3"}
        wheel = ni | {"driver": "ni_analog", "channel": "ai0", "sample_rate_hz": 1000.0}
        config = RigConfig.model_validate(small_rig() | {"inputs": {"wheel": wheel, "frames": frames}})
        lines = InputLines(config, clock, wire)
        try:
            for turn in range(200):
                if turn % 10 == 5:
                    changes_ns.append(clock.now_ns() + 100 * MS)
                    card.drive("ai0", [(changes_ns[-1], len(changes_ns) % 2)])
                if unplugged and turn == 100:
                    card.unplug()
                if unplugged and turn == 103:
                    card.faults.clear()
                clock.step(500 * MS)
                lines.step()
        finally:
            lines.close()
    seen_ns, before = [], 0.0
    for header, payload in wire.sent:
        if header.kind == "samples":
            volts = np.frombuffer(payload, "<f4")
            at = np.flatnonzero(np.diff(volts, prepend=np.float32(before)))
            seen_ns += [header.t_first_ns + int(i) * MS for i in at]
            before = volts[-1]
    assert len(seen_ns) == len(changes_ns) == 20
    late_ns = np.array(seen_ns) - changes_ns
    assert late_ns.min() >= -100_000
    assert late_ns.max() <= 1.1 * MS, "one sample, and what is not known of the clock"


def test_a_card_that_is_unplugged_is_said_once_is_silent_and_comes_back():
    with inputs() as (card, clock, lines, wire, said, _):
        lines.step()
        card.unplug()
        wire.sent.clear()
        for _ in range(300):
            clock.step(5 * MS)
            lines.step()
        assert len([text for level, text in said if level == "error"]) == 3
        assert all("Dev1" in text for _, text in said)
        assert {header.line for header, _ in wire.sent} == {"key"}
        card.faults.clear()
        for _ in range(600):
            clock.step(5 * MS)
            lines.step()
        assert len([text for level, text in said if level == "info"]) == 3
        assert {"lever", "wheel", "key"} <= {header.line for header, _ in wire.sent}


def test_an_input_that_is_not_there_is_said_at_the_start():
    rig = small_rig()
    rig["inputs"] = {"lever": {"driver": "ni_line", "device": "Dev1", "server": "127.0.0.1:9", "line": "port0/line4"}}
    with pytest.raises(DeviceError, match=r"lever: .*start the NI gRPC Device Server"):
        InputLines(RigConfig.model_validate(rig), FakeClock(), Wire())


@pytest.mark.parametrize("hidden_at", [[], [120], [120, 121, 300]])
@pytest.mark.parametrize("counted_at", [[], [200]])
def test_a_frame_that_software_neither_delivered_nor_counted_is_found(hidden_at, counted_at):
    """The microscope scans 500 frames. Some vanish unseen, some are known to be lost by the counter."""
    random, match, period_ns = Random(1), FrameClockMatch(), 33 * MS
    found, frame = 0, 0
    for scanned in range(500):
        t_begin_ns = S + scanned * period_ns
        match.see_edge(t_begin_ns)
        if scanned in hidden_at:
            continue
        if scanned not in counted_at:
            jitter_ns = int(random.uniform(0, 0.8) * period_ns)
            found += match.see_frame(frame, t_begin_ns + period_ns - MS + (jitter_ns if random.random() < 0.2 else 0))
        frame += 1
    assert found == match.hidden == len(hidden_at)


@pytest.mark.parametrize("late", [0.2, 0.5], ids=["a fifth late", "stamps on both sides of the next edge"])
@pytest.mark.parametrize(
    ("restarts_at", "no_edge_at", "hidden_at"),
    [
        ((), (), ()),
        ((300, 700), (), ()),
        ((), range(300, 330), ()),
        ((300,), (), (500,)),
        ((300, 700), (), (500, 900)),
        ((300, 301, 302), (), (500, 501)),
        ((), range(300, 330), range(500, 505)),
        ((400,), range(600, 640), (200, 500, 800)),
    ],
)
def test_what_is_hidden_is_found_though_a_number_was_left_out_or_edges_were_lost(
    restarts_at, no_edge_at, hidden_at, late
):
    """A restarted vendor leaves a number out for which nothing was scanned; an input that was away has lost edges."""
    random, match, period_ns = Random(2), FrameClockMatch(), 33 * MS
    found, frame = [], 0
    for scanned in range(1200):
        t_begin_ns = S + scanned * period_ns
        frame += scanned in restarts_at
        if scanned not in no_edge_at:
            match.see_edge(t_begin_ns)
        if scanned in hidden_at:
            continue
        late_ns = int(random.uniform(0.1, 0.8) * period_ns) if random.random() < late else -MS
        found += [scanned] * match.see_frame(frame, t_begin_ns + period_ns + late_ns)
        frame += 1
    assert match.hidden == len(found) == len(hidden_at)
    assert all(hidden < told <= hidden + 40 for hidden, told in zip(hidden_at, found, strict=True))


def decision(t_command_ns, outcome=Outcome.DELIVERED):
    return Decision(
        decision_id=str(t_command_ns), outcome=outcome, reason=None, output="led", t_command_ns=t_command_ns
    )


def test_the_first_edge_after_a_command_is_its_own_and_no_other():
    edges = OutputEdges()
    for t_ms in (100, 300, 900):
        edges.remember(None, decision(t_ms * MS))
    edges.remember(None, decision(1000 * MS, Outcome.FAILED))
    assert edges.match("led", 50 * MS) is None
    assert edges.match("led", 100 * MS + 5000)[1].t_command_ns == 100 * MS
    assert edges.match("led", 140 * MS) is None
    assert edges.match("led", 901 * MS)[1].t_command_ns == 900 * MS
    assert edges.match("led", 1001 * MS) is None
    assert edges.match("other", 1001 * MS) is None


def test_light_that_waits_is_still_its_commands():
    for waits_ms, is_matched in (({}, False), ({"led": 120.0}, True)):
        edges = OutputEdges(waits_ms)
        edges.remember(None, decision(100 * MS))
        assert (edges.match("led", 310 * MS) is not None) is is_matched


def test_virtual_twins_tell_frames_light_and_a_voltage_as_those_of_a_card_do():
    clock, wire, told = FakeClock(), Wire(), []
    section = {
        **{"frames": {"driver": "virtual_edges", "follows": "frames"}, "key": {"driver": "virtual_edges"}},
        **{"light": {"driver": "virtual_edges", "follows": "light"}},
        **{"wheel": {"driver": "virtual_voltage", "wave_v": 2.0, "wave_period_s": 0.2, "high_v": 4.0}},
    }
    config = RigConfig.model_validate(small_rig() | {"inputs": section, "frame_clock": "frames"})
    lines = InputLines(config, clock, wire, on_edge=lambda name, edge: told.append((name, edge.t_edge_ns)))
    t0_ns = clock.now_ns()
    lines.follow("light", t0_ns + 30 * MS)
    for i in range(40):
        clock.step(5 * MS)
        if i % 4 == 0:
            lines.follow("frames", clock.now_ns() - 20 * MS)
        lines.step()
    lines.press({"line": "key"})
    lines.press({"line": "wheel"})
    for _ in range(20):
        clock.step(5 * MS)
        lines.step()
    assert [t for name, t in told if name == "light"] == [t0_ns + 30 * MS]
    assert [t for name, t in told if name == "frames"] == [t0_ns + (5 + 20 * i - 20) * MS for i in range(10)]
    assert [t for name, t in told if name == "key"] == [t0_ns + 200 * MS]
    blocks = [(header.t_first_ns, np.frombuffer(data, "f4")) for header, data in wire.sent if header.line == "wheel"]
    volts = np.concatenate([block for _, block in blocks])
    t_s = np.arange(len(volts)) / 1000.0
    expected = 2.0 * np.sin(2 * np.pi * t_s / 0.2) + 4.0 * (t_s >= 0.2)
    assert len(volts) > 250
    assert np.abs(volts - expected).max() < 1e-5
    assert all(
        t == t0_ns + n * MS for (t, _), n in zip(blocks, np.cumsum([0] + [len(b) for _, b in blocks]), strict=False)
    )
    lines.close()
