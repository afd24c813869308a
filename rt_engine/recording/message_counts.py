"""How many messages of each topic a finished journal says that it holds, without reading them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.reader import open_session


def message_counts(folder: Path) -> dict[str, int]:
    """Messages by topic, from the statistics at the end of every file.

    Parameters
    ----------
    folder : Path
        Of a session.

    Raises
    ------
    RecordingError
        There is no journal, or a file of it was not ended: `recover` ends it.
    """
    counts: Counter[str] = Counter()
    for path in open_session(folder).files:
        try:
            with path.open("rb") as file:
                summary = make_reader(file).get_summary()
        except (OSError, McapError) as error:
            raise RecordingError(f"{path}: {error}") from error
        if summary is None or summary.statistics is None:
            raise RecordingError(f"{path}: the file was not ended", "run `spikeloop recover` on the session")
        for channel, n in summary.statistics.channel_message_counts.items():
            counts[summary.channels[channel].topic] += n
    return dict(counts)
