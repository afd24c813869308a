"""Services on other computers: who may join, what is said of the silent, and what is taken from the network."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from mqtt_rig import until
from system_rig import small_rig

from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.control import Reply, Request, Role
from rt_engine.interfaces.errors import ConfigError, MessageError, ServiceError
from rt_engine.interfaces.messages import ClockHeader, decode_as
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.far import LOST_NS, SILENT_NS, FarServices
from rt_engine.services.keeper import Keeper
from rt_engine.services.revocations import Revocations
from rt_engine.services.setup import Setup, far_services
from rt_engine.transport.control import ControlServer
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import KeyStore, read_client_key
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.security import secure_rig
from rt_engine.transport.sockets import connect

HOSTS = {"acquisition": "127.0.0.2", "inference": "127.0.0.3"}


class HandClock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.t_ns = 1_000

    def now_ns(self) -> int:
        return self.t_ns


class Desk:
    """A supervisor's end, with what it said."""

    def __init__(self, setup: Setup) -> None:
        self.clock, self.said = HandClock(), list[tuple[str, str]]()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        facts: dict[str, Any] = {"source": "supervisor", "session": "s", "clock": self.clock}
        self.publisher = Publisher(self.context, endpoint, None, **facts)
        self.ear = connect(self.context, zmq.SUB, endpoint)
        self.ear.subscribe(b"clock")
        self.far = FarServices(setup, self.clock, self.publisher, lambda *said: self.said.append(said))

    def ask(self, cmd: str, role: Role = Role.SERVICE, service: str = "acquisition", **args: Any) -> dict[str, Any]:
        return self.far.handle(Request(id="1", role=role, cmd=cmd, args={"service": service} | args))

    def keep(self, **args: Any) -> dict[str, Any]:
        return self.ask("keep", session="s", **args)


def rig_with(**changes: Any) -> RigConfig:
    rig = small_rig(**changes)
    rig["ports"]["hosts"] = dict(HOSTS)
    return RigConfig.model_validate(rig)


@pytest.fixture
def rig() -> RigConfig:
    return rig_with()


@pytest.fixture
def setup(rig: RigConfig, tmp_path: Path) -> Setup:
    return Setup("", rig.model_dump(mode="json"), "s", str(tmp_path / "there"), 1, 2, dry_run=True, lossless=False)


@pytest.fixture
def desk(setup: Setup) -> Iterator[Desk]:
    made = Desk(setup)
    yield made
    made.publisher.close(0)
    made.context.destroy(linger=0)


def test_only_what_the_rig_file_puts_elsewhere_is_far(rig: RigConfig) -> None:
    assert far_services(rig) == {"inference": "127.0.0.3", "acquisition": "127.0.0.2"}
    assert rig.ports.endpoint("stimulation_control").startswith("tcp://127.0.0.1:")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.SOURCE])
def test_no_client_joins(desk: Desk, role: Role) -> None:
    with pytest.raises(ConfigError, match="for services"):
        desk.ask("join", role)
    assert [one.name for one in desk.far.awaited()] == ["inference", "acquisition"]


def test_nobody_joins_for_what_lives_here_or_twice(desk: Desk) -> None:
    for name in ("stimulation", "recording", "", "inference.0"):
        with pytest.raises(ConfigError, match="not awaited"):
            desk.ask("join", service=name)
    with pytest.raises(ServiceError, match="has not joined"):
        desk.keep()
    assert desk.ask("join")["setup"]["service"] == "acquisition"
    with pytest.raises(ServiceError, match="already"):
        desk.ask("join")
    with pytest.raises(ServiceError, match="this session is s"):
        desk.ask("keep", session="another")


def test_silence_is_said_once_and_so_is_its_end(desk: Desk) -> None:
    desk.ask("join")
    far = desk.far.services["acquisition"]
    for _ in range(3):
        desk.clock.t_ns += SILENT_NS
        desk.far.tend()
    assert [level for level, _ in desk.said] == ["info", "error"]
    assert far.is_alive()
    desk.keep()
    assert "is back after 9.0 s" in desk.said[-1][1]
    desk.clock.t_ns += LOST_NS + 1
    desk.far.tend()
    assert not far.is_alive()
    assert far.exitcode is not None


def test_the_clock_is_published_and_nonsense_is_not(desk: Desk) -> None:
    desk.ask("join")
    figures = {"offset_ns": -5, "uncertainty_ns": 3, "t_measured_ns": 9}
    for wrong in ("x", None, 1.5, 1 << 63):
        with pytest.raises(MessageError, match="whole nanoseconds"):
            desk.keep(**figures | {"offset_ns": wrong})
    for _ in range(100):
        assert desk.keep(**figures) == {"t_ns": desk.clock.t_ns}
        if desk.ear.poll(20):
            break
    header = decode_as(ClockHeader, "clock", desk.ear.recv_multipart()[1])
    assert (header.peer, header.offset_ns, header.uncertainty_ns, header.t_measured_ns) == ("127.0.0.2", -5, 3, 9)


def test_an_end_is_told(desk: Desk) -> None:
    desk.ask("join")
    desk.ask("left", session="s", exit_code=3)
    assert desk.far.services["acquisition"].exitcode == 3


@pytest.fixture
def keeper(rig: RigConfig, tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(rig, "acquisition", tmp_path / "here", lambda text: None)
    yield made
    made.close()


def sent(setup: Setup, **changes: Any) -> dict[str, Any]:
    return {"setup": dataclasses.asdict(dataclasses.replace(setup, service="acquisition", far=True)) | changes}


def test_a_setup_is_taken_with_the_folders_of_this_computer(keeper: Keeper, setup: Setup, tmp_path: Path) -> None:
    own = keeper._own_setup(sent(setup))
    assert own.path() == tmp_path / "here" / "s"
    assert own.path().is_dir()
    assert own.rig_config() == setup.rig_config()


@pytest.mark.parametrize(
    "change",
    [
        {"outputs__led__limits__max_power_mw": 19.0},
        {"session_limits__max_pulses": 7},
        {"microscope__n_lines": 64},
        {"ports__recording": 6001},
        {"max_idle_s": 11.0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_devices_and_limits_are_never_taken_from_the_network(
    keeper: Keeper, setup: Setup, change: dict[str, Any]
) -> None:
    theirs = setup.rig_config().model_dump(mode="json")
    (key, value), *_ = change.items()
    section = theirs
    *path, last = key.split("__")
    for part in path:
        section = section[part]
    assert last in section
    section[last] = value
    with pytest.raises(ConfigError, match=f"differs from that of the run in {path[0] if path else last}"):
        keeper._own_setup(sent(setup, rig=theirs))


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"setup": None},
        {"setup": {"service": "acquisition"}},
        {"setup": [1, 2]},
    ],
)
def test_what_is_no_setup_is_refused(keeper: Keeper, result: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no setup"):
        keeper._own_setup(result)


@pytest.mark.parametrize("session", ["../x", "/etc", "..", "", "a/b", ".ssh"])
def test_a_session_writes_nowhere_else(keeper: Keeper, setup: Setup, session: str) -> None:
    with pytest.raises(ConfigError, match="sent a setup of"):
        keeper._own_setup(sent(setup, session=session))


def test_a_rig_that_puts_it_nowhere_else_is_said(rig: RigConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inference, acquisition.*ports\.hosts"):
        Keeper(rig, "stimulation", tmp_path, lambda text: None)


def test_a_keeper_waits_where_nobody_is(keeper: Keeper) -> None:
    answer: Reply | None = keeper._ask("join", {}, 10_000_000)
    assert answer is None


def test_a_revoked_key_goes_with_the_first_word_and_with_every_other(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys")
    publics = {name: read_client_key(store.new_client(name, Role.OPERATOR)).public for name in ("anna", "ben")}
    store.revoke("anna")
    rig = rig_with().model_copy(update={"keys": str(tmp_path / "keys")})
    setup = Setup("", rig.model_dump(mode="json"), "s", str(tmp_path), 1, 2, dry_run=True, lossless=False)
    desk = Desk(setup)
    try:
        assert desk.ask("join")["revoked"] == [publics["anna"]]
        assert desk.keep(revoked=[publics["ben"]])["revoked"] == [publics["anna"], publics["ben"]]
    finally:
        desk.publisher.close(0)
        desk.context.destroy(linger=0)
    assert store.role_of("ben") is None
    assert ("warning", "the key 'ben' was revoked on 127.0.0.2; it is refused here too") in desk.said


def test_a_keeper_and_a_run_tell_each_other_what_is_revoked(tmp_path: Path) -> None:
    """Both real ends over real sockets: with the word that joins, and with every word while a service runs."""
    there, here = KeyStore(tmp_path / "rig"), KeyStore(tmp_path / "here")
    for name in ("before", "here_later", "there_later", "never"):
        there.new_client(name, Role.OPERATOR)
    shutil.copytree(there.folder, here.folder)
    rig = rig_with().model_copy(update={"keys": str(there.folder)})
    desk = Desk(Setup("", rig.model_dump(mode="json"), "s", str(tmp_path), 1, 2, dry_run=True, lossless=False))
    guard = secure_rig(desk.context, str(there.folder))
    server = ControlServer(desk.context, rig.ports.endpoint("control"), desk.far.handle, guard)
    keeper = Keeper(rig.model_copy(update={"keys": str(here.folder)}), "acquisition", tmp_path, lambda text: None)
    service = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.socket.poll(5)
            server.serve()
            desk.clock.t_ns += NS_PER_S  # the run looks at its keys at every word

    threads = [threading.Thread(target=serve), threading.Thread(target=keeper._accompany, args=(service, "s"))]
    try:
        threads[0].start()
        here.revoke("before")
        assert keeper._await_run() is not None
        assert there.role_of("before") is None
        service.start()
        threads[1].start()
        here.revoke("here_later")
        there.revoke("there_later")
        until(lambda: there.role_of("here_later") is None and here.role_of("there_later") is None, "both to know")
        assert [store.role_of("never") for store in (here, there)] == [Role.OPERATOR] * 2
    finally:
        keeper.stopping.set()
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        if service.pid is not None:
            service.kill()
            service.join()
        server.close()
        keeper.close()
        desk.publisher.close(0)
        assert guard is not None
        guard.close()
        desk.context.destroy(linger=0)


def test_a_keeper_revokes_before_it_starts_a_service(tmp_path: Path) -> None:
    """The other side of the link, with real sockets: what `join` brings holds before anything is bound here."""
    folders = [tmp_path / "rig", tmp_path / "here"]
    store = KeyStore(folders[0])
    store.new_client("anna", Role.OPERATOR)
    shutil.copytree(*folders)
    store.revoke("anna")
    here = rig_with().model_copy(update={"keys": str(folders[1])})
    setup = Setup("", here.model_dump(mode="json"), "s", str(tmp_path), 1, 2, dry_run=True, lossless=False)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    guard = secure_rig(context, str(folders[0]))
    assert guard is not None
    told = Revocations(str(folders[0]), HandClock(), lambda *said: None).told()
    server = ControlServer(context, here.ports.endpoint("control"), lambda request: told | sent(setup), guard)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.socket.poll(5)
            server.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    keeper = Keeper(here, "acquisition", tmp_path / "out", lambda text: None)
    try:
        assert keeper._await_run() is not None
        assert KeyStore(folders[1]).role_of("anna") is None
    finally:
        keeper.close()
        stop.set()
        thread.join()
        server.close()
        guard.close()
        context.destroy(linger=0)
