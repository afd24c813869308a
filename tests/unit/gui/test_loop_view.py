"""The loop page says what became of every frame, engine by engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import wire_samples as wire

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("PYQTGRAPH_QT_LIB", "PyQt6")

from system_rig import PORTS

from gui.endpoints import Endpoints
from gui.launch import Parts, build
from gui.settings import Settings
from gui.views.loop_view import LoopView
from rt_engine.interfaces.service_config import Ports
from rt_engine.transport.free_ports import free_ports


@pytest.fixture
def parts(qapp: Any) -> Iterator[Parts]:
    """A window without a rig."""
    ports = Ports(**dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    made = build(Endpoints("127.0.0.1", ports), Settings(None))
    made.window.pacer.stop()
    made.window.resize(1280, 900)
    made.window.show()
    yield made
    made.close()


def shown(table: Any) -> list[dict[str, str]]:
    """Rows of a table by the names of its columns."""
    names = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount())]
    return [
        {name: table.item(row, column).text() for column, name in enumerate(names)} for row in range(table.rowCount())
    ]


def test_late_and_skipped_frames_are_shown_as_such_and_messages_out_of_turn_are_not_called_late(parts: Parts) -> None:
    fates = {"decided": 16690, "late": 2, "skipped": 31, "missing": 4, "unused": 600, "duplicated": 1}
    for topic, header, payload in (
        wire.health("inference.0", late=5, fates=fates),
        wire.health("inference.1", fates={"decided": 3}),
        wire.health("recording"),
    ):
        parts.window.desk.live.take(topic, header, memoryview(payload))
    page = next(page for page in parts.window.pages if isinstance(page, LoopView))
    parts.window.show_page(parts.window.pages.index(page))
    page.refresh()
    first, second = shown(page.fates)
    assert first == {
        "engine": "inference.0", "decided": "16,690", "late": "2", "own light": "0", "skipped": "31",
        "missing": "4", "refused": "0", "twice": "1", "disordered": "0",
    }  # fmt: skip
    assert (second["engine"], second["decided"]) == ("inference.1", "3")
    services = {row["service"]: row for row in shown(page.services)}
    assert services["inference.0"]["out of turn"] == "5"
    assert "late" not in services["inference.0"]
    assert page.fates.item(0, 0).foreground().color() != page.fates.item(1, 0).foreground().color()
    if folder := os.environ.get("SPIKELOOP_PICTURES"):
        parts.window.grab().save(f"{folder}/loop.png")


def test_where_no_engine_tells_anything_there_is_no_table_of_frames(parts: Parts) -> None:
    page = next(page for page in parts.window.pages if isinstance(page, LoopView))
    parts.window.show_page(parts.window.pages.index(page))
    page.refresh()
    assert not page.frames_card.isVisible()
