"""Which of the ways on one computer a run uses."""

from __future__ import annotations

from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.services.setup import Setup
from rt_engine.transport.straight_frames import FrameSender, StraightInbox


def goes_straight(setup: Setup) -> bool:
    """True where decisions and frames may take the direct way: one plane, live, this computer, no keys.

    Elsewhere the order of messages among others, or who may send them, matters more than a few tenths of a millisecond.
    """
    rig = setup.rig_config()
    lives = not setup.lossless and not isinstance(rig.microscope, ReplayMicroscope)
    is_here = rig.ports.is_loopback and not rig.ports.hosts
    return lives and len(rig.planes_inferred) == 1 and rig.keys is None and is_here


def _shares_frames(setup: Setup) -> bool:
    return setup.rig_config().inference.frames_by is FrameWay.SHARED_MEMORY and goes_straight(setup)


def frame_sender(setup: Setup) -> FrameSender | None:
    """The source's end of the straight way of frames; None where there is none.

    Raises
    ------
    ServiceError
        The port is taken.
    """
    if not _shares_frames(setup):
        return None
    return FrameSender(setup.rig_config().ports.endpoint("shared_frames"), setup.session)


def frame_receiver(setup: Setup, clock: Clock) -> StraightInbox | None:
    """The engine's end; None where there is none."""
    if not _shares_frames(setup):
        return None
    return StraightInbox(setup.rig_config().ports.endpoint("shared_frames"), setup.session, clock)
