"""The journal keeps every message, in time, and what it has kept stays readable whatever happens to the disk."""

import errno
import struct
from pathlib import Path

import pytest
from mcap.reader import make_reader

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.journal import ENCODING, JournalWriter, create_journal_file, free_space_mb
from rt_engine.recording.mcap_walk import McapWalk
from rt_engine.recording.reader import open_session

T_WALL_NS = 1_700_000_000_000_000_000
T_MONO_NS = 5_000_000_000
MS = 1_000_000


def write_some(writer, n=20, start=0, size=100):
    for i in range(start, start + n):
        writer.write("spikes.0", b"head%d" % i, bytes([i % 256]) * size, T_MONO_NS + i * MS)


def contents(folder: Path):
    return [(m.topic, bytes(m.header_bytes), bytes(m.payload), m.t_log_ns) for m in open_session(folder).messages()]


def expected(indices, size=100):
    return [("spikes.0", b"head%d" % i, bytes([i % 256]) * size, T_WALL_NS + i * MS) for i in indices]


def test_what_was_written_is_read_back(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer)
    writer.close()
    session = open_session(tmp_path)
    assert contents(tmp_path) == expected(range(20))
    assert session.is_complete


def test_an_independent_reader_finds_the_same_messages_by_index(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer, 10)
    writer.write("frame.0.0", b"H", memoryview(bytes(range(256)) * 2000), T_MONO_NS + 10 * MS)
    writer.close()
    with open(tmp_path / "session_000.mcap", "rb") as file:
        found = [(c.topic, c.message_encoding, m.data, m.log_time) for _, c, m in make_reader(file).iter_messages()]
    spikes = [
        ("spikes.0", ENCODING, struct.pack("<I", len(head)) + head + body, t)
        for _, head, body, t in expected(range(10))
    ]
    frame = ("frame.0.0", ENCODING, struct.pack("<I", 1) + b"H" + bytes(range(256)) * 2000, T_WALL_NS + 10 * MS)
    assert found == [*spikes, frame]


def test_rotation_leaves_no_gap_and_doubles_nothing(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer, 7)
    assert writer.rotate() == tmp_path / "session_000.mcap"
    write_some(writer, 5, start=7)
    writer.rotate()
    write_some(writer, 3, start=12)
    writer.close()
    assert [path.name for path in open_session(tmp_path).files] == [f"session_00{i}.mcap" for i in range(3)]
    assert contents(tmp_path) == expected(range(15))
    assert open_session(tmp_path).is_complete


def test_a_full_file_is_ended_by_itself(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS, file_bytes=300_000)
    write_some(writer, 20, size=100_000)
    writer.close()
    assert len(open_session(tmp_path).files) > 3
    assert contents(tmp_path) == expected(range(20), size=100_000)


def test_no_message_waits_longer_than_the_flush_time(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS, flush_s=0.2)
    longest_ns = 0
    for now_ns in range(T_MONO_NS, T_MONO_NS + 3_000 * MS, 7 * MS):
        i = (now_ns - T_MONO_NS) // (7 * MS)
        writer.write("spikes.0", b"head%d" % i, b"", now_ns)
        writer.tick(now_ns)
        on_disk = contents(tmp_path)
        oldest_waiting_ns = T_MONO_NS + len(on_disk) * 7 * MS
        longest_ns = max(longest_ns, now_ns - oldest_waiting_ns)
    writer.close()
    assert 0 < longest_ns <= 200 * MS


def test_closing_twice_is_harmless_and_writing_afterwards_is_refused(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    writer.close()
    writer.close()
    writer.tick(T_MONO_NS + 10**10)
    with pytest.raises(RecordingError, match="closed"):
        write_some(writer)
    assert contents(tmp_path) == []


def test_a_journal_is_never_overwritten(tmp_path):
    JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS).close()
    with pytest.raises(RecordingError, match=r"session_000\.mcap exists"):
        JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordingError, match="nowhere"):
        JournalWriter(tmp_path / "nowhere", T_WALL_NS, T_MONO_NS)
    with pytest.raises(RecordingError, match="nowhere"):
        free_space_mb(tmp_path / "nowhere")
    assert free_space_mb(tmp_path) > 0


class SmallDisk:
    """A file on a disk with room for some bytes: it takes what fits, then refuses, as the kernel does."""

    def __init__(self, path, room):
        self.file = create_journal_file(path)
        self.room = room

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.file.write(memoryview(data)[: self.room])
        self.room -= taken
        return taken

    def truncate(self, size=None):
        return self.file.truncate(size)

    def close(self):
        self.file.close()


@pytest.mark.parametrize("room", [50, 5_000, 150_000, 250_123])
def test_a_full_disk_is_named_and_costs_nothing_of_what_was_written(tmp_path, room):
    def create(path):
        return SmallDisk(path, room)

    with pytest.raises(RecordingError, match=r"session_000\.mcap.*No space left"):
        write_some(JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS, create_file=create), 400, size=1_000)
    found = contents(tmp_path)
    assert found == expected(range(len(found)), size=1_000)
    assert all(damage.n_bytes == 0 or room == 50 for damage in open_session(tmp_path).damage)


def test_after_a_full_disk_the_writer_repeats_its_reason_and_closes_quietly(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS, create_file=lambda path: SmallDisk(path, 2_000))
    write_some(writer, 5, size=1_000)
    for _ in range(2):
        with pytest.raises(RecordingError, match="No space left"):
            writer.flush()
    writer.tick(T_MONO_NS + 10**10)
    writer.close()


def test_the_files_end_is_reported_as_unfinished_while_it_is_written(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer, 4)
    writer.flush()
    session = open_session(tmp_path)
    assert contents(tmp_path) == expected(range(4))
    assert [damage.unfinished for damage in session.damage] == [True]
    assert session.lost == {}
    writer.close()


def test_topics_are_compared_whole_or_by_their_first_word(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    for topic in ("spikes.1", "spikes.10", "stim", "spikes.1"):
        writer.write(topic, b"h", b"", T_MONO_NS)
    writer.close()
    session = open_session(tmp_path)
    assert [m.topic for m in session.messages("spikes.1")] == ["spikes.1", "spikes.1"]
    assert [m.topic for m in session.messages("spikes", "stim")] == ["spikes.1", "spikes.10", "stim", "spikes.1"]


def test_a_damaged_first_chunk_does_not_lose_the_names_of_later_messages(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer, 3)
    writer.flush()
    write_some(writer, 3, start=3)
    writer.flush()
    data = bytearray(writer.path.read_bytes())
    writer.close()
    at = data.index(b"head1")
    data[at] ^= 0xFF
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "session_000.mcap").write_bytes(data)
    session = open_session(tmp_path / "copy")
    assert [bytes(m.header_bytes) for m in session.messages()] == [b"head3", b"head4", b"head5"]
    assert session.lost == {"spikes.0": 3}
    assert "checksum" in session.damage[0].reason


def test_a_single_file_of_a_session_can_be_opened(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer, 7)
    writer.rotate()
    write_some(writer, 5, start=7)
    writer.close()
    session = open_session(tmp_path / "session_001.mcap")
    assert len(list(session.messages())) == 5
    assert session.is_complete


def test_a_folder_without_a_journal_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="session_000"):
        open_session(tmp_path)


def test_a_file_that_is_no_journal_yields_nothing(tmp_path):
    path = tmp_path / "session_000.mcap"
    path.write_bytes(b"nonsense" * 1000)
    walk = McapWalk(path)
    assert list(walk.messages()) == []
    assert sum(damage.n_bytes for damage in walk.damage) == 8000


def test_after_a_failure_it_goes_on_in_a_new_file_and_what_was_refused_is_missing_by_number(tmp_path):
    rooms = iter((600, 10**9))

    class Full:
        def __init__(self, path):
            self.file, self.room = create_journal_file(path), next(rooms)

        def write(self, data):
            if len(data) > self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= len(data)
            return self.file.write(data)

        def truncate(self, size=None):
            return self.file.truncate(size)

        def close(self):
            self.file.close()

    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS, create_file=Full)
    write_some(writer, 2)
    writer.flush()
    write_some(writer, 8, start=2)
    with pytest.raises(RecordingError):
        writer.flush()
    assert writer.resume() == tmp_path / "session_001.mcap"
    write_some(writer, 5, start=10)
    writer.close()
    session = open_session(tmp_path)
    assert contents(tmp_path) == expected([0, 1, *range(10, 15)])
    assert session.lost == {"spikes.0": 8}


def test_a_file_that_is_removed_is_noticed_within_a_second(tmp_path):
    writer = JournalWriter(tmp_path, T_WALL_NS, T_MONO_NS)
    write_some(writer)
    writer.require_there(T_MONO_NS + 1000 * MS)
    writer.path.unlink()
    writer.require_there(T_MONO_NS + 1500 * MS)
    with pytest.raises(RecordingError, match=r"session_000\.mcap was removed"):
        writer.require_there(T_MONO_NS + 2000 * MS)
    writer.resume()
    write_some(writer, 3, start=20)
    writer.close()
    assert contents(tmp_path) == expected(range(20, 23))
