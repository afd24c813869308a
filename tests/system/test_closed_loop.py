"""Light to light: what the loop does to the sample, in real processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from system_rig import RunningRig, Start, small_rig, spikeloop, summary_of

from rt_engine.interfaces.calibration import load_calibration
from rt_engine.interfaces.messages import ActivityHeader, LightHeader, SpikesHeader, StimHeader, TruthHeader
from rt_engine.recording.reader import open_session

N_TARGETS = 3
PROTOCOL = {
    "schema_version": 2,
    "name": "often",
    "cells": {
        "watched": {"select": "best", "n": 6},
        "lit": {"select": "best", "n": N_TARGETS, "but_not": ["watched"]},
    },
    "triggers": {"spike": {"when": "event", "cells": "watched", "refractory_ms": 150.0}},
    "actions": {"pulse": {"do": "pulse", "output": "led", "targets": "lit", "power_mw": 12.0, "width_ms": 5.0}},
    "phases": {"watch": {"reactions": [{"trigger": "spike", "do": ["pulse"], "trial": True}]}},
    "design": {"seed": 1},
}


def _begin(
    start: Start, tmp_path: Path, calibration: Path, *more: str, name: str = "session", pace: str = "max"
) -> RunningRig:
    protocol = tmp_path / "often.yaml"
    protocol.write_text(yaml.safe_dump(PROTOCOL), encoding="utf-8")
    arguments = ("--calibration", calibration, "--protocol", protocol, *more)
    return start(small_rig(microscope__pace=pace), *arguments, name=name)


def _run(start: Start, tmp_path: Path, calibration: Path) -> Path:
    run = _begin(start, tmp_path, calibration, "--duration", "60")
    assert run.wait() == 0, run.output()
    return run.session


def _dff(session: Path) -> tuple[list[int], np.ndarray[Any, np.dtype[np.float32]]]:
    frames, rows = [], []
    for message in open_session(session).messages("activity"):
        header = message.header
        assert isinstance(header, ActivityHeader)
        fields = np.frombuffer(message.payload, "<f4").reshape(len(header.fields), header.n_rois)
        frames.append(header.frame)
        rows.append(fields[header.fields.index("dff")])
    return frames, np.array(rows)


def _evoked(session: Path) -> int:
    headers = (message.header for message in open_session(session).messages("truth"))
    return sum(sum(header.evoked) for header in headers if isinstance(header, TruthHeader))


def _responses(session: Path) -> list[float]:
    """dF/F of the targets in the 3 frames after a decision took effect, minus the 5 before; one number a decision.

    The frame of the light is found in the truth (light received) or, where there was none, in the decision.
    """
    calibration = load_calibration(session / "calibration.h5")
    row = {int(roi): i for i, roi in enumerate(calibration.roi_id)}
    frames, dff = _dff(session)
    at = {frame: i for i, frame in enumerate(frames)}
    lit = [
        message.header.frame
        for message in open_session(session).messages("truth")
        if isinstance(message.header, TruthHeader) and message.header.t_light_ns
    ]
    out = []
    for message in open_session(session).messages("stim"):
        header = message.header
        if not isinstance(header, StimHeader) or header.outcome not in ("delivered", "dry_run"):
            continue
        frame = next((one for one in lit if one >= header.frame), None) if lit else header.frame
        if frame is None or frame - 6 not in at or frame + 5 not in at:
            continue
        columns = [row[target] for target in header.target_ids]
        after = np.nanmean(dff[at[frame] + 2 : at[frame] + 5][:, columns])
        out.append(float(after - np.nanmean(dff[at[frame] - 5 : at[frame]][:, columns])))
    return out


def test_light_that_reaches_the_targets_evokes_their_activity_and_a_dry_run_does_not(
    start: Start, tmp_path: Path, small_calibration: Path
) -> None:
    lit = _begin(start, tmp_path, small_calibration, "--duration", "30", name="light", pace="real_time")
    unlit = _begin(start, tmp_path, small_calibration, "--duration", "30", "--dry-run", name="dry", pace="real_time")
    assert (lit.wait(), unlit.wait()) == (0, 0), lit.output() + unlit.output()
    light, dry = lit.session, unlit.session
    with_light, without = summary_of(light), summary_of(dry)
    assert with_light["stim"]["delivered"] >= 5
    assert without["stim"]["delivered"] == 0
    assert without["stim"]["dry_run"] >= 5
    assert _evoked(light) >= N_TARGETS * with_light["stim"]["delivered"] // 2
    assert _evoked(dry) == 0
    assert not any(isinstance(m.header, LightHeader) for m in open_session(dry).messages("light"))
    responses, control = _responses(light), _responses(dry)
    assert np.mean(responses) > 4 * np.std(responses) / np.sqrt(len(responses))
    assert np.mean(control) < 4 * np.std(control) / np.sqrt(len(control))


def test_the_summary_names_every_interval_and_loses_nothing(
    start: Start, tmp_path: Path, small_calibration: Path
) -> None:
    session = _run(start, tmp_path, small_calibration)
    summary = summary_of(session)
    assert summary["frames"] == 1800
    assert summary["frames_lost"] == 0
    names = {"scan_to_receive", "receive_to_decision", "decision_to_command", "scan_to_command", "scan_to_output"}
    assert set(summary["latency_ms"]) == names | {"spike_to_command", "spike_to_output"}
    for name in ("scan_to_receive", "receive_to_decision", "scan_to_command", "spike_to_command"):
        values = summary["latency_ms"][name]
        assert values["p50"] <= values["p99"] <= values["p999"] <= values["max"]
    assert open_session(session).is_complete
    assert (session / "report.html").stat().st_size > 10_000


def test_spikes_are_published_once_for_every_frame_and_before_its_activity(
    start: Start, tmp_path: Path, small_calibration: Path
) -> None:
    session = _run(start, tmp_path, small_calibration)
    order = [
        (header.frame, message.topic, header.t_sent_ns, header.seq)
        for message in open_session(session).messages("spikes", "activity")
        if isinstance(header := message.header, SpikesHeader | ActivityHeader)
    ]
    spikes = [row for row in order if row[1] == "spikes.0"]
    sent = {frame: t_ns for frame, topic, t_ns, _ in order if topic == "activity.0"}
    assert [row[0] for row in spikes] == list(range(spikes[0][0], spikes[0][0] + 1800))
    assert [row[3] for row in spikes] == list(range(1800))
    assert all(t_ns < sent[frame] for frame, _, t_ns, _ in spikes)


@pytest.mark.realtime
def test_a_source_that_can_wait_is_never_more_than_32_frames_ahead(
    start: Start, tmp_path: Path, small_calibration: Path
) -> None:
    session = open_session(_run(start, tmp_path, small_calibration))
    sent = {header.frame: header.t_sent_ns for header, _ in session.frames()}
    answered = {
        message.header.frame: message.header.t_sent_ns
        for message in session.messages("spikes")
        if isinstance(message.header, SpikesHeader)
    }
    waited = [frame for frame in sent if frame - 32 in answered]
    assert len(waited) > 1700
    assert all(sent[frame] > answered[frame - 32] for frame in waited)


def test_the_demo_ends_with_a_report_and_exit_code_zero(tmp_path: Path) -> None:
    done = spikeloop("demo", "--no-gui", "--duration", "4", "--output", tmp_path / "demo")
    assert done.returncode == 0, done.stderr
    summary = summary_of(tmp_path / "demo")
    assert summary["frames"] == 120
    assert summary["provisional"] is True
    assert "provisional" in done.stdout
    assert "report.html" in done.stdout
    assert (tmp_path / "demo" / "report.html").is_file()
