"""A session begins in a folder that is new, writable and large enough, or not at all."""

from __future__ import annotations

import datetime
import os
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from rt_engine.interfaces.errors import ConfigError
from rt_engine.services import session_folder
from rt_engine.services.session_folder import (
    TAKEN_FILE,
    git_hash,
    give_back,
    make_session_folder,
    versions,
    write_config,
)

ROOT = Path(__file__).parents[3]


def test_the_folder_asked_for_is_made_with_its_parents_and_left_empty(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert make_session_folder(str(wanted), "rig", 1.0) == wanted
    assert [path.name for path in wanted.iterdir()] == [TAKEN_FILE]
    give_back(wanted)
    assert list(wanted.iterdir()) == []


def test_a_folder_may_exist_and_hold_other_things(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mouse 7")
    assert make_session_folder(str(tmp_path), "rig", 1.0) == tmp_path
    give_back(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_without_a_name_it_is_called_by_time_and_rig_and_never_twice_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FixedTime:
        @staticmethod
        def now(zone: datetime.tzinfo) -> datetime.datetime:
            return datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session_folder, "datetime", SimpleNamespace(datetime=FixedTime, UTC=datetime.UTC))
    made = [make_session_folder(None, "my_rig", 1.0) for _ in range(3)]
    name = "20260102T030405-my_rig"
    assert made == [Path("sessions") / one for one in (name, f"{name}-2", f"{name}-3")]
    assert all(one.is_dir() for one in made)


def test_a_folder_that_holds_a_session_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "session_000.mcap").write_bytes(b"precious")
    with pytest.raises(ConfigError, match="already holds a session") as refused:
        make_session_folder(str(tmp_path), "rig", 1.0)
    assert str(tmp_path) in str(refused.value)
    assert "--output" in refused.value.remedy
    assert (tmp_path / "session_000.mcap").read_bytes() == b"precious"


def test_a_folder_that_another_run_has_is_refused_with_a_remedy(tmp_path: Path) -> None:
    make_session_folder(str(tmp_path), "rig", 1.0)
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"is taken by another run \(process {os.getpid()} on ") as refused:
            make_session_folder(str(tmp_path), "rig", 1.0)
        assert f"if that run is gone, delete {tmp_path / TAKEN_FILE}" in refused.value.remedy
    (tmp_path / TAKEN_FILE).unlink()
    assert make_session_folder(str(tmp_path), "rig", 1.0) == tmp_path


def test_of_two_runs_that_begin_in_one_folder_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other takes it between every look at the folder and the moment in which this one makes the file."""
    really_open = Path.open

    def open_after_the_other(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == TAKEN_FILE:
            monkeypatch.setattr(Path, "open", really_open)
            assert make_session_folder(str(tmp_path), "rig", 0.0) == tmp_path
        return really_open(path, *args, **more)

    monkeypatch.setattr(Path, "open", open_after_the_other)
    with pytest.raises(ConfigError, match="is taken by another run"):
        make_session_folder(str(tmp_path), "rig", 0.0)
    assert Path.open is really_open, "nobody made the file"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for output in (tmp_path / "file", tmp_path / "file" / "session"):
        with pytest.raises(ConfigError, match="cannot be written"):
            make_session_folder(str(output), "rig", 1.0)


def test_a_disk_without_the_space_required_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=499_000_000)
    monkeypatch.setattr(session_folder, "shutil", SimpleNamespace(disk_usage=lambda folder: usage))
    with pytest.raises(ConfigError, match=r"only 499 MB are free, 500 MB are required \(recording.min_free_mb\)"):
        make_session_folder(str(tmp_path), "rig", 500.0)
    assert list(tmp_path.iterdir()) == []
    usage.free = 500_000_000
    assert make_session_folder(str(tmp_path), "rig", 500.0) == tmp_path


def test_the_config_is_written_as_it_was_resolved(tmp_path: Path) -> None:
    resolved = {"name": "rig µ", "microscope": {"um_per_px": None, "rate_hz": 30.0}, "limits": [1, 2.5]}
    write_config(tmp_path, resolved)
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == resolved
    assert text.splitlines()[0] == "name: rig µ"


def test_versions_name_what_decides_results_and_admit_what_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_folder, "_PACKAGES", ("numpy", "no-such-package-of-ours"))
    found = versions()
    assert set(found) == {"python", "platform", "numpy", "no-such-package-of-ours"}
    assert found["numpy"] == metadata.version("numpy")
    assert found["no-such-package-of-ours"] == "unknown"


def test_the_commit_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: there is no .git")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert git_hash() in (head.stdout.strip(), f"{head.stdout.strip()}-dirty")


def test_outside_a_checkout_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_folder, "__file__", str(tmp_path / "rt_engine" / "services" / "session_folder.py"))
    assert git_hash() is None
