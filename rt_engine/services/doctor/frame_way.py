"""How frames will reach the engine: by shared memory or as messages, why, and how many may wait."""

from __future__ import annotations

import shutil
import sys

from rt_engine.interfaces.findings import Finding, Verdict, passed
from rt_engine.interfaces.rig_config import RigConfig, VirtualMicroscope
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.services.microscopes import message_bytes
from rt_engine.services.straight_ways import messages_wanted, shared_memory_in_vain, why_not_straight
from rt_engine.transport.frame_ring import RingShape
from rt_engine.transport.shared_segments import FOLDER
from rt_engine.transport.sockets import queue_length

_ASSUMED_BYTES = 1 << 20
_PART = "frames"


def frame_way(rig: RigConfig) -> list[Finding]:
    """Findings about the way of the frames.

    Parameters
    ----------
    rig : RigConfig
        As the rig file gives it.
    """
    lossless = isinstance(rig.microscope, VirtualMicroscope) and rig.microscope.pace == "max"
    why = why_not_straight(rig, lossless=lossless)
    known = message_bytes(rig)
    n_bytes = _ASSUMED_BYTES if known is None else known
    of_size = "" if known is not None else " (1 MiB assumed: the microscope tells when it is open)"
    shape = RingShape.for_frames(n_bytes, n_wanted=messages_wanted(rig))
    if rig.inference.frames_by is FrameWay.MESSAGES or why:
        reason = why or "inference.frames_by: messages"
        found = [_waiting(rig, queue_length(n_bytes), f"as messages: {reason}{of_size}", lossless=lossless)]
        if in_vain := shared_memory_in_vain(rig, lossless=lossless):
            remedy = "leave the key out, or write frames_by: messages"
            found.append(Finding(Verdict.WARN, _PART, in_vain, "a few tenths of a millisecond are not gained", remedy))
        return found
    if sys.platform == "linux" and (free := shutil.disk_usage(FOLDER).free) < 2 * shape.n_bytes:
        text = f"{FOLDER} has {free >> 20} MiB free, {2 * shape.n_bytes >> 20} MiB are wanted{of_size}"
        remedy = f"enlarge it (containers: --shm-size), free it, or write inference.frames_by: messages; see {FOLDER}"
        return [Finding(Verdict.WARN, _PART, text, "frames go as messages until there is room", remedy)]
    memory = f"through shared memory, {shape.n_bytes >> 20} MiB{of_size}"
    return [_waiting(rig, shape.n_slots, memory, lossless=lossless)]


def _waiting(rig: RigConfig, n_messages: int, text: str, *, lossless: bool) -> Finding:
    if lossless or n_messages >= messages_wanted(rig):
        return passed(_PART, text)
    limit = rig.inference.max_backlog_frames
    room = f"{text}; {n_messages} messages may wait, {messages_wanted(rig)} are wanted for max_backlog_frames: {limit}"
    meaning = "an engine that stands still loses the newest frames (missing) before it skips the oldest (skipped)"
    return Finding(Verdict.WARN, _PART, room, meaning, "lower inference.max_backlog_frames")
