"""Where nothing can be written every command says so in one sentence, leaves nothing behind, and reads all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from read_only import HAS_WAY, read_only
from synthetic_session import SessionMaker, make_calibration

from rt_engine.cli import main
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig

pytestmark = pytest.mark.skipif(not HAS_WAY, reason="Windows has no mode that makes a folder read-only")
SIZE = 16


def record(folder: Path) -> Path:
    maker = SessionMaker(folder)
    maker.session()
    make_calibration(folder / "calibration.h5", [(8, 8)], size=SIZE)
    rig = load_rig(find_rig("virtual_rig")).model_dump(mode="json")
    (folder / "config.yaml").write_text(yaml.safe_dump({"rig": rig, "protocol": None}), encoding="utf-8")
    for frame in range(20):
        maker.frame(frame, np.full((SIZE, SIZE), frame, "<u2"))
        maker.spikes(frame, [(1, frame - 2)] if frame == 10 else [])
    maker.close()
    return folder


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder with a session and an old report in it, all read-only."""
    folder = tmp_path / "locked"
    record(folder / "session")
    (folder / "session" / "report.html").write_text("old", encoding="utf-8")
    with read_only(folder):
        yield folder


def refused(line: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that fails: one line, no traceback."""
    capsys.readouterr()
    assert main([str(part) for part in line]) != 0
    said = capsys.readouterr().err
    assert said.startswith("spikeloop: ")
    assert said.count("\n") == 1, said
    assert "Read-only" in said or "Permission denied" in said
    return said


def test_every_command_that_writes_says_that_it_cannot(
    locked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, before = locked / "session", sorted(locked.rglob("*"))
    lines: list[list[object]] = [
        ["run", "virtual_rig", "--output", locked / "new", "--no-gui"],
        ["run", "virtual_rig", "--output", locked, "--no-gui"],
        ["recover", session],
        ["report", session],
        ["replay", session, "--output", locked / "again"],
        *(["export", session, "-o", locked / "x.nwb", "--frames", kind] for kind in ("internal", "external", "none")),
        ["diff", session, session, "--json", locked / "diff.json"],
    ]
    for line in lines:
        said = refused(line, capsys)
        assert str(locked) in said, said
        assert line[0] not in ("run", "replay", "export") or ". " in said, f"no remedy: {said}"
    assert sorted(locked.rglob("*")) == before
    assert (session / "report.html").read_text(encoding="utf-8") == "old"


def test_a_session_that_cannot_be_written_is_read_all_the_same(
    locked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(locked / "session"), "-o", str(tmp_path / "x.nwb")]) == 0
    assert (tmp_path / "x.nwb").stat().st_size > 20 * SIZE * SIZE * 2
    assert main(["diff", str(locked / "session"), str(locked / "session")]) == 0


def test_a_report_that_is_read_only_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = record(tmp_path / "session")
    (session / "report.html").write_text("old", encoding="utf-8")
    with read_only(session / "report.html"):
        assert str(session / "report.html") in refused(["report", session], capsys)
        assert (session / "report.html").read_text(encoding="utf-8") == "old"
    assert main(["report", str(session)]) == 0
