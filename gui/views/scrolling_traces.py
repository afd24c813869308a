"""Traces that scroll as on an oscilloscope: what is drawn stays, and only what is new is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.Qt import QtCore, QtGui

from rt_engine.interfaces.clock import NS_PER_S

BELOW, ABOVE = 0.6, 0.05
"""Room below the lowest row and above the highest one, in heights of a row."""
AHEAD = 0.02
"""Room right of the newest sample, as a part of the time shown."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """Samples of every row under one colour.

    Attributes
    ----------
    colour : str
    y : float32 ndarray, shape (n_times, n_rows)
        Heights in rows, counted from the lowest one; NaN where there is no sample.
    """

    colour: str
    y: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Ticks:
    """Vertical lines: time (ns), and where they begin and end, in rows."""

    colour: str
    t_ns: NDArray[np.int64]
    low: NDArray[Any]
    high: NDArray[Any]
    width_px: float = 2.0


class ScrollingTraces(pg.GraphicsObject):
    """Draws into a ring of pixel columns, one turn of which is the time shown.

    A column belongs to a time for good; the ring is shown in two pieces, so that the newest column stands on the
    right. A refresh costs as much as the samples that are new.
    """

    def __init__(self, plot: Any) -> None:
        super().__init__()
        self._box = plot.getViewBox()
        self.setParentItem(self._box)
        self._box.sigResized.connect(self._resized)
        self.setZValue(-1)
        self._ring: Any = None
        self._span_s, self._n_rows, self._ground = 30.0, 1, "#000000"
        self._line_px = 1.0
        self._origin_ns = self._head_ns = 0

    @property
    def needs_all(self) -> bool:
        """True if nothing is drawn yet: the whole past must be given."""
        return self._ring is None

    @property
    def head_ns(self) -> int:
        """Time up to which is drawn."""
        return self._head_ns

    def clear(self, span_s: float, n_rows: int, ground: str, origin_ns: int, line_px: float = 1.0) -> None:
        """Begin anew: another time shown, other rows, another look.

        Parameters
        ----------
        span_s : float
            Time shown.
        n_rows : int
        ground : str
            Colour.
        origin_ns : int
            Time of the first sample that will be given.
        line_px : float
            Width of a trace.
        """
        self._span_s, self._n_rows, self._ground = span_s, max(1, n_rows), ground
        self._origin_ns = self._head_ns = origin_ns
        self._line_px = line_px
        size, ratio = self._size_px(), self._ratio()
        if self._ring is None or self._ring.size() != size * ratio:
            self._ring = QtGui.QPixmap(size * ratio)
            self._ring.setDevicePixelRatio(ratio)
        self._ring.fill(QtGui.QColor(ground))
        self.update()

    def add(self, times_ns: NDArray[np.int64], strokes: Sequence[Stroke], ticks: Sequence[Ticks]) -> None:
        """Draw samples, and lines that may stand anywhere in the time shown.

        Parameters
        ----------
        times_ns : int64 ndarray, shape (n_times,)
            Ascending; the first is the last one drawn before, to which the new ones are joined.
        strokes, ticks : sequence
            In the order in which they are drawn.
        """
        if self._ring is None or not len(times_ns):
            return
        x = self._column(times_ns)
        before, head = self._column_of(self._head_ns), float(x[-1])
        painter = QtGui.QPainter(self._ring)
        self._wipe(painter, before, head)
        self._head_ns = max(self._head_ns, int(times_ns[-1]))
        for stroke in strokes:
            self._line(painter, x, stroke)
        for one in ticks:
            self._lines(painter, one)
        painter.end()
        self.update()

    def boundingRect(self) -> Any:
        """The whole plot."""
        return QtCore.QRectF(self._box.rect())

    def paint(self, painter: Any, *args: Any) -> None:
        """Show both pieces of the ring."""
        if self._ring is None:
            return
        width, ratio = self._width_px(), self._ratio()
        head = math.floor(self._column_of(self._head_ns)) % width + 1
        height = self._ring.height()
        for left_px, first, n in ((0, head, width - head), (width - head, 0, head)):
            if n:
                source = QtCore.QRectF(first * ratio, 0, n * ratio, height)
                painter.drawPixmap(QtCore.QRectF(left_px, 0, n, height / ratio), self._ring, source)

    def _wipe(self, painter: Any, before: float, head: float) -> None:
        """Take away what is a whole turn old, where the new samples will stand."""
        width, first, last = self._width_px(), math.floor(before) + 1, math.floor(head)
        first = max(first, last - width + 1)
        while first <= last:
            n = min(last - first + 1, width - first % width)
            painter.fillRect(first % width, 0, n, self._ring.height(), QtGui.QColor(self._ground))
            first += n

    def _line(self, painter: Any, x: NDArray[np.float64], stroke: Stroke) -> None:
        n_times, n_rows = stroke.y.shape
        if n_times < 2:
            return
        flat = np.ascontiguousarray(stroke.y.T, np.float64).ravel()
        finite = np.isfinite(flat)
        connect = finite & np.roll(finite, -1)
        connect[n_times - 1 :: n_times] = False
        pen = QtGui.QPen(QtGui.QColor(stroke.colour), self._line_px)
        self._stroke(painter, pen, np.tile(x, n_rows), self._y_px(np.nan_to_num(flat, copy=False)), connect)

    def _lines(self, painter: Any, ticks: Ticks) -> None:
        x = self._column(ticks.t_ns)
        shown = x > self._column_of(self._head_ns) - self._width_px() + 2
        if not shown.any():
            return
        y = self._y_px(np.stack([ticks.low[shown], ticks.high[shown]], 1).ravel())
        connect = np.tile([True, False], int(shown.sum()))
        pen = QtGui.QPen(QtGui.QColor(ticks.colour), ticks.width_px * self._line_px)
        self._stroke(painter, pen, np.repeat(x[shown], 2), y, connect)

    def _stroke(
        self, painter: Any, pen: Any, x: NDArray[np.float64], y: NDArray[Any], connect: NDArray[np.bool_]
    ) -> None:
        """Draw a broken line given in columns; once for each turn of the ring that it touches.

        Whatever times are told, it stays within the turn that ends at the newest sample.
        """
        painter.setPen(pen)
        width, head = self._width_px(), self._column_of(self._head_ns)
        x = np.clip(x, head - width, head)
        path = pg.arrayToQPath(x, y, connect.astype(np.int32), finiteCheck=False)
        for turn in range(math.floor(float(x.min()) / width), math.floor((float(x.max()) + 1) / width) + 1):
            painter.drawPath(path.translated(-turn * width, 0.0))

    def _column(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        per_ns = self._width_px() / (self._span_s * NS_PER_S)
        return np.asarray((times_ns - self._origin_ns) * per_ns, np.float64)

    def _column_of(self, t_ns: int) -> float:
        return (t_ns - self._origin_ns) * (self._width_px() / (self._span_s * NS_PER_S))

    def _y_px(self, rows: NDArray[Any]) -> NDArray[Any]:
        height = self._size_px().height()
        per_row = height / (self._n_rows + BELOW + ABOVE)
        return np.clip(height - (rows + BELOW) * per_row, -1e4, 1e4)

    def _width_px(self) -> int:
        return max(1, int(self._size_px().width()))

    def _size_px(self) -> Any:
        rect = self._box.rect()
        return QtCore.QSize(max(1, int(rect.width() / (1 + AHEAD))), max(1, int(rect.height())))

    def _ratio(self) -> float:
        views = self.scene().views() if self.scene() is not None else []
        return float(views[0].devicePixelRatioF()) if views else 1.0

    def _resized(self) -> None:
        self.prepareGeometryChange()
        self._ring = None
