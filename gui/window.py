"""The window: bar on top, field on the left, pages on the right, one line at the foot."""

from __future__ import annotations

from typing import Any

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.keys import Keyboard, key_sheet
from gui.pacer import Pacer
from gui.palette import Tone
from gui.stop_line import StopLine
from gui.theme import scale_for, theme_named
from gui.views.cells_view import CellsView
from gui.views.field_rig import planes_inferred
from gui.views.field_view import FieldView
from gui.views.log_view import LogView
from gui.views.loop_view import LoopView
from gui.views.population_view import PopulationView
from gui.views.review_view import ReviewView
from gui.views.safety_view import SafetyView
from gui.views.services_line import ServicesLine
from gui.views.session_view import SessionView
from gui.views.top_bar import TopBar
from gui.views.traces_view import TracesView
from gui.views.trials_view import TrialsView
from gui.views.view import View
from gui.widgets.overlay import Overlay
from gui.wire_client import WireClient
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S

_ASK_FOOTPRINTS_NS = 2 * NS_PER_S
_SMALLEST = (1024, 640)
_OTHER_SCALE = 0.04
_RESCALE_AFTER_MS = 120


class MainWindow(QtWidgets.QWidget):
    """Everything of the window. Takes over nothing: closing it changes nothing at the rig.

    Parameters
    ----------
    desk : Desk
    wire : WireClient
        Started by the caller.
    stop_line : StopLine
    """

    def __init__(self, desk: Desk, wire: WireClient, stop_line: StopLine) -> None:
        super().__init__()
        self.setObjectName("window")
        self.setWindowTitle("spikeloop")
        self.setMinimumSize(*_SMALLEST)
        self.desk, self.wire, self.stop_line = desk, wire, stop_line
        self._rescale = QtCore.QTimer(self, singleShot=True)
        self._rescale.timeout.connect(self._take_scale)
        self.field = FieldView(desk)
        self.middle = QtWidgets.QWidget()
        self.middle.setObjectName("page")
        self.overlay = Overlay(self.middle)
        self.traces, self.cells = TracesView(desk), CellsView(desk, self.field)
        self.safety, self.session = SafetyView(desk), SessionView(desk, self.overlay)
        self.review = ReviewView(desk, self.overlay)
        self.pages: list[View] = [
            self.traces,
            PopulationView(desk),
            LoopView(desk),
            TrialsView(desk),
            self.safety,
            self.cells,
            self.session,
            self.review,
            LogView(desk),
        ]
        self.bar = TopBar(desk, stop_line)
        self.foot = QtWidgets.QLabel("")
        self._lay_out()
        self.keyboard = Keyboard(self)
        QtWidgets.QApplication.instance().installEventFilter(self.keyboard)
        self.keyboard.stop.connect(self.stop)
        self.keyboard.page.connect(self.show_page)
        self.bar.stop_pressed.connect(self.stop)
        desk.said.connect(self._say)
        self.pacer = Pacer(self._turn, desk.clock, self)
        desk.selection_changed.connect(self._show_selection)
        self._footprints_asked_ns = 0
        self._session_heard = ""
        self._is_large, self._split_px = False, [int(one) for one in desk.settings["split"][:2]]
        self.set_theme(desk.settings["theme"], desk.settings["large"])
        self.show_page(desk.settings["page"])

    def _lay_out(self) -> None:
        self.tabs = [self._tab(index, page.title) for index, page in enumerate(self.pages)]
        row = QtWidgets.QHBoxLayout()
        row.setContentsMargins(4, 0, 8, 0)
        row.setSpacing(0)
        for tab in self.tabs:
            row.addWidget(tab)
        row.addStretch(1)
        self.stack = QtWidgets.QStackedWidget()
        for page in self.pages:
            self.stack.addWidget(page)
        self.right = QtWidgets.QWidget()
        right = QtWidgets.QVBoxLayout(self.right)
        right.setContentsMargins(0, 2, 0, 0)
        right.setSpacing(0)
        right.addLayout(row)
        right.addWidget(self.stack, 1)
        self.split = QtWidgets.QSplitter()
        self.split.setHandleWidth(4)
        self.split.setChildrenCollapsible(False)
        self.split.addWidget(self.field)
        self.split.addWidget(self.right)
        self.split.setSizes([int(one) for one in self.desk.settings["split"][:2]])
        inner = QtWidgets.QVBoxLayout(self.middle)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.split)
        box = QtWidgets.QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.bar)
        box.addWidget(self.middle, 1)
        box.addWidget(self._foot())

    def _foot(self) -> Any:
        """What was said last, how the window keeps pace, and where the keys are."""
        self.foot.setObjectName("small")
        foot = QtWidgets.QWidget()
        foot.setObjectName("status")
        foot.setAttribute(QtCore.Qt.WidgetAttribute.WA_StyledBackground)
        line = QtWidgets.QHBoxLayout(foot)
        line.setContentsMargins(12, 3, 12, 3)
        line.setSpacing(20)
        line.addWidget(self.foot, 1)
        self.services = ServicesLine(self.desk)
        line.addWidget(self.services)
        self.pace = QtWidgets.QLabel("")
        self.pace.setObjectName("small")
        line.addWidget(self.pace)
        hint = QtWidgets.QLabel("?  keys")
        hint.setObjectName("small")
        line.addWidget(hint)
        return foot

    def _tab(self, index: int, title: str) -> Any:
        tab = QtWidgets.QPushButton(title)
        tab.setObjectName("tab")
        tab.setFocusPolicy(QtCore.Qt.FocusPolicy.TabFocus)
        tab.setCheckable(True)
        tab.setToolTip(f"key {index + 1}")
        tab.clicked.connect(lambda: self.show_page(index))
        return tab

    def show_page(self, index: int) -> None:
        """Show one page."""
        if not 0 <= index < len(self.pages):
            index = 0
        self.desk.settings["page"] = index
        self.stack.setCurrentIndex(index)
        for at, tab in enumerate(self.tabs):
            tab.setChecked(at == index)
        self.pages[index].due_ns = 0

    def _show_selection(self) -> None:
        for view in (self.field, self.pages[self.stack.currentIndex()]):
            view.due_ns = 0
        self.pacer.soon()

    def stop(self) -> None:
        """Light off, now."""
        ways = self.stop_line.stop("STOP in the window")
        if ways:
            self.desk.say("STOP sent", Tone.DANGER)
        else:
            self.desk.say("STOP could not be sent: no rig is connected. Use the hardware switch.", Tone.DANGER)

    def set_theme(self, name: str, large: bool) -> None:
        """Dark or light; large letters."""
        desk = self.desk
        desk.theme = theme_named(name, large, self._scale(large))
        desk.settings["theme"], desk.settings["large"] = desk.theme.palette.name, large
        self.setStyleSheet(desk.theme.style_sheet())
        self.bar.apply_theme(desk.theme)
        for view in (self.field, *self.pages):
            view.apply_theme()
            view.due_ns = 0
        if large != self._is_large:
            before, self._is_large = self.split.sizes(), large
            self.split.setSizes([2, 3] if large else self._split_px)
            if large and self.isVisible():
                self._split_px = before

    def _scale(self, large: bool) -> float:
        screen_lines = self.screen().size().height() if self.screen() is not None else 0
        return scale_for(large, self.width(), self.height(), max(screen_lines, self.height()))

    def resizeEvent(self, event: Any) -> None:
        """Letters follow the window, once it has stopped changing."""
        super().resizeEvent(event)
        theme = self.desk.theme
        if abs(self._scale(theme.large) / theme.scale - 1) > _OTHER_SCALE:
            self._rescale.start(_RESCALE_AFTER_MS)

    def _take_scale(self) -> None:
        self.set_theme(self.desk.theme.palette.name, self.desk.theme.large)

    def toggle_theme(self) -> None:
        """Light or dark."""
        self.set_theme("light" if self.desk.theme.palette.name == "dark" else "dark", self.desk.theme.large)

    def toggle_large(self) -> None:
        """Large letters, or ordinary ones."""
        self.set_theme(self.desk.theme.palette.name, not self.desk.theme.large)

    def toggle_field(self) -> None:
        """The field alone, or with the pages."""
        self.right.setVisible(not self.right.isVisible())

    def whole_field(self) -> None:
        """Show the whole field."""
        self.field.whole()

    def outlines(self) -> None:
        """Cells on or off."""
        self.field.bar.toggle_outlines()

    def next_colour(self) -> None:
        """Colour the cells by the next thing."""
        self.field.bar.next_colour()

    def show_keys(self) -> None:
        """The sheet of keys."""
        self.overlay.show_sheet("Keys", key_sheet(), width_px=900)

    def mark(self) -> None:
        """Go to where a note can be typed."""
        self.show_page(self.pages.index(self.session))
        self.session.note.setFocus()

    def pause(self) -> None:
        """Pause, or go on."""
        self.session.pause()

    def undo(self) -> None:
        """Take the last edit of cells back."""
        self.cells.undo()

    def disarm(self) -> None:
        """No light until armed again."""
        self.desk.send("disarm", {"reason": "by the window"})

    def next_cell(self) -> None:
        """Select the next cell."""
        self._step_cell(1)

    def previous_cell(self) -> None:
        """Select the cell before."""
        self._step_cell(-1)

    def larger(self) -> None:
        """Larger traces."""
        self.traces.change_gain(-1)

    def smaller(self) -> None:
        """Smaller traces."""
        self.traces.change_gain(1)

    def next_span(self) -> None:
        """Another length of time."""
        self.traces.next_span()

    def _step_cell(self, step: int) -> None:
        cells = self.desk.model.cells.get(self.desk.plane)
        if cells is None or not cells.row_of:
            return
        read, here = cells.read, self.desk.selection[-1] if self.desk.selection else -1
        at = read.index(here) if here in cells.row_of else -1
        self.desk.select([read[(at + step) % len(read)]])

    def _turn(self) -> None:
        """One turn: take what has come, then refresh what is seen and due."""
        desk, live = self.desk, self.desk.live
        messages, bad = self.wire.take_all()
        for topic, header, payload in messages:
            live.take(topic, header, payload)
        for topic, error in bad:
            live.refuse(topic, error)
        desk.link.deliver()
        self._ask_footprints()
        self._hear_planes()
        self.review.tick()
        now_ns = desk.now_ns()
        if now_ns >= getattr(self, "_bar_due_ns", 0):
            self._bar_due_ns = now_ns + 100 * NS_PER_MS
            desk.select_by_default()
            self.bar.refresh()
            self.services.refresh()
            self._show_pace()
        for view in (self.field, self.pages[self.stack.currentIndex()]):
            if view.isVisible() and not self.isMinimized() and now_ns >= view.due_ns:
                view.due_ns = now_ns + view.period_ms * NS_PER_MS - 5 * NS_PER_MS
                view.refresh()

    def _ask_footprints(self) -> None:
        now_ns = self.desk.now_ns()
        if self.desk.live.footprints_wanted and now_ns - self._footprints_asked_ns > _ASK_FOOTPRINTS_NS:
            self._footprints_asked_ns = now_ns
            self.desk.link.send("describe", {}, lambda answer: None)

    def _hear_planes(self) -> None:
        session = self.desk.live.session
        if session is not None and session.session != self._session_heard:
            self._session_heard = session.session
            for plane in planes_inferred(self.desk.live):
                self.wire.listen_to_plane(plane)

    def _show_pace(self) -> None:
        live = self.desk.live
        took = self.pacer.took_ms.newest()[:, 0]
        parts = []
        if live.n_malformed or self.wire.n_bad:
            parts.append(f"⚠ {live.n_malformed:,} malformed messages ({live.last_malformed[:60]})")
        if self.wire.n_pushed_out:
            parts.append(f"{self.wire.n_pushed_out:,} messages not shown")
        if len(took):
            parts.append(f"refresh {took.mean():.0f} ms")
        self.pace.setText("   ".join(parts))
        shown = self.review.player.recorded.folder.name if self.review.player is not None else ""
        title = f"spikeloop · review of {shown}" if shown else f"spikeloop · {self.bar.phase.word}"
        if title != self.windowTitle():
            self.setWindowTitle(title)

    def _say(self, text: str, tone: str) -> None:
        self.foot.setText(text[:240])
        palette = self.desk.theme.palette
        colour = palette.muted if tone == Tone.NEUTRAL else palette.tone(Tone(tone))
        self.foot.setStyleSheet(f"color: {colour};")

    def closeEvent(self, event: Any) -> None:
        """Remember, and let go."""
        settings = self.desk.settings
        settings["size"], settings["split"] = [self.width(), self.height()], self.split.sizes()
        settings.save()
        self.pacer.stop()
        self.review.close_reading()
        QtWidgets.QApplication.instance().removeEventFilter(self.keyboard)
        super().closeEvent(event)
