"""A program that is no part of spikeloop is the microscope."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from stream_source import StreamSource, stream_rig, until_live
from system_rig import ROOT, Start, summary_of

from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.recording.reader import open_session
from rt_engine.transport.free_ports import free_ports


def _documented_program(folder: Path, port: int) -> Path:
    text = (ROOT / "docs" / "how-to" / "stream-your-own-frames.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code is not None
    path = folder / "mine.py"
    path.write_text(code[1].replace("5999", str(port)), encoding="utf-8")
    return path


def test_the_documented_program_drives_a_run_without_losing_a_frame(start: Start, tmp_path: Path) -> None:
    port = free_ports(1)[0]
    run = start(stream_rig(port), "--baseline", "6", "--duration", "3")
    run.wait_for("the services", lambda status: status["phase"] == "waiting")
    program = [sys.executable, str(_documented_program(tmp_path, port)), "4000", "100", "1"]
    source = subprocess.Popen(program)
    try:
        assert run.wait() == 0, run.output()
    finally:
        source.kill()
        source.wait()
    summary = summary_of(run.session)
    assert summary["frames"] == 300
    assert summary["frames_lost"] == 0
    frames = [header.frame for header, _ in open_session(run.session).frames()]
    assert frames == list(range(frames[0], frames[0] + len(frames)))


def test_bad_frames_on_the_wire_are_counted_and_the_run_goes_on(start: Start) -> None:
    port = free_ports(1)[0]
    run = start(stream_rig(port), "--baseline", "3")
    source = StreamSource(port)
    try:
        first = until_live(run, source)
        before = run.ctl("status")["frames"]
        source.send(first)
        source.send(first)
        source.send(first - 40)
        source.send(first + 1, payload=b"short")
        source.send(first + 1, n_lines=64, lines_per_frame=64, payload=b"\0" * 64 * 128 * 2)
        source.send(first + 1, dtype="f4")
        source.socket.send_multipart([b"frame.0.0", b"\xc1", b""])
        source.socket.send_multipart([b"frame.0.0"])
        source.seq += 2
        source.send(first + 8)
        for frame in range(first + 9, first + 60):
            source.send(frame)
        run.wait_for("the last frame", lambda status: status["frames"] >= before + 40)
        assert run.ctl("stop")["state"] == "stopping"
        assert run.wait() == 0, run.output()
    finally:
        source.close()
    summary = summary_of(run.session)
    assert summary["frames_lost"] == 7
    assert summary["services"]["inference.0"]["late"] == 2
    assert summary["services"]["acquisition"]["dropped"] == 5
    assert "not taken from the microscope: frame" in run.output()
    flagged = [header.frame for header, _ in open_session(run.session).frames() if header.flags & 1]
    assert flagged == [first + 8]
    headers = (message.header for message in open_session(run.session).messages("spikes"))
    live = [header.frame for header in headers if isinstance(header, SpikesHeader) and header.mode == "live"]
    assert live == sorted(set(live))
    assert first + 59 in live


def test_a_source_that_sends_strips_is_decided_while_it_scans(start: Start) -> None:
    port = free_ports(1)[0]
    run = start(stream_rig(port), "--baseline", "3")
    source = StreamSource(port)
    try:
        first = until_live(run, source, strips=True)
        before = run.ctl("status")["frames"]
        for frame in range(first, first + 60):
            if frame == first + 20:
                source.send(frame, source.random.bytes(32 * 128 * 2), line0=0, n_lines=32)
                continue
            source.send_strips(frame, lit=(frame - first) // 6)  # ten cells of the upper half, six frames each
        run.wait_for("the last frame", lambda status: status["frames"] >= before + 55)
        assert run.ctl("stop")["state"] == "stopping"
        assert run.wait() == 0, run.output()
    finally:
        source.close()
    assert summary_of(run.session)["frames_lost"] == 0
    session = open_session(run.session)
    spikes = [message.header for message in session.messages("spikes")]
    live = [header for header in spikes if isinstance(header, SpikesHeader) and header.mode == "live"]
    assert {header.n_lines for header in live} == {32}
    early = sum(header.n_events for header in live if header.line0 + header.n_lines < 128)
    assert early > 0
    whole = [header.frame for header in live if header.line0 == 96]
    assert first + 20 not in whole
    assert set(range(first, first + 60)) - set(whole) == {first + 20}
