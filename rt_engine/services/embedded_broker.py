"""A small MQTT broker on loopback, in a process of its own: for the demo and for tests, not for a rig.

It lets everybody in, so it listens on 127.0.0.1 alone. A rig has a real broker (mosquitto) with names and passwords.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import multiprocessing
import signal
from multiprocessing.connection import Connection, wait
from types import TracebackType

from rt_engine.interfaces.errors import ConfigError, ServiceError

_START_S = 30.0


class EmbeddedBroker:
    """Runs while the `with` block does.

    Parameters
    ----------
    port : int
        Of 127.0.0.1.

    Raises
    ------
    ConfigError
        The library is not installed.
    """

    def __init__(self, port: int) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise ConfigError("the embedded MQTT broker is not installed", 'pip install "spikeloop[mqtt]"')
        self.port = port
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(port, theirs), name="spikeloop-broker", daemon=True)
        self._theirs: Connection | None = theirs

    def __enter__(self) -> EmbeddedBroker:
        """Start it, and wait until it listens."""
        self._process.start()
        if self._theirs is not None:
            self._theirs.close()
            self._theirs = None
        wait([self._ours, self._process.sentinel], _START_S)
        try:
            ready = self._ours.poll() and self._ours.recv_bytes() == b"ready"
        except EOFError:
            ready = False
        if not ready:
            self.__exit__(None, None, None)
            raise ServiceError(f"no MQTT broker could be started at 127.0.0.1:{self.port}", "is the port taken?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._ours.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(5)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.join(5)


def _serve(port: int, link: Connection) -> None:
    """Body of the process: until the other end of `link` is closed, or gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_broker(port, link))


async def _broker(port: int, link: Connection) -> None:
    from amqtt.broker import Broker
    from amqtt.errors import BrokerError

    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    try:
        await broker.start()
    except BrokerError:
        return  # the other end sees that nobody is ready
    link.send_bytes(b"ready")
    while not link.poll():
        await asyncio.sleep(0.1)
    await broker.shutdown()
