"""What a journal says of its own length is what stands in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from synthetic_session import SessionMaker

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.message_counts import message_counts
from rt_engine.recording.reader import open_session


def test_the_index_counts_what_a_walk_through_all_files_finds(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "session")
    for frame in range(300):
        maker.spikes(frame)
        if frame == 150:
            maker.writer.rotate()
        if frame % 3 == 0:
            maker.health("inference")
    maker.close()
    walked = Counter(message.topic for message in open_session(maker.folder).messages())
    assert len(open_session(maker.folder).files) == 2
    assert message_counts(maker.folder) == dict(walked) == {"spikes.0": 300, "health": 100}


def test_a_journal_that_was_not_ended_is_refused(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path / "session")
    for frame in range(30):
        maker.spikes(frame)
    maker.close()
    (path,) = open_session(maker.folder).files
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RecordingError, match=path.name):
        message_counts(maker.folder)
