"""The supervisor: starts the five services, watches them, carries commands to them, and stops them in order."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import secrets
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import zmq

from rt_engine.interfaces.clock import NS_PER_MS, NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.control import (
    UNUSABLE,
    Reply,
    Request,
    Role,
    decode_reply,
    decode_request,
    encode_control,
    failure,
    failure_of_arguments,
)
from rt_engine.interfaces.errors import ConfigError, MessageError, ServiceError, SpikeloopError
from rt_engine.interfaces.messages import Header, LogHeader, decode, topic_name
from rt_engine.services import far
from rt_engine.services.far import FarService, FarServices
from rt_engine.services.file_exchange import fetch_logs, send_file
from rt_engine.services.process import run_service
from rt_engine.services.scheduling import ONE_THREAD
from rt_engine.services.setup import Setup, service_names
from rt_engine.services.slow_start import START_TIMEOUT_S
from rt_engine.transport.gate import Gate
from rt_engine.transport.loss import SequenceTracker
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.security import secure_rig
from rt_engine.transport.sockets import bind, connect, take_parts

_STOP_ORDER = ("acquisition", "inference", "stimulation", "telemetry", "recording")
"""The source first, so that what is under way comes to its end; the recorder last, so that it sees all of it."""
_BATCH = 256
"""Control messages taken in one turn, so that a flood of them keeps nothing else waiting."""
_TOPICS = ("health", "log", "state", "stim", "spikes.", "rois")

ClientCommand = Callable[[Request], dict[str, Any]]
Listener = Callable[[str, Header, list[bytes]], None]


class Supervisor:
    """Owns the service processes of one session.

    Parameters
    ----------
    setup : Setup
        `service` is ignored.
    on_client : callable
        Carries out a command that came from outside (`spikeloop ctl`, the window).
    on_message : callable
        Is handed every message of the services that a display may want.
    services : sequence of str, optional
        Those that it starts; by default all of the rig.

    Attributes
    ----------
    services : tuple of str
        Names of all services that it starts.
    facts : dict of str to dict
        What every service announced last.
    """

    def __init__(
        self,
        setup: Setup,
        on_client: ClientCommand,
        on_message: Listener,
        clock: Clock | None = None,
        services: Sequence[str] | None = None,
    ) -> None:
        self.clock: Clock = clock or MonotonicClock()
        self._setup = setup = dataclasses.replace(setup, secret=secrets.token_hex(16))
        self._on_client = on_client
        self._on_message = on_message
        self._processes: dict[str, BaseProcess | FarService] = {}
        self._identity: dict[str, bytes] = {}
        self._asked: set[str] = set()
        self._replies: dict[str, Reply] = {}
        self._clients: deque[tuple[bytes, Request]] = deque()
        self._expected_exit: set[str] = set()
        self._answering = False
        self.facts: dict[str, dict[str, Any]] = {}
        self.sequence = SequenceTracker()
        rig = setup.rig_config()
        ports = rig.ports
        self.services = service_names(rig) if services is None else tuple(services)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard = secure_rig(self._context, rig.keys)
        self._gate = Gate(self._guard, secret=setup.secret)
        self._router = bind(self._context, zmq.ROUTER, ports.endpoint("control"))
        self._sub = connect(self._context, zmq.SUB, ports.endpoint("acquisition"), 10_000)
        for name in ("stimulation", "recording", "telemetry"):
            self._sub.connect(ports.endpoint(name))
        for plane in rig.planes_inferred:
            self._sub.connect(ports.inference_endpoint(plane))
        for topic in _TOPICS:
            self._sub.subscribe(topic.encode())
        self.publisher = Publisher(
            self._context,
            ports.endpoint("supervisor"),
            ports.endpoint("recorder_inlet"),
            source="supervisor",
            session=setup.session,
            clock=self.clock,
        )
        self.far = FarServices(setup, self.clock, self.publisher, self._say)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._sub, zmq.POLLIN)

    def start(self, timeout_s: float = START_TIMEOUT_S, on_wait: Callable[[], None] = lambda: None) -> None:
        """Start all services and wait until each is ready; `on_wait` is called again and again meanwhile.

        Raises
        ------
        ServiceError, ConfigError
            One of them failed, with its own words, or took longer than `timeout_s`.
        """
        os.environ.update(ONE_THREAD)
        for name in self.services:
            if name in self.far.services:
                self._processes[name] = self.far.services[name]
            else:
                self.begin(name)
        self.wait_for(lambda: self._all_ready(on_wait), timeout_s, "services to start")

    def begin(self, name: str, folder: str | None = None) -> None:
        """Start the process of one service; also anew, in another folder, where it has been ended."""
        setup = dataclasses.replace(self._setup, service=name, folder=folder or self._setup.folder)
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=run_service, args=(setup,), name=f"spikeloop-{name}")
        process.start()
        self._processes[name] = process
        self.facts.pop(name, None)

    def _all_ready(self, on_wait: Callable[[], None]) -> bool:
        on_wait()
        return all(self.state(name) == "ready" for name in self.services)

    def state(self, service: str) -> str:
        """Last state that a service announced."""
        return str(self.facts.get(service, {}).get("state", "starting"))

    def pids(self) -> dict[str, int]:
        """Process id of every service."""
        return {name: process.pid or 0 for name, process in self._processes.items()}

    def wait_for(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Pump until `done`.

        Raises
        ------
        ServiceError
            A service failed, or `timeout_s` passed.
        """
        deadline_ns = self.clock.now_ns() + int(timeout_s * NS_PER_S)
        while not done():
            self.pump(0.05)
            self.raise_if_failed()
            if self.clock.now_ns() > deadline_ns:
                states = ", ".join(f"{name}: {self.state(name)}" for name in self.services)
                raise ServiceError(f"waited {timeout_s:g} s for {what} ({states})")

    def pump(self, timeout_s: float) -> None:
        """Take in what services and clients have sent, and answer clients."""
        ready = dict(self._poller.poll(int(timeout_s * 1000)))
        if self._router in ready:
            self._take_control()
        if self._sub in ready:
            self._take_messages()
        self._answer_clients()
        self.far.tend()
        for text in self._gate.refusals.take():
            self._say("warning", text)

    def _say(self, level: str, text: str) -> None:
        """To the record, and to whoever watches."""
        header = LogHeader(**self.publisher.stamp("log"), level=level, text=text, fields={})
        self.publisher.send("log", header)
        self._on_message("log", header, [])

    def raise_if_failed(self, optional: tuple[str, ...] = ("telemetry",)) -> None:
        """Raise what a service has failed of.

        Raises
        ------
        ConfigError, ServiceError
            In the words of the service, or that its process has ended by itself.
        """
        for name, process in self._processes.items():
            if name in optional or name in self._expected_exit:
                continue
            facts = self.facts.get(name, {})
            if facts.get("state") == "failed":
                kind = ConfigError if facts.get("exit_code") == 2 else ServiceError
                why = facts.get("error") or f"the {name} service has failed, and did not say why"
                raise kind(str(why), str(facts.get("remedy") or ""))
            if process.exitcode is not None:
                raise ServiceError(
                    f"the {name} service has ended unexpectedly (exit code {process.exitcode})",
                    "what was recorded is kept; its messages stand above",
                )

    def died(self) -> list[str]:
        """Services whose process has ended without having been told to."""
        return [
            name
            for name, process in self._processes.items()
            if process.exitcode is not None and name not in self._expected_exit
        ]

    def request(
        self, service: str, cmd: str, args: dict[str, Any] | None = None, timeout_s: float = 30.0
    ) -> dict[str, Any]:
        """Result of one command to a service.

        Raises
        ------
        ServiceError
            The service refused, is gone, or did not answer within `timeout_s`.
        """
        identity = self._identity.get(service)
        if identity is None:
            raise ServiceError(f"the {service} service is not connected")
        if service in self.far.services and args and "path" in args:
            args = args | {"path": send_file(partial(self.request, service), Path(str(args["path"])))}
        request = Request(id=uuid.uuid4().hex, role=Role.SERVICE, cmd=cmd, args=args or {})
        self._asked.add(request.id)
        self._router.send_multipart([identity, encode_control(request)])
        try:
            self._wait_for_reply(service, request, timeout_s)
            reply = self._replies.pop(request.id)
        finally:
            self._asked.discard(request.id)
        if reply.error is not None:
            kind = (
                ConfigError if reply.error.type in ("ConfigError", "CalibrationError", "MovieError") else ServiceError
            )
            raise kind(reply.error.message, reply.error.remedy)
        return reply.result or {}

    def _wait_for_reply(self, service: str, request: Request, timeout_s: float) -> None:
        deadline_ns = self.clock.now_ns() + int(timeout_s * NS_PER_S)
        while request.id not in self._replies:
            left_ms = (deadline_ns - self.clock.now_ns()) // NS_PER_MS
            if left_ms <= 0 or self._processes[service].exitcode is not None:
                raise ServiceError(f"the {service} service did not answer {request.cmd!r} within {timeout_s:g} s")
            if self._router.poll(min(int(left_ms), 50)):
                self._take_control()
            self._take_messages()
            self._answer_clients()

    def fetch_light_log(self, folder: Path) -> None:
        """Bring the write-ahead log of a stimulation service on another computer home.

        Raises
        ------
        ServiceError
            It does not answer.
        """
        if "stimulation" in self.far.services:
            fetch_logs(partial(self.request, "stimulation"), folder)

    def stop(self, timeout_s: float = 20.0) -> list[str]:
        """Stop all services in order; returns those that had to be ended by force."""
        forced = []
        for name in sorted(self.services, key=lambda name: _STOP_ORDER.index(name.partition(".")[0])):
            process = self._processes.get(name)
            if process is None:
                continue
            self._expected_exit.add(name)
            if process.is_alive() and name in self._identity:
                request = Request(id=uuid.uuid4().hex, role=Role.SERVICE, cmd="shutdown")
                self._router.send_multipart([self._identity[name], encode_control(request)])
                self._wait_for_exit(process, timeout_s)
                if process.is_alive():
                    forced.append(name)
            if process.is_alive():
                process.kill()
            process.join(5)
        return forced

    def close(self) -> None:
        """End whatever still lives, and close the sockets."""
        for name, process in self._processes.items():
            self._expected_exit.add(name)
            if process.is_alive():
                process.kill()
                process.join(5)
        self.publisher.close(linger_ms=0)
        self._router.close()
        self._sub.close()
        if self._guard is not None:
            self._guard.close()
        self._context.destroy(linger=0)

    def _wait_for_exit(self, process: BaseProcess | FarService, timeout_s: float) -> None:
        deadline_ns = self.clock.now_ns() + int(timeout_s * NS_PER_S)
        while process.exitcode is None and self.clock.now_ns() < deadline_ns:
            if self._router.poll(20):
                self._take_control()
            self._take_messages()

    def _take_control(self) -> None:
        for _ in range(_BATCH):
            parts = take_parts(self._router)
            if parts is None:
                break
            sender, *body = parts
            if len(body) != 1:
                continue
            try:
                reply = decode_reply(body[0].bytes)
            except MessageError:
                self._take_request(sender.bytes, body[0])
            else:
                if reply.id in self._asked and self._gate.is_service(body[0]):
                    self._replies[reply.id] = reply

    def _take_request(self, identity: bytes, part: zmq.Frame) -> None:
        request_id = ""
        try:
            request = decode_request(part.bytes)
            request_id = request.id
            request = self._gate.admit(request, part)
        except SpikeloopError as error:
            self._router.send_multipart([identity, encode_control(failure(request_id, error))])
            return
        if request.cmd in far.COMMANDS:
            self._router.send_multipart([identity, encode_control(self._answer_keeper(request))])
            return
        if request.cmd != "announce":
            self._clients.append((identity, request))
            return
        service = str(request.args.get("service"))
        if request.role is not Role.SERVICE or service not in self.services:
            return
        self._identity[service] = identity
        refused = request.args.pop("refused", ())
        for text in refused if isinstance(refused, list) else ():
            self._say("warning", str(text))
        self.facts.setdefault(service, {}).update(request.args)

    def _answer_keeper(self, request: Request) -> Reply:
        try:
            return Reply(id=request.id, ok=True, result=self.far.handle(request))
        except SpikeloopError as error:
            return failure(request.id, error)

    def _answer_clients(self) -> None:
        """Answer what clients have asked, one after the other: a command that waits for a service lets none pass it."""
        if self._answering:
            return
        self._answering = True
        try:
            while self._clients:
                self._answer_client(*self._clients.popleft())
        finally:
            self._answering = False

    def _answer_client(self, identity: bytes, request: Request) -> None:
        try:
            reply = Reply(id=request.id, ok=True, result=self._on_client(request))
        except SpikeloopError as error:
            reply = failure(request.id, error)
        except UNUSABLE as error:
            reply = failure_of_arguments(request, error)
        self._router.send_multipart([identity, encode_control(reply)])

    def _take_messages(self) -> None:
        while (waiting := take_parts(self._sub)) is not None:
            topic, *parts = (part.bytes for part in waiting)
            name = topic.decode(errors="replace")
            try:
                header = decode(name, parts[0] if parts else b"")
            except MessageError:
                continue
            payload = parts[1:]
            self.sequence.see(header.source, header.boot_id, name, header.seq)
            self._on_message(topic_name(name), header, payload)
