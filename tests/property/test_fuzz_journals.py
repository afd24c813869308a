"""A hundred thousand corrupted journals and logs: no crash, no hang, and never a message that was not written.

Opt-in: ``SPIKELOOP_FUZZ=100000 pytest -m statistics tests/property/test_fuzz_journals.py`` (default 3,000 here).
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
from synthetic_session import SessionMaker

from rt_engine.interfaces.errors import RecordingError, SpikeloopError
from rt_engine.recording.reader import open_session
from rt_engine.recording.recover import recover
from rt_engine.recording.session_tables import collect
from rt_engine.safety.wal import RecordKind, WriteAheadLog, read_wal

pytestmark = [pytest.mark.statistics, pytest.mark.timeout(7200)]
N_FUZZ = int(os.environ.get("SPIKELOOP_FUZZ", "3000"))
RECOVERED_EVERY = 25


@pytest.fixture(scope="module")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: the disk is not what is tested."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        yield Path(folder)


def seeds(folder: Path) -> list[bytes]:
    """Journals to be corrupted: of several chunks and topics, finished and not, and one whose frames are large."""
    found = []
    for finished, side in ((True, 8), (False, 8), (True, 200)):
        maker = SessionMaker(folder / f"seed{finished}{side}")
        maker.session()
        for frame in range(6):
            maker.frame(frame, np.full((side, side), frame, "<u2"))
            maker.spikes(frame, [(1, frame)] if frame % 2 else [])
            maker.activity(frame, np.full((8, 2), frame, np.float32))
            if frame == 3:
                maker.stim("d1", frame, "delivered", command_ms=3.0)
            maker.writer.flush()
        if finished:
            maker.close()
        found.append(maker.writer.path.read_bytes())
        maker.close()
    return found


def corrupt(data: bytes, random: Random) -> bytes:
    """One to four injuries: cuts, zeros, flips, swaps, doublings, lengths that lie."""
    out = bytearray(data)
    for _ in range(random.randint(1, 4)):
        if not out:
            break
        at, span = random.randrange(len(out)), random.choice((1, 1, 2, 8, 64, 512, 4096))
        piece = bytes(out[at : at + span])
        kind = random.randrange(8)
        if kind == 0:
            del out[at:]
        elif kind == 1:
            out[at : at + span] = bytes(len(piece))
        elif kind == 2:
            out[at] ^= 1 << random.randrange(8)
        elif kind == 3:
            out[at : at + span] = random.randbytes(len(piece))
        elif kind == 4:
            del out[at : at + span]
        elif kind == 5:
            to = random.randrange(len(out))
            out[to:to] = piece
        elif kind == 6:
            out[at : at + 8] = random.choice((2**63, 2**32, 255, len(out), 0)).to_bytes(8, "little")
        else:
            out += bytes(random.choice((1, 100, 5000)))
    return bytes(out)


def test_readers_and_recover_survive_and_invent_nothing(memory: Path) -> None:
    originals = seeds(memory)
    folder = memory / "fuzz"
    folder.mkdir()
    path = folder / "session_000.mcap"
    written = []
    for data in originals:
        path.write_bytes(data)
        whole = [(m.topic, bytes(m.header_bytes), bytes(m.payload)) for m in open_session(folder).messages()]
        written.append(Counter(whole))
    n_kept = n_damaged = 0
    for trial in range(N_FUZZ):
        random = Random(trial)
        which = random.randrange(len(originals))
        torn = corrupt(originals[which], random)
        path.write_bytes(torn)
        session = open_session(folder)
        found = Counter((m.topic, bytes(m.header_bytes), bytes(m.payload)) for m in session.messages())
        assert set(found) <= set(written[which]), f"trial {trial} invents a message"
        n_kept += sum(found.values())
        n_damaged += bool(session.damage)
        if trial % RECOVERED_EVERY == 0:
            with suppress(SpikeloopError):
                collect(session)
                session.events()
                list(session.frames())
            if not found:
                with pytest.raises(RecordingError, match="no whole message is left"):
                    recover(folder)
                continue
            report = recover(folder)
            clean = open_session(report.folder)
            again = Counter((m.topic, bytes(m.header_bytes), bytes(m.payload)) for m in clean.messages())
            assert found <= again
            assert {topic for topic, *_ in again - found} <= {"light"}  # of commands whose light was lost
            assert clean.is_whole
            assert clean.is_complete <= (not session.damage and not session.lost)
            for file in report.folder.iterdir():
                file.unlink()
            report.folder.rmdir()
    assert n_damaged > 0.5 * N_FUZZ
    assert n_kept > N_FUZZ


def test_the_stimulation_log_survives_and_invents_nothing(memory: Path) -> None:
    path = memory / "stim_000.wal"
    log = WriteAheadLog(path)
    for number in range(12):
        log.write(RecordKind.INTENT, {"decision_id": f"d{number}", "text": "x" * (100 * number)})
    log.close()
    data = path.read_bytes()[: 64 * 512]
    path.write_bytes(data)
    written = {str(record) for record in read_wal(path).records}
    n_kept = 0
    for trial in range(N_FUZZ):
        path.write_bytes(corrupt(data, Random(trial)))
        content = read_wal(path)
        assert {str(record) for record in content.records} <= written, f"trial {trial} invents a record"
        n_kept += len(content.records)
    assert n_kept > N_FUZZ
