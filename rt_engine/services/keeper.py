"""Carries one service of a rig on a computer that is not the supervisor's: waits for runs, and serves one by one."""

from __future__ import annotations

import dataclasses
import multiprocessing
import multiprocessing.connection
import os
import re
import threading
import uuid
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import zmq

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.control import Reply, Request, Role, decode_reply, encode_control
from rt_engine.interfaces.errors import ConfigError, MessageError
from rt_engine.interfaces.rig_config import RigConfig
from rt_engine.services.far import KEEP_PERIOD_NS, LOST_NS
from rt_engine.services.process import run_service
from rt_engine.services.revocations import Revocations
from rt_engine.services.scheduling import ONE_THREAD
from rt_engine.services.setup import Setup, far_services
from rt_engine.transport.client_keys import secure_from_command
from rt_engine.transport.clock_offset import OffsetEstimator
from rt_engine.transport.sockets import connect_impatient

_OWN = (
    *("name", "microscope", "inputs", "frame_clock", "outputs", "session_limits", "stop_line", "marks", "ports"),
    *("max_idle_s", "trial_gated"),
)
"""Keys of the rig file that must be the same here: what touches devices and light is never taken from the network."""
_SESSION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,200}")
_ASK_AGAIN_NS = NS_PER_S
_POLL_MS = 50
_GRACE_S = 20.0
Say = Callable[[str], None]


class Keeper:
    """Joins the runs of a rig with one service.

    Parameters
    ----------
    rig : RigConfig
        The rig file of this computer. Devices, limits, addresses and keys are those that stand here.
    service : str
        One that `ports.hosts` puts on another computer than the supervisor's.
    folder : Path
        Below it every session gets a folder.
    say : callable
        Told what happens, in sentences.

    Raises
    ------
    ConfigError
        The service is not to be carried from elsewhere, or there are no keys.
    """

    def __init__(self, rig: RigConfig, service: str, folder: Path, say: Say, clock: Clock | None = None) -> None:
        far = far_services(rig)
        if service not in far:
            raise ConfigError(
                f"{service!r} is not among those on other computers ({', '.join(far) or 'none'})",
                "name it and this computer's address under ports.hosts",
                key="--service",
            )
        self._rig, self._service, self._folder, self._say = rig, service, folder, say
        self._clock: Clock = clock or MonotonicClock()
        self._revocations = Revocations(rig.keys, self._clock, lambda level, text: say(f"{level}: {text}"))
        self._endpoint = rig.ports.endpoint("control")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        secure_from_command(self._context, None, rig.keys)
        self.stopping = threading.Event()
        self._open()

    def run(self, sessions: int | None = None) -> None:
        """Serve run after run until `stopping` is set, or that many have ended."""
        done = 0
        while not self.stopping.is_set() and done != sessions:
            setup = self._await_run()
            if setup is not None:
                done += 1
                self._serve(setup)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=500)
        self._context.destroy(linger=500)

    def _open(self) -> None:
        self._socket = connect_impatient(self._context, self._endpoint)

    def _await_run(self) -> Setup | None:
        """Ask again and again until a run takes us; None if told to stop."""
        self._say(f"{self._service}: waiting for a run at {self._endpoint}")
        told = ""
        while not self.stopping.is_set():
            reply = self._ask("join", self._revocations.told(), 2 * _ASK_AGAIN_NS)
            if reply is not None and reply.ok:
                self._revocations.take(reply.result or {}, self._endpoint)
                try:
                    return self._own_setup(reply.result or {})
                except ConfigError as error:
                    told = self._once(told, str(error))
                    self._ask("left", {"exit_code": error.exit_code, "session": _session_of(reply)}, _ASK_AGAIN_NS)
            elif reply is not None and reply.error is not None and reply.error.type == "ConfigError":
                told = self._once(told, reply.error.message)
            self.stopping.wait(_ASK_AGAIN_NS / NS_PER_S)
        return None

    def _once(self, told: str, text: str) -> str:
        if text != told:
            self._say(f"refused: {text}")
        return text

    def _own_setup(self, result: dict[str, Any]) -> Setup:
        """The supervisor's setup, checked, with this computer's own folders and keys.

        Raises
        ------
        ConfigError
            It is no setup, or of a rig whose devices or limits are not those of the file here.
        """
        try:
            setup = msgspec.convert(result.get("setup"), Setup)
            theirs = setup.rig_config()
        except (msgspec.ValidationError, ValueError) as error:
            raise ConfigError(f"what the run sent is no setup: {' '.join(str(error).split())[:300]}") from error
        if setup.service != self._service or not _SESSION.fullmatch(setup.session):
            raise ConfigError(f"the run sent a setup of {setup.service[:50]!r}, session {setup.session[:50]!r}")
        mine = self._rig.model_dump(mode="json")
        sent = theirs.model_dump(mode="json")
        different = [key for key in _OWN if mine[key] != sent[key]]
        if different:
            raise ConfigError(
                f"the rig file here differs from that of the run in {', '.join(different)}",
                "copy the rig file; devices and limits are never taken from the network",
            )
        folder = self._folder / setup.session
        folder.mkdir(parents=True, exist_ok=True)
        rig = sent | {"keys": mine["keys"], "mqtt": None, "metrics": None}
        return dataclasses.replace(setup, rig=rig, folder=str(folder), far=True)

    def _serve(self, setup: Setup) -> None:
        """One run: a process for the service, and a word to the supervisor now and then, until one of them ends."""
        self._say(f"{self._service}: serves session {setup.session}, folder {setup.folder}")
        os.environ.update(ONE_THREAD)
        spawn = multiprocessing.get_context("spawn")
        stop, held = spawn.Pipe(duplex=False)
        process = spawn.Process(target=run_service, args=(setup, stop), name=f"spikeloop-{setup.service}")
        process.start()
        stop.close()
        try:
            why = self._accompany(process, setup.session)
            if why:
                self._say(f"{self._service}: {why}; ending it")
        finally:
            held.close()
            process.join(_GRACE_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._ask("left", {"exit_code": process.exitcode, "session": setup.session}, 2 * NS_PER_S)
        self._say(f"{self._service}: session {setup.session} is over")

    def _accompany(self, process: BaseProcess, session: str) -> str:
        """Until the process has ended (empty), or why it shall."""
        clock, heard_ns = OffsetEstimator(), self._clock.now_ns()
        while process.exitcode is None:
            if self.stopping.is_set():
                return "told to stop"
            sent_ns = self._clock.now_ns()
            offset = clock.offset
            args = {"session": session} | self._revocations.told() | ({} if offset is None else offset._asdict())
            reply = self._ask("keep", args, KEEP_PERIOD_NS)
            now_ns = self._clock.now_ns()
            if reply is not None and not reply.ok:
                return "the run is over"
            if reply is not None:
                heard_ns = now_ns
                self._revocations.take(reply.result or {}, self._endpoint)
                there_ns = (reply.result or {}).get("t_ns")
                if isinstance(there_ns, int):
                    clock.add(sent_ns, there_ns, now_ns)
            elif now_ns - heard_ns > LOST_NS:
                return f"no word from the run for {LOST_NS / NS_PER_S:.0f} s"
            process.join(max(0, sent_ns + KEEP_PERIOD_NS - now_ns) / NS_PER_S)
        return ""

    def _ask(self, cmd: str, args: dict[str, Any], timeout_ns: int) -> Reply | None:
        """The reply to one question; None if there was none in time, or nobody is there."""
        request = Request(id=uuid.uuid4().hex, role=Role.SERVICE, cmd=cmd, args={"service": self._service} | args)
        deadline_ns = self._clock.now_ns() + timeout_ns
        try:
            self._socket.send(encode_control(request), zmq.NOBLOCK)
        except zmq.Again:
            return None
        while (left_ns := deadline_ns - self._clock.now_ns()) > 0 and not self.stopping.is_set():
            if not self._socket.poll(min(_POLL_MS, left_ns // NS_PER_MS + 1)):
                continue
            try:
                reply = decode_reply(self._socket.recv_multipart()[-1])
            except MessageError:
                continue
            if reply.id == request.id:
                return reply
        return None


def _session_of(reply: Reply) -> str:
    setup = (reply.result or {}).get("setup")
    return str(setup.get("session")) if isinstance(setup, dict) else ""
