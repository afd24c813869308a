"""`spikeloop keys`: what is wrong is said in one line, and one damaged record hides none of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rt_engine.cli import main
from rt_engine.transport.key_store import KeyStore


def keys(folder: Path, *words: str) -> int:
    """Exit code of one call."""
    return main(["keys", *words, "--folder", str(folder)])


def new(folder: Path, name: str) -> int:
    return keys(folder, "new", name, "--role", "operator")


def test_a_file_cannot_be_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert new(tmp_path / "file", "anna") == 2
    assert f"{tmp_path / 'file'}: --folder: cannot be the folder of keys" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_into_which_others_can_put_keys_is_refused(
    mode: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "keys"
    assert new(folder, "anna") == 0
    folder.chmod(mode)
    assert new(folder, "berta") == 2
    assert f"chmod 700 {folder}" in capsys.readouterr().err
    assert not (folder / "berta.key").exists()


def test_one_damaged_record_hides_none_of_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    for name in ("anna", "berta", "carla"):
        new(folder, name)
    public = KeyStore(folder).clients()[2].public
    (folder / "berta.json").write_text('{"name": "ber')
    capsys.readouterr()
    assert keys(folder, "list") == 1
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ["anna", "carla"]
    assert "berta.json" in told.err
    found = KeyStore(folder).client_with(public)
    assert found is not None
    assert found.name == "carla"


def test_a_key_that_was_revoked_before_is_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    new(folder, "anna")
    assert keys(folder, "revoke", "anna") == 0
    since = KeyStore(folder).clients()[0].revoked_utc
    capsys.readouterr()
    assert keys(folder, "revoke", "anna") == 0
    assert capsys.readouterr().out == f"anna was revoked before, at {since}\n"


def test_list_takes_no_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys(tmp_path, "list", "extra") == 2
    assert "takes no name" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "gui", "ctl status"])
@pytest.mark.parametrize("host", ["bad host", "bad host:1", "rig:5570", "", "-x", "tcp://rig"])
def test_what_is_no_computer_is_bad_usage(command: str, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), f"--connect={host}"])
    assert ended.value.code == 2
    assert "no name or address of a computer" in capsys.readouterr().err


def test_a_file_that_is_none_of_arrays_is_no_reason_to_allow_pickles(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.npz"
    path.write_text("no archive")
    assert main(["infer", str(path), "-o", str(tmp_path / "y.npz"), "--indicator", "GCaMP6f"]) == 2
    told = capsys.readouterr().err
    assert "pickle" not in told
    assert "numpy.savez" in told
