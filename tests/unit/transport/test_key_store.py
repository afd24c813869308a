"""Keys on disk: nobody else's to read, revoked for good, and no way out of their folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rt_engine.cli import main
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError
from rt_engine.transport.key_store import KeyStore, read_client_key


def test_a_client_knows_its_rig_and_the_rig_its_client(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    key = read_client_key(store.new_client("anna", Role.OPERATOR))
    known = store.client_with(key.public)
    assert known is not None
    assert (known.name, known.role, key.rig) == ("anna", Role.OPERATOR, store.rig_key().public)
    assert key.secret not in (tmp_path / "keys" / "anna.json").read_text(encoding="utf-8")
    assert store.client_with("x" * 40) is None


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX")
def test_nobody_else_can_read_a_key_and_one_that_can_be_read_is_refused(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    path = store.new_client("anna", Role.VIEWER)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (tmp_path / "keys").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    for one in (path, tmp_path / "keys" / "rig.key"):
        one.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_client_key(path)
    with pytest.raises(ConfigError, match="chmod 600"):
        store.rig_key()


def test_a_revoked_key_stays_revoked_and_its_name_taken(tmp_path: Path) -> None:
    store = KeyStore(tmp_path)
    store.new_client("anna", Role.OPERATOR)
    assert store.role_of("anna") is Role.OPERATOR
    first = store.revoke("anna").revoked_utc
    assert store.role_of("anna") is None
    assert store.revoke("anna").revoked_utc == first
    with pytest.raises(ConfigError, match="already"):
        store.new_client("anna", Role.VIEWER)


def test_nobody_else_gets_the_rig_s_own_role(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the rig's own"):
        KeyStore(tmp_path / "keys").new_client("anna", Role.SERVICE)
    assert not (tmp_path / "keys").exists()


NO_NAMES = ("..", "../anna", "a/b", "a\\b", "", "rig", ".hidden", "a" * 65, "anna\n", "ann\0a", "é")
KING = b'{"name": "anna", "role": "king", "public": "", "secret": ""}'


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    with pytest.raises(ConfigError, match="cannot be the name"):
        store.new_client(name, Role.VIEWER)
    assert store.role_of(name) in (None, Role.SERVICE)
    with pytest.raises(ConfigError, match="no key"):
        store.revoke(name)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", KING])
def test_a_damaged_key_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "anna.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is no key file"):
        read_client_key(path)


def test_the_command_makes_lists_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "keys")
    assert main(["keys", "list", "--folder", folder]) == 0
    assert "no keys in" in capsys.readouterr().out
    assert main(["keys", "new", "anna", "--role", "operator", "--folder", folder]) == 0
    assert "anna.key" in capsys.readouterr().out
    assert main(["keys", "new", "anna", "--folder", folder]) == 2
    assert main(["keys", "new", "--role", "viewer", "--folder", folder]) == 2
    assert main(["keys", "revoke", "nobody", "--folder", folder]) == 2
    assert "known: anna" in capsys.readouterr().err
    assert main(["keys", "revoke", "anna", "--folder", folder]) == 0
    assert main(["keys", "list", "--folder", folder]) == 0
    assert "revoked" in capsys.readouterr().out.splitlines()[-1]
