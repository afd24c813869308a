"""What every page of the window is."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk


class View(QtWidgets.QWidget):
    """A page that reads the model. `refresh` is called every `period_ms` while it can be seen, and never else."""

    period_ms = 200
    title = ""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.setObjectName("page")
        self.desk = desk
        self.due_ns = 0

    def refresh(self) -> None:
        """Show what the model knows now; must be quick."""

    def apply_theme(self) -> None:
        """Take the theme of the desk into everything that draws itself."""
        for child in self.findChildren(QtWidgets.QWidget):
            apply = getattr(child, "apply_theme", None)
            if apply is not None and not isinstance(child, View):
                apply(self.desk.theme)


def scrolling(content: Any) -> Any:
    """`content` in an area that scrolls where the window is too small for it."""
    area = QtWidgets.QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAsNeeded)
    area.setWidget(content)
    return area


def label(text: str, name: str = "", *, wrap: bool = False) -> Any:
    """A label with the look of `name` in the style sheet."""
    made = QtWidgets.QLabel(text)
    if name:
        made.setObjectName(name)
    made.setWordWrap(wrap)
    return made


def button(text: str, on_click: Any, *, name: str = "", tip: str = "", checkable: bool = False) -> Any:
    """A push button."""
    made = QtWidgets.QPushButton(text)
    if name:
        made.setObjectName(name)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.clicked.connect(on_click)
    made.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
    return made
