"""What is drawn bit by bit while it scrolls is what would be drawn at once."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from pyqtgraph.Qt import QtGui
from scipy.ndimage import maximum_filter

from gui.views.plots import StripPlot
from gui.views.scrolling_traces import ScrollingTraces, Stroke, Ticks

GROUND, INK, MARK = "#000000", "#ffffff", "#ff0000"
PERIOD_NS, SPAN_S, N_ROWS = 33_333_333, 10.0, 4


@pytest.fixture
def plot(qtbot: Any) -> StripPlot:
    """A plot of a fixed size, laid out."""
    made = StripPlot("time (s)", "row")
    qtbot.addWidget(made)
    made.resize(500, 320)
    made.show()
    qtbot.wait(50)
    return made


def shown(scroll: ScrollingTraces) -> np.ndarray[Any, Any]:
    """Pixels of the item as it paints itself, shape (height, width)."""
    rect = scroll.boundingRect()
    image = QtGui.QImage(int(rect.width()), int(rect.height()), QtGui.QImage.Format.Format_RGB32)
    image.fill(QtGui.QColor("#0000ff"))
    painter = QtGui.QPainter(image)
    scroll.paint(painter)
    painter.end()
    bits = image.constBits().asarray(image.sizeInBytes())
    return np.frombuffer(bits, np.uint32).reshape(image.height(), image.bytesPerLine() // 4)[:, : image.width()].copy()


def samples(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Times (ns) and heights of `N_ROWS` rows; some samples are missing."""
    rng = np.random.default_rng(1)
    y = (np.arange(N_ROWS) + 0.3 * np.cumsum(rng.normal(0, 0.2, (n, N_ROWS)), 0).clip(-1, 1)).astype(np.float32)
    y[rng.random((n, N_ROWS)) < 0.02] = np.nan
    return 10**12 + PERIOD_NS * np.arange(n, dtype=np.int64), y


def ticks(t_ns: np.ndarray[Any, Any]) -> Ticks:
    """A line over the lowest row at every time."""
    return Ticks(MARK, t_ns, np.full(len(t_ns), -0.3), np.full(len(t_ns), 0.3))


def at_once(plot: StripPlot, times: Any, y: Any, marks: Any) -> np.ndarray[Any, Any]:
    """The last `SPAN_S` seconds drawn in one go by a fresh item whose columns stand on the same grid."""
    scroll = ScrollingTraces(plot)
    scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
    first = int(np.searchsorted(times, times[-1] - round(SPAN_S * 1e9)))
    scroll.add(times[first:], [Stroke(INK, y[first:])], [ticks(marks)])
    return shown(scroll)


@pytest.mark.parametrize("n", [40, 299, 450, 1000], ids=lambda n: f"{n / 30:.1f}-s")
def test_samples_that_come_one_by_one_make_the_picture_that_all_make_at_once(plot: StripPlot, n: int) -> None:
    times, y = samples(n)
    scroll = ScrollingTraces(plot)
    scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
    scroll.add(times[:1], [Stroke(INK, y[:1])], [])
    rng, at = np.random.default_rng(2), 1
    marks = times[5::25]
    while at < n:
        more = min(int(rng.integers(1, 4)), n - at)
        new = (marks > times[at - 1]) & (marks <= times[at + more - 1])
        scroll.add(times[at - 1 : at + more], [Stroke(INK, y[at - 1 : at + more])], [ticks(marks[new])])
        at += more
    one_by_one, whole = shown(scroll), at_once(plot, times, y, marks)
    width = int(whole.shape[1] / 1.02)
    for colour in (0xFFFFFF, 0xFF0000):
        mine, theirs = ((one[:, 3:width] & 0xFFFFFF) == colour for one in (one_by_one, whole))
        assert theirs.sum() > 60
        # A line that is drawn in pieces may end a pixel earlier, or cross a mark that was drawn before it.
        assert (mine & ~maximum_filter(theirs, 3)).sum() < 6 + 0.01 * theirs.sum()
        assert (theirs & ~maximum_filter(mine, 3)).sum() < 6 + 0.01 * theirs.sum()


def test_the_newest_sample_stands_on_the_right_and_the_oldest_scrolls_out(plot: StripPlot) -> None:
    times, y = samples(1000)
    y[:] = np.arange(N_ROWS)
    y[500] = np.nan
    scroll = ScrollingTraces(plot)
    scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
    scroll.add(times[:700], [Stroke(INK, y[:700])], [])
    width = int(shown(scroll).shape[1] / 1.02)
    for n in (550, 600, 650, 780):
        scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
        for at in range(1, n):
            scroll.add(times[at - 1 : at + 1], [Stroke(INK, y[at - 1 : at + 1])], [])
        lit = ((shown(scroll)[:, :width] & 0xFFFFFF) > 0).any(0)
        assert lit[-3:].all()
        gap_column = width - 1 - (n - 1 - 500) * PERIOD_NS / 1e9 / SPAN_S * width
        dark = np.flatnonzero(~lit[2:]) + 2
        assert len(dark) > 0
        assert abs(dark.mean() - gap_column) < 3


@pytest.mark.parametrize("jump_ns", [2**53, 2**61, -(10**12)], ids=["far", "farther", "back"])
def test_absurd_times_are_drawn_somewhere_and_at_once(plot: StripPlot, jump_ns: int) -> None:
    times, y = samples(30)
    scroll = ScrollingTraces(plot)
    scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
    scroll.add(times, [Stroke(INK, y)], [])
    moved = times + np.int64(jump_ns)
    scroll.add(np.concatenate([times[-1:], moved]), [Stroke(INK, np.concatenate([y[-1:], y]))], [ticks(moved)])
    assert shown(scroll).shape[1] > 100


def test_another_size_wants_everything_anew(plot: StripPlot, qtbot: Any) -> None:
    times, y = samples(30)
    scroll = ScrollingTraces(plot)
    assert scroll.needs_all
    scroll.clear(SPAN_S, N_ROWS, GROUND, int(times[0]))
    scroll.add(times, [Stroke(INK, y)], [])
    assert not scroll.needs_all
    plot.resize(600, 400)
    qtbot.waitUntil(lambda: scroll.needs_all, timeout=60_000)
