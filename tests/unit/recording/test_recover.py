"""A recovered session is clean, complete as far as possible, and says what is missing."""

import errno
import shutil
import sys
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml
from pynwb import NWBHDF5IO
from synthetic_session import MS, T_MONO_NS, SessionMaker

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb
from rt_engine.recording.nwb_time import session_time
from rt_engine.recording.reader import open_session
from rt_engine.recording.recover import recover
from rt_engine.recording.report import write_report
from rt_engine.recording.summary import summarize
from rt_engine.recording.wal_merge import StimulationLog
from rt_engine.safety.wal import SLOT_BYTES, RecordKind, WriteAheadLog, read_wal


class Kind(IntEnum):
    INTENT = 1
    DONE = 2
    TRIP = 3


class Record(NamedTuple):
    kind: Kind
    fields: dict


def logged(*records, n_torn=0):
    return [StimulationLog("stim_000.wal", records, n_torn)]


@pytest.fixture
def crashed(tmp_path):
    """Flushed every ten frames; the fourth block is damaged, the file ends within a chunk."""
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    maker.stim("known", 3, "delivered", command_ms=3.0)
    maker.light(maker.scan_ns(3) + 3 * MS, [[1.0, 2.0]])
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
    assert clean.is_whole
    assert not clean.is_complete
    assert clean.lost == {"spikes.0": 10}
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
    report = recover(crashed, None, logged(*records))
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
    report = recover(crashed, None, logged(Record(Kind.INTENT, intent), Record(Kind.DONE, done)))
    clean = open_session(report.folder)
    added = [m.header for m in clean.messages("stim") if m.header.source == "recover"]
    assert [(h.phase, h.outcome, h.t_command_ns, h.target_ids) for h in added] == [
        ("intent", None, None, [2, 3]), ("done", "delivered", 6_000, [2, 3])
    ]  # fmt: skip
    assert (added[1].t_decided_ns, added[1].t_judged_ns, added[1].power_uw) == (4_000, 5_000, [8000, 8000])
    assert summarize(clean)["stim"]["delivered"] == before + 1


def test_a_decision_of_which_only_the_end_was_saved_counts_and_is_said(crashed):
    before = summarize(open_session(crashed))["stim"]["delivered"]
    done = {"decision_id": "x", "outcome": "delivered", "reason": None, "t_command_ns": 6_000}
    report = recover(crashed, None, logged(Record(Kind.DONE, done), n_torn=2))
    clean = open_session(report.folder)
    (found,) = [m.header for m in clean.messages("stim") if m.header.decision_id == "x"]
    assert (found.outcome, found.t_command_ns, found.t_scan_ns, found.arm) == ("delivered", 6_000, 0, "unknown")
    assert (report.decisions_without_intent, report.torn_log_slots) == (("x",), 2)
    assert "2 slots of the stimulation log are torn" in str(report)
    assert "decisions x: only the end was saved" in str(report)
    assert "decisions x: only the end was saved" in write_report(report.folder).read_text()
    summary = summarize(clean)
    assert summary["stim"]["delivered"] == before + 1
    assert summary["latency_ms"]["scan_to_command"]["n"] == 1  # of "known"; nobody knows when x was scanned


def test_the_end_of_a_decision_that_the_journal_has_begun_is_completed_from_the_log(crashed):
    done = {"decision_id": "begun", "outcome": "delivered", "reason": None, "t_command_ns": 7_000}
    report = recover(crashed, None, logged(Record(Kind.DONE, done)))
    (end,) = [m.header for m in open_session(report.folder).messages("stim") if m.header.source == "recover"]
    assert (end.decision_id, end.outcome, end.t_command_ns, end.frame, end.arm) == (
        "begun",
        "delivered",
        7_000,
        4,
        "stim",
    )
    assert report.decisions_without_intent == ()


def test_a_log_that_tells_no_outcome_invents_no_decision(crashed):
    report = recover(crashed, None, logged(Record(Kind.DONE, {"decision_id": "x", "outcome": "?"})))
    assert not [m for m in open_session(report.folder).messages("stim") if m.header.decision_id == "x"]
    assert report.decisions_from_log == ("x",)
    assert "decisions x: the stimulation log says too little" in str(report)


def intent_of(number, t_ns, pulses=1):
    return {
        "decision_id": f"w{number}", "t_ns": t_ns, "rule": "r", "arm": "stim", "output": "led", "plane": 0,
        "frame": number, "t_scan_ns": t_ns - 2 * MS, "t_decided_ns": t_ns - MS, "roi_ids": [1],
        "target_ids": [2, 3], "targets_yx_px": [[10.0, 20.5], [30.0, 40.0]], "target_planes": [0, 0],
        "pulses": pulses, "width_us": 3000 + number, "period_us": 20_000, "power_uw": [4000, 6000 + number],
        "energy_nj": [12_000, 18_000],
    }  # fmt: skip


def test_every_pulse_of_the_stimulation_log_stands_in_the_nwb_file(tmp_path):
    """A recorder that died before the first decision: the log alone knows of light, one train among it cut short."""
    maker = SessionMaker(tmp_path / "session")
    maker.session()
    maker.spikes(0)
    maker.writer.flush()
    log = WriteAheadLog(maker.folder / "stim_000.wal")
    expected = []
    for number in range(6):
        t_ns = T_MONO_NS + (number + 1) * 200 * MS
        pulses = 3 if number == 4 else 1
        log.write(RecordKind.INTENT, intent_of(number, t_ns, pulses))
        outcome = "refused" if number == 5 else "delivered"
        command_ns = None if number == 5 else t_ns + MS
        done = {"decision_id": f"w{number}", "outcome": outcome, "reason": None, "t_command_ns": command_ns}
        log.write(RecordKind.DONE, done)
        if number == 4:
            log.write(RecordKind.DONE, {"decision_id": "w4", "outcome": "failed", "reason": "cut", "pulses": 2})
        for pulse in range(0 if number == 5 else 2 if number == 4 else 1):
            told = "failed" if number == 4 else outcome
            start_s = ((number + 1) * 200 + 1 + 20 * pulse) / 1e3
            expected.append((f"w{number}", told, start_s, (3000 + number) / 1e6, (10_000 + number) / 1e3))
    log.close()
    content = read_wal(maker.folder / "stim_000.wal")
    report = recover(maker.folder, None, [StimulationLog("stim_000.wal", content.records, content.torn)])
    maker.close()
    assert report.pulses_from_log == len(expected) == 6
    clean = open_session(report.folder)
    counts = export_nwb(clean, NwbPlan(tmp_path / "x.nwb", Frames.NONE, compress=False), lambda stage, done: None)
    assert (counts["decisions"], counts["pulses"]) == (6, 6)
    with NWBHDF5IO(tmp_path / "x.nwb", "r") as file:
        pulses = file.read().intervals["optogenetic_pulses"].to_dataframe()
    columns = ("decision_id", "outcome", "start_time", "stop_time", "power_in_mW")
    found = list(zip(*(pulses[name] for name in columns), strict=True))
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in expected], abs=1e-9)
    assert [row[3] - row[2] for row in found] == pytest.approx([row[3] for row in expected], abs=1e-9)
    assert [row[4] for row in found] == pytest.approx([row[4] for row in expected])
    assert list(pulses["targets_yx_px"]) == ["[[10.0, 20.5], [30.0, 40.0]]"] * 6
    assert "Light and interlock" in write_report(report.folder).read_text()


def test_where_nothing_is_left_every_command_gives_the_same_answer(tmp_path):
    (tmp_path / "session_000.mcap").write_bytes(b"nonsense" * 100)
    for command in (recover, write_report, lambda folder: session_time(open_session(folder))):
        with pytest.raises(RecordingError, match=r"no whole message is left.*look for another copy"):
            command(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_one_file_of_several_says_what_it_leaves_out(crashed, monkeypatch):
    (crashed / "session_001.mcap").write_bytes((crashed / "session_000.mcap").read_bytes())
    report = recover(crashed / "session_000.mcap")
    assert "only session_000.mcap was recovered, as asked; session_001.mcap of the same session is left out" in str(
        report
    )
    assert not open_session(report.folder).is_complete
    monkeypatch.chdir(crashed)  # a bare name has no folder before it
    assert write_report(Path("session_000.mcap")).is_file()


def test_a_disk_without_room_is_refused_before_anything_is_written(crashed, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(RecordingError, match=r"needs up to 1\.\d MB beside it, 0\.0 MB are free.*another disk"):
        recover(crashed)
    assert not (crashed / "recovered").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_disk_that_fills_up_meanwhile_leaves_no_half_recovery(crashed, monkeypatch):
    monkeypatch.setattr(JournalWriter.__init__, "__kwdefaults__", {"file_bytes": 1 << 30, "create_file": full})
    with pytest.raises(RecordingError, match="recovered: cannot be written"):
        recover(crashed)
    assert not (crashed / "recovered").exists()


def full(path):
    return open("/dev/full", "wb", buffering=0)  # a real file that refuses every byte


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(crashed, monkeypatch):
    first = write_report(crashed).read_bytes()

    def refuses(path, data):
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", refuses)
    with pytest.raises(RecordingError, match="the earlier one is as it was"):
        write_report(crashed)
    assert (crashed / "report.html").read_bytes() == first
    assert not list(crashed.glob("*.partial"))


def test_a_hole_is_still_told_in_the_recovered_session(crashed):
    report = recover(crashed)
    clean = open_session(report.folder)
    assert clean.recovery.n_lost == {"spikes.0": 10}
    assert clean.recovery.damage == list(report.damage)
    page = write_report(report.folder).read_text()
    assert "The journal is whole" not in page
    assert "10 messages of spikes.0 are missing in the journal" in page
    assert "checksum" in page
    assert not summarize(clean)["journal"]["complete"]
    target = report.folder / "x.nwb"
    export_nwb(clean, NwbPlan(target, Frames.NONE, compress=False), lambda stage, done: None)
    with NWBHDF5IO(target, "r") as file:
        assert yaml.safe_load(file.read().notes)["missing"]["lost_messages"] == {"spikes.0": 10}


def test_what_was_destroyed_on_the_disk_is_not_said_to_have_never_come(crashed):
    journal = summarize(open_session(crashed))["journal"]
    assert (journal["lost_messages"], journal["gaps"]) == ({"spikes.0": 10}, {})
    assert "never reached the recorder" not in write_report(crashed).read_text()


def test_how_far_the_session_reaches_is_told(crashed):
    last = list(open_session(crashed).messages())
    report = recover(crashed)
    assert report.reaches_until_ns == last[-1].t_log_ns
    assert report.reaches_s == pytest.approx((last[-1].t_log_ns - last[0].t_log_ns) / 1e9)
    assert f"{report.reaches_s:.3f} s after its first message" in str(report)


def test_slots_of_the_log_that_were_zeroed_between_two_records_count_as_torn(tmp_path):
    log = WriteAheadLog(tmp_path / "stim_000.wal")
    for number in range(4):
        log.write(RecordKind.DONE, {"decision_id": str(number)})
    log.close()
    data = bytearray((tmp_path / "stim_000.wal").read_bytes())
    data[SLOT_BYTES : 3 * SLOT_BYTES] = bytes(2 * SLOT_BYTES)
    (tmp_path / "stim_000.wal").write_bytes(data)
    content = read_wal(tmp_path / "stim_000.wal")
    assert [record.fields["decision_id"] for record in content.records] == ["0", "3"]
    assert content.torn == 2


def test_the_protocol_goes_along(crashed):
    (crashed / "protocol").mkdir()
    (crashed / "protocol" / "p.yaml").write_text("a: 1")
    assert (recover(crashed).folder / "protocol" / "p.yaml").read_text() == "a: 1"


def test_where_no_message_is_left_it_says_so_and_leaves_no_folder(tmp_path):
    (tmp_path / "session_000.mcap").write_bytes(b"nonsense" * 100)
    with pytest.raises(RecordingError, match=r"no whole message is left.*does not begin as MCAP"):
        recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["session_000.mcap"]
