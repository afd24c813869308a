"""Changes of the cells that a recorded session went through, for a replay that does them again."""

from __future__ import annotations

from pathlib import Path

from drivers.microscopes.movie_file import is_movie_folder
from rt_engine.interfaces.messages import EditHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig
from rt_engine.recording.reader import open_session
from rt_engine.services.live_cells import CellEdit


def replays_session(rig: RigConfig) -> bool:
    """True if the frames come from a session folder."""
    microscope = rig.microscope
    if not isinstance(microscope, ReplayMicroscope):
        return False
    path = Path(microscope.path)
    return path.is_dir() and not is_movie_folder(path)


def recorded_edits(rig: RigConfig, plane: int) -> list[CellEdit]:
    """Edits of a plane in the order in which they were made; empty where no session is replayed.

    Raises
    ------
    RecordingError
        There is no journal.
    """
    if not replays_session(rig) or not isinstance(rig.microscope, ReplayMicroscope):
        return []
    edits = []
    for message in open_session(Path(rig.microscope.path)).messages("edit"):
        header = message.header
        if isinstance(header, EditHeader) and header.plane == plane:
            edits.append((header.rev, _edit(header, bytes(message.payload))))
    return [edit for _, edit in sorted(edits, key=lambda item: item[0])]


def _edit(header: EditHeader, payload: bytes) -> CellEdit:
    return CellEdit(
        action=header.action,
        added=header.added,
        removed=header.removed,
        tagged=header.tagged,
        tag=header.tag,
        n_known=header.n_known,
        false_alarms_per_min=header.false_alarms_per_min,
        payload=payload or None,
        from_frame=header.from_frame,
    )
