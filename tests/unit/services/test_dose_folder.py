"""What a subject has received is kept under its name, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from system_rig import small_rig

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.interlock_setup import _dose_folder
from rt_engine.services.setup import Setup


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


def folder_of(subject: str | None, tmp_path: Path) -> Path:
    rig = RigConfig.model_validate(small_rig()).model_copy(update={"subject": subject})
    setup = Setup("", rig.model_dump(mode="json"), "s", str(tmp_path / "session"), 1, 2, dry_run=False, lossless=False)
    return _dose_folder(setup, rig)


@pytest.mark.parametrize("subject", ["../x", "/tmp/x", "a/b", "a\\b", "..", ".hidden", "", "m1\n", "m\0"])
def test_a_subject_is_no_path(home: Path, tmp_path: Path, subject: str) -> None:
    with pytest.raises(ConfigError, match="subject"):
        folder_of(subject, tmp_path)
    assert not home.exists()


def test_each_subject_has_its_own(home: Path, tmp_path: Path) -> None:
    assert folder_of("mouse-12", tmp_path) == home / ".spikeloop" / "dose" / "mouse-12"
    assert folder_of(None, tmp_path) == tmp_path / "session"
