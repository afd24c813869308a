"""What keeps a session whole, broken one line at a time; as `security_mutations`, for the recording."""

from __future__ import annotations

from mutation.broken_lines import BrokenLine

_T_RECOVER = ("unit/recording/test_recover.py",)
_T_JOURNAL = ("unit/recording/test_journal.py", "property/test_corrupted_journals.py")
_T_WAL = ("unit/safety/test_wal.py", "unit/recording/test_recover.py")
_RECORDING = "rt_engine/recording/"

BROKEN = {
    "a chunk whose checksum fails counts": BrokenLine(
        f"{_RECORDING}mcap_walk.py", "if zlib.crc32(data) != crc:", "if False:", _T_JOURNAL + _T_RECOVER
    ),
    "after damage nothing more is looked for": BrokenLine(
        f"{_RECORDING}mcap_walk.py", "found = _next_whole_chunk(file, position + 1, size)", "found = size", _T_RECOVER
    ),
    "missing messages are not counted": BrokenLine(
        f"{_RECORDING}reader.py", "if 0 < gap < _SEQUENCE_RANGE // 2:", "if gap < 0:", _T_JOURNAL + _T_RECOVER
    ),
    "a recovered session is complete whatever it lost": BrokenLine(
        f"{_RECORDING}reader.py",
        "return self.is_whole and not self.lost and (self.recovery is None or not self.recovery.damage)",
        "return self.is_whole",
        _T_RECOVER,
    ),
    "recovery numbers messages anew": BrokenLine(
        f"{_RECORDING}recover.py", ", sequence=message.sequence)", ")", _T_RECOVER
    ),
    "light that only the log knows is left out": BrokenLine(
        f"{_RECORDING}wal_merge.py", "n_pulses = merging.add_light()", "n_pulses = 0", _T_RECOVER
    ),
    "torn slots of the log are not told": BrokenLine(
        f"{_RECORDING}wal_merge.py", "        if log.n_torn\n", "        if False\n", _T_RECOVER
    ),
    "a decision of which only the end was saved is dropped": BrokenLine(
        f"{_RECORDING}wal_merge.py", "stim = end_alone(fields, stamp, self._t_ns)", "stim = None", _T_RECOVER
    ),
    "a journal waits for the end to be written": BrokenLine(
        f"{_RECORDING}journal.py", "        self._t_flushed_ns = now_ns\n        self.flush()\n",
        "        self._t_flushed_ns = now_ns\n", _T_JOURNAL,
    ),
    "an existing journal is overwritten": BrokenLine(
        f"{_RECORDING}journal.py", 'return open(path, "xb", buffering=0)', 'return open(path, "wb", buffering=0)',
        _T_JOURNAL,
    ),
    "a torn record of the log counts": BrokenLine(
        "rt_engine/safety/wal.py", "crc != zlib.crc32(slot[_CRC_FROM:])", "False", _T_WAL
    ),
    "a report is written over the earlier one": BrokenLine(
        f"{_RECORDING}replaced_file.py", 'beside = path.with_name(f"{path.name}.partial")', "beside = path", _T_RECOVER
    ),
}  # fmt: skip
