"""kill -9 of any process at any instant costs next to nothing, and no pulse is forgotten.

Opt-in: ``pytest -s -m realtime tests/system/test_kill.py``; ``SPIKELOOP_KILLS`` is how often each process is killed
(3), ``SPIKELOOP_KILLS_FROM`` the number of the first trial (0), so that a long row can be run in parts. Every kill says
in one line of JSON when it came and what it cost. Instants lie in the whole life of a run (`kill_moments`): while it
starts, in the baseline, in the calibration, around arming, live, where one file of the journal ends and the next
begins, and while it stops.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from kill_moments import BASELINE_S, FILE_MB, NEEDS_BASELINE, ORDER, Control, Moment, family, kill, wait_for
from kill_witness import Witness, missing_frames, missing_numbers
from pynwb import NWBHDF5IO
from system_rig import DEADLINE_S, RunningRig, Start, small_rig, spikeloop

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb
from rt_engine.recording.reader import Session, open_session
from rt_engine.recording.recover import RecoveryReport, recover
from rt_engine.recording.wal_merge import StimulationLog
from rt_engine.safety.wal import RecordKind, read_wal

pytestmark = pytest.mark.realtime
N_KILLS = int(os.environ.get("SPIKELOOP_KILLS", "3"))
FIRST_TRIAL = int(os.environ.get("SPIKELOOP_KILLS_FROM", "0"))
TRIALS = range(FIRST_TRIAL, FIRST_TRIAL + N_KILLS)
SERVICES = ("acquisition", "inference", "stimulation", "recording", "supervisor")
MOST_LOST_S = 0.25
RATE_HZ = 30.0
VIEWER = Path(__file__).parents[1] / "viewer_child.py"

PROTOCOL = """
schema_version: 2
name: busy
description: Every event of any cell lights that cell.
cells:
  watched: {select: all}
triggers:
  spike: {when: event, cells: watched, refractory_ms: 110.0}
actions:
  pulse: {do: pulse, output: led, targets: triggering, power_mw: 4.0, width_ms: 2.0}
phases:
  watch:
    reactions:
      - {trigger: spike, do: [pulse], trial: true}
design:
  seed: 2
  arms:
    stim: {kind: stim, share: 0.9}
    withheld: {kind: withheld, share: 0.1}
limits: {}
"""


def recovered(folder: Path) -> RecoveryReport:
    """What `recover` makes of a session."""
    contents = [(path.name, read_wal(path)) for path in sorted(folder.glob("stim_*.wal"))]
    return recover(folder, logs=[StimulationLog(name, content.records, content.torn) for name, content in contents])


def forgotten_light(clean: Session, witness: Witness) -> tuple[list[int], int]:
    """Pulses seen outside that the session knows nothing of, and decisions of which it has only the intent."""
    known = {m.header.t_command_ns for m in clean.messages("stim")}
    known |= {m.header.t_on_ns for m in clean.messages("light")}
    begun = {m.header.decision_id for m in clean.messages("stim") if m.header.phase == "intent"}
    finished = {m.header.decision_id for m in clean.messages("stim") if m.header.phase == "done"}
    return [t_ns for t_ns in witness.t_light_ns if t_ns not in known], len(begun - finished)


def require_pulses_of_the_log(folder: Path, target: Path) -> int:
    """Every light that the write-ahead log tells of stands in the NWB file, as it was; returns how many."""
    records = [record for path in sorted(folder.glob("stim_*.wal")) for record in read_wal(path).records]
    intents = {one.fields["decision_id"]: one.fields for one in records if one.kind is RecordKind.INTENT}
    done = [one.fields for one in records if one.kind is RecordKind.DONE and one.fields["t_command_ns"] is not None]
    with NWBHDF5IO(target, "r") as file:
        read = file.read()
        if not done:
            return 0
        pulses = read.intervals["optogenetic_pulses"].to_dataframe().set_index("decision_id")
    offsets_s = []
    for one in done:
        intent, row = intents[one["decision_id"]], pulses.loc[one["decision_id"]]
        assert row["outcome"] == one["outcome"]
        assert abs((row["stop_time"] - row["start_time"]) * 1e6 - intent["width_us"]) < 0.5
        assert abs(row["power_in_mW"] * 1e3 - sum(intent["power_uw"])) < 0.5
        offsets_s.append(one["t_command_ns"] / 1e9 - row["start_time"])
    assert max(offsets_s) - min(offsets_s) < 1e-6, "one clock: all times are as far apart as in the log"
    return len(done)


def exports(clean: Session, target: Path) -> bool:
    """Export to NWB; False where the run had not yet said what it is, and the refusal says so."""
    plan = NwbPlan(target, Frames.NONE, compress=False)
    if any(clean.messages("session")):
        export_nwb(clean, plan, lambda stage, done: None)
        return True
    with pytest.raises(RecordingError, match="no `session` message"):
        export_nwb(clean, plan, lambda stage, done: None)
    return False


def start_busy(start: Start, calibration: Path | None, tmp_path: Path) -> tuple[RunningRig, dict[str, int]]:
    """A run whose cells fire often and are lit for it, its journal in many small files; and its ports."""
    protocol = tmp_path / "busy.yaml"
    protocol.write_text(PROTOCOL, encoding="utf-8")
    rig = small_rig(microscope__pace="real_time", recording__file_mb=FILE_MB)
    rig["microscope"]["sample"] |= {"spiking": {"min_rate_hz": 1.0, "max_rate_hz": 4.0}}
    cells = ["--baseline", str(BASELINE_S)] if calibration is None else ["--calibration", str(calibration)]
    return start(rig, *cells, "--protocol", protocol, "--no-gui"), rig["ports"]


def kill_at(
    moment: Moment, name: str, run: RunningRig, ports: dict[str, int], witness: Witness, chance: random.Random
) -> tuple[int, bool]:
    """Kill one process; the time, and whether it still lived. All that the run began has ended afterwards."""
    control = Control(run, ports)
    try:
        pids = control.pids()
        wait_for(moment, run, witness, control, chance)
        everybody = family(run)
        t_kill_ns = time.perf_counter_ns()
        was_there = kill(pids[name])
    finally:
        control.close()
    run.process.wait(120)
    _, alive = psutil.wait_procs(everybody, 60)
    assert not alive, f"still alive after {name} was killed while {moment}: {alive}"
    return t_kill_ns, was_there


@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("trial", TRIALS)
def test_a_killed_process_costs_a_quarter_of_a_second_and_no_pulse(
    start: Start, small_calibration: Path, tmp_path: Path, name: str, trial: int
) -> None:
    t_start_s = time.monotonic()
    moment, chance = ORDER[trial % len(ORDER)], random.Random(1000 * trial + SERVICES.index(name))
    run, ports = start_busy(start, None if moment in NEEDS_BASELINE else small_calibration, tmp_path)
    witness = Witness(ports)
    try:
        t_kill_ns, was_there = kill_at(moment, name, run, ports, witness, chance)
    finally:
        witness.close()
    cost = {"killed": name, "moment": moment.value, "trial": trial, "was_there": was_there, "phase": witness.phase}
    try:
        report = recovered(run.session)
    except RecordingError as error:
        print(json.dumps(cost | {"nothing_recorded": error.message}))
        assert moment is Moment.STARTING
        assert (witness.frames, witness.t_light_ns) == ({}, []), "there was something to record"
        return
    clean = open_session(report.folder)
    assert clean.is_whole  # its files; the session itself lacks what the killed process took along
    assert clean.lost == report.n_lost
    missing = missing_frames(witness, (header.frame for header, _ in clean.frames()), t_kill_ns)
    unknown, n_open = forgotten_light(clean, witness)
    gaps = missing_numbers(m for m in clean.messages() if m.header.source != "recover")
    cost |= {"exported": exports(clean, tmp_path / "x.nwb")}
    cost |= {"pulses_in_nwb": require_pulses_of_the_log(run.session, tmp_path / "x.nwb") if cost["exported"] else 0}
    cost |= {"files": len(list(run.session.glob("session_*.mcap"))), "heard": len(witness.frames)}
    cost |= {"frames_lost": len(missing.at_the_end), "holes": missing.inside, "skipped": len(missing.numbers_skipped)}
    cost |= {"light": len(witness.t_light_ns), "known_by_intent": len(unknown), "gaps": gaps}
    print(json.dumps(cost | {"took_s": round(time.monotonic() - t_start_s, 1)}))
    assert cost["exported"] or (moment is Moment.STARTING and not witness.frames), cost
    assert len(missing.at_the_end) <= MOST_LOST_S * RATE_HZ, cost
    assert missing.inside == [], cost
    assert (gaps, report.n_lost) == ({}, {}), cost
    # A stimulator killed between light and its second record leaves the intent, which tells of that pulse.
    assert len(unknown) <= n_open <= 1, (unknown, n_open)


@pytest.mark.parametrize("name", ["recording", "inference", "supervisor"])
def test_what_recover_leaves_replays_to_the_same(
    start: Start, small_calibration: Path, tmp_path: Path, name: str
) -> None:
    run, ports = start_busy(start, small_calibration, tmp_path)
    control = Control(run, ports)
    pids = control.pids()
    control.close()
    run.live()
    time.sleep(6.0)
    everybody = family(run)
    assert kill(pids[name])
    run.process.wait(120)
    psutil.wait_procs(everybody, 60)
    done = spikeloop("recover", run.session)
    assert done.returncode == 0, done.stderr
    clean, again = run.session / "recovered", tmp_path / "again"
    done = spikeloop("replay", clean, "--speed", "max", "--output", again)
    assert done.returncode == 0, done.stderr
    found = spikeloop("diff", clean, again, "--json", tmp_path / "diff.json")
    told = json.loads((tmp_path / "diff.json").read_text(encoding="utf-8"))
    print(json.dumps({"killed": name, "compared": told["n_compared"], "same": found.returncode == 0}))
    assert found.returncode == 0, found.stdout
    assert told["n_compared"]["spikes"] > 100


@pytest.mark.parametrize("ended_by", ["stop", "kill"])
def test_viewers_may_die_at_any_instant_and_cost_nothing(start: Start, tmp_path: Path, ended_by: str) -> None:
    """From the baseline on; viewers may be killed while the run goes on, so all are killed in one run."""
    run, ports = start_busy(start, None, tmp_path)
    witness = Witness(ports)
    instants = random.Random(7)
    try:
        witness.await_phase("baseline", deadline_s=DEADLINE_S)
        for trial in range(N_KILLS):
            line = [sys.executable, str(VIEWER), *(str(ports[name]) for name in ("acquisition", "inference"))]
            with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as viewer:
                assert viewer.stdout is not None
                if witness.phase == "live":
                    assert viewer.stdout.readline() == "sees\n"
                time.sleep(instants.expovariate(2.0))
                viewer.kill()
            assert run.process.poll() is None, run.output()
            print(json.dumps({"killed": "viewer", "trial": trial, "phase": witness.phase}))
        witness.await_phase("live", deadline_s=DEADLINE_S)
        t_end_ns = end(run, ports, witness, ended_by)
    finally:
        witness.close()
    session = open_session(run.session if ended_by == "stop" else recovered(run.session).folder)
    assert session.is_whole
    assert session.is_complete == (ended_by == "stop")
    missing = missing_frames(witness, (header.frame for header, _ in session.frames()), t_end_ns)
    assert missing.inside == []
    assert len(missing.at_the_end) <= (0 if ended_by == "stop" else MOST_LOST_S * RATE_HZ)
    assert missing_numbers(m for m in session.messages() if m.header.source != "recover") == {}
    unknown, n_open = forgotten_light(session, witness)
    assert len(unknown) <= n_open <= (0 if ended_by == "stop" else 1)
    assert witness.t_light_ns


def end(run: RunningRig, ports: dict[str, int], witness: Witness, by: str) -> int:
    """End the run in order, or by killing its recorder, once there was light; the time of it."""
    until_s = time.monotonic() + DEADLINE_S
    while not witness.t_light_ns and time.monotonic() < until_s:
        time.sleep(0.1)
    if by == "kill":
        return kill_at(Moment.LIVE, "recording", run, ports, witness, random.Random(7))[0]
    run.ctl("stop")
    assert run.wait() == 0, run.output()
    return time.perf_counter_ns()
