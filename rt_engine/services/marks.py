"""Marks for a scope: never a reason to stop, and never while no real output may be driven."""

from __future__ import annotations

from collections.abc import Callable

from drivers.ni.mark import NiMark
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.services.setup import Setup

Say = Callable[[str, str], None]


class Mark:
    """A line, or nothing. One that fails is said once and left alone.

    Parameters
    ----------
    mark : NiMark or None
    say : callable
        Told a level and a sentence.
    """

    def __init__(self, mark: NiMark | None, say: Say) -> None:
        self._mark, self._say = mark, say
        self._do(lambda one: one.open())

    def toggle(self) -> None:
        """The other level."""
        if self._mark is not None:
            self._do(lambda one: one.toggle())

    def close(self) -> None:
        """Release the line."""
        mark, self._mark = self._mark, None
        if mark is not None:
            mark.close()

    def _do(self, step: Callable[[NiMark], None]) -> None:
        if self._mark is None:
            return
        try:
            step(self._mark)
        except DeviceError as error:
            self._say("error", f"marks end here: {error}")
            self.close()


def frame_mark(setup: Setup, plane: int, say: Say) -> Mark:
    """That of decided frames; the engine of the first plane has it."""
    rig = setup.rig_config()
    return _mark(
        setup, "frame", None if plane != rig.planes_inferred[0] or not rig.marks else rig.marks.frame_line, say
    )


def decision_mark(setup: Setup, say: Say) -> Mark:
    """That of judged requests."""
    marks = setup.rig_config().marks
    return _mark(setup, "decision", None if marks is None else marks.decision_line, say)


def _mark(setup: Setup, name: str, line: str | None, say: Say) -> Mark:
    rig = setup.rig_config()
    forbidden = setup.dry_run or isinstance(rig.microscope, ReplayMicroscope)
    if rig.marks is None or line is None or forbidden:
        return Mark(None, say)
    return Mark(NiMark(f"marks-{name}", rig.marks.device, rig.marks.server, line), say)
