"""A button that acts only after it has been held: for what must not happen by a slip of the hand."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtGui, QtWidgets

from gui.theme import Theme

HOLD_MS = 1200
_TICK_MS = 30


class HoldButton(QtWidgets.QPushButton):
    """Emits `held` after `HOLD_MS` of pressing with the mouse, or with the space bar."""

    held = QtCore.Signal()

    def __init__(self, text: str, parent: Any = None) -> None:
        super().__init__(text, parent)
        self._theme = Theme()
        self._elapsed = QtCore.QElapsedTimer()
        self._timer = QtCore.QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._done = False
        self.setAutoRepeat(False)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        self.pressed.connect(self._begin)
        self.released.connect(self._end)
        self.setToolTip(f"press and hold for {HOLD_MS / 1000:g} s")

    @property
    def fraction(self) -> float:
        """How much of the time has passed, 0 to 1."""
        if not self._timer.isActive():
            return 0.0
        return min(1.0, self._elapsed.elapsed() / HOLD_MS)

    def apply_theme(self, theme: Theme) -> None:
        """Take colours and size."""
        self._theme = theme
        self.setMinimumHeight(theme.px(3.2))

    def _begin(self) -> None:
        self._done = False
        self._elapsed.start()
        self._timer.start()

    def _end(self) -> None:
        self._timer.stop()
        self.update()

    def _tick(self) -> None:
        if self.fraction >= 1.0 and not self._done:
            self._done = True
            self._timer.stop()
            self.held.emit()
        self.update()

    def focusOutEvent(self, event: Any) -> None:
        """Letting the focus go is letting go."""
        self._end()
        super().focusOutEvent(event)

    def paintEvent(self, event: Any) -> None:
        """The button, filling up while held."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        palette = self._theme.palette
        box = QtCore.QRectF(self.rect()).adjusted(1, 1, -1, -1)
        radius = self._theme.px(0.45)
        outline = palette.warning if self.isEnabled() else palette.line
        painter.setPen(QtGui.QPen(QtGui.QColor(palette.accent if self.hasFocus() else outline), 2))
        painter.setBrush(QtGui.QColor(palette.raised))
        painter.drawRoundedRect(box, radius, radius)
        if self.fraction > 0:
            painter.setClipRect(QtCore.QRectF(box.left(), box.top(), box.width() * self.fraction, box.height()))
            painter.setBrush(QtGui.QColor(palette.warning))
            painter.drawRoundedRect(box, radius, radius)
            painter.setClipping(False)
        font = QtGui.QFont(self.font())
        font.setPixelSize(self._theme.px(1.15))
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(QtGui.QColor(palette.text if self.isEnabled() else palette.stale))
        painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, self.text())
