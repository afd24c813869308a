"""Edges, marks, keys and requests drive the protocol of a replay at the place where they drove the recording's."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import yaml
from driver_bench import STAMP, Bench, cells
from protocol_bench import MS, S
from synthetic_session import FIELDS, SessionMaker

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    ActivityHeader,
    Header,
    InputHeader,
    InputKind,
    LogHeader,
    Mode,
    SpikesHeader,
    SyncHeader,
    encode,
)
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import open_session
from rt_engine.services.recorded_inputs import RecordedInputs
from rt_engine.services.session_folder import file_digest

PERIOD_NS = S // 30
PROTOCOL: dict[str, Any] = {
    "schema_version": 2,
    "name": "listens",
    "description": "Light after events while the lever is high, after the bell, after a key and after a trial start.",
    "cells": {"all": {"select": "all"}},
    "signals": {"level": {"of": "activity", "cells": "all", "field": "dff", "smooth_ms": 100.0}},
    "triggers": {
        "held": {"when": "all", "of": [{"when": "event", "cells": "all"}, "lever"]},
        "lever": {"when": "line", "line": "lever", "condition": "high"},
        "bell": {"when": "line", "line": "bell", "condition": "rising"},
        "bell_ends": {"when": "line", "line": "bell", "condition": "falling"},
        "now": {"when": "key", "key": "now"},
        "trial": {"when": "key", "key": "trial_start"},
        "bright": {"when": "above", "signal": "level", "level": 0.8, "release": 0.7},
    },
    "actions": {
        "light": {"do": "pulse", "output": "led", "targets": "all", "power_mw": 4.0, "width_ms": 2.0},
        "said": {"do": "mark", "mark": "it rang"},
    },
    "phases": {
        "run": {
            "reactions": [
                {"trigger": "held", "do": ["light"], "trial": True},
                {"trigger": "bell", "do": ["light", "said"]},
                {"trigger": "bell_ends", "do": ["said"], "go_to": "wait"},
                {"trigger": "now", "do": ["light"], "trial": True},
                {"trigger": "trial", "do": ["light"]},
                {"trigger": "bright", "do": ["light"]},
            ]
        },
        "wait": {"timeout": {"after_ms": 200.0, "go_to": "run"}},
    },
    "design": {"seed": 4, "arms": {"stim": {"kind": "stim", "share": 0.7}, "no": {"kind": "withheld", "share": 0.3}}},
}


def _spikes(frame: int, random: Random, mode: Mode = Mode.LIVE) -> tuple[str, Header, bytes]:
    events = np.zeros(int(random.random() < 0.15), EVENT_DTYPE)
    scan_ns = 10 * S + frame * PERIOD_NS
    events["roi_id"], events["t_event_ns"], events["probability"] = random.randrange(4), scan_ns - 40 * MS, 0.9
    header = SpikesHeader(
        **STAMP, plane=0, frame=frame, line0=0, n_lines=64, hold_frames=1, mode=mode, t_scan_ns=scan_ns,
        late=random.random() < 0.05, t_received_ns=scan_ns + MS, t_decided_ns=scan_ns + 2 * MS, n_events=len(events),
    )  # fmt: skip
    return "spikes", header, events.tobytes()


def _activity(frame: int, random: Random) -> tuple[str, Header, bytes]:
    values = np.zeros((len(FIELDS), 3), np.float32)
    values[FIELDS.index("dff")] = 1.5 * random.random()
    header = ActivityHeader(
        **STAMP, plane=0, frame=frame, t_scan_ns=10 * S + frame * PERIOD_NS, shift_y_px=0.0, shift_x_px=0.0,
        quality=1.0, rois_rev=1, n_rois=3, fields=FIELDS, stage_ns={},
    )  # fmt: skip
    return "activity", header, values.tobytes()


def _edge(line: str, rising: bool, t_ns: int) -> SyncHeader:
    return SyncHeader(**STAMP, line=line, kind="edge", t_edge_ns=t_ns, edge="rising" if rising else "falling",
                      t_first_ns=None, sample_rate_hz=None, dtype=None)  # fmt: skip


def script(seed: int, n_frames: int = 600) -> list[tuple[str, Any, bytes]]:
    """A session as the driver sees it: gaps, and edges and keys that come up to three messages late."""
    random = Random(seed)
    told: list[tuple[float, str, Any, bytes]] = []
    high = {"lever": False, "bell": False}
    for frame in range(-30, n_frames):
        if random.random() < 0.03:
            continue
        kind, header, payload = _spikes(1000 + frame, random, Mode.BASELINE if frame < 0 else Mode.LIVE)
        told.append((frame, kind, header, payload))
        told.append((frame + 0.5, *_activity(1000 + frame, random)))
        for line, chance in (("lever", 0.05), ("bell", 0.04), ("frames", 0.1)):
            if random.random() < chance:
                high[line] = not high.get(line, False)
                t_ns = 10 * S + round((1000 + frame - random.random()) * PERIOD_NS)
                told.append((frame + 3 * random.random(), "sync", _edge(line, high[line], t_ns), b""))
        for key, chance in (("now", 0.03), ("trial_start", 0.03), ("nobody waits for this", 0.1)):
            if random.random() < chance:
                told.append((frame + random.random(), "key", key, b""))
    # A cell is added, which the protocol learns of when somebody arms, a second later.
    told += [(200.2, "rois", *cells(4)), (230.7, "rois", *cells(4, "armed"))]
    told.sort(key=lambda one: one[0])
    return [(kind, what, payload) for _, kind, what, payload in told]


def journal(folder: Path, told: list[tuple[str, Any, bytes]], bench: Bench) -> Path:
    """What the recorder has of a session: raw lines in their own order, what the service published, and marks."""
    folder.mkdir()
    writer = JournalWriter(folder, 0, 0)
    for kind, what, payload in told:
        if kind == "load":
            continue
        if kind == "key":
            fields = {"operator": "", "phase": "live"}
            mark = LogHeader(**(STAMP | {"source": "supervisor"}), level="mark", text=what, fields=fields)
            writer.write("log", encode(mark), b"", 1)
        else:
            writer.write(kind if kind in ("sync", "rois") else f"{kind}.0", encode(what), payload, 1)
    for (topic, header), payload in zip(bench.wire.sent, bench.wire.payloads, strict=True):
        writer.write(topic, encode(header), payload, 1)
    writer.close()
    return folder


def quiet(seed: int) -> dict[str, Any]:
    """A protocol that hears no activity, and fires after the bell alone."""
    kept = {name: PROTOCOL["triggers"][name] for name in ("bell", "bell_ends")}
    reactions = [one for one in PROTOCOL["phases"]["run"]["reactions"] if one["trigger"] in kept]
    phases = PROTOCOL["phases"] | {
        "run": {"reactions": [one | {"trial": one["trigger"] == "bell"} for one in reactions]}
    }
    design = PROTOCOL["design"] | {"seed": seed}
    changed = {"name": f"quiet{seed}", "triggers": kept, "phases": phases, "design": design, "signals": {}}
    return PROTOCOL | changed


def write(folder: Path, protocol: dict[str, Any]) -> Path:
    path = folder / f"{protocol['name']}.yaml"
    path.write_text(yaml.safe_dump(protocol), encoding="utf-8")
    return path


def with_changes(told: list[tuple[str, Any, bytes]], changes: dict[int, Path]) -> list[tuple[str, Any, bytes]]:
    """The same, and another protocol after some frame; what the engine says then is heard three frames later."""
    out, hears_from = [], None
    for one in told:
        frame = getattr(one[1], "frame", None)
        if one[0] == "activity" and (hears_from is None or frame < hears_from):
            continue
        out.append(one)
        if one[0] == "spikes" and frame in changes:
            path = changes.pop(frame)
            hears_from = frame + 3 if path.stem == "listens" and hears_from is None else hears_from
            out.append(("load", path, b""))
    assert not changes
    return out


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "listens.yaml"
    path.write_text(yaml.safe_dump(PROTOCOL), encoding="utf-8")
    return path


def run(bench: Bench, told: list[tuple[str, Any, bytes]]) -> Bench:
    for one in told:
        bench.take(*one)
    return bench


def of_engine(told: list[tuple[str, Any, bytes]]) -> list[tuple[str, Any, bytes]]:
    """What a replay's engine says: the live messages alone; nobody arms there."""
    live = next(i for i, one in enumerate(told) if one[0] == "spikes" and one[1].mode is Mode.LIVE)
    return [
        one
        for one in told[live:]
        if one[0] in ("spikes", "activity") or (one[0] == "rois" and one[1].source != "armed")
    ]


@pytest.mark.parametrize("seed", range(12))
def test_a_replay_asks_for_the_same_light_and_says_the_same(seed: int, protocol: Path, tmp_path: Path) -> None:
    told = script(seed)
    recorded = run(Bench(protocol), told)
    assert len({request.rule for request in recorded.asked.requests}) == 5
    loads = [h for _, h in recorded.wire.sent if isinstance(h, InputHeader) and h.kind is InputKind.LOAD]
    assert len(loads) == 2
    assert any(3 in request.target_ids for request in recorded.asked.requests)
    session = journal(tmp_path / "session", told, recorded)
    again = run(Bench(protocol, session), of_engine(told))
    again.driver.conclude()
    assert again.asked.requests == recorded.asked.requests
    # What it tells is the same too, inputs and their places among it, so that it can be replayed itself.
    for is_input in (True, False):
        sent = [[one for one in b.wire.sent if (one[0] == "input") is is_input] for b in (recorded, again)]
        assert sent[0] == sent[1]
    deaf = run(Bench(protocol), of_engine(told))
    assert deaf.asked.requests != recorded.asked.requests


def frames_near(told: list[tuple[str, Any, bytes]], *wanted: int) -> list[int]:
    """Frames that are not skipped."""
    there = [one[1].frame for one in told if one[0] == "spikes"]
    return [next(frame for frame in there if frame >= 1000 + one) for one in wanted]


@pytest.mark.parametrize("first", ["quiet1", None])
@pytest.mark.parametrize("seed", range(3))
def test_a_protocol_that_was_changed_is_changed_at_the_same_place(
    seed: int, first: str | None, protocol: Path, tmp_path: Path
) -> None:
    one, two = write(tmp_path, quiet(1)), write(tmp_path, quiet(2))
    told = script(seed)
    at = frames_near(told, 150, 320, 450)
    heard = with_changes(told, dict(zip(at, (protocol, two, protocol), strict=True)))
    begun = None if first is None else one
    recorded = run(Bench(begun), heard)
    assert len({request.rule for request in recorded.asked.requests}) == 5
    session = journal(tmp_path / "session", heard, recorded)
    for path in (two, protocol):  # the session has their text
        path.unlink()
    again = run(Bench(begun, session), of_engine(told))
    again.driver.conclude()
    assert again.asked.requests == recorded.asked.requests
    for is_input in (True, False):
        sent = [
            [one for one in zip(b.wire.sent, b.wire.payloads, strict=True) if (one[0][0] == "input") is is_input]
            for b in (recorded, again)
        ]
        assert sent[0] == sent[1]
    assert again.driver.name == "listens"


@pytest.mark.parametrize("changes_to_it", [False, True])
def test_a_session_keeps_whom_it_was_yoked_to(changes_to_it: bool, tmp_path: Path) -> None:
    partner = tmp_path / "partner.json"
    times_s = [[0.5, 0.9, 1.6], [0.2, 1.1]]
    partner.write_text(json.dumps({"format": "spikeloop pulse times/1", "blocks_s": times_s}), encoding="utf-8")
    kinds = {"free": {"kind": "closed_loop"}, "yoked": {"kind": "yoked", "do": "light", "partner": str(partner)}}
    blocks = {"block_s": 2.0, "pause_s": 0.5, "kinds": kinds}
    yoked = write(tmp_path, quiet(1) | {"name": "yoked", "design": {"seed": 4, "blocks": blocks}})
    told = script(1)
    begun = write(tmp_path, quiet(2)) if changes_to_it else yoked
    heard = with_changes(told, {frames_near(told, 100)[0]: yoked}) if changes_to_it else told
    recorded = run(Bench(begun), heard)
    assert sum(request.arm == "yoked" for request in recorded.asked.requests) >= 5
    session = journal(tmp_path / "session", heard, recorded)
    partner.unlink()
    again = run(Bench(begun, session), of_engine(told))
    assert again.asked.requests == recorded.asked.requests
    sent = [
        [one for one in zip(b.wire.sent, b.wire.payloads, strict=True) if one[0][0] == "input"]
        for b in (recorded, again)
    ]
    assert sent[0] == sent[1]
    with pytest.raises(ConfigError, match=r"partner\.json cannot be read"):
        Bench(yoked)


def test_a_replay_with_another_protocol_keeps_that_one(protocol: Path, tmp_path: Path) -> None:
    one, two, other = (write(tmp_path, quiet(n)) for n in (1, 2, 3))
    told = script(2)
    heard = with_changes(told, dict(zip(frames_near(told, 300), (two,), strict=True)))
    session = journal(tmp_path / "session", heard, run(Bench(one), heard))
    bench = run(Bench(other, session), of_engine(told))
    loads = [h.name for _, h in bench.wire.sent if isinstance(h, InputHeader) and h.kind is InputKind.LOAD]
    assert bench.driver.name == "quiet3"
    assert set(loads) == {"quiet3"}
    dark = run(Bench(None, session), of_engine(told))
    assert dark.asked.requests == []


def test_only_what_the_protocol_listens_to_is_told_with_its_place(protocol: Path) -> None:
    bench = Bench(protocol)
    random = Random(1)
    bench.take("key", "now", b"")
    bench.take(*_spikes(7, random))
    bench.take("sync", _edge("lever", True, 5), b"")
    bench.take("sync", _edge("frames", True, 5), b"")
    bench.take(*_activity(7, random))
    bench.take("key", "unknown", b"")
    bench.take("key", "trial_start", b"")
    assert bench.wire.payloads[0] == protocol.read_bytes()
    assert bench.wire.sent[0][1].sha256 == file_digest(protocol)
    found = [(h.kind, h.name, h.edge, h.t_edge_ns, h.after) for t, h in bench.wire.sent if isinstance(h, InputHeader)]
    assert found == [
        (InputKind.LOAD, "listens", None, None, [-1, -1, -1]),
        (InputKind.KEY, "now", None, None, [-1, -1, -1]),
        (InputKind.EDGE, "lever", "rising", 5, [7, 0, 0]),
        (InputKind.ACTIVITY, "listens", None, None, [7, 0, 0]),
        (InputKind.KEY, "trial_start", None, None, [7, 0, 1 << 31]),
    ]


def test_a_replay_hears_nobody(protocol: Path, tmp_path: Path) -> None:
    told = script(3, 60)
    session = journal(tmp_path / "session", told, run(Bench(protocol), told))
    bench = Bench(protocol, session)
    assert not bench.driver.take_key("now")
    bench.take("sync", _edge("lever", True, 5), b"")
    assert bench.wire.sent == []


def test_cells_that_change_disarm_a_run_and_no_replay_of_a_session(protocol: Path, tmp_path: Path) -> None:
    """A replay is disarmed when the recording was, by its log: its engine may be far ahead of that moment."""
    told = script(3, 60)
    session = journal(tmp_path / "session", told, run(Bench(protocol), told))
    for replays, reasons in ((None, 1), (session, 0)):
        bench = Bench(protocol, replays)
        bench.asked.is_armed = True
        header, payload = cells(3)
        header.rev, header.rois[1].threshold = 2, 9.0
        bench.driver.take_rois(header, payload)
        assert len(bench.asked.reasons) == reasons


def test_to_a_movie_people_may_press_keys(protocol: Path, tmp_path: Path) -> None:
    assert Bench(protocol, tmp_path / "movie.tif").driver.take_key("now")


def test_what_only_another_protocol_listens_to_counts_from_the_first_decision_after_it(tmp_path: Path) -> None:
    """A recording whose protocol listened to nothing: the lines and marks are there, their places are not."""
    maker = SessionMaker(tmp_path / "session", rate_hz=30.0)
    maker.spikes(0, mode=Mode.BASELINE)
    maker.send("sync", SyncHeader, "acquisition", **_line_fields("lever", "rising", maker.scan_ns(0)))
    for frame in range(1, 6):
        maker.spikes(frame)
    maker.send("sync", SyncHeader, "acquisition", **_line_fields("lever", "falling", maker.scan_ns(3) - 1))
    maker.t_ns = maker.scan_ns(3) + 3 * MS
    notes = [
        ("now", {"phase": "live"}), ("now", {"phase": "paused"}), ("", {"phase": "live"}),
        ("note of the task", {"phase": "live", "kind": "mark"}), ("request more", {"phase": "live", "kind": "request"}),
        ("trial 3 go", {"phase": "live", "kind": "trial"}),
    ]  # fmt: skip
    for text, fields in notes:
        maker.send("log", LogHeader, "supervisor", level="mark", text=text, fields=fields)
    maker.send("log", LogHeader, "stimulation", level="mark", text="its own", fields={"mark": "its own"})
    maker.close()
    inputs = RecordedInputs(open_session(tmp_path / "session"))
    live = [m.header for m in open_session(tmp_path / "session").messages("spikes") if m.header.mode is Mode.LIVE]
    found = {header.frame: [one.name for one, _ in inputs.before(header)] for header in live}
    assert found == {1: [], 2: [], 3: ["lever"], 4: ["now", "more", "trial_start"], 5: []}


def _line_fields(line: str, edge: str, t_ns: int) -> dict[str, Any]:
    return dict(line=line, kind="edge", t_edge_ns=t_ns, edge=edge, t_first_ns=None, sample_rate_hz=None, dtype=None)
