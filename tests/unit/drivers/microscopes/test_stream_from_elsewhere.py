"""Frames of a program on another computer: who may send them, who is turned away, and whose clock they are told by."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from mqtt_rig import until
from wire_samples import SHAPE, frame, wire_parts

from drivers.microscopes.stream import StreamMicroscope
from drivers.microscopes.stream_times import StreamTimes
from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S
from rt_engine.interfaces.control import Role
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import FrameHeader
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.interfaces.stream_config import StreamMicroscope as Config
from rt_engine.transport.free_ports import free_ports
from rt_engine.transport.key_store import ClientKey, KeyStore, read_client_key
from rt_engine.transport.security import secure_client
from rt_engine.transport.sockets import connect

BUFFER = np.zeros(SHAPE, np.uint16)


class HandClock:
    """That of the computer, and what was added by hand."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def now_ns(self) -> int:
        return time.perf_counter_ns() + self.ahead_ns


class Program:
    """Sends frames, with a key or without."""

    def __init__(self, endpoint: str, key: ClientKey | None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        if key is not None:
            secure_client(self._context, key)
        self._socket = connect(self._context, zmq.PUB, endpoint)
        self.n_sent = 0

    def send(self, **changes: Any) -> None:
        times = {"t_scan_ns": time.perf_counter_ns(), "frame_period_ns": 10**7}
        self._socket.send_multipart(wire_parts(frame(self.n_sent, **(times | changes))))
        self.n_sent += 1

    def close(self) -> None:
        self._context.destroy(linger=0)


class Rig:
    """The rig's side, which listens for programs with keys."""

    def __init__(self, folder: Path) -> None:
        self.store, self.clock = KeyStore(folder), HandClock()
        self.keys = {role: read_client_key(self.store.new_client(f"the_{role}", role)) for role in _CLIENTS}
        self.listen = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        config = Config(driver="stream", listen=self.listen)
        self.microscope = StreamMicroscope(config, keys=str(folder), clock=self.clock)
        self.microscope.open()
        self.said: list[str] = []
        self._programs: list[Program] = []

    def program(self, key: ClientKey | None) -> Program:
        self._programs.append(Program(self.listen, key))
        return self._programs[-1]

    def hears(self, program: Program, **changes: Any) -> bool:
        """Whether frames of a program come, sent until one does."""
        program.send(**changes)
        if self.microscope.open() is None:
            return False
        return self.microscope.read(BUFFER, 0.05) is not None

    def has_said(self, text: str) -> bool:
        self.said += self.microscope.refused()
        return any(text in one for one in self.said)

    def close(self) -> None:
        self.microscope.close()
        for program in self._programs:
            program.close()


_CLIENTS = (Role.VIEWER, Role.OPERATOR, Role.SOURCE)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "keys")
    yield made
    made.close()


def test_a_source_is_heard_by_its_key(rig: Rig) -> None:
    program = rig.program(rig.keys[Role.SOURCE])
    until(lambda: rig.hears(program), "its frames")
    assert BUFFER[0, :3].tolist() == [0, 1, 2]
    assert rig.microscope.rejected == 0
    assert rig.microscope.refused() == []


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
def test_a_key_of_another_role_sends_no_frames_and_is_named(rig: Rig, role: Role) -> None:
    program = rig.program(rig.keys[role])
    until(lambda: rig.hears(program) or rig.has_said(f"refused 127.0.0.1: the key 'the_{role}'"), "the refusal")
    assert not any(rig.hears(program) for _ in range(5))
    assert rig.has_said(f"of role {role}, which may not send here")


def _unknown(rig: Rig) -> ClientKey:
    public, secret = (one.decode() for one in zmq.curve_keypair())
    return ClientKey("x", Role.SOURCE, public, secret, rig.keys[Role.SOURCE].rig)


def _revoked(rig: Rig) -> ClientKey:
    rig.store.revoke("the_source")
    return rig.keys[Role.SOURCE]


STRANGERS = {
    "no key": (lambda rig: None, "without a key"),
    "unknown": (_unknown, "not known"),
    "revoked": (_revoked, "revoked"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_send_no_frames_and_are_named(rig: Rig, name: str) -> None:
    make, reason = STRANGERS[name]
    program = rig.program(make(rig))
    until(lambda: rig.hears(program) or rig.has_said(reason), reason)
    assert not any(rig.hears(program) for _ in range(5))


def test_a_key_that_is_revoked_while_its_program_sends_is_refused_within_a_second(rig: Rig) -> None:
    program = rig.program(rig.keys[Role.SOURCE])
    until(lambda: rig.hears(program), "its frames")
    rig.store.revoke("the_source")
    rig.clock.ahead_ns = 2 * NS_PER_S
    before = rig.microscope.rejected
    until(lambda: rig.hears(program) or rig.microscope.rejected > before, "the refusal")
    assert "the key 'the_source' of 127.0.0.1 may send no frames any more" in rig.microscope.why
    assert not any(rig.hears(program) for _ in range(5))


@pytest.mark.parametrize(("ahead_ns", "why"), [(NS_PER_S, "in the future"), (-100 * NS_PER_S, "s old")])
def test_frames_by_another_clock_are_refused_and_the_remedy_is_said(rig: Rig, ahead_ns: int, why: str) -> None:
    program = rig.program(rig.keys[Role.SOURCE])
    until(lambda: rig.hears(program), "its frames")
    before = rig.microscope.rejected
    until(
        lambda: (
            rig.hears(program, t_scan_ns=time.perf_counter_ns() + ahead_ns, t_scan_uncertainty_ns=NS_PER_MS)
            or rig.microscope.rejected > before
        ),
        "the refusal",
    )
    assert rig.microscope.rejected > before
    assert why in rig.microscope.why
    assert "`t_ns` of status" in rig.microscope.why


def test_on_a_private_link_frames_are_dated_by_their_arrival() -> None:
    """The other clock is 5,000 s ahead; delays are 3 ms and now and then 20 ms, of which the 3 ms cannot be known."""
    clock = _FixedClock()
    config = Config(driver="stream", endpoint="tcp://10.0.0.7:5999", private_link=True)
    times = StreamTimes(config, clock)
    for i in range(60):
        scanned_ns = i * 33 * NS_PER_MS
        clock.t_ns = scanned_ns + (20 if i % 5 == 1 else 3) * NS_PER_MS
        header = _header(t_scan_ns=scanned_ns + 5000 * NS_PER_S, t_scan_uncertainty_ns=1000)
        told = times.translated(header)
        assert told.t_scan_ns == scanned_ns + 3 * NS_PER_MS
        assert told.t_scan_uncertainty_ns == 1000 or i < 3  # the spread of few is not known
        assert times.misfit(header) == ""
    clock.t_ns = 10**12
    assert times.translated(_header(boot_id="again", t_scan_ns=7)).t_scan_ns == 10**12


def test_a_program_on_this_computer_has_this_clock() -> None:
    times = StreamTimes(Config(driver="stream"), _FixedClock())
    header = _header(t_scan_ns=77)
    assert times.translated(header) is header
    assert times.misfit(header) == ""


class _FixedClock:
    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns


def _header(**changes: Any) -> FrameHeader:
    header = frame(1)[1]
    assert isinstance(header, FrameHeader)
    return msgspec.structs.replace(header, **changes)


def _rig(**microscope: Any) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "name": "r",
        "microscope": {"driver": "stream"} | microscope,
        "outputs": {},
        "session_limits": {"max_energy_mj": 1.0, "max_pulses": 1},
    }


def test_plain_frames_come_from_this_computer_or_a_declared_private_link() -> None:
    RigConfig.model_validate(_rig(endpoint="tcp://127.0.0.9:5999"))
    RigConfig.model_validate(_rig(endpoint="tcp://10.0.0.7:5999", private_link=True))
    with pytest.raises(ValueError, match="anybody could send frames"):
        RigConfig.model_validate(_rig(endpoint="tcp://10.0.0.7:5999"))
    with pytest.raises(ValueError, match="private_link is for `endpoint`"):
        RigConfig.model_validate(_rig(listen="tcp://127.0.0.1:5999", private_link=True))


def test_beyond_loopback_nobody_is_let_in_without_keys() -> None:
    RigConfig.model_validate(_rig(listen="tcp://10.0.0.2:5999") | {"keys": "keys"})
    with pytest.raises(ValueError, match="needs `keys`"):
        RigConfig.model_validate(_rig(listen="tcp://10.0.0.2:5999"))
    microscope = StreamMicroscope(Config(driver="stream", listen="tcp://10.0.0.2:5999"))
    with pytest.raises(ConfigError, match="beyond loopback"):
        microscope.open()
    microscope.close()
