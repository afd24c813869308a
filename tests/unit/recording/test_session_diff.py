"""`diff` finds the first difference and names it; the same sessions are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic_session import SessionMaker

from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import InputHeader, InputKind, LogHeader, Mode, SpikesHeader
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import open_session
from rt_engine.recording.session_diff import SessionDiff, compare


def record(folder: Path, **changes) -> Path:
    """Ten frames with two events and a decision; `changes` alter one thing each."""
    maker = SessionMaker(folder)
    maker.session()
    for frame in range(10):
        pixels = np.full((4, 4), frame, "<u2")
        if frame == changes.get("pixel"):
            pixels[1, 2] += 1
        if frame != changes.get("lost"):
            maker.frame(frame, pixels)
        values = np.zeros((8, 3), np.float32)
        values[:, 1] = np.nan
        if frame == changes.get("trace"):
            values[2, 2] = 0.25
        events = {3: [(7, 2)], 6: [(8, 5)]}.get(frame, [])
        if frame == 6 and changes.get("event"):
            events = [(changes["event"], 5)]
        maker.spikes(frame, events, decide_ms=2.0 + changes.get("later_ms", 0) * (frame == 6))
        maker.activity(frame, values)
        if frame == 6:
            maker.stim(changes.get("name", "a-1"), 6, changes.get("outcome", "delivered"), command_ms=3.0)
            maker.light(maker.scan_ns(6), [[5.0, changes.get("target_px", 6.0)]])
            after = changes.get("after", [5, 0, 0])
            key = {"kind": InputKind.KEY, "name": "now", "edge": None, "t_edge_ns": None, "after": after}
            maker.send("input", InputHeader, "stimulation", **key)
            fields = {"mark": "lit", "t_scan_ns": maker.scan_ns(6), "frame": changes.get("marked", 6)}
            maker.send("log", LogHeader, "stimulation", level="mark", text="lit", fields=fields)
            maker.send("log", LogHeader, "supervisor", level="mark", text=folder.name, fields={})
    maker.close()
    return folder


def diff(tmp_path: Path, **changes) -> SessionDiff:
    a, b = record(tmp_path / "a"), record(tmp_path / "b", **changes)
    return compare(open_session(a), open_session(b))


def test_sessions_that_only_call_themselves_otherwise_are_the_same(tmp_path: Path) -> None:
    found = diff(tmp_path, name="b-1")
    assert found.same
    assert found.first == ()
    assert found.n_compared == {"spikes": 10, "events": 2, "inputs": 1, "decisions": 1, "light": 1, "marks": 1}
    assert found.lines() == [
        "the same events, inputs, decisions, light and marks, bit for bit "
        "(10 messages of spikes, 2 events, 1 input, 1 decision, 1 light, 1 mark)"
    ]


def test_events_are_counted_as_reading_a_session_counts_them(tmp_path: Path) -> None:
    session = open_session(record(tmp_path / "a"))
    assert compare(session, session).n_compared["events"] == len(session.events()) == 2


@pytest.mark.parametrize("plane", [1, 7])
def test_a_plane_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, plane: int) -> None:
    session = open_session(record(tmp_path / "a"))
    with pytest.raises(ConfigError, match=f"--plane: nothing was decided live in plane {plane}") as refused:
        compare(session, session, plane)
    assert refused.value.remedy == "planes with decisions: 0"
    assert str(tmp_path / "a") in str(refused.value)


def test_a_plane_of_one_session_alone_is_a_difference_and_no_mistake(tmp_path: Path) -> None:
    a = open_session(record(tmp_path / "a"))
    maker = SessionMaker(tmp_path / "b")
    maker.session()
    maker.close()
    assert not compare(a, open_session(tmp_path / "b"), 0).same


def test_the_command_refuses_a_plane_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(record(tmp_path / "a"))
    assert main(["diff", folder, folder, "--plane", "7"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert main(["diff", folder, folder, "--plane", "0"]) == 0


@pytest.mark.parametrize(
    ("changes", "what", "frame", "text"),
    [
        ({"event": 9}, "events", 6, "events of cells [8] in A alone, of [9] in B alone"),
        ({"later_ms": 1}, "events", 6, "t_decided_ns"),
        ({"outcome": "late"}, "decisions", 6, "outcome is delivered in A and late in B"),
        ({"after": [4, 0, 0]}, "inputs", 5, "after is [5, 0, 0] in A and [4, 0, 0] in B"),
        ({"marked": 7}, "marks", None, "frame is 6 in A and 7 in B"),
        ({"target_px": 6.5}, "light", None, "targets_yx_px is [[5.0, 6.0]] in A and [[5.0, 6.5]] in B"),
    ],
)
def test_the_first_difference_is_named(tmp_path: Path, changes, what, frame, text) -> None:
    found = diff(tmp_path, **changes)
    assert not found.same
    assert (found.first[0].what, found.first[0].frame) == (what, frame)
    assert text in found.first[0].text


def test_causes_stand_before_what_follows_from_them(tmp_path: Path) -> None:
    found = diff(tmp_path, pixel=4, trace=5, event=9)
    assert [(one.what, one.frame) for one in found.first] == [("frames", 4), ("traces", 5), ("events", 6)]
    assert "dff of roi_index 2 is 0.0 in A and 0.25 in B" in found.first[1].text
    assert found.n_compared["traces"] == 5


def test_a_frame_that_one_of_them_lacks_is_found(tmp_path: Path) -> None:
    found = diff(tmp_path, lost=4, event=9)
    assert found.first[0].text == "A has frame 4, lines from 0, B has frame 5, lines from 0"


def test_one_that_ends_sooner_is_said_to(tmp_path: Path) -> None:
    a = record(tmp_path / "a")
    maker = SessionMaker(tmp_path / "b")
    maker.spikes(0)
    maker.close()
    found = compare(open_session(a), open_session(tmp_path / "b"))
    events = next(one for one in found.first if one.what == "events")
    assert events.text == "B has ended, the other goes on with frame 1, lines from 0"


def test_every_plane_is_compared_unless_one_is_named(tmp_path: Path) -> None:
    for name, decided_ns in (("a", 5), ("b", 6)):
        maker = SessionMaker(tmp_path / name)
        maker.session()
        maker.spikes(4)
        maker.send(
            "spikes.1", SpikesHeader, "inference.1", b"", plane=1, frame=5, line0=0, n_lines=64, hold_frames=2,
            mode=Mode.LIVE, t_scan_ns=4, t_received_ns=5, t_decided_ns=decided_ns, n_events=0,
        )  # fmt: skip
        maker.close()
    a, b = open_session(tmp_path / "a"), open_session(tmp_path / "b")
    assert compare(a, b, 0).same
    found = compare(a, b)
    assert not found.same
    assert (found.n_compared["spikes"], found.n_compared["events"]) == (1, 0)
    assert found.first[0].text == "t_decided_ns is 5 in A and 6 in B"
    assert not compare(a, b, 1).same


def test_other_drivers_are_named_between_sessions_and_not_to_a_replay(tmp_path: Path) -> None:
    for name, version in (("a", "2024.1.0"), ("b", "2025.0.0")):
        maker = SessionMaker(tmp_path / name)
        maker.session()
        fields = {"device_versions": {"led": {"NI-DAQmx": version}}}
        maker.send("log", LogHeader, "stimulation", level="info", text="led: …", fields=fields)
        maker.send("log", LogHeader, "stimulation", level="info", text="odd", fields={"device_versions": 3})
        maker.spikes(4)
        maker.close()
    a, b = open_session(tmp_path / "a"), open_session(tmp_path / "b")
    assert "device.led.NI-DAQmx is '2024.1.0' in A and '2025.0.0' in B" in compare(a, b).setup
    (tmp_path / "b" / "config.yaml").write_text("replay: {starts_from: frames}\n", encoding="utf-8")
    assert not any("NI-DAQmx" in text for text in compare(a, b).setup)


def test_two_sessions_that_decided_nothing_are_not_called_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        maker = SessionMaker(tmp_path / name)
        maker.session()
        maker.close()
    lines = compare(open_session(tmp_path / "a"), open_session(tmp_path / "b")).lines()
    assert lines == ["nothing to compare: neither of them has decided anything while live"]


def test_last_digits_are_told_from_other_spikes(tmp_path: Path) -> None:
    folders = {}
    for name, factor in (("a", 1.0), ("b", 1.0 + 2e-6)):
        maker = SessionMaker(folders.setdefault(name, tmp_path / name))
        maker.session()
        for frame, roi_id in ((3, 7), (6, 8)):
            events = np.zeros(1, EVENT_DTYPE)
            events["roi_id"], events["event_frame"], events["z"] = roi_id, frame - 1, 5.0
            events["probability"] = 0.75 * (factor if frame == 6 else 1.0)
            maker.send(
                "spikes.0", SpikesHeader, "inference", events.tobytes(), plane=0, frame=frame, line0=0, n_lines=64,
                hold_frames=1, mode=Mode.LIVE, t_scan_ns=frame, t_received_ns=frame, t_decided_ns=frame, n_events=1,
            )  # fmt: skip
        maker.close()
    a, b = (open_session(folders[name]) for name in ("a", "b"))
    found = compare(a, b)
    assert not found.same
    assert found.lines()[-1] == (
        "all 2 spikes are in both, of the same cells at the same frames; their numbers differ by 2e-06 of themselves "
        "at most"
    )
    assert compare(a, a).closeness is None
    one, other = (open_session(record(tmp_path / f"r{n}", event=n)) for n in (8, 9))
    assert compare(one, other).closeness == "1 spikes are in both, 1 in A alone, 1 in B alone"


def test_another_processor_is_named(tmp_path: Path) -> None:
    a, b = record(tmp_path / "a"), record(tmp_path / "b")
    for folder, name in ((a, "one"), (b, "other")):
        (folder / "config.yaml").write_text(f"machine: {{processor: {name}}}\n", encoding="utf-8")
    said = compare(open_session(a), open_session(b)).setup
    assert (
        "the processor is one in A and other in B: between families (x86, ARM) last bits of traces may differ" in said
    )
    assert not any("processor" in text for text in compare(open_session(a), open_session(a)).setup)


def test_frames_are_not_missed_in_a_replay_from_traces(tmp_path: Path) -> None:
    a, b = record(tmp_path / "a"), record(tmp_path / "b", trace=5, event=9)
    (b / "config.yaml").write_text("replay: {starts_from: traces}\n", encoding="utf-8")
    for file in b.glob("session_*.mcap"):
        messages = [m for m in open_session(b).messages() if not m.topic.startswith("frame.")]
        file.unlink()
        writer = JournalWriter(b, 0, 0)
        for message in messages:
            writer.write(message.topic, bytes(message.header_bytes), bytes(message.payload), message.t_log_ns)
        writer.close()
    found = compare(open_session(a), open_session(b))
    assert [one.what for one in found.first] == ["traces", "events"]
    assert found.setup == ("B is a replay that began at the recorded traces, and compares from there on",)
