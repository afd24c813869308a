"""Frames of a session as a BigTIFF, for programs that read no NWB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tifffile

from rt_engine.interfaces.errors import RecordingError
from rt_engine.recording.reader import Session
from rt_engine.recording.whole_frames import whole_frames

ROOM_REMEDY = "make room, or give another place with -o"


def write_frame_tiff(
    session: Session, path: Path, where: tuple[int, int], n_frames: int, progress: Callable[[str, float], None]
) -> None:
    """Write all whole frames of one plane and channel, a page each.

    Parameters
    ----------
    session : Session
    path : Path
        It must not exist.
    where : (int, int)
        Plane and channel.
    n_frames : int
        For the progress.
    progress : callable
        Told the stage and the fraction done, 0 to 1.

    Raises
    ------
    RecordingError
        The file exists, or cannot be written.
    """
    if path.exists():
        raise RecordingError(f"{path} exists", "give another name with -o, or delete it")
    try:
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            for index, (_, lines) in enumerate(whole_frames(session, *where, with_lines=True)):
                file.write(lines, contiguous=True, photometric="minisblack")
                if index % 100 == 0:
                    progress(f"TIFF of plane {where[0]}", index / max(n_frames, 1))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written: {error.strerror or error}", ROOM_REMEDY) from error
