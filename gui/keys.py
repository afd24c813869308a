"""The keyboard: everything frequent has a key, and `?` shows them all."""

from __future__ import annotations

from typing import Any, NamedTuple

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from rt_engine.interfaces.clock import NS_PER_MS


class Key(NamedTuple):
    """One key: how it is written, what it does, in words, and the name of the window's action."""

    key: str
    words: str
    action: str


KEYS = (
    Key("Esc", "STOP: every output dark at once, always", ""),
    Key("?", "this sheet", "show_keys"),
    Key("1 … 9", "pages: Traces, Population, Loop, Trials, Safety, Cells, Session, Review, Log", ""),
    Key("M", "mark this moment, with a note", "mark"),
    Key("P", "pause, or go on", "pause"),
    Key("D", "disarm", "disarm"),
    Key("F", "field over the whole window, and back", "toggle_field"),
    Key("W", "whole field", "whole_field"),
    Key("O", "outlines of cells on or off", "outlines"),
    Key("C", "colour cells by the next thing", "next_colour"),
    Key("N", "next cell", "next_cell"),
    Key("B", "cell before", "previous_cell"),
    Key("+", "larger traces", "larger"),
    Key("-", "smaller traces", "smaller"),
    Key("T", "time shown", "next_span"),
    Key("L", "light or dark", "toggle_theme"),
    Key("G", "large letters, for reading from afar", "toggle_large"),
    Key("Ctrl+Z", "undo the last edit of cells", "undo"),
    Key("Ctrl+Q", "close the window (the run goes on)", "close"),
)
_SAME_PRESS_NS = 100 * NS_PER_MS
_TYPING = (QtWidgets.QLineEdit, QtWidgets.QPlainTextEdit, QtWidgets.QAbstractSpinBox, QtWidgets.QComboBox)


class Keyboard(QtCore.QObject):
    """Sees every key of the program first. Esc stops, whatever has the focus; letters are left to who types.

    Signals
    -------
    stop
        Esc was pressed.
    page : int
        A number was pressed, from 0.
    """

    stop = QtCore.Signal()
    page = QtCore.Signal(int)

    def __init__(self, window: Any) -> None:
        super().__init__(window)
        self._window = window
        self._stopped_ns = -_SAME_PRESS_NS
        self._actions = {one.key.upper(): one.action for one in KEYS if one.action}

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Act on keys; everything else passes."""
        kind = event.type()
        if kind == QtCore.QEvent.Type.MouseButtonPress and isinstance(watched, QtWidgets.QWidget):
            self._leave_text(watched)
        if kind not in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.ShortcutOverride):
            return False
        if event.key() == QtCore.Qt.Key.Key_Escape:
            if kind == QtCore.QEvent.Type.KeyPress and not event.isAutoRepeat():
                self._stop_once()
            return False
        if kind != QtCore.QEvent.Type.KeyPress or isinstance(watched, QtGui.QWindow) or event.isAutoRepeat():
            return False
        if not isinstance(watched, QtWidgets.QWidget) or watched.window() is not self._window:
            return False
        return self._act(watched, event)

    def _stop_once(self) -> None:
        """One press passes here on its way through window, widget and parents: it is one STOP."""
        now_ns = self._window.desk.now_ns()
        if now_ns - self._stopped_ns > _SAME_PRESS_NS:
            self._stopped_ns = now_ns
            self.stop.emit()

    def _leave_text(self, clicked: Any) -> None:
        """A click beside a text field ends typing: keys are keys again."""
        writing = QtWidgets.QApplication.focusWidget()
        if isinstance(writing, _TYPING) and clicked is not writing and not writing.isAncestorOf(clicked):
            writing.clearFocus()

    def _act(self, watched: Any, event: Any) -> bool:
        typing = isinstance(watched, _TYPING)
        control = bool(event.modifiers() & QtCore.Qt.KeyboardModifier.ControlModifier)
        if typing and not control:
            if event.key() in (QtCore.Qt.Key.Key_Return, QtCore.Qt.Key.Key_Enter):
                QtCore.QTimer.singleShot(0, watched.clearFocus)
            return False
        text = event.text().upper()
        if not control and len(text) == 1 and text in "123456789":
            self.page.emit(int(text) - 1)
            return True
        name = f"CTRL+{QtGui.QKeySequence(event.key()).toString()}" if control else text
        action = self._actions.get(name)
        if action is None or (typing and action == "undo"):
            return False
        getattr(self._window, action)()
        self._window.pacer.soon()
        return True


def key_sheet() -> Any:
    """The sheet that `?` shows."""
    sheet = QtWidgets.QWidget()
    sheet.setObjectName("clear")
    grid = QtWidgets.QGridLayout(sheet)
    grid.setHorizontalSpacing(18)
    grid.setVerticalSpacing(5)
    half = (len(KEYS) + 1) // 2
    for index, one in enumerate(KEYS):
        column = 2 * (index // half)
        key = QtWidgets.QLabel(one.key)
        key.setObjectName("title")
        words = QtWidgets.QLabel(one.words)
        words.setWordWrap(True)
        grid.addWidget(key, index % half, column)
        grid.addWidget(words, index % half, column + 1)
    grid.setColumnStretch(1, 1)
    grid.setColumnStretch(3, 1)
    return sheet
