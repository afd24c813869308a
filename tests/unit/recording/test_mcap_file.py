"""A journal file is MCAP as anybody reads it, index and all, and its index does not grow in memory as it is written."""

import errno
import tracemalloc
import zlib
from io import BytesIO
from itertools import takewhile

import pytest
from mcap.opcode import Opcode
from mcap.reader import NonSeekingReader, SeekingReader
from mcap.records import Chunk, DataEnd, Message, SummaryOffset
from mcap.stream_reader import StreamReader, breakup_chunk

from rt_engine.recording.journal import create_journal_file
from rt_engine.recording.mcap_file import McapFile

MIB = 1 << 20
LARGE = bytes(range(256)) * 500


def fresh(folder, name="a.mcap"):
    return McapFile(create_journal_file(folder / name), folder, "profile", "library")


@pytest.fixture
def written(tmp_path):
    """Path, and every message as (topic, sequence, time, data): small and large ones, times that go back a little."""
    file = fresh(tmp_path)
    channels, messages = {}, []
    for n in range(900):
        for topic, payload in (("spikes", b"x" * n), *((("frame", LARGE),) if n % 9 == 0 else ())):
            if topic not in channels:
                channels[topic] = file.add_channel(topic, "spikeloop/1")
                file.add_metadata("spikeloop/channel", {"topic": topic})
            t_ns = 10**18 + n * 1000 - (n % 7) * 2500
            file.add_message(channels[topic], t_ns, n, b"%d:" % n, memoryview(payload))
            messages.append((topic, n, t_ns, b"%d:" % n + payload))
        if n % 2 == 0:
            file.flush()
    file.finish()
    return tmp_path / "a.mcap", messages


def found(iterator):
    return [(channel.topic, m.sequence, m.log_time, m.data) for _, channel, m in iterator]


def test_a_reader_that_takes_no_index_finds_every_message_with_every_checksum_right(written):
    path, messages = written
    with open(path, "rb") as file:
        assert found(NonSeekingReader(file, validate_crcs=True).iter_messages(log_time_order=False)) == messages


@pytest.mark.filterwarnings("ignore:(start|end)_time:DeprecationWarning")
@pytest.mark.parametrize("topic", ["spikes", "frame"])
def test_a_reader_by_index_finds_the_messages_of_a_topic_and_a_time(written, topic):
    path, messages = written
    first_ns, end_ns = 10**18 + 300_000, 10**18 + 500_000
    with open(path, "rb") as file:
        reader = SeekingReader(file, validate_crcs=True)
        seen = found(reader.iter_messages(topics=[topic], start_time=first_ns, end_time=end_ns))
    wanted = [m for m in messages if m[0] == topic and first_ns <= m[2] < end_ns]
    assert len(wanted) > 10
    assert sorted(seen) == sorted(wanted)


def records_at(data, offset):
    return StreamReader(BytesIO(data[offset:]), skip_magic=True, emit_chunks=True).records


def test_the_index_has_every_chunk_and_every_message_where_it_stands(written):
    path, messages = written
    data = path.read_bytes()
    summary = SeekingReader(BytesIO(data)).get_summary()
    kept = list(takewhile(lambda record: not isinstance(record, DataEnd), records_at(data, 8)))
    assert summary.statistics.chunk_count == len(summary.chunk_indexes) == sum(isinstance(r, Chunk) for r in kept)
    assert summary.statistics.message_count == sum(summary.statistics.channel_message_counts.values()) == len(messages)
    assert summary.statistics.message_start_time == min(m[2] for m in messages)
    assert summary.statistics.message_end_time == max(m[2] for m in messages)
    n_found = 0
    for index in summary.chunk_indexes:
        chunk = next(records_at(data, index.chunk_start_offset))
        times = [record.log_time for record in breakup_chunk(chunk, validate_crc=True) if isinstance(record, Message)]
        assert (index.message_start_time, index.message_end_time) == (min(times), max(times))
        assert index.uncompressed_size == index.compressed_size == len(chunk.data)
        end = index.chunk_start_offset + index.chunk_length + index.message_index_length
        assert data[end] in (Opcode.CHUNK, Opcode.METADATA, Opcode.DATA_END)
        for channel, offset in index.message_index_offsets.items():
            by_channel = next(records_at(data, offset))
            assert by_channel.channel_id == channel
            for t_ns, at in by_channel.records:
                message = next(records_at(chunk.data, at))
                assert (message.channel_id, message.log_time) == (channel, t_ns)
                n_found += 1
    assert n_found == len(messages)


def test_the_summary_is_found_from_the_end_and_its_checksum_holds(written):
    data = written[0].read_bytes()
    footer = next(records_at(data, len(data) - 8 - 29))
    checked = data[footer.summary_start : len(data) - 8 - 4]
    assert zlib.crc32(checked) == footer.summary_crc
    groups = [r for r in records_at(data, footer.summary_offset_start) if isinstance(r, SummaryOffset)]
    assert [group.group_opcode for group in groups] == [
        Opcode.CHANNEL, Opcode.STATISTICS, Opcode.CHUNK_INDEX, Opcode.METADATA_INDEX,
    ]  # fmt: skip
    at = footer.summary_start
    for group in groups:
        assert (group.group_start, data[at]) == (at, group.group_opcode)
        at += group.group_length
    assert at == footer.summary_offset_start


def test_the_metadata_is_found_by_its_index(written):
    with open(written[0], "rb") as file:
        kept = [record.metadata for record in SeekingReader(file).iter_metadata()]
    assert kept == [{"topic": "spikes"}, {"topic": "frame"}]


def test_a_large_message_is_a_chunk_of_its_own_that_readers_can_pass_over(written):
    data = written[0].read_bytes()
    large = [r for r in records_at(data, 8) if isinstance(r, Chunk) and len(r.data) >= len(LARGE)]
    assert len(large) == 100
    assert [len([r for r in breakup_chunk(chunk) if isinstance(r, Message)]) for chunk in large] == [1] * 100


def test_memory_does_not_grow_with_the_file(tmp_path):
    file = fresh(tmp_path)
    channels = [file.add_channel(f"topic{n}", "spikeloop/1") for n in range(5)]

    def flushes(first, n):
        for i in range(first, first + n):
            for channel in channels:
                file.add_message(channel, i, i, b"head", b"payload")
            file.flush()

    flushes(0, 500)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        flushes(500, 3000)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    file.finish()
    assert grown < MIB / 8, "the index of 3,000 chunks, five minutes, as objects is 2 MiB"
    with open(tmp_path / "a.mcap", "rb") as read:
        assert len(SeekingReader(read).get_summary().chunk_indexes) == 3500


def test_the_end_of_a_file_takes_no_more_memory_the_longer_the_file(tmp_path):
    file = fresh(tmp_path)
    channel = file.add_channel("topic", "spikeloop/1")
    for i in range(15_000):
        file.add_message(channel, i, i, b"", b"")
        file.flush()
    tracemalloc.start()
    try:
        file.finish()
        at_most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert at_most < MIB / 4, "the index of 15,000 chunks is 1.3 MiB"


def test_the_index_waits_in_a_file_that_is_gone_afterwards(tmp_path):
    file = fresh(tmp_path)
    channel = file.add_channel("topic", "spikeloop/1")
    for i in range(2000):
        file.add_message(channel, i, i, b"", b"")
        file.flush()
    file.abandon()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mcap"]


class Refusing:
    """A disk that takes some bytes of the write after `room` bytes, and no more."""

    def __init__(self, path, room):
        self.file, self.room = create_journal_file(path), room

    def write(self, data):
        taken = memoryview(data)[: self.room]
        self.room -= len(taken)
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(taken)

    def truncate(self, size=None):
        return self.file.truncate(size)

    def close(self):
        self.file.close()


def test_what_a_full_disk_took_of_a_large_message_is_cut_off_again(tmp_path):
    file = McapFile(Refusing(tmp_path / "a.mcap", 200_000), tmp_path, "profile", "library")
    channel = file.add_channel("frame", "spikeloop/1")
    file.add_message(channel, 0, 0, b"head", LARGE)
    whole = file.position
    with pytest.raises(OSError, match="No space"):
        file.add_message(channel, 1, 1, b"head", LARGE)
    file.abandon()
    assert (tmp_path / "a.mcap").stat().st_size == file.position == whole
