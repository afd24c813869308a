"""The stimulation log gives back what was written whole, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tracemalloc

import pytest

from rt_engine.interfaces.errors import RecordingError
from rt_engine.safety.wal import BLOCK_SLOTS, SLOT_BYTES, RecordKind, WriteAheadLog, next_wal_path, read_wal

RECORDS = [
    (RecordKind.STATE, {"state": "armed"}),
    (RecordKind.INTENT, {"decision_id": "d-1", "energy_nj": list(range(250))}),
    (RecordKind.DONE, {"decision_id": "d-1", "outcome": "delivered"}),
    (RecordKind.TRIP, {"text": "x" * 600}),
]


@pytest.fixture
def written(tmp_path):
    log = WriteAheadLog(tmp_path / "stim_000.wal")
    ends = []
    for kind, fields in RECORDS:
        log.write(kind, fields)
        ends.append(log._next_slot * SLOT_BYTES)
    log.close()
    data = (tmp_path / "stim_000.wal").read_bytes()
    return data, ends


def whole(data, ends, cut):
    """Records whose slots are all in the first `cut` bytes, or were zeros beyond it anyway."""
    kept = data[:cut].ljust(len(data), b"\0")
    starts = [0, *ends[:-1]]
    return [i for i, (a, b) in enumerate(zip(starts, ends, strict=True)) if kept[a:b] == data[a:b]]


def test_all_records_come_back_in_order(written, tmp_path):
    content = read_wal(tmp_path / "stim_000.wal")
    assert [(record.kind, record.fields) for record in content.records] == RECORDS
    assert content.torn == 0


def test_a_log_torn_at_any_byte_gives_whole_records_only(written, tmp_path):
    data, ends = written
    torn = tmp_path / "torn.wal"
    for cut in range(ends[-1] + 1):
        torn.write_bytes(data[:cut] + bytes(len(data[: ends[-1] + SLOT_BYTES]) - cut))
        content = read_wal(torn)
        expected = whole(data, ends, cut)
        assert [(r.kind, r.fields) for r in content.records] == [RECORDS[i] for i in expected], cut
        starts = [0, *ends[:-1]]
        partly = any(a < cut < b and i not in expected for i, (a, b) in enumerate(zip(starts, ends, strict=True)))
        assert (content.torn > 0) == partly, cut


def test_a_file_that_ends_at_any_byte_gives_whole_records_only(written, tmp_path):
    data, ends = written
    torn = tmp_path / "short.wal"
    for cut in range(ends[-1] + 1):
        torn.write_bytes(data[:cut])
        content = read_wal(torn)
        assert [(r.kind, r.fields) for r in content.records] == [RECORDS[i] for i in range(4) if ends[i] <= cut], cut


def test_a_flipped_byte_loses_its_record_and_no_other(written, tmp_path):
    data, ends = written
    broken = tmp_path / "broken.wal"
    for at in range(0, ends[-1], 7):
        bad = bytearray(data[: ends[-1] + SLOT_BYTES])
        bad[at] ^= 0x55
        broken.write_bytes(bad)
        content = read_wal(broken)
        hit = next(i for i, end in enumerate(ends) if at < end)
        assert [(r.kind, r.fields) for r in content.records] == [RECORDS[i] for i in range(4) if i != hit], at
        assert content.torn > 0


def test_the_file_grows_by_blocks_written_ahead(tmp_path):
    log = WriteAheadLog(tmp_path / "a.wal")
    for i in range(BLOCK_SLOTS + 5):
        log.write(RecordKind.DONE, {"i": i})
    log.close()
    assert (tmp_path / "a.wal").stat().st_size == 2 * BLOCK_SLOTS * SLOT_BYTES
    assert [record.fields["i"] for record in read_wal(tmp_path / "a.wal").records] == list(range(BLOCK_SLOTS + 5))


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path / "a.wal")

    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordingError, match="No space left"):
        log.write(RecordKind.DONE, {})
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) // 2)
    with pytest.raises(RecordingError, match="256 of 512"):
        log.write(RecordKind.DONE, {})
    monkeypatch.undo()
    log.close()
    log.close()
    with pytest.raises(RecordingError, match="closed"):
        log.write(RecordKind.DONE, {})


def test_a_log_is_never_overwritten(tmp_path):
    WriteAheadLog(next_wal_path(tmp_path)).close()
    with pytest.raises(RecordingError):
        WriteAheadLog(tmp_path / "stim_000.wal")
    assert next_wal_path(tmp_path).name == "stim_001.wal"


def test_a_killed_process_loses_no_record(tmp_path):
    code = (
        "import os, sys, pathlib\n"
        "from rt_engine.safety.wal import RecordKind, WriteAheadLog\n"
        "log = WriteAheadLog(pathlib.Path(sys.argv[1]))\n"
        "for i in range(20): log.write(RecordKind.INTENT, {'i': i})\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "k.wal")], check=False).returncode == 9
    assert [record.fields["i"] for record in read_wal(tmp_path / "k.wal").records] == list(range(20))


def test_room_written_ahead_takes_no_memory(tmp_path):
    log = WriteAheadLog(tmp_path / "stim_000.wal")
    tracemalloc.start()
    try:
        for _ in range(3 * BLOCK_SLOTS):
            log.write(RecordKind.STATE, {"state": "armed"})
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        log.close()
    assert (tmp_path / "stim_000.wal").stat().st_size >= 3 * BLOCK_SLOTS * SLOT_BYTES
    assert most_bytes < BLOCK_SLOTS * SLOT_BYTES / 10
