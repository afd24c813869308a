"""The heartbeat of every service in one line, always in sight: who beats, and who has fallen silent for how long."""

from __future__ import annotations

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.desk import Desk
from gui.model.health import STALE_NS
from gui.numbers import age
from rt_engine.interfaces.clock import NS_PER_S

_MOST = 10


class ServicesLine(QtWidgets.QLabel):
    """A dot for each service; of one that is silent its age."""

    def __init__(self, desk: Desk) -> None:
        super().__init__("")
        self.setObjectName("small")
        self.setTextFormat(QtCore.Qt.TextFormat.RichText)
        self.setToolTip("heartbeat of each service; more in Loop")
        self._desk = desk
        self._shown = ""

    def refresh(self) -> None:
        """Of the rig as it is now; never of a recording."""
        now_ns, palette = self._desk.now_ns(), self._desk.theme.palette
        live = self._desk.live
        has_ended = live.is_silent(now_ns) and live.session is not None and live.session.state == "stopping"
        beats = [] if has_ended else sorted(live.health.heartbeats.items())
        parts = []
        for source, beat in beats[:_MOST]:
            old_ns = now_ns - beat.t_heard_ns
            name = _plain(source[:14])
            if old_ns <= STALE_NS and beat.header.state != "failed":
                parts.append(f"<span style='color:{palette.good}'>●</span> {name}")
                continue
            said = _plain(beat.header.state[:12]) if old_ns <= STALE_NS else f"silent {age(old_ns / NS_PER_S)}"
            parts.append(f"<span style='color:{palette.danger}'>✖ {name} {said}</span>")
        more = f" +{len(beats) - _MOST}" if len(beats) > _MOST else ""
        text = "&nbsp; ".join(parts) + more
        if text != self._shown:
            self._shown = text
            self.setText(text)


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
