"""Where two sessions first differ, and why: config, cells, frames, traces, events, inputs, decisions, light, marks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from rt_engine.interfaces.errors import ConfigError, MessageError
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import (
    ActivityHeader,
    FrameHeader,
    Header,
    InputHeader,
    LightHeader,
    LogHeader,
    Mode,
    Phase,
    SpikesHeader,
    StimHeader,
)
from rt_engine.recording.device_versions import device_versions
from rt_engine.recording.event_closeness import event_closeness
from rt_engine.recording.reader import JournalMessage, Session, read_config

Row = tuple[Any, ...]
_OWN_STIM = frozenset({"v", "session", "source", "host", "boot_id", "seq", "t_sent_ns", "decision_id", "phase"})
"""Of every run itself; a decision is named by its number in the run."""
_DECIDED = ("events", "inputs", "decisions", "light", "marks")
_MARK_LEVELS = ("mark", "mqtt")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same; `frame` is None where it belongs to none."""

    what: str
    frame: int | None
    text: str


@dataclass(frozen=True, slots=True)
class SessionDiff:
    """How two sessions compare.

    Attributes
    ----------
    setup : tuple of str
        What was different from the start: config, calibration, code.
    first : tuple of Difference
        The first difference of each of frames, traces, events, inputs, decisions, light, marks, earliest cause first.
    n_compared : dict of str to int
        What was found equal before the first difference, by kind: ``spikes`` counts messages (one a frame or strip,
        with or without events), ``events`` the events in them.
    closeness : str or None
        Of events that differ, how far: another family of processors changes last digits, another threshold spikes.
    """

    setup: tuple[str, ...]
    first: tuple[Difference, ...]
    n_compared: dict[str, int]
    closeness: str | None = None

    @property
    def same(self) -> bool:
        """True if events, inputs of the protocol, decisions, light and its marks are the same, bit for bit."""
        return not any(difference.what in _DECIDED for difference in self.first)

    def lines(self) -> list[str]:
        """For people."""
        counts = ", ".join(_counted(what, n) for what, n in self.n_compared.items())
        lines = [f"different from the start: {text}" for text in self.setup]
        if self.same and not any(self.n_compared.values()):
            lines.append("nothing to compare: neither of them has decided anything while live")
        elif self.same:
            lines.append(f"the same events, inputs, decisions, light and marks, bit for bit ({counts})")
        else:
            lines.append(f"the same up to here: {counts}")
        lines += [f"{one.what} first differ{_at(one.frame)}: {one.text}" for one in self.first]
        return lines if self.closeness is None else [*lines, self.closeness]


def compare(a: Session, b: Session, plane: int | None = None) -> SessionDiff:
    """Compare what two sessions decided while live, and look for the cause of the first difference.

    Parameters
    ----------
    a, b : Session
    plane : int, optional
        The one that is compared; None: all that either decided, one after the other.

    Raises
    ------
    ConfigError
        Neither has decided anything live in `plane`.
    RecordingError
        A file cannot be opened.
    """
    counts: dict[str, int] = {"spikes": 0}
    planes = _chosen(a, b, plane)
    found = [
        _first("events", _each(planes, _events, a), _each(planes, _events, b), _explain_events, counts, _n_events),
        _first("inputs", _inputs(a), _inputs(b), _explain_fields, counts),
        _first("decisions", _decisions(a), _decisions(b), _explain_fields, counts),
        _first("light", _lights(a), _lights(b), _explain_fields, counts),
        _first("marks", _marks(a), _marks(b), _explain_fields, counts),
    ]
    if any(one is not None for one in found):
        # What comes before decides: pixels, then traces.
        causes = [_first("traces", _each(planes, _traces, a), _each(planes, _traces, b), _explain_traces, counts)]
        if not (_from_traces(a) or _from_traces(b)):
            first_live = {plane: _first_live(a, plane) for plane in planes}
            one, other = (_each(planes, _frames, session, first_live) for session in (a, b))
            causes.insert(0, _first("frames", one, other, _explain_fields, counts))
        found = causes + found
    first = [one for one in found if one is not None]
    first.sort(key=lambda one: (one.frame is None, one.frame or 0))
    differ = any(one.what == "events" for one in first)
    return SessionDiff(tuple(_setup(a, b)), tuple(first), counts, event_closeness(a, b, planes) if differ else None)


def _chosen(a: Session, b: Session, plane: int | None) -> list[int]:
    """The planes that are compared: one that neither has would compare nothing and find it the same."""
    there = sorted({*_planes(a), *_planes(b)})
    if plane is None:
        return there
    if plane not in there:
        listed = ", ".join(map(str, there))
        raise ConfigError(
            f"nothing was decided live in plane {plane}, neither in {a.folder} nor in {b.folder}",
            f"planes with decisions: {listed}" if there else "there are no live decisions at all",
            key="--plane",
        )
    return [plane]


def _first(
    what: str,
    a: Iterator[Row],
    b: Iterator[Row],
    explain: Callable[[Row, Row], str],
    counts: dict[str, int],
    n_inside: Callable[[Row], int] | None = None,
) -> Difference | None:
    """The first pair that differs. Rows begin with the frame they belong to and a name for the reader.

    `n_inside`: how many of `what` are in a row, where a row is a message of ``spikes`` that holds any number of them.
    """
    counts[what] = 0
    for one, other in zip_longest(a, b):
        if one is not None and one == other:
            counts[what] += 1 if n_inside is None else n_inside(one)
            counts["spikes"] += n_inside is not None
            continue
        if one is None or other is None:
            left, row = ("A", other) if one is None else ("B", one)
            return Difference(what, row[0], f"{left} has ended, the other goes on with {row[1]}")
        if one[1] != other[1]:
            return Difference(what, one[0], f"A has {one[1]}, B has {other[1]}")
        return Difference(what, one[0], explain(one, other))
    return None


def _headers(session: Session, *topics: str) -> Iterator[tuple[JournalMessage, Header]]:
    for message in session.messages(*topics):
        try:
            yield message, message.header
        except MessageError:
            continue


def _planes(session: Session) -> set[int]:
    """Planes of which anything was decided live."""
    return {
        header.plane
        for _, header in _headers(session, "spikes")
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE
    }


def _each(planes: list[int], rows: Callable[..., Iterator[Row]], session: Session, *arguments: Any) -> Iterator[Row]:
    for plane in planes:
        for row in rows(session, plane, *arguments):
            yield row if len(planes) == 1 else (row[0], f"plane {plane}, {row[1]}", *row[2:])


def _first_live(session: Session, plane: int) -> int:
    for _, header in _headers(session, f"spikes.{plane}"):
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
            return header.frame
    return 0


def _events(session: Session, plane: int) -> Iterator[Row]:
    for message, header in _headers(session, f"spikes.{plane}"):
        if isinstance(header, SpikesHeader) and header.mode is Mode.LIVE:
            name = f"frame {header.frame}, lines from {header.line0}"
            yield header.frame, name, header.t_scan_ns, header.t_decided_ns, bytes(message.payload)


def _n_events(row: Row) -> int:
    return len(row[4]) // EVENT_DTYPE.itemsize


def _decisions(session: Session) -> Iterator[Row]:
    n = 0
    for _, header in _headers(session, "stim"):
        if isinstance(header, StimHeader) and header.phase is Phase.DONE:
            n += 1
            fields = {name: getattr(header, name) for name in header.__struct_fields__ if name not in _OWN_STIM}
            yield header.frame, f"decision {n} in frame {header.frame} after cells {header.roi_ids}", fields


def _lights(session: Session) -> Iterator[Row]:
    for _, header in _headers(session, "light"):
        if isinstance(header, LightHeader):
            fields = {name: getattr(header, name) for name in ("output", "width_us", "power_uw", "targets_yx_px")}
            yield None, f"light at {header.t_on_ns} ns", fields


def _inputs(session: Session) -> Iterator[Row]:
    """Edges, keys and loads as the protocol took them in, with their place."""
    for _, header in _headers(session, "input"):
        if isinstance(header, InputHeader):
            fields = {name: getattr(header, name) for name in ("edge", "t_edge_ns", "after", "sha256")}
            yield max(header.after[0], 0), f"{header.kind.value} {header.name}", fields


def _marks(session: Session) -> Iterator[Row]:
    """What the protocol said: its marks, and its messages for others."""
    for _, header in _headers(session, "log"):
        if isinstance(header, LogHeader) and header.source == "stimulation" and header.level in _MARK_LEVELS:
            yield None, f"{header.level} {header.text}", header.fields


def _frames(session: Session, plane: int, first_live: dict[int, int]) -> Iterator[Row]:
    for message, header in _headers(session, "frame"):
        if isinstance(header, FrameHeader) and header.plane == plane and header.frame >= first_live[plane]:
            digest = hashlib.blake2b(message.payload, digest_size=8).hexdigest()
            facts = {"flags": header.flags, "blanked": header.blanked, "t_scan_ns": header.t_scan_ns, "pixels": digest}
            yield header.frame, f"frame {header.frame}, lines from {header.line0}", facts


def _traces(session: Session, plane: int) -> Iterator[Row]:
    for message, header in _headers(session, f"activity.{plane}"):
        if isinstance(header, ActivityHeader):
            shift = (header.shift_y_px, header.shift_x_px, header.quality)
            yield header.frame, f"frame {header.frame}", header.fields, shift, bytes(message.payload)


def _explain_events(a: Row, b: Row) -> str:
    for at, name in ((2, "t_scan_ns"), (3, "t_decided_ns")):
        if a[at] != b[at]:
            return f"{name} is {a[at]} in A and {b[at]} in B"
    one, other = (np.frombuffer(row[4], EVENT_DTYPE) for row in (a, b))
    only_a = sorted({int(i) for i in one["roi_id"]} - {int(i) for i in other["roi_id"]})
    only_b = sorted({int(i) for i in other["roi_id"]} - {int(i) for i in one["roi_id"]})
    if only_a or only_b:
        return f"events of cells {only_a or 'none'} in A alone, of {only_b or 'none'} in B alone"
    for x, y in zip(one, other, strict=True):
        for name in EVENT_DTYPE.names or ():
            if x[name].tobytes() != y[name].tobytes():
                return f"cell {x['roi_id']}: {name} is {x[name]} in A and {y[name]} in B"
    return "the events come in another order"


def _explain_fields(a: Row, b: Row) -> str:
    one, other = a[2], b[2]
    return "; ".join(
        f"{name} is {_shown(one[name])} in A and {_shown(other[name])} in B" for name in one if one[name] != other[name]
    )


def _explain_traces(a: Row, b: Row) -> str:
    if a[2] != b[2] or len(a[4]) != len(b[4]):
        return "other fields, or another number of cells"
    if a[3] != b[3]:
        return f"shift and quality are {a[3]} in A and {b[3]} in B"
    one, other = (np.frombuffer(row[4], np.uint32).reshape(len(a[2]), -1) for row in (a, b))
    field, cell = (int(i) for i in np.argwhere(one != other)[0])
    values = one.view(np.float32)[field, cell], other.view(np.float32)[field, cell]
    return f"{a[2][field]} of roi_index {cell} is {values[0]} in A and {values[1]} in B"


def _setup(a: Session, b: Session) -> Iterator[str]:
    one, other = read_config(a), read_config(b)
    for key in ("git_hash", "protocol", "subject", "dry_run"):
        if key in one and key in other and one[key] != other[key] and key != "protocol":
            yield f"{key} is {one[key]} in A and {other[key]} in B"
    processors = [(config.get("machine") or {}).get("processor") for config in (one, other)]
    if None not in processors and processors[0] != processors[1]:
        told = f"the processor is {processors[0]} in A and {processors[1]} in B"
        yield f"{told}: between families (x86, ARM) last bits of traces may differ"
    for name in sorted(set(one.get("versions", {})) | set(other.get("versions", {}))):
        then, now = one.get("versions", {}).get(name), other.get("versions", {}).get(name)
        if then != now:
            yield f"{name} is {then} in A and {now} in B"
    if not (one.get("replay") or other.get("replay")):  # a replay opens no device of a vendor
        yield from _config_differences("device", device_versions(a), device_versions(b))
    for section in ("inference", "outputs"):
        yield from _config_differences(section, one.get("rig", {}).get(section), other.get("rig", {}).get(section))
    digests = [_digest(session.folder / "calibration.h5") for session in (a, b)]
    if digests[0] != digests[1]:
        yield "the calibration is another"
    for session, name in ((a, "A"), (b, "B")):
        replay = read_config(session).get("replay") or {}
        yield from (f"{name} is a replay with {text}" for text in replay.get("differs", ()))
        if replay.get("starts_from") == "traces":
            yield f"{name} is a replay that began at the recorded traces, and compares from there on"
        if (first := replay.get("traces_from_frame")) is not None:
            yield f"{name} is a replay that went on from the recorded traces at frame {first}"


def _from_traces(session: Session) -> bool:
    """True of a replay that shows no pixels of its own."""
    replay = read_config(session).get("replay") or {}
    return replay.get("starts_from") == "traces" or replay.get("traces_from_frame") is not None


def _config_differences(key: str, a: Any, b: Any) -> Iterator[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        for name in sorted(set(a) | set(b)):
            yield from _config_differences(f"{key}.{name}", a.get(name), b.get(name))
    elif a != b:
        yield f"{key} is {a!r} in A and {b!r} in B"


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _shown(value: Any) -> str:
    return value.value if isinstance(value, StrEnum) else repr(value)


def _counted(what: str, n: int) -> str:
    """A number with its noun."""
    if what == "spikes":
        return f"{n} {'message' if n == 1 else 'messages'} of spikes"
    return f"{n} {what.removesuffix('s') if n == 1 else what}"


def _at(frame: int | None) -> str:
    return "" if frame is None else f" in frame {frame}"
