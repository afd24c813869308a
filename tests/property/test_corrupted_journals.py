"""Of a damaged journal a reader gives whole messages only, in order, and never stumbles."""

import tempfile
from functools import cache
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from rt_engine.recording.journal import JournalWriter
from rt_engine.recording.reader import open_session

N = 60
SIZES = (0, 3, 500, 7_000, 40_000, 90_000)


def original(i):
    topic = ("spikes.0", "frame.0.0", "stim")[i % 3]
    return topic, b"header %d" % i, bytes([i]) * SIZES[i % len(SIZES)]


@cache
def journal(finished):
    with tempfile.TemporaryDirectory() as folder:
        writer = JournalWriter(Path(folder), 10**18, 0)
        for i in range(N):
            writer.write(*original(i), i * 10**7)
            if i % 7 == 0:
                writer.flush()
        if finished:
            writer.close()
        else:
            writer.flush()
        data = writer.path.read_bytes()
        writer.close()
    return data


def read(data):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "session_000.mcap").write_bytes(data)
        session = open_session(folder)
        found = [(m.topic, bytes(m.header_bytes), bytes(m.payload)) for m in session.messages()]
        return found, session.damage, session.lost


def indices_of_whole_messages(found):
    indices = [int(header.split()[1]) for _, header, _ in found]
    assert found == [original(i) for i in indices]
    assert indices == sorted(set(indices))
    return indices


def missing_before_the_last(indices):
    """By topic: those that a later message of the same topic proves to have been there."""
    lost = {}
    for topic in ("spikes.0", "frame.0.0", "stim"):
        own = [i for i in range(N) if original(i)[0] == topic]
        there = [i for i in own if i in indices]
        if there:
            n = len([i for i in own if i < there[-1]]) - len(there) + 1
            if n:
                lost[topic] = n
    return lost


@settings(max_examples=80, deadline=None)
@given(st.booleans(), st.floats(0, 1))
def test_a_truncated_journal_gives_a_prefix(finished, fraction):
    data = journal(finished)
    cut = int(fraction * len(data))
    found, damage, lost = read(data[:cut])
    indices = indices_of_whole_messages(found)
    assert indices == list(range(len(indices)))
    assert lost == {}
    assert damage or cut == len(data)


@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.floats(0, 1), st.integers(1, 100_000))
def test_a_zero_filled_tail_adds_nothing(finished, fraction, n_zeros):
    data = journal(finished)
    found, damage, lost = read(data[: int(fraction * len(data))] + bytes(n_zeros))
    indices = indices_of_whole_messages(found)
    assert indices == list(range(len(indices)))
    assert damage
    assert lost == {}


flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), flips)
def test_flipped_bytes_cost_their_chunk_at_most_and_are_counted(finished, places):
    data = bytearray(journal(finished))
    for fraction, mask in places:
        data[int(fraction * len(data))] ^= mask
    found, damage, lost = read(bytes(data))
    indices = indices_of_whole_messages(found)
    assert lost == missing_before_the_last(set(indices))
    assert len(indices) == N or damage


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 0.2), st.sampled_from(["zero", "cut", "noise"]), st.integers(0, 2**32))
def test_a_hole_in_the_middle_costs_only_the_chunks_it_touches(start, width, kind, seed):
    data = journal(True)
    a = int(start * len(data))
    b = min(len(data), a + int(width * len(data)))
    hole = {"zero": bytes(b - a), "cut": b"", "noise": Random(seed).randbytes(b - a)}[kind]
    found, damage, lost = read(data[:a] + hole + data[b:])
    indices = indices_of_whole_messages(found)
    assert lost == missing_before_the_last(set(indices))
    assert len(indices) == N or damage


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=4000))
def test_arbitrary_bytes_are_no_messages(data):
    found, damage, _ = read(data)
    assert found == []
    assert damage


def test_every_single_flipped_byte_of_the_structure_is_survived():
    data = journal(False)
    for at in range(0, 1200, 3):
        torn = bytearray(data[:20_000])
        torn[at] ^= 0x01
        indices_of_whole_messages(read(bytes(torn))[0])
