"""Variants of the product that are measured against each other."""

from __future__ import annotations

from typing import NamedTuple

from rt_engine.interfaces.service_config import FrameWay


class ChainPlan(NamedTuple):
    """One variant of the product.

    Attributes
    ----------
    name : str
    recorded : bool
        With a recording service.
    n_watchers : int
        Processes that subscribe to everything and throw it away: stand-ins of window and telemetry.
    strip_lines : int or None
        Lines of a message; None: whole frames.
    keeps_frames : bool
        The recorder writes the frames too.
    awaits_decision : bool
        The next lines leave when the decision on those before has come here; else when a command has.
    hears_commands : bool
        Commands are noted beside the decisions that are awaited.
    demixed : bool
        Overlapping cells are taken apart.
    network : bool
        The network that is shipped votes.
    searches : bool
        A finder looks for new cells beside inference.
    has_window : bool
        The window is open.
    frames_by : FrameWay
        How inference gets its frames.
    """

    name: str
    recorded: bool = False
    n_watchers: int = 0
    strip_lines: int | None = None
    keeps_frames: bool = True
    awaits_decision: bool = False
    hears_commands: bool = False
    demixed: bool = False
    network: bool = False
    searches: bool = False
    has_window: bool = False
    frames_by: FrameWay = FrameWay.SHARED_MEMORY
