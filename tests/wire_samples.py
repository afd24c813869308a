"""Messages as a rig would send them, for those who read the wire."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from rt_engine.interfaces.messages import (
    ActivityHeader,
    Candidate,
    CandidatesHeader,
    FrameHeader,
    Header,
    HealthHeader,
    LogHeader,
    Mode,
    Outcome,
    Phase,
    RoiDescription,
    RoisHeader,
    SessionHeader,
    SpikesHeader,
    StateHeader,
    StimHeader,
)

SHAPE = (32, 40)
STAMP: dict[str, Any] = {
    "session": "s",
    "source": "test",
    "host": "here",
    "boot_id": "b",
    "seq": 0,
    "t_sent_ns": 5_000_000_000,
}
FIELDS = ["fluorescence", "neuropil", "dff", "calcium", "spike", "z", "probability", "valid"]


def frame(number: int = 0, image: np.ndarray[Any, Any] | None = None, **changes: Any) -> tuple[str, Header, bytes]:
    """One whole frame; its pixels count up where none are given."""
    pixels = image if image is not None else np.arange(SHAPE[0] * SHAPE[1], dtype="<u2").reshape(SHAPE)
    fields: dict[str, Any] = {
        "plane": 0,
        "channel": 0,
        "frame": number,
        "volume": None,
        "line0": 0,
        "n_lines": pixels.shape[0],
        "lines_per_frame": pixels.shape[0],
        "pixels_per_line": pixels.shape[1],
        "dtype": "u2",
        "adc_max": 4095,
        "offset": 0.0,
        "frame_period_ns": 33_333_333,
        "line_period_ns": None,
        "t_scan_ns": number * 33_333_333,
        "t_scan_uncertainty_ns": None,
        "t_device_s": None,
        "flags": 0,
    }
    return "frame.0.0", FrameHeader(**STAMP, **(fields | changes)), pixels.tobytes()


def rois(n_rois: int = 3, rev: int = 1, **changes: Any) -> tuple[str, Header, bytes]:
    """Cells of four pixels each, roi_id 10, 11, …, one below the other."""
    cells = [
        RoiDescription(
            roi_id=10 + row,
            roi_index=row,
            parent_id=None,
            kind="soma",
            plane=0,
            tags=["a"] if row == 0 else [],
            quality=0.9,
            snr=4.0 + row,
            tau_s=0.5,
            amplitude=0.3,
            expected_detection=0.5 + 0.1 * row,
            threshold=4.0,
        )
        for row in range(n_rois)
    ]
    pixels = np.concatenate(
        [[(4 * row + dy) * SHAPE[1] + 5 + dx for dy in (0, 1) for dx in (0, 1)] for row in range(n_rois)]
    )
    fields: dict[str, Any] = {
        "rev": rev,
        "plane": 0,
        "lines_per_frame": SHAPE[0],
        "pixels_per_line": SHAPE[1],
        "rois": cells,
        "footprint_start": list(range(0, 4 * n_rois + 1, 4)),
    }
    return "rois", RoisHeader(**STAMP, **(fields | changes)), pixels.astype("<u4").tobytes()


def candidates(**changes: Any) -> tuple[str, Header, bytes]:
    """One cell that is offered."""
    one = Candidate(
        candidate_id=5,
        ready=True,
        asked=False,
        replaces=[],
        y_px=20.0,
        x_px=20.0,
        n_pixels=4,
        n_frames=900,
        quality=0.8,
        snr=4.0,
        tau_s=0.5,
        amplitude=0.3,
        expected_detection=0.7,
        threshold=4.0,
    )
    fields: dict[str, Any] = {
        "plane": 0,
        "rev": 1,
        "spare": 7,
        "searched_frame": 100,
        "lines_per_frame": SHAPE[0],
        "pixels_per_line": SHAPE[1],
        "candidates": [one],
        "footprint_start": [0, 4],
    }
    payload = np.arange(4, dtype="<u4").tobytes()
    return "candidates", CandidatesHeader(**STAMP, **(fields | changes)), payload


def activity(number: int, values: np.ndarray[Any, Any], **changes: Any) -> tuple[str, Header, bytes]:
    """One frame's values, shape (fields, cells)."""
    fields: dict[str, Any] = {
        "plane": 0,
        "frame": number,
        "t_scan_ns": number * 33_333_333,
        "shift_y_px": 0.5,
        "shift_x_px": -0.25,
        "quality": 0.9,
        "rois_rev": 1,
        "n_rois": values.shape[1],
        "fields": FIELDS[: values.shape[0]],
        "stage_ns": {"register": 1},
    }
    return "activity.0", ActivityHeader(**STAMP, **(fields | changes)), values.astype("<f4").tobytes()


def spikes(number: int, events: np.ndarray[Any, Any] | None = None, **changes: Any) -> tuple[str, Header, bytes]:
    """The heartbeat of one frame, with its events."""
    n_events = 0 if events is None else len(events)
    fields: dict[str, Any] = {
        "plane": 0,
        "frame": number,
        "line0": 0,
        "n_lines": SHAPE[0],
        "hold_frames": 1,
        "mode": Mode.LIVE,
        "t_scan_ns": number * 33_333_333,
        "t_received_ns": number * 33_333_333 + 500_000,
        "t_decided_ns": number * 33_333_333 + 1_500_000,
        "n_events": n_events,
    }
    return "spikes.0", SpikesHeader(**STAMP, **(fields | changes)), b"" if events is None else events.tobytes()


def state(**changes: Any) -> tuple[str, Header, bytes]:
    """A disarmed interlock for which everything holds but the operator."""
    fields: dict[str, Any] = {
        "interlock": "disarmed",
        "trips": [],
        "preconditions": {"operator": False, "recording_live": True},
        "limits": {"led": {"max_power_mw": 20.0, "max_total_energy_mj": 100.0, "exclusion_zones": []}},
        "dose": {"led": {"pulses": 3, "total_energy_mj": 25.0, "fractions": {"total_energy": 0.25}}},
        "protocol": "p",
        "protocol_phase": "running",
        "trial": 4,
        "arm": None,
        "counts": {"delivered": 3, "withheld": 1},
        "effect": None,
    }
    return "state", StateHeader(**STAMP, **(fields | changes)), b""


def session(**changes: Any) -> tuple[str, Header, bytes]:
    """A live session of a virtual rig."""
    fields: dict[str, Any] = {
        "wall_time_utc": "2026-01-01T00:00:00+00:00",
        "t_wall_ns": 1,
        "t_monotonic_ns": 0,
        "state": "live",
        "rig": "virtual_rig",
        "protocol": "p",
        "versions": {},
        "git_hash": None,
        "seeds": {},
        "subject": None,
        "config": {"rig": {"microscope": {"um_per_px": 0.8}, "inference": {"false_alarms_per_min": 0.5}}},
    }
    return "session", SessionHeader(**(STAMP | {"session": changes.pop("name", "s")}), **(fields | changes)), b""


def health(source: str = "inference.0", **changes: Any) -> tuple[str, Header, bytes]:
    """A heartbeat."""
    fields: dict[str, Any] = {
        "state": "live",
        "dropped": 0,
        "gaps": 0,
        "late": 0,
        "queue": 0,
        "rss_bytes": 100_000_000,
        "latency_ms": {"receive_to_decision": {"p50": 0.5, "p99": 1.0, "p999": 2.0, "max": 3.0}},
    }
    return "health", HealthHeader(**(STAMP | {"source": source}), **(fields | changes)), b""


def stim(decision: str = "d", **changes: Any) -> tuple[str, Header, bytes]:
    """A delivered decision."""
    fields: dict[str, Any] = {
        "decision_id": decision,
        "phase": Phase.DONE,
        "rule": "r",
        "arm": "light",
        "outcome": Outcome.DELIVERED,
        "reason": None,
        "plane": 0,
        "frame": 3,
        "roi_ids": [10],
        "pattern_id": None,
        "t_scan_ns": 1_000_000,
        "t_decided_ns": 3_000_000,
        "t_command_ns": 4_000_000,
        "t_output_ns": 6_000_000,
        "output": "led",
        "pulses": 1,
        "width_us": 5000,
        "power_uw": [8000],
        "energy_nj": [40000],
    }
    return "stim", StimHeader(**STAMP, **(fields | changes)), b""


def log(text: str = "hello") -> tuple[str, Header, bytes]:
    """A sentence."""
    return "log", LogHeader(**STAMP, level="info", text=text, fields={}), b""


def wire_parts(message: tuple[str, Header, bytes]) -> list[bytes]:
    """The message as it goes over a socket."""
    topic, header, payload = message
    return [topic.encode(), msgspec.msgpack.encode(header), payload]
