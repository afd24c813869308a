"""What the five services share: their loop, their link to the supervisor, their health."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import psutil
import zmq

from rt_engine.interfaces.clock import NS_PER_S, Clock, MonotonicClock
from rt_engine.interfaces.control import Request, Role, encode_control
from rt_engine.interfaces.errors import MessageError, SpikeloopError
from rt_engine.interfaces.messages import HealthHeader, LogHeader
from rt_engine.services.file_exchange import FileDesk
from rt_engine.services.host_clocks import ClockListener
from rt_engine.services.setup import Setup
from rt_engine.transport.control import answer
from rt_engine.transport.gate import SECRET
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.refusals import Refusals
from rt_engine.transport.security import secure_rig
from rt_engine.transport.sockets import connect

HEALTH_PERIOD_NS = NS_PER_S // 10
ANNOUNCE_PERIOD_NS = NS_PER_S

Command = Callable[[dict[str, Any]], dict[str, Any]]


class Service:
    """One process of the rig.

    A subclass gives `source` (name on the wire), `port` (field of `Ports` it publishes on, see `publishes_at`), fills
    `commands`, registers its sockets with `poller` in `open`, and does its work in `step`.
    """

    source = ""
    port = ""
    io_threads = 1
    held_bytes = 0
    """Memory that its process takes at the start and keeps for messages that wait (`hold_memory`)."""

    def __init__(self, setup: Setup, clock: Clock | None = None) -> None:
        self.setup = setup
        self.rig = setup.rig_config()
        self.clock: Clock = clock or MonotonicClock()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(self.io_threads)
        self.guard = secure_rig(self.context, self.rig.keys)
        self.refusals = self.guard.refusals if self.guard is not None else Refusals(self.clock)
        self.poller = zmq.Poller()
        self.commands: dict[str, Command] = {"shutdown": self._shutdown, "describe": self._describe}
        if setup.far:
            files = FileDesk(setup.path())
            self.commands |= {"take_file": files.take, "give_file": files.give}
        self.state = "starting"
        self.refused: list[str] = []  # of the wishes in `scheduling`, in words; told with the first announcement
        self.dropped = self.gaps = self.late = self.queue = 0
        self.stopping = threading.Event()
        self._health_due_ns = self._announce_due_ns = 0
        self._process = psutil.Process()
        self.publisher = self.make_publisher()
        self._supervisor = connect(self.context, zmq.DEALER, self.rig.ports.endpoint("control"))
        self.poller.register(self._supervisor, zmq.POLLIN)

    def make_publisher(self) -> Publisher:
        """The socket that everybody may hear, and the path to the recorder."""
        return Publisher(
            self.context,
            self.publishes_at(),
            self.rig.ports.endpoint("recorder_inlet") if self.setup.recorded else None,
            source=self.source,
            session=self.setup.session,
            clock=self.clock,
            lossless=self.setup.lossless,
            interrupted=self.stopping.is_set,
        )

    def publishes_at(self) -> str:
        """Endpoint of the PUB socket."""
        return self.rig.ports.endpoint(self.port)

    def listen_to_clocks(self, *upstream: str) -> ClockListener | None:
        """Who puts times of those services (names on the wire) into ours; None where all live on this computer."""
        ports = self.rig.ports
        if all(ports.host_of(one) == ports.host_of(self.source) for one in upstream):
            return None
        listener = ClockListener(self.context, ports, self.source, self.clock, upstream)
        self.poller.register(listener.socket, zmq.POLLIN)
        return listener

    def open(self) -> None:
        """Make sockets and devices ready; raises errors of our tree."""

    def step(self, ready: dict[Any, int]) -> None:
        """Handle what the poller found; called at least every `poll_ms`."""

    def finish(self) -> None:
        """Bring everything to rest; called once, also after an error. Must not raise."""

    def is_ready(self) -> bool:
        """True once everything upstream has been heard."""
        return True

    def latency_ms(self) -> dict[str, dict[str, float]]:
        """Intervals for `health`."""
        return {}

    def fates(self) -> dict[str, int]:
        """How many frames met which fate, for `health`."""
        return {}

    poll_ms = 20

    def run(self) -> int:
        """Work until told to stop; returns the exit code of the process."""
        try:
            self.open()
            # Not as a `log`, which nobody would hear this early.
            self.announce("waiting", refused=self.refused)
            while not self.stopping.is_set():
                ready = dict(self.poller.poll(self.poll_ms))
                self.step(ready)
                if self._supervisor in ready:
                    self._serve_supervisor()
                self._health_if_due()
                self._log_refused()
            return 0
        except SpikeloopError as error:
            self.announce("failed", error)
            return error.exit_code
        finally:
            self.finish()
            self.publisher.close()
            self._supervisor.close(linger=500)
            if self.guard is not None:
                self.guard.close()
            self.context.destroy(linger=500)

    def announce(self, state: str, error: SpikeloopError | None = None, **facts: Any) -> None:
        """Tell the supervisor a new state, with the facts that go with it."""
        self.state = state
        args = {"service": self.setup.service, "state": state, **facts}
        if error is not None:
            args |= {
                "error": error.message or type(error).__name__,
                "remedy": error.remedy,
                "exit_code": error.exit_code,
            }
        request = Request(id="", role=Role.SERVICE, cmd="announce", args=args | {SECRET: self.setup.secret})
        self._supervisor.send(encode_control(request))

    def _announce_again(self, now_ns: int) -> None:
        """Say once more who we are: after a link was lost we come to the supervisor by another connection.

        Until it knows, its commands (a reset, an arming) would go to the one that is gone.
        """
        self._announce_due_ns = now_ns + ANNOUNCE_PERIOD_NS
        args = {"service": self.setup.service, "state": self.state, SECRET: self.setup.secret}
        request = Request(id="", role=Role.SERVICE, cmd="announce", args=args)
        with contextlib.suppress(zmq.Again):  # nobody takes it at the moment; there is a next time
            self._supervisor.send(encode_control(request), zmq.NOBLOCK)

    def log(self, level: str, text: str, **fields: Any) -> None:
        """Publish a sentence for people."""
        header = LogHeader(**self.publisher.stamp("log"), level=level, text=text, fields=fields)
        self.publisher.send("log", header)
        self.told(header)

    def told(self, header: HealthHeader | LogHeader) -> None:
        """For whoever wants what this service itself publishes: it does not hear its own socket."""

    def _log_refused(self) -> None:
        """Who was turned away at our sockets, or refused what he asked for."""
        for text in self.refusals.take():
            self.log("warning", text)

    def _serve_supervisor(self) -> None:
        while self._supervisor.poll(0):
            body = self._supervisor.recv_multipart()
            self._supervisor.send(encode_control(answer(body, self.handle)))

    def handle(self, request: Request) -> dict[str, Any]:
        """Carry out one command."""
        command = self.commands.get(request.cmd)
        if command is None:
            raise MessageError(f"{self.source} does not know the command {request.cmd!r}")
        return command(request.args)

    def _health_if_due(self) -> None:
        now_ns = self.clock.now_ns()
        if now_ns < self._health_due_ns:
            return
        self._health_due_ns = now_ns + HEALTH_PERIOD_NS
        if self.state == "waiting" and self.is_ready():
            self.announce("ready")
        elif now_ns >= self._announce_due_ns:
            self._announce_again(now_ns)
        header = HealthHeader(
            **self.publisher.stamp("health"),
            state=self.state,
            dropped=self.dropped + self.publisher.n_dropped,
            gaps=self.gaps,
            late=self.late,
            queue=self.queue,
            rss_bytes=self._process.memory_info().rss,
            latency_ms=self.latency_ms(),
            fates=self.fates(),
        )
        self.publisher.send("health", header)
        self.told(header)

    def _shutdown(self, args: dict[str, Any]) -> dict[str, Any]:
        self.stopping.set()
        return {}

    def _describe(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"service": self.setup.service, "state": self.state, "commands": sorted(self.commands)}
