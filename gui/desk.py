"""What all views share: the models, what is selected, and the ways out to the rig."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore

from gui.command_link import Answer, CommandLink, OnAnswer
from gui.endpoints import Endpoints
from gui.model.live import LiveModel
from gui.palette import Tone
from gui.settings import Settings
from gui.theme import Theme
from rt_engine.interfaces.clock import NS_PER_S, Clock

MAX_SELECTED = 20


class Desk(QtCore.QObject):
    """Shared state of the window.

    Attributes
    ----------
    live : LiveModel
        The rig as it is now; safety always speaks of it.
    review : LiveModel or None
        A recorded session, while one is looked at.
    selection : list of int
        roi_ids, in the order in which they were chosen.
    plane, channel : int
    """

    selection_changed = QtCore.Signal()
    plane_changed = QtCore.Signal()
    said = QtCore.Signal(str, str)
    theme_changed = QtCore.Signal()

    def __init__(
        self, live: LiveModel, link: CommandLink, endpoints: Endpoints, settings: Settings, clock: Clock
    ) -> None:
        super().__init__()
        self.live, self.link, self.endpoints, self.settings, self.clock = live, link, endpoints, settings, clock
        self.review: LiveModel | None = None
        self.selection: list[int] = []
        self.plane = self.channel = 0
        self.theme = Theme()
        self._chosen_by_hand = False

    @property
    def model(self) -> LiveModel:
        """What the views show."""
        return self.review or self.live

    def now_ns(self) -> int:
        """Time for ages."""
        return self.clock.now_ns()

    def age_s(self, t_heard_ns: int, bound_s: float = 1.0) -> float | None:
        """Age of something if that is more than `bound_s`, or it never came; None if it is fresh, or recorded."""
        if self.review is not None:
            return None
        age_s = (self.now_ns() - t_heard_ns) / NS_PER_S if t_heard_ns else float("inf")
        return age_s if age_s > bound_s else None

    def select(self, roi_ids: list[int], *, add: bool = False, by_hand: bool = True) -> None:
        """Select cells everywhere; with `add` those that are selected are taken off, others put on."""
        if add:
            kept = [one for one in self.selection if one not in roi_ids]
            roi_ids = kept + [one for one in roi_ids if one not in self.selection]
        self.selection = roi_ids[-MAX_SELECTED:]
        self._chosen_by_hand = by_hand
        self.selection_changed.emit()

    def select_by_default(self) -> None:
        """As long as nobody has chosen: the cells whose spikes are most surely seen."""
        cells = self.model.cells.get(self.plane)
        if cells is None or not cells.row_of:
            return
        known = [one for one in self.selection if one in cells.row_of]
        if known and (self._chosen_by_hand or len(known) == len(self.selection)):
            if len(known) != len(self.selection):
                self.select(known)
            return
        best = (-cells.figures["expected_detection"] - 1e-3 * cells.figures["snr"]).argsort()
        self.select([one for one in cells.roi_id[best].tolist() if one in cells.row_of][:8], by_hand=False)

    def show_plane(self, plane: int, channel: int) -> None:
        """Show another plane or channel."""
        if (plane, channel) != (self.plane, self.channel):
            self.plane, self.channel = plane, channel
            self.selection = []
            self._chosen_by_hand = False
            self.plane_changed.emit()

    def say(self, text: str, tone: Tone = Tone.NEUTRAL) -> None:
        """One line at the foot of the window."""
        self.said.emit(text, tone.value)

    def send(self, cmd: str, args: dict[str, Any], then: OnAnswer | None = None, timeout_s: float = 8.0) -> None:
        """Send a command; what becomes of it is said at the foot, and handed to `then`."""
        self.say(f"{cmd}: sent, waiting for the rig …", Tone.NOTICE)

        def answered(answer: Answer) -> None:
            self.say(answer.text(), Tone.GOOD if answer.ok else Tone.DANGER)
            self.live.note("info" if answer.ok else "warning", "window", answer.text())
            if then is not None:
                then(answer)

        self.link.send(cmd, args, answered, timeout_s)
