"""What must hold before light is allowed, each ticked or crossed, with what to do about it."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.theme import Theme
from gui.views.view import label

BY_ARMING = "operator"
"""Held by the act of arming itself: the name that is typed."""
_STOP_LINE = "stop_line_closed"
_WORDS = {
    "operator": ("Operator named", "type the name below"),
    "recording_live": ("Recording is running", "look at the recorder in Loop, and at the disk"),
    "engine_heartbeat": ("Engine answers in time", "look at Loop; a calibration must be loaded, and frames must come"),
    "outputs_tested": (
        "Outputs passed their self-test",
        "reset after a trip, or look at cable and driver",
    ),
    "calibration_matches": ("Calibration fits this field", "calibrate, or load the calibration of this field"),
    "stop_line_closed": ("Hardware STOP line is closed", "release the stop button; else look at its wiring and input"),
}


class Preconditions(QtWidgets.QWidget):
    """One line for each precondition."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("clear")
        self._box = QtWidgets.QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(3)
        self._lines: dict[str, Any] = {}
        self._theme = Theme()
        self._shown: Any = None
        self.all_hold = False

    def apply_theme(self, theme: Theme) -> None:
        """Take the colours."""
        self._theme, self._shown = theme, None

    def show_all(
        self, preconditions: dict[str, bool], remedies: dict[str, str], operator: str, *, has_stop_line: bool = True
    ) -> None:
        """Show them as the interlock told them; `remedies` are its own words, `operator` is the name typed here."""
        told = dict(list(preconditions.items())[:16])
        if not has_stop_line and told.get(_STOP_LINE):
            # True for want of a line: a tick would say that there is one.
            del told[_STOP_LINE]
        words = dict(list(remedies.items())[:16])
        if BY_ARMING in told:
            told[BY_ARMING] = told[BY_ARMING] or bool(operator)
            words.pop(BY_ARMING, None)
        self.all_hold = bool(told) and all(ok for name, ok in told.items() if name != BY_ARMING)
        if (told, words) == self._shown:
            return
        self._shown = (told, dict(words))
        if list(told) != list(self._lines):
            for line in self._lines.values():
                line.deleteLater()
            self._lines = {name: label("", wrap=True) for name in told}
            for line in self._lines.values():
                line.setTextFormat(QtCore.Qt.TextFormat.RichText)
                self._box.addWidget(line)
        for name, ok in told.items():
            self._say(name, ok, str(words.get(name) or ""))

    def _say(self, name: str, ok: bool, remedy: str) -> None:
        palette = self._theme.palette
        word, advice = _WORDS.get(name, (name.replace("_", " "), "see the log"))
        advice = remedy or advice
        if ok:
            text = f"<span style='color:{palette.good}'>✔</span>&nbsp; {_plain(word)}"
        else:
            text = (
                f"<span style='color:{palette.warning}'>✘</span>&nbsp; {_plain(word)}"
                f" <span style='color:{palette.muted}'>— {_plain(advice)}</span>"
            )
        self._lines[name].setText(text)


def _plain(text: str) -> str:
    return text[:160].replace("&", "&amp;").replace("<", "&lt;")
