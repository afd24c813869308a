"""What only an open device knows of its maker's part is told once, and again when it is another."""

from __future__ import annotations

from typing import Any

from rt_engine.interfaces.messages import LogHeader
from rt_engine.recording.device_versions import told_versions
from rt_engine.services.device_versions import DeviceVersions


class Card:
    versions: dict[str, str] = {}


def test_a_device_tells_when_it_knows_and_again_when_that_has_changed() -> None:
    said: list[tuple[str, str, dict[str, Any]]] = []
    versions = DeviceVersions(lambda level, text, **fields: said.append((level, text, fields)))
    card = Card()
    versions.tell("led", card)
    versions.tell("sample", object())
    assert said == []
    for version in ("2024.1.0", "2024.1.0", "2025.0.0"):
        card.versions = {"NI-DAQmx": version}
        versions.tell("led", card)
    assert [text for _, text, _ in said] == ["led: NI-DAQmx 2024.1.0", "led: NI-DAQmx 2025.0.0"]
    stamp = dict(session="s", source="stimulation", host="h", boot_id="b", seq=0, t_sent_ns=1)
    level, text, fields = said[0]
    assert told_versions(LogHeader(**stamp, level=level, text=text, fields=fields)) == {"led": {"NI-DAQmx": "2024.1.0"}}
