"""Files between computers of a rig: whole, in order, and nowhere but in the session folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rt_engine.interfaces.errors import MessageError, RecordingError
from rt_engine.services import file_exchange
from rt_engine.services.file_exchange import FileDesk, fetch_logs, send_file


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def asking(folder: Path) -> file_exchange.Ask:
    desk = FileDesk(folder)
    return lambda cmd, args: {"take_file": desk.take, "give_file": desk.give}[cmd](args)


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 35])
def test_files_arrive_as_they_left(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(file_exchange, "PIECE_BYTES", 10)
    source = tmp_path / "calibration.h5"
    source.write_bytes(bytes(range(size)))
    for _ in range(2):
        assert send_file(asking(there), source) == str(there / "calibration.h5")
        assert [path.name for path in there.iterdir()] == ["calibration.h5"]
        assert (there / "calibration.h5").read_bytes() == source.read_bytes()


def test_logs_of_light_come_home(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_exchange, "PIECE_BYTES", 7)
    home = tmp_path / "home"
    home.mkdir()
    for n in (0, 1):
        (there / f"stim_{n:03}.wal").write_bytes(bytes(range(30 + n)))
    (there / "config.yaml").write_text("secret")
    fetched = fetch_logs(asking(there), home)
    assert [path.name for path in fetched] == ["stim_000.wal", "stim_001.wal"]
    assert all(path.read_bytes() == (there / path.name).read_bytes() for path in fetched)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "", ".hidden", "c:\\x", 3, None, "x" * 200])
def test_no_name_leads_elsewhere(there: Path, name: Any) -> None:
    ask = asking(there)
    with pytest.raises(MessageError, match="no plain file name"):
        ask("take_file", {"name": name, "at": 0, "data": b"x", "is_last": True})
    with pytest.raises(MessageError, match="no plain file name"):
        ask("give_file", {"name": name, "at": 0})
    assert list(there.iterdir()) == []


def test_only_logs_of_light_are_given_out(there: Path) -> None:
    (there / "config.yaml").write_text("x")
    with pytest.raises(MessageError, match="not given out"):
        asking(there)("give_file", {"name": "config.yaml", "at": 0})
    with pytest.raises(RecordingError, match="cannot be read"):
        asking(there)("give_file", {"name": "stim_007.wal", "at": 0})


@pytest.mark.parametrize(("at", "data"), [(3, b"x"), (-1, b"x"), (0, "text"), ("0", b"x"), (1 << 40, b"x")])
def test_pieces_out_of_order_are_refused(there: Path, at: Any, data: Any) -> None:
    ask = asking(there)
    ask("take_file", {"name": "a", "at": 0, "data": b"12", "is_last": False})
    with pytest.raises(MessageError):
        ask("take_file", {"name": "a", "at": at, "data": data, "is_last": True})
    assert not (there / "a").exists()


def test_no_file_is_longer_than_the_bound(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_exchange, "MAX_BYTES", 20)
    ask = asking(there)
    ask("take_file", {"name": "a", "at": 0, "data": bytes(20), "is_last": False})
    with pytest.raises(MessageError, match="cannot be one"):
        ask("take_file", {"name": "a", "at": 20, "data": b"x", "is_last": True})
    assert (there / "a.part").stat().st_size == 20

    def endless(cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        assert args.get("at", 0) < 1000, "it would go on for ever"
        return {"names": ["stim_000.wal"], "data": bytes(7)}

    with pytest.raises(MessageError, match="longer than 20"):
        fetch_logs(endless, tmp_path)


@pytest.mark.parametrize("name", ["../../x", "stim_000.wal.exe", 5])
def test_a_far_service_cannot_choose_where_its_log_goes(tmp_path: Path, name: Any) -> None:
    def lying(cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        return {"names": [name], "data": b""}

    with pytest.raises(MessageError, match="no log of stimulation"):
        fetch_logs(lying, tmp_path)
    assert list(tmp_path.iterdir()) == []
