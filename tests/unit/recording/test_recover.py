"""A recovered session is clean, complete as far as possible, and says what is missing."""

from enum import IntEnum
from typing import NamedTuple

import pytest
from synthetic_session import SessionMaker

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.reader import open_session
from rt_engine.recording.recover import recover
from rt_engine.recording.summary import summarize


class Kind(IntEnum):
    INTENT = 1
    DONE = 2
    TRIP = 3


class Record(NamedTuple):
    kind: Kind
    fields: dict


@pytest.fixture
def crashed(tmp_path):
    """Flushed every ten frames; the fourth block is damaged, the file ends within a chunk."""
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    maker.stim("known", 3, "delivered", command_ms=3.0)
    maker.stim("begun", 4, None)
    marks = []
    for frame in range(60):
        maker.spikes(frame)
        if frame % 10 == 9:
            maker.writer.flush()
            marks.append(maker.writer.bytes_written)
    data = bytearray(maker.writer.path.read_bytes())
    maker.close()
    data[(marks[2] + marks[3]) // 2] ^= 0xFF
    maker.writer.path.write_bytes(data[: marks[-1] - 300])
    (maker.folder / "config.yaml").write_text("name: x\n")
    return maker.folder


def test_all_that_is_whole_is_saved_and_the_rest_is_counted(crashed):
    before = {path: path.read_bytes() for path in crashed.iterdir()}
    stages = []
    report = recover(crashed, lambda stage, fraction: stages.append(fraction))
    clean = open_session(report.folder)
    frames = [m.header.frame for m in clean.messages("spikes")]
    assert frames == [*range(30), *range(40, 50)]
    assert clean.is_complete
    assert clean.config() == {"name": "x"}
    assert report.n_lost == {"spikes.0": 10}
    assert "spikes.0: 40 saved, 10 lost" in str(report)
    assert "checksum" in str(report)
    assert stages[-1] == 1.0
    assert summarize(clean)["frames"] == 40
    assert {path: path.read_bytes() for path in crashed.iterdir() if path.is_file()} == before


def test_messages_are_copied_byte_for_byte_with_their_times(crashed):
    def rows(folder):
        return [(m.topic, bytes(m.header_bytes), bytes(m.payload), m.t_log_ns) for m in open_session(folder).messages()]

    report = recover(crashed)
    assert rows(report.folder) == rows(crashed)


def test_what_only_the_stimulation_log_knows_is_added(crashed):
    records = [
        Record(Kind.INTENT, {"decision_id": "known", "t_ns": 5}),
        Record(Kind.DONE, {"decision_id": "begun", "t_ns": 6}),
        Record(Kind.INTENT, {"decision_id": "unseen", "t_ns": 7, "energy_nj": [40_000]}),
        Record(Kind.TRIP, {"signal": "heartbeat"}),
    ]
    report = recover(crashed, None, records)
    assert report.decisions_from_log == ("begun", "unseen")
    logs = [m.header for m in open_session(report.folder).messages("log")]
    assert [log.fields for log in logs] == [records[1].fields, records[2].fields]


def test_nothing_is_recovered_twice(crashed):
    recover(crashed)
    with pytest.raises(RecordingError, match="recovered exists"):
        recover(crashed)


def test_a_pulse_that_only_the_stimulation_log_knows_counts_in_the_recovered_session(crashed):
    intent = {
        "decision_id": "unseen", "t_ns": 5_000, "rule": "r", "arm": "stim", "output": "led", "plane": 0, "frame": 7,
        "t_scan_ns": 3_000, "t_decided_ns": 4_000, "roi_ids": [1], "target_ids": [2, 3], "pulses": 1, "width_us": 5000,
        "power_uw": [8000, 8000], "energy_nj": [40_000, 40_000],
    }  # fmt: skip
    done = {"decision_id": "unseen", "outcome": "delivered", "reason": None, "t_command_ns": 6_000}
    before = summarize(open_session(crashed))["stim"]["delivered"]
    report = recover(crashed, None, [Record(Kind.INTENT, intent), Record(Kind.DONE, done)])
    clean = open_session(report.folder)
    added = [m.header for m in clean.messages("stim") if m.header.source == "recover"]
    assert [(h.phase, h.outcome, h.t_command_ns, h.target_ids) for h in added] == [
        ("intent", None, None, [2, 3]), ("done", "delivered", 6_000, [2, 3])
    ]  # fmt: skip
    assert (added[1].t_decided_ns, added[1].t_judged_ns, added[1].power_uw) == (4_000, 5_000, [8000, 8000])
    assert summarize(clean)["stim"]["delivered"] == before + 1


def test_a_log_that_says_too_little_invents_no_decision(crashed):
    report = recover(crashed, None, [Record(Kind.DONE, {"decision_id": "x", "outcome": "delivered"})])
    assert not [m for m in open_session(report.folder).messages("stim") if m.header.decision_id == "x"]
    assert report.decisions_from_log == ("x",)


def test_the_protocol_goes_along(crashed):
    (crashed / "protocol").mkdir()
    (crashed / "protocol" / "p.yaml").write_text("a: 1")
    assert (recover(crashed).folder / "protocol" / "p.yaml").read_text() == "a: 1"


def test_where_no_message_is_left_it_says_so_and_leaves_no_folder(tmp_path):
    (tmp_path / "session_000.mcap").write_bytes(b"nonsense" * 100)
    with pytest.raises(RecordingError, match=r"no whole message is left.*does not begin as MCAP"):
        recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["session_000.mcap"]
