"""The log of a session: one JSON object a line, bounded, and no reason to stop when it cannot be written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from wire_samples import log

from rt_engine.commands.status import status_lines
from rt_engine.interfaces.messages import HealthHeader, LogHeader
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.log_file import FILE_NAME, KEPT, LogFile
from rt_engine.services.own_ports import with_own_ports
from rt_engine.services.setup import Setup
from rt_engine.services.telemetry import TelemetryService


def said(text: str) -> LogHeader:
    header = log(text)[1]
    assert isinstance(header, LogHeader)
    return header


def test_every_line_is_one_object_whatever_was_said(tmp_path: Path) -> None:
    one = LogFile(tmp_path)
    texts = ["hello", "two\nlines", "µ – ✓", '"quoted"', ""]
    for text in texts:
        one.write(said(text), 123)
    one.close()
    lines = [json.loads(line) for line in (tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines] == texts
    assert lines[0] | {"text": ""} == {
        **{"t_unix_ms": 123, "level": "info", "source": "test", "text": "", "fields": {}, "session": "s"}
    }


def test_old_lines_go_and_new_ones_stay(tmp_path: Path) -> None:
    one = LogFile(tmp_path, max_bytes=1000)
    for i in range(500):
        one.write(said(f"line {i}"), i)
    one.close()
    files = sorted(tmp_path.iterdir())
    assert {path.name for path in files} <= {FILE_NAME, *(f"{FILE_NAME}.{n}" for n in range(1, KEPT + 1))}
    assert all(path.stat().st_size < 1200 for path in files)
    kept = [json.loads(line)["t_unix_ms"] for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert sorted(kept) == list(range(min(kept), 500))
    assert one.lost == 0


def test_a_folder_that_is_gone_costs_the_log_alone(tmp_path: Path) -> None:
    one = LogFile(tmp_path / "gone")
    one.write(said("hello"), 1)
    assert one.lost == 1
    one.close()


@pytest.mark.parametrize("tripped", [True, False])
def test_status_is_for_people(tripped: bool) -> None:

    status = {
        "interlock": "tripped" if tripped else "armed",
        "trip": "engine silent",
        "services": {"recording": "failed"},
    }
    text = "\n".join(status_lines(status))
    assert ("engine silent" in text) is tripped
    assert "recording      failed  !" in text


def telemetry(folder: Path) -> TelemetryService:
    """The service, opened, on ports of its own."""
    rig = with_own_ports(load_rig(find_rig("virtual_rig")))
    setup = Setup("telemetry", rig.model_dump(mode="json"), "s", str(folder), 0, 0, dry_run=True, lossless=False)
    service = TelemetryService(dataclasses.replace(setup, recorded=False))
    service.open()
    return service


def close(service: TelemetryService) -> None:
    service.finish()
    service.publisher.close(linger_ms=0)
    service._supervisor.close(linger=0)
    service.context.destroy(linger=0)


def test_telemetry_writes_also_what_it_says_itself(tmp_path: Path) -> None:
    """Nobody hears his own socket; who was refused over MQTT is told by this service alone."""
    service = telemetry(tmp_path)
    try:
        service.refusals.note("refused 'mark' of mouse over MQTT")
        service._log_refused()
    finally:
        close(service)
    lines = [json.loads(line) for line in (tmp_path / FILE_NAME).read_text(encoding="utf-8").splitlines()]
    assert [(line["source"], line["text"]) for line in lines] == [("telemetry", "refused 'mark' of mouse over MQTT")]


def test_a_log_that_cannot_be_written_is_said_once_and_counted(tmp_path: Path) -> None:
    service = telemetry(tmp_path / "gone")
    told: list[str] = []
    kept = service.told

    def listen(header: HealthHeader | LogHeader) -> None:
        told.append(header.text if isinstance(header, LogHeader) else "")
        kept(header)

    service.told = listen  # type: ignore[method-assign]
    try:
        for _ in range(3):
            service.log("info", "hello")
    finally:
        close(service)
    assert [text for text in told if "cannot be written" in text] == [
        f"{FILE_NAME} cannot be written; the journal has what is said"
    ]
    assert service.dropped == 4
