"""A session as arrays and tables, read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import ActivityHeader, Header, Mode, SpikesHeader
from rt_engine.recording.reader import JournalMessage, Session

if TYPE_CHECKING:
    import pandas

DECIDED_EVENT = np.dtype([*EVENT_DTYPE.descr, ("plane", "<i4"), ("decided_frame", "<i8"), ("t_decided_ns", "<i8")])
"""An event with the frame and the moment of its decision."""


class Activity(NamedTuple):
    """Traces of one plane.

    ``frame`` : int64 ndarray, shape (n,). ``t_scan_ns`` : int64 ndarray, shape (n,), end of each frame. ``values`` :
    float32 ndarray, shape (n, n_rois), by `roi_index`; NaN where invalid, and where a cell was not there yet.
    """

    frame: NDArray[np.int64]
    t_scan_ns: NDArray[np.int64]
    values: NDArray[np.float32]


def events(session: Session, plane: int = 0) -> NDArray[np.void]:
    """Events decided live in one plane, in the order of decision.

    Returns
    -------
    ndarray, shape (n_events,), dtype `DECIDED_EVENT`

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    found = []
    for message, header in headers(session, f"spikes.{plane}"):
        if not isinstance(header, SpikesHeader) or header.mode is not Mode.LIVE or not header.n_events:
            continue
        if len(message.payload) != header.n_events * EVENT_DTYPE.itemsize:
            continue
        rows = np.zeros(header.n_events, DECIDED_EVENT)
        decided = np.frombuffer(message.payload, EVENT_DTYPE)
        for name in EVENT_DTYPE.names or ():
            rows[name] = decided[name]
        rows["plane"], rows["decided_frame"], rows["t_decided_ns"] = plane, header.frame, header.t_decided_ns
        found.append(rows)
    return np.concatenate(found) if found else np.zeros(0, DECIDED_EVENT)


def activity_rows(
    session: Session, fields: Sequence[str], plane: int = 0
) -> Iterator[tuple[ActivityHeader, NDArray[np.float32]]]:
    """Traces frame by frame.

    Yields
    ------
    header : ActivityHeader
    values : float32 ndarray, shape (len(fields), n_rois)
        NaN throughout for a field that the session does not have.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    for message, header in headers(session, f"activity.{plane}"):
        if not isinstance(header, ActivityHeader) or header.n_rois < 1:
            continue
        if len(message.payload) != 4 * len(header.fields) * header.n_rois:
            continue
        there = np.frombuffer(message.payload, "<f4").reshape(len(header.fields), header.n_rois)
        values = np.full((len(fields), header.n_rois), np.nan, np.float32)
        for row, name in enumerate(fields):
            if name in header.fields:
                values[row] = there[header.fields.index(name)]
        yield header, values


def fields_of(session: Session, plane: int = 0) -> tuple[str, ...]:
    """Fields of the traces of one plane, as its first message has them; none where there are no traces.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    for _, header in headers(session, f"activity.{plane}"):
        if isinstance(header, ActivityHeader):
            return tuple(header.fields)
    return ()


def activity(
    session: Session, field: str = "dff", plane: int = 0, *, first_frame: int = 0, last_frame: int | None = None
) -> Activity:
    """Traces of one field, held in memory: 4 bytes a cell and frame.

    Parameters
    ----------
    session : Session
    field : str
        ``fluorescence neuropil dff calcium spike z probability valid``.
    plane : int
    first_frame, last_frame : int
        Frame numbers of the source, both included.

    Raises
    ------
    RecordingError
        A file cannot be opened.
    """
    frame, t_scan_ns, rows, width = [], [], [], 0
    for header, values in activity_rows(session, (field,), plane):
        if header.frame < first_frame or (last_frame is not None and header.frame > last_frame):
            continue
        frame.append(header.frame)
        t_scan_ns.append(header.t_scan_ns)
        rows.append(values[0])
        width = max(width, header.n_rois)
    out = np.full((len(rows), width), np.nan, np.float32)
    for index, row in enumerate(rows):
        out[index, : len(row)] = row
    return Activity(np.array(frame, np.int64), np.array(t_scan_ns, np.int64), out)


def table(session: Session, *topics: str) -> pandas.DataFrame:
    """Headers of some topics, one a row, as a pandas frame; times stay integers of nanoseconds.

    Parameters
    ----------
    session : Session
    *topics : str
        ``stim``, ``state``, ``health``, ``log``, ``light``, ``spikes.0`` …; not for frames.

    Raises
    ------
    RecordingError
        pandas is not installed, or a file cannot be opened.
    """
    try:
        import pandas
    except ImportError as error:
        raise RecordingError("tables need pandas", "pip install pandas, or use `messages`") from error
    rows = []
    for message, header in headers(session, *topics):
        row: dict[str, Any] = {"topic": message.topic, "t_log_ns": message.t_log_ns}
        for name in header.__struct_fields__:
            value = getattr(header, name)
            row[name] = str(value) if isinstance(value, str) else value  # enums become their words
        rows.append(row)
    return pandas.DataFrame(rows)


def headers(session: Session, *topics: str) -> Iterator[tuple[JournalMessage, Header]]:
    """Messages with their headers; those that violate the wire contract are passed over."""
    for message in session.messages(*topics):
        try:
            yield message, message.header
        except MessageError:
            continue
