"""Which of the ways on one computer a run uses."""

from __future__ import annotations

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.services.setup import Setup
from rt_engine.transport.straight_frames import FrameSender, StraightInbox

_FRAMES_BEYOND = 8
"""In hand, under way, or come while the engine skips."""


def goes_straight(setup: Setup) -> bool:
    """True where decisions and frames may take the direct way: one plane, live, this computer, no keys.

    Elsewhere the order of messages among others, or who may send them, matters more than a few tenths of a millisecond.
    """
    return not why_not_straight(setup.rig_config(), lossless=setup.lossless)


def why_not_straight(rig: RigConfig, *, lossless: bool) -> str:
    """Why decisions and frames may not take the direct way in a run of this rig; empty if they may."""
    if isinstance(rig.microscope, ReplayMicroscope):
        return "a replay"
    if lossless:
        return "the source waits for the engine (pace: max)"
    if len(rig.planes_inferred) > 1:
        return f"{len(rig.planes_inferred)} planes"
    if rig.keys is not None:
        return "keys"
    if not rig.ports.is_loopback or rig.ports.hosts:
        return "other computers may connect (ports.host, ports.hosts)"
    return ""


def shared_memory_in_vain(rig: RigConfig, *, lossless: bool) -> str:
    """A sentence where the rig file asks for frames in shared memory and cannot have them; else empty.

    Parameters
    ----------
    rig : RigConfig
        As the rig file gives it: where it leaves the key out, nobody is told.
    lossless : bool
    """
    asked = "frames_by" in rig.inference.model_fields_set and rig.inference.frames_by is FrameWay.SHARED_MEMORY
    why = why_not_straight(rig, lossless=lossless)
    return f"inference.frames_by: shared_memory is not used here: {why}; frames go as messages" if asked and why else ""


def _shares_frames(setup: Setup) -> bool:
    return setup.rig_config().inference.frames_by is FrameWay.SHARED_MEMORY and goes_straight(setup)


def messages_wanted(rig: RigConfig) -> int:
    """Messages of pixels that shall be able to wait for the engine, so that it skips before any is missing."""
    microscope = rig.microscope
    n_strips = 1
    if isinstance(microscope, VirtualMicroscope) and microscope.strip_lines:
        n_strips = -(-microscope.n_lines // microscope.strip_lines)
    n_channels = 1 if rig.registration_channel is None else 2
    return (rig.inference.max_backlog_frames + _FRAMES_BEYOND) * n_strips * n_channels


def frame_sender(setup: Setup) -> FrameSender | None:
    """The source's end of the straight way of frames; None where there is none.

    Raises
    ------
    ServiceError
        The port is taken.
    """
    if not _shares_frames(setup):
        return None
    rig = setup.rig_config()
    return FrameSender(rig.ports.endpoint("shared_frames"), setup.session, n_wanted=messages_wanted(rig))


def frame_receiver(setup: Setup, clock: Clock) -> StraightInbox | None:
    """The engine's end; None where there is none."""
    if not _shares_frames(setup):
        return None
    return StraightInbox(setup.rig_config().ports.endpoint("shared_frames"), setup.session, clock)
