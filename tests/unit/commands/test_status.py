"""Where nobody answers it is said whether nobody is there, who is turned away, and what has died."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import zmq
from system_rig import small_rig, write_rig

from rt_engine.cli import main
from rt_engine.commands.status import unfinished
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ServiceError
from rt_engine.transport.control import ControlClient
from rt_engine.transport.free_ports import free_ports


def why_silent(port: int) -> ServiceError:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = ControlClient(context, f"tcp://127.0.0.1:{port}", Role.OPERATOR)
    try:
        with pytest.raises(ServiceError) as refused:
            client.request("status", timeout_s=0.1)
        return refused.value
    finally:
        client.close()
        context.destroy(linger=0)


def test_nobody_there_and_somebody_who_does_not_answer_are_told_apart() -> None:
    (port,) = free_ports(1)
    nobody = why_silent(port)
    assert "nothing listens there" in nobody.message
    assert "--rig" in nobody.remedy
    with socket.create_server(("127.0.0.1", port)):
        mute = why_silent(port)
    assert "something listens there" in mute.message
    assert "--key" in mute.remedy


def test_a_computer_that_is_not_reached_is_told_from_one_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", times_out)
    lost = why_silent(free_ports(1)[0])
    assert "nothing listens" not in lost.message
    assert "no way to that computer (it does not answer)" in lost.message
    assert "firewall" in lost.remedy


def session(folder: Path, name: str, files: tuple[str, ...]) -> Path:
    (folder / name).mkdir(parents=True)
    for one in files:
        (folder / name / one).touch()
    return folder / name


def test_only_the_newest_session_and_only_without_a_summary_is_unfinished(tmp_path: Path) -> None:
    assert unfinished(tmp_path / "none") is None
    session(tmp_path, "a", ("session_000.mcap",))
    whole = session(tmp_path, "b", ("session_000.mcap", "summary.json"))
    session(tmp_path, "no session", ("notes.txt",))
    assert unfinished(tmp_path) is None
    (whole / "summary.json").unlink()
    assert unfinished(tmp_path) == whole


def test_a_run_that_died_is_named_with_the_way_to_its_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ControlClient.request, "__defaults__", (None, 0.1))
    rig = write_rig(tmp_path, small_rig())
    torn = session(Path("sessions"), "20261130T010203-small", ("session_000.mcap",))
    assert main(["status", "--rig", str(rig)]) == 1
    said = capsys.readouterr().err
    assert f"spikeloop recover {torn}" in said
    assert said.count("\n") == 1
