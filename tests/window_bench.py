"""A window, and what a person does with it; used by tests of the window against a real run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtCore

from gui.launch import Parts
from gui.widgets.hold_button import HOLD_MS

DEADLINE_MS = 240_000
LEFT = QtCore.Qt.MouseButton.LeftButton


class Bench:
    """A window and what a person does with it."""

    def __init__(self, qtbot: Any, parts: Parts) -> None:
        self.qtbot, self.parts, self.window = qtbot, parts, parts.window

    @property
    def live(self) -> Any:
        """What the window knows of the rig."""
        return self.window.desk.live

    def until(self, done: Callable[[], bool]) -> None:
        """Let the window work until `done`."""
        self.qtbot.waitUntil(done, timeout=DEADLINE_MS)

    def click(self, widget: Any) -> None:
        """Click in the middle of a widget, once it can be clicked."""
        self.until(widget.isEnabled)
        self.qtbot.mouseClick(widget, LEFT)

    def hold(self, widget: Any) -> None:
        """Press a button that wants to be held."""
        self.until(widget.isEnabled)
        self.qtbot.mousePress(widget, LEFT)
        self.qtbot.wait(HOLD_MS + 400)
        self.qtbot.mouseRelease(widget, LEFT)

    def until_interlock(self, state: str) -> None:
        """Wait until the rig itself says so, and the window shows it."""
        self.until(lambda: bool(self.live.state.interlock == state))
        self.until(lambda: state.upper() in self.window.bar.interlock.word)

    def show(self, page: Any) -> None:
        """Show a page."""
        self.window.show_page(self.window.pages.index(page))

    def reset(self, reason: str = "test goes on") -> None:
        """Reset a trip by its form."""
        safety = self.window.safety
        self.show(safety)
        self.until(safety.reason.isEnabled)
        safety.reason.setText(reason)
        self.click(safety.reset_button)
        self.until_interlock("disarmed")

    def arm(self) -> None:
        """Arm by name and gesture."""
        safety = self.window.safety
        self.show(safety)
        safety.operator.setText("Ada")
        self.hold(safety.arm_button)
        self.until_interlock("armed")

    def until_light(self) -> None:
        """Wait until the output itself has told of light."""
        before = self.live.decisions.n_lights
        self.until(lambda: bool(self.live.decisions.n_lights > before))

    def dark_after_ms(self) -> float:
        """From the last STOP to the darkness of every output, as the interlock measured it; no light follows."""
        trip = self.live.state.header.trips[-1]
        self.qtbot.wait(2000)
        assert [one for one in self.live.decisions.lights if one.t_ns > trip["t_ns"]] == []
        return float(trip["dark_after_ns"]) / 1e6

    def bring(self, state: str) -> None:
        """From wherever the rig is to disarmed or armed."""
        self.until(lambda: bool(self.live.state.header is not None and self.live.mode.get(0) == "live"))
        if self.live.state.interlock == "tripped":
            self.reset()
        if self.live.state.interlock != state:
            if state == "armed":
                self.arm()
            else:
                self.show(self.window.safety)
                self.click(self.window.safety.disarm_button)
        self.until_interlock(state)
