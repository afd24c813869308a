"""The doctor says what is wrong, what it means, and what to do; and lights nothing without consent."""

from __future__ import annotations

import io
import re
import socket
import threading
from contextlib import contextmanager
from importlib import metadata
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import yaml
from ni_rig import EDGE, ENABLE, WIRES, settings
from safety_rig import FakeClock
from system_rig import small_rig, write_rig

from drivers.microscopes.simulators.thorimage import SimulatedThorImage
from drivers.outputs.simulators.ni_card import SimulatedCard
from drivers.outputs.simulators.ni_server import serving
from rt_engine.bench.loop import self_test
from rt_engine.cli import main
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Verdict
from rt_engine.interfaces.rig_config import RigConfig, load_rig
from rt_engine.services.doctor import computer, fire, input_parts, real_time, rig_parts
from rt_engine.services.doctor.wiring import trigger_wire
from rt_engine.services.interlock_setup import make_output

CONFIGS = Path(__file__).parents[4] / "hardware_configs"
FULL = {"date": "2026-11-29", "person": "t", "power_mw": 20.0}
LOOPBACK = WIRES | {"PFI3": "ao0"}


class Ticking(FakeClock):
    """A clock that goes on by itself: every look takes 10 us, or so long."""

    def __init__(self, look_ns=10_000):
        super().__init__()
        self.look_ns = look_ns

    def now_ns(self):
        self.step(self.look_ns)
        return super().now_ns()


def ni_rig_file(port, **changes):
    rig = small_rig(microscope__pace="real_time")
    output = settings(port, **changes).model_dump(mode="json", exclude={"measured_by"})
    rig["outputs"]["led"] = output | {"limits": rig["outputs"]["led"]["limits"], "measured_by": "light"}
    card = {"device": "Dev1", "server": f"127.0.0.1:{port}"}
    rig["inputs"] = {"light": card | {"driver": "ni_edges", "counter": "ctr1", "terminal": "PFI3"}}
    return rig


@contextmanager
def simulated(wires=LOOPBACK, drift_ppm=0.0, **changes):
    clock = FakeClock()
    card = SimulatedCard("Dev1", clock.now_ns, wires, drift_ppm=drift_ppm)
    with serving([card]) as (_, port):
        yield RigConfig.model_validate(ni_rig_file(port, **changes)), card, clock


def fired(rig, clock, folder):
    return fire.fire_test(rig, "led", rig.outputs["led"], folder, clock, lambda s: clock.step(round(s * 1e9)))


def test_a_well_wired_output_passes_and_nothing_is_driven():
    with simulated() as (rig, card, clock):
        findings = rig_parts.outputs(rig)
        assert {one.verdict for one in findings if one.part == "output led"} == {Verdict.PASS}
        assert card.signal(ENABLE).steps() == card.signal("ao0").steps() == []
        assert card.tasks == {}
        assert clock.true_ns == FakeClock().true_ns


@pytest.mark.parametrize(
    ("fault", "changes", "word", "remedy"),
    [
        ("stuck:port0/line1", {}, "high while nobody drives it", "10 kOhm"),
        ("unplugged", {}, "no device Dev1", "NI MAX"),
        ("no watchdog", {}, "-200662", "X Series"),
        (
            "stuck:port2/line4",
            {"kind": "counter", "pulse__power": FULL},
            "ctr0 (PFI12, port2/line4) is high while nobody",
            "10 kOhm",
        ),
        (
            "stuck:port2/line6",
            {"shutter": {"counter": "ctr2", "lead_ms": 2.0, "lag_ms": 0.0}},
            "ctr2 (PFI14, port2/line6) is high",
            "10 kOhm",
        ),
        (None, {"pulse__channel": "ao7"}, "no ao7", "pinout"),
        (None, {"enable_line": "port9/line0"}, "no port9/line0", "pinout"),
        (None, {"pulse__power": None}, "not calibrated", "calibrate-power"),
        (None, {"server": "127.0.0.1:9"}, "UNAVAILABLE", "gRPC Device Server"),
    ],
)
def test_what_is_wrong_with_an_output_fails_with_a_remedy(fault, changes, word, remedy):
    with simulated(**changes) as (rig, card, _):
        card.faults |= {fault} if fault else set()
        bad = [one for one in rig_parts.outputs(rig) if one.verdict is Verdict.FAIL]
        assert len(bad) == 1
        assert word in bad[0].text
        assert remedy in bad[0].remedy
        assert bad[0].meaning


def test_a_card_without_a_watchdog_fails_the_doctor_as_it_fails_to_open():
    with simulated() as (rig, card, clock):
        card.faults.add("no watchdog")
        assert Verdict.FAIL in {one.verdict for one in rig_parts.outputs(rig)}
        assert card.tasks == {}
        with pytest.raises(DeviceError, match="-200662"):
            make_output("led", rig.outputs["led"], clock, lambda light: None).open()


def test_the_doctor_leaves_the_watchdog_of_a_run_alone():
    with simulated() as (rig, card, clock):
        output = make_output("led", rig.outputs["led"], clock, lambda light: None)
        output.open()
        output.arm()
        assert Verdict.FAIL not in {one.verdict for one in rig_parts.outputs(rig) if "watchdog" in one.text}
        assert card.level(ENABLE) == 1.0
        clock.step(51_000_000)
        assert card.level(ENABLE) == 0.0
        output.close()


@pytest.mark.parametrize(
    ("called", "advised"), [("scanimage_ni", "scanimage_ni led"), ("my rig.yaml", '"my rig.yaml" led')]
)
def test_the_advice_names_the_rig_as_the_person_did(called, advised):
    with simulated(pulse__power=None) as (rig, _, _):
        (bad,) = [one for one in rig_parts.outputs(rig, called) if one.verdict is Verdict.FAIL]
        assert f"spikeloop calibrate-power {advised} -o" in bad.remedy


@pytest.mark.parametrize(("line", "verdict"), [("port0/line4", Verdict.PASS), ("port9/line4", Verdict.FAIL)])
def test_lines_for_a_scope_are_looked_for(line, verdict):
    with simulated() as (rig, card, _):
        marks = {"device": "Dev1", "server": rig.outputs["led"].server, "frame_line": line}
        marked = RigConfig.model_validate(rig.model_dump(mode="json") | {"marks": marks})
        found = rig_parts.marks(marked)
        assert found[-1].verdict is verdict
        assert line in found[-1].text
        assert card.tasks == {}
        assert rig_parts.marks(rig) == []


def test_versions_of_vendors_packages_and_drivers_are_told():
    (told,) = [one.text for one in computer.packages() if one.part == "hardware packages"]
    for package in ("nidaqmx", "pyserial", "pymmcore"):
        assert f"{package} {metadata.version(package)}" in told
    with simulated() as (rig, _, _):
        assert any("NI-DAQmx 2024.8.0" in one.text for one in rig_parts.outputs(rig))


def test_the_disk_is_asked_for_what_the_rig_file_says():
    usual = 512 * 512 * 2
    said = {
        "scanbox_pulse_box": {"frame_rate_hz": 15.5, "channels": [0, 1]},
        "prairie_ni_slm": {"frame_rate_hz": None, "channels": [0]},
    }
    for name, changes in said.items():
        rig = load_rig(CONFIGS / f"{name}.yaml")
        rig = rig.model_copy(update={"microscope": rig.microscope.model_copy(update=changes)})
        wanted = usual * (changes["frame_rate_hz"] or 30.0) * len(changes["channels"])
        assert computer.frame_bytes_per_s(rig) == wanted
    red = small_rig(microscope__structural_photons=20.0)
    rigs = [RigConfig.model_validate(one) for one in (small_rig(), red)]
    assert computer.frame_bytes_per_s(rigs[1]) == 2 * computer.frame_bytes_per_s(rigs[0])


def test_an_old_power_table_and_a_missing_stop_line_are_warned_about():
    old = {"date": "2020-01-01", "person": "t", "volts": [0.0, 2.0], "power_mw": [0.0, 20.0]}
    with simulated(pulse__power=old) as (rig, _, _):
        warned = [one for one in rig_parts.outputs(rig) if one.verdict is Verdict.WARN]
        assert [one.part for one in warned] == ["output led", "stop line"]
        assert "days old" in warned[0].meaning


@pytest.mark.parametrize("drift_ppm", [0.0, 40.0])
def test_fired_pulses_are_seen_by_the_loop_back(drift_ppm, tmp_path):
    with simulated(drift_ppm=drift_ppm) as (rig, card, clock):
        (finding,) = fire.fire_test(
            rig, "led", rig.outputs["led"], tmp_path, clock, lambda s: clock.step(round(s * 1e9))
        )
        assert finding.verdict is Verdict.PASS, finding
        assert "10 of 10 pulses" in finding.text
        rises = [t for t, level in card.light("ao0", ENABLE) if level > 0]
        assert len(rises) == 10
        assert {level for _, level in card.light("ao0", ENABLE)} == {0.0, 1.0}
        assert card.level(ENABLE) == 0.0


@pytest.mark.parametrize("sample_rate_hz", [10_000.0, 100_000.0, 1_000_000.0])
@pytest.mark.parametrize("drift_ppm", [0.0, 40.0, -40.0])
@pytest.mark.parametrize("look_ns", [0, 1_000])
def test_the_delay_of_the_light_is_measured_to_one_sample(look_ns, drift_ppm, sample_rate_hz, tmp_path, monkeypatch):
    """Against the card's own record of its light; a look at the clock takes so long, which no reading can undercut."""
    clock = Ticking(look_ns)
    card = SimulatedCard("Dev1", clock.now_ns, LOOPBACK, drift_ppm=drift_ppm)
    caught, judged = [], fire._judged
    monkeypatch.setattr(fire, "_judged", lambda part, *times, **more: caught.append(times) or judged(part, *times))
    with serving([card]) as (_, port):
        rig = RigConfig.model_validate(ni_rig_file(port, pulse__sample_rate_hz=sample_rate_hz))
        (finding,) = fired(rig, clock, tmp_path)
    rises_ns = [t for t, level in card.light("ao0", ENABLE) if level > 0]
    commands_ns, seen_ns, _ = caught[0]
    errors_ns = np.subtract(seen_ns, rises_ns)
    assert len(errors_ns) == 10
    assert np.abs(errors_ns).max() <= NS_PER_S / sample_rate_hz
    median_ms, known_us = (
        float(re.search(text, finding.text)[1]) for text in (r"([-\d.]+) ms after", r"to ([\d.]+) us$")
    )
    assert abs(median_ms - np.median(np.subtract(rises_ns, commands_ns)) / 1e6) <= known_us / 1e3 + 1e-4
    assert np.abs(errors_ns).max() <= known_us * 1e3 + 100 <= 20 * look_ns + 300, "true, and not said to be wide"
    assert abs(float(re.search(r"clock ([-+\d.]+) ppm", finding.text)[1]) - drift_ppm) < 0.3 + look_ns / 100


def test_a_loop_back_that_sees_nothing_fails(tmp_path):
    with simulated(wires=WIRES) as (rig, _, clock):
        (finding,) = fire.fire_test(
            rig, "led", rig.outputs["led"], tmp_path, clock, lambda s: clock.step(round(s * 1e9))
        )
        assert finding.verdict is Verdict.FAIL
        assert "saw 0" in finding.text
        assert "follow the wires" in finding.remedy


def test_nothing_is_fired_without_typed_consent(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(computer, "_PROBE_BYTES", 1 << 20)
    monkeypatch.setattr(real_time, "evenness", lambda rig: computer.memory())
    monkeypatch.setattr(input_parts, "WATCH_S", 0.1)
    monkeypatch.setattr(self_test, "measure_loop", lambda rig: computer.memory())
    with simulated() as (rig, card, _):
        path = write_rig(tmp_path, yaml.safe_load(rig.model_dump_json()))
        monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
        main(["doctor", str(path), "--fire", "--output", str(tmp_path / "sessions")])
        assert "no consent" in capsys.readouterr().out
        assert card.light("ao0", ENABLE) == []
        assert card.signal(ENABLE).steps() == []


def test_a_port_that_is_taken_is_named():
    rig = RigConfig.model_validate(small_rig())
    assert computer.ports(rig).verdict is Verdict.PASS
    with socket.socket() as other:
        other.bind(("127.0.0.1", rig.ports.stimulation))
        finding = computer.ports(rig)
    assert finding.verdict is Verdict.FAIL
    assert f"{rig.ports.stimulation} (stimulation)" in finding.text


def test_a_folder_that_cannot_be_written_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (finding,) = computer.disk(tmp_path / "file", 1e6, 1 << 20)
    assert finding.verdict is Verdict.FAIL
    good = computer.disk(tmp_path / "sessions", 1.0, 1 << 20)
    assert [one.verdict for one in good] == [Verdict.PASS, Verdict.PASS]
    assert list((tmp_path / "sessions").iterdir()) == []
    assert computer.disk(tmp_path / "sessions", 1e15, 1 << 20)[0].verdict is Verdict.FAIL


@pytest.mark.parametrize(("stall_ms", "verdict"), [(5, Verdict.PASS), (60, Verdict.WARN), (130, Verdict.FAIL)])
def test_a_loop_that_stalls_is_judged_by_the_shortest_watchdog(stall_ms, verdict):
    rig = small_rig()
    rig["outputs"]["led"]["watchdog_ms"] = 100.0
    clock, turns = FakeClock(), count()

    def sleep(seconds):
        clock.step(stall_ms * 1_000_000 if next(turns) == 50 else round(seconds * 1e9))

    finding = real_time.evenness(RigConfig.model_validate(rig), 2.0, clock.now_ns, sleep)
    assert finding.verdict is verdict
    assert f"{stall_ms:.1f} ms" in finding.text


@pytest.mark.parametrize(("wall_rate", "forward", "verdict"), [
    (1.0, 1, Verdict.PASS), (1.01, 1, Verdict.WARN), (1.0, -1, Verdict.FAIL), (1.0, 0, Verdict.FAIL),
])  # fmt: skip
def test_a_clock_that_stands_runs_back_or_is_stepped_is_found(wall_rate, forward, verdict):
    clock = FakeClock()
    finding = computer.clock(
        0.5, clock.now_ns, lambda: round(clock.true_ns * wall_rate), lambda s: clock.step(forward * 5_000_000)
    )
    assert finding.verdict is verdict


def test_this_computer_answers_every_question(tmp_path):
    findings = [
        *computer.packages(),
        computer.memory(),
        real_time.hop(),
        *real_time.settings(RigConfig.model_validate(small_rig()), tmp_path),
    ]
    assert all(one.verdict is Verdict.PASS or (one.meaning and one.remedy) for one in findings)


@pytest.mark.parametrize(
    ("wires", "verdict", "words"),
    [
        (WIRES, Verdict.PASS, "5 edges on port0/line7, 5 seen on PFI0"),
        ({}, Verdict.FAIL, "0 seen on PFI0"),
        ({"PFI0": "port0/line6"}, Verdict.FAIL, "0 seen on PFI0"),
    ],
)
def test_the_wire_of_the_trigger_is_tried_in_the_dark(wires, verdict, words, tmp_path):
    clock = Ticking()
    card = SimulatedCard("Dev1", clock.now_ns, wires)
    with serving([card]) as (_, port):
        rig = RigConfig.model_validate(ni_rig_file(port, trigger=EDGE))
        (finding,) = trigger_wire(rig, "led", rig.outputs["led"], clock)
        assert finding.verdict is verdict
        assert words in finding.text
        assert card.signal(ENABLE).steps() == card.signal("ao0").steps() == []
        assert card.tasks == {}
        if verdict is Verdict.FAIL:
            assert fired(rig, clock, tmp_path) == [finding]
            assert card.light("ao0", ENABLE) == []


def test_a_gate_that_floats_high_fails_as_the_enable_line_does():
    card = SimulatedCard("Dev1", FakeClock().now_ns, LOOPBACK)
    card.faults.add("stuck:port0/line0")
    with serving([card]) as (_, port):
        rig = ni_rig_file(port, kind="gate")
        rig["outputs"]["led"]["limits"]["max_power_mw"] = 8.0
        bad = [one for one in rig_parts.outputs(RigConfig.model_validate(rig)) if one.verdict is Verdict.FAIL]
    assert [one.text for one in bad] == ["port0/line0 is high while nobody drives it"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_part_of_a_shipped_rig_is_looked_at_and_what_is_not_there_has_a_remedy(path, monkeypatch):
    monkeypatch.setattr(rig_parts, "_LOOK_S", 0.05)
    rig = load_rig(path)
    found = [*rig_parts.microscope(rig), *rig_parts.outputs(rig), *input_parts.inputs(rig), *rig_parts.protocol(rig)]
    assert {one.part for one in found} >= {"microscope", "protocol"} | {f"output {name}" for name in rig.outputs}
    for one in found:
        assert one.verdict is Verdict.PASS or (one.meaning and one.remedy), one


def test_an_old_file_is_no_sign_of_a_microscope_and_a_frame_of_now_is(tmp_path, monkeypatch):
    side = SimulatedThorImage(tmp_path, (12, 20))
    side.begin("old")
    side.scan()
    side.save()
    rig = small_rig(microscope={"driver": "thorimage", "folder": str(tmp_path)})
    rig = RigConfig.model_validate(rig)
    monkeypatch.setattr(rig_parts, "_LOOK_S", 0.1)
    (found,) = rig_parts.microscope(rig)
    assert found.verdict is Verdict.WARN
    assert "silent" in found.text
    assert "streaming acquisition" in found.remedy
    monkeypatch.setattr(rig_parts, "_LOOK_S", 60.0)
    ended = threading.Event()

    def write():
        while not ended.wait(0.02):
            side.scan()
            side.save()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        (found,) = rig_parts.microscope(rig)
    finally:
        ended.set()
        thread.join()
    assert found.verdict is Verdict.PASS
    assert "12 x 20 at 30 Hz" in found.text
