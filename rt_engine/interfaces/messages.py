"""Wire contract, version 1: the header of every topic, as a MessagePack map.

Readers ignore unknown keys; a missing required key is an error. Every key is present on the wire, nil where it does
not apply. Units are in the names; `t_*_ns` are `time.perf_counter_ns()` of the sender's host.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from rt_engine.interfaces.errors import MessageError
from rt_engine.interfaces.fates import Fate

WIRE_VERSION = 1


class Mode(StrEnum):
    """What inference is doing with the frames it gets."""

    BASELINE = "baseline"
    CALIBRATING = "calibrating"
    LIVE = "live"
    PAUSED = "paused"


class Phase(StrEnum):
    """Stations of one decision on topic `stim`."""

    INTENT = "intent"
    DONE = "done"
    MEASURED = "measured"


class Outcome(StrEnum):
    """What became of a decision."""

    DELIVERED = "delivered"
    WITHHELD = "withheld"
    SHAM = "sham"
    SUPPRESSED = "suppressed"
    REFUSED = "refused"
    LATE = "late"
    FAILED = "failed"
    DRY_RUN = "dry_run"


class Header(msgspec.Struct, kw_only=True):
    """Keys that every header has."""

    v: int = WIRE_VERSION
    session: str = ""
    source: str
    host: str
    boot_id: str
    seq: int
    t_sent_ns: int


class FrameHeader(Header, kw_only=True):
    """Topic ``frame.<plane>.<channel>``; payload ``n_lines x pixels_per_line`` of `dtype`, C order."""

    plane: int
    channel: int
    frame: int
    volume: int | None
    line0: int
    n_lines: int
    lines_per_frame: int
    pixels_per_line: int
    dtype: str
    adc_max: int | None
    offset: float | None
    frame_period_ns: int | None
    line_period_ns: int | None
    t_scan_ns: int
    t_scan_uncertainty_ns: int | None
    t_device_s: float | None
    flags: int
    blanked: list[list[int]] = msgspec.field(default_factory=list)


class SpikesHeader(Header, kw_only=True):
    """Topic ``spikes.<plane>``; payload packed records of `events.EVENT_DTYPE`.

    `volume` is that of the frame; nil where the source gives none, and for frames of the flyback. `late`: decided past
    the deadline, so that no trigger may come of it.
    """

    plane: int
    frame: int
    volume: int | None = None
    line0: int
    n_lines: int
    hold_frames: int
    mode: Mode
    late: bool = False
    t_scan_ns: int
    t_scan_uncertainty_ns: int | None = None
    t_received_ns: int
    t_decided_ns: int
    n_events: int


class ActivityHeader(Header, kw_only=True):
    """Topic ``activity.<plane>``; payload one float32 array of `n_rois` per field, in the order of `fields`.

    `volume` as in `SpikesHeader`.
    """

    plane: int
    frame: int
    volume: int | None = None
    t_scan_ns: int
    shift_y_px: float
    shift_x_px: float
    quality: float
    rois_rev: int
    n_rois: int
    fields: list[str]
    stage_ns: dict[str, int]


class StimHeader(Header, kw_only=True):
    """Topic ``stim``: one message for each phase of a decision, also of those refused or withheld."""

    decision_id: str
    phase: Phase
    rule: str
    arm: str
    outcome: Outcome | None
    reason: str | None
    plane: int
    frame: int
    roi_ids: list[int]
    target_ids: list[int] = msgspec.field(default_factory=list)
    target_planes: list[int] = msgspec.field(default_factory=list)
    pattern_id: str | None
    t_scan_ns: int
    t_decided_ns: int
    t_judged_ns: int | None = None
    t_command_ns: int | None
    t_output_ns: int | None
    output: str | None
    pulses: int | None
    width_us: int | None
    power_uw: list[int] | None
    energy_nj: list[int] | None


class SyncHeader(Header, kw_only=True):
    """Topic ``sync``: an edge of a digital line, or samples of an analogue one.

    `kind` ``level``, twice a second: the line as it is, `edge` ``high`` or ``low`` and the time it was read.
    """

    line: str
    kind: str
    t_edge_ns: int | None
    edge: str | None
    t_first_ns: int | None
    sample_rate_hz: float | None
    dtype: str | None


class InputKind(StrEnum):
    """What came to a protocol besides the messages of the engine."""

    EDGE = "edge"
    KEY = "key"
    LOAD = "load"


class InputHeader(Header, kw_only=True):
    """Topic ``input``: an edge of a line, or a key, that the protocol has taken in, and its place in what it was told.

    A key is a mark that a person gave, a start of a trial, or a request from outside. ``load``: the protocol `name`
    began anew here, with the cells of then. `after` names the last message that the protocol had been given: volume
    (else frame), plane, first line (2^31: its `activity`); ``[-1, -1, -1]`` before the first. `edge`: ``rising`` or
    ``falling``; `edge` and `t_edge_ns` are nil but of edges.
    """

    kind: InputKind
    name: str
    edge: str | None
    t_edge_ns: int | None
    after: list[int]


class SessionHeader(Header, kw_only=True):
    """Topic ``session``: all that a late joiner or a file needs."""

    wall_time_utc: str
    t_wall_ns: int
    t_monotonic_ns: int
    state: str
    rig: str
    protocol: str | None
    versions: dict[str, str]
    git_hash: str | None
    seeds: dict[str, int]
    subject: str | None
    config: dict[str, Any]


class RoiDescription(msgspec.Struct, kw_only=True):
    """One cell in a `rois` message.

    `neuropil_coefficient` and `floor_hits` (certificate of the deconvolution: 0 = exact) are as they are now; None:
    not told.
    """

    roi_id: int
    roi_index: int
    parent_id: int | None
    kind: str
    plane: int
    tags: list[str]
    quality: float
    snr: float
    tau_s: float
    amplitude: float
    expected_detection: float
    threshold: float
    neuropil_coefficient: float | None = None
    floor_hits: int | None = None


class RoisHeader(Header, kw_only=True):
    """Topic ``rois``; payload, when the footprints changed: uint32 flat pixel indices of all cells, one after another.

    `footprint_start` holds the start of every cell in the payload (``n_rois + 1`` numbers); empty without payload.
    `template_id` differs between templates: positions in one say nothing about positions in another.
    """

    rev: int
    template_id: str = ""
    plane: int
    lines_per_frame: int
    pixels_per_line: int
    rois: list[RoiDescription]
    footprint_start: list[int]


class EditAction(StrEnum):
    """What was done to the cells while they are read."""

    ADD = "add"
    REMOVE = "remove"
    MERGE = "merge"
    TAG = "tag"
    THRESHOLD = "threshold"


class EditHeader(Header, kw_only=True):
    """Topic ``edit``: a change of the cells of a plane, complete enough to be done again in a replay.

    It holds from `from_frame` on and made `rev` of topic ``rois``. Payload: of ``add`` and ``merge`` the constants of
    the cells in `added` (`interfaces.calibration_bytes`), of ``threshold`` one float64 for each row, else none.
    `n_known` is how many cells the calibration has that `added` counts on from.
    """

    plane: int
    rev: int
    from_frame: int
    action: EditAction
    added: list[int]
    removed: list[int]
    tagged: list[int]
    tag: str | None
    n_known: int
    false_alarms_per_min: float | None


class Candidate(msgspec.Struct, kw_only=True):
    """One cell that was found while the rig runs, or asked for, and what is known of it so far."""

    candidate_id: int
    ready: bool
    asked: bool
    replaces: list[int]
    y_px: float
    x_px: float
    n_pixels: int
    n_frames: int
    quality: float
    snr: float | None
    tau_s: float | None
    amplitude: float | None
    expected_detection: float | None
    threshold: float | None


class CandidatesHeader(Header, kw_only=True):
    """Topic ``candidates``: cells that are offered. Payload, when they changed: uint32 flat pixel indices, as ``rois``.

    `spare` rows are left. `searched_frame` is the newest frame of the last search, nil before it.
    """

    plane: int
    rev: int
    spare: int
    searched_frame: int | None
    lines_per_frame: int
    pixels_per_line: int
    candidates: list[Candidate]
    footprint_start: list[int]


class StateHeader(Header, kw_only=True):
    """Topic ``state``: the interlock and the protocol as they are now.

    `interlock`: ``disarmed``, ``armed``, ``firing`` or ``tripped``; `inhibited`: armed, dark while the source pauses.

    `trips`: each with `t_ns`, `signal`, `value`, `limit`, `text`, and `dark_after_ns`, the time from its cause until
    every output was dark. `remedies`: what to do about each precondition that does not hold (``reset``: about a trip).
    `heartbeat`: `mode`, `age_ms`, `bound_ms` of the engine. `dose`: for each output the totals, `fractions` of each
    limit that is used, and the `targets` lit last with `y_px`, `x_px`, `energy_mj`, `fraction`; `session_dose`: the
    same over all outputs of this session.
    """

    interlock: str
    inhibited: bool = False
    trips: list[dict[str, Any]]
    preconditions: dict[str, bool]
    remedies: dict[str, str] = msgspec.field(default_factory=dict)
    heartbeat: dict[str, Any] = msgspec.field(default_factory=dict)
    limits: dict[str, dict[str, Any]]
    dose: dict[str, dict[str, Any]]
    session_dose: dict[str, Any] = msgspec.field(default_factory=dict)
    protocol: str | None
    protocol_phase: str | None
    trial: int
    arm: str | None
    counts: dict[str, int]
    effect: dict[str, float] | None


class LightHeader(Header, kw_only=True):
    """Topic ``light``: what an output commanded; the virtual rig answers it. Without `target_planes` it is plane 0."""

    output: str
    t_on_ns: int
    width_us: int
    power_uw: list[int]
    targets_yx_px: list[list[float]]
    target_planes: list[int] = msgspec.field(default_factory=list)


class TruthHeader(Header, kw_only=True):
    """Topic ``truth``: what the virtual sample really did.

    `kind` ``sample`` describes the planted cells (lists of equal length: `cell`, `y_px`, `x_px`, `radius_px`,
    `a_over_sigma`, `rate_hz`, `opsin`) in `sample`; `kind` ``frame`` tells what happened in `frame`: displacement of
    the sample and the spikes since the last frame of the plane (`spike_cell`, `t_spike_ns`, `spike_frame` as a
    fractional frame number, `evoked`), and the light received (`t_light_ns`). Cells are numbered within their plane.
    """

    kind: str
    plane: int
    frame: int
    shift_y_px: float
    shift_x_px: float
    spike_cell: list[int]
    t_spike_ns: list[int]
    spike_frame: list[float]
    evoked: list[bool]
    t_light_ns: list[int]
    sample: dict[str, Any] | None


class ClockHeader(Header, kw_only=True):
    """Topic ``clock``: how another host's clock relates to the supervisor's: ``supervisor = peer + offset_ns``.

    `peer` is the address in `ports.hosts`. The error was at most `uncertainty_ns` at `t_measured_ns` (of the
    supervisor's clock) and may grow by 500 ppm of the time since.
    """

    peer: str
    offset_ns: int
    uncertainty_ns: int
    t_measured_ns: int | None = None


class FateHeader(Header, kw_only=True):
    """Topic ``fate.<plane>``: `n` frames from number `first` on were not simply decided, see `fates.Fate`.

    Numbers are those of the frame counter, of the volumes where the source gives them.
    """

    plane: int
    fate: Fate
    first: int
    n: int
    reason: str


class HealthHeader(Header, kw_only=True):
    """Topic ``health``, ten times a second from every service; `fates`: how many frames met which fate so far."""

    state: str
    dropped: int
    gaps: int
    late: int
    queue: int
    rss_bytes: int
    latency_ms: dict[str, dict[str, float]]
    fates: dict[str, int] = msgspec.field(default_factory=dict)


class LogHeader(Header, kw_only=True):
    """Topic ``log``: a sentence for people."""

    level: str
    text: str
    fields: dict[str, Any]


class CropsHeader(Header, kw_only=True):
    """Topic ``crops.<plane>.<channel>``, in the journal only: what is kept of a frame around the cells.

    Payload: the pixels of every box ``[y, x, height, width]`` of `boxes`, one after the other, C order.
    """

    plane: int
    channel: int
    frame: int
    volume: int | None
    line0: int
    n_lines: int
    dtype: str
    t_scan_ns: int
    flags: int
    boxes: list[list[int]]


class AckHeader(Header, kw_only=True):
    """Topic ``ack`` from the recorder where the source may not run ahead: the frame now in the journal."""

    plane: int
    frame: int


HEADERS: dict[str, type[Header]] = {
    "frame": FrameHeader,
    "spikes": SpikesHeader,
    "activity": ActivityHeader,
    "stim": StimHeader,
    "sync": SyncHeader,
    "input": InputHeader,
    "session": SessionHeader,
    "rois": RoisHeader,
    "edit": EditHeader,
    "candidates": CandidatesHeader,
    "state": StateHeader,
    "light": LightHeader,
    "truth": TruthHeader,
    "clock": ClockHeader,
    "health": HealthHeader,
    "log": LogHeader,
    "ack": AckHeader,
    "fate": FateHeader,
    "crops": CropsHeader,
}
"""First word of a topic -> its header."""

_DECODERS = {name: msgspec.msgpack.Decoder(header) for name, header in HEADERS.items()}
_ENCODER = msgspec.msgpack.Encoder()

H = TypeVar("H", bound=Header)


def topic_name(topic: str) -> str:
    """First word of a topic: ``frame`` of ``frame.0.1``."""
    return topic.partition(".")[0]


def encode(header: Header) -> bytes:
    """Header as a MessagePack map."""
    return _ENCODER.encode(header)


def decode(topic: str, data: bytes | memoryview) -> Header:
    """Validated header of a topic.

    Raises
    ------
    MessageError
        Unknown topic, missing or mistyped key, or another wire version.
    """
    decoder = _DECODERS.get(topic_name(topic))
    if decoder is None:
        raise MessageError(f"unknown topic {topic!r}", f"known: {', '.join(HEADERS)}")
    try:
        header = decoder.decode(data)
    except msgspec.DecodeError as error:
        raise MessageError(f"topic {topic!r}: {error}") from error
    if header.v != WIRE_VERSION:
        raise MessageError(f"topic {topic!r}: wire version {header.v}, this program speaks {WIRE_VERSION}")
    return header


def decode_as(kind: type[H], topic: str, data: bytes | memoryview) -> H:
    """Header of a topic whose kind the caller knows.

    Raises
    ------
    MessageError
        As `decode`, or the topic has another kind of header.
    """
    header = decode(topic, data)
    if not isinstance(header, kind):
        raise MessageError(f"topic {topic!r} carries {type(header).__name__}, not {kind.__name__}")
    return header
