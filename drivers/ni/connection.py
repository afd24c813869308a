"""Tasks of one NI card, in this computer or behind a gRPC server, and what NI says in our words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from rt_engine.interfaces.errors import DeviceError

DEADLINE_S = 2.0
"""Longest time that a call to a remote card may take: a dead network is an error, not a stop of the loop."""
OLDEST_DRIVER = 20
_INSTALL = "install NI-DAQmx from ni.com, or name a gRPC server with the card (`server: host:port`)"
_REMEDIES = {
    -200220: "look up the name of the device in NI MAX or Hardware Configuration Utility, and write it to `device`",
    -200170: "the card has no such channel; compare with its pinout",
    -50103: "another program uses it: close NI MAX test panels and the microscope's own program, or take another one",
    -200561: "the voltage is beyond the range of the channel; correct `max_v` or the power table",
    -201003: "check the cable and the power of the device, then `spikeloop ctl reset` and arm again",
    -200045: "plug the device in again, then `spikeloop ctl reset` and arm again",
    -200016: "lower `sample_rate_hz`, or use a counter",
    -200018: "lower `sample_rate_hz`, or use a counter",
    -200621: "lower `sample_rate_hz`, or use a counter",
    -200678: "the loop was not fast enough to feed it; look at the latencies, then reset and arm again",
    -200644: "the loop was not fast enough to feed it; look at the latencies, then reset and arm again",
    -200662: "this card has no watchdog: a pulse could outlive the program; use an X Series card",
    -200668: "the card bears another `watchdog_ms`; see its manual",
    -201476: "a chassis starts its watchdog before any other task: end what else runs on it, then arm again",
    -201477: "a chassis starts its watchdog before any other task: end what else runs on it, then arm again",
    -50405: "the device was reset or slept: switch off power saving of its slot or port, then reset and arm again",
    -200089: "another run that has not ended has a task of this name: end it, or start the server anew",
    -89120: "there is no such terminal; compare with the card's device routes in NI MAX",
}
_LOOK_UP = (
    "look up error {code} in NI MAX or on ni.com; `spikeloop doctor RIG` tells what of the card is as it should be"
)
_NEWER = "the NI-DAQmx driver is older than its package: install NI-DAQmx 20{oldest} or later from ni.com"
_ANY_SERVER = "look at the log of the NI gRPC Device Server and start it anew; `spikeloop doctor RIG` tries it out"
_GRPC_REMEDIES = {
    "UNAVAILABLE": "start the NI gRPC Device Server there, and check address, port and firewall",
    "UNIMPLEMENTED": "upgrade NI gRPC Device Server and NI-DAQmx on that computer",
    "DEADLINE_EXCEEDED": "the network or the computer with the card is too slow or hangs",
}


class NiConnection:
    """One card for one part of the rig.

    Parameters
    ----------
    name : str
        Of the output or input, for messages and for the names of tasks.
    device : str
        Like ``Dev1``.
    server : str or None
        ``host:port`` of a gRPC Device Server; None for a card in this computer.
    """

    def __init__(self, name: str, device: str, server: str | None) -> None:
        self.name, self.device, self.server = name, device, server
        self._channel: Any = None
        self.versions: dict[str, str] = {}

    def open(self) -> None:
        """Find the card.

        Raises
        ------
        DeviceError
            The package or driver is missing or too old, the server does not answer, there is no such device.
        """
        try:
            import nidaqmx.system
        except ImportError as error:
            raise DeviceError(
                self.name, "the package nidaqmx is missing", 'pip install "spikeloop[hardware]"'
            ) from error
        if self.server is not None and self._channel is None:
            self._channel = _connected(self.server)
        with self.errors(self.device):
            system = nidaqmx.system.System.remote(self._options()) if self.server else nidaqmx.system.System.local()
            names = list(system.devices.device_names)
            major, minor, update = system.driver_version
        if major < OLDEST_DRIVER:
            text = f"NI-DAQmx 20{major:02d} is too old" if major else "does not tell the version of its driver"
            raise DeviceError(self.name, text, f"install NI-DAQmx 20{OLDEST_DRIVER} or later")
        if self.device not in names:
            there = ", ".join(names) or "none"
            raise DeviceError(self.name, f"there is no device {self.device} (there: {there})", _REMEDIES[-200220])
        found = self.describe()
        self.versions = {
            "NI-DAQmx": f"20{major:02d}.{minor}.{update}" + (f" at {self.server}" if self.server else ""),
            self.device: f"{found['model']}, serial {found['serial']}",
        }

    def close(self) -> None:
        """Leave the server."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def task(self, role: str) -> Any:
        """A new `nidaqmx.Task`; one that a dead process has left under this name is ended first."""
        import nidaqmx

        name = f"spikeloop-{self.name}-{role}"
        return self._fresh(lambda: nidaqmx.Task(name, grpc_options=self._options(name)))

    def watchdog(self, timeout_s: float, lines: list[str], role: str = "watchdog") -> Any:
        """A new `nidaqmx.system.WatchdogTask` that makes lines low."""
        from nidaqmx.constants import Level
        from nidaqmx.system import WatchdogTask
        from nidaqmx.types import DOExpirationState

        name = f"spikeloop-{self.name}-{role}"
        task = self._fresh(lambda: WatchdogTask(self.device, name, timeout_s, grpc_options=self._options(name)))
        states = [DOExpirationState(physical_channel=self.path(line), expiration_state=Level.LOW) for line in lines]
        with ExitStack() as undo:
            undo.callback(self.end, task)
            task.cfg_watchdog_do_expir_states(states)
            undo.pop_all()
        return task

    def forget(self, role: str) -> None:
        """End what a dead process has left on the server under this name; in this computer nothing outlives it."""
        if self._channel is not None:
            self.end(self.task(role))

    def end(self, task: Any) -> None:
        """Release a task; one whose card is gone is only forgotten."""
        with suppress(DeviceError), self.errors(self.device):
            task.close()
        task._close_on_exit = False

    def path(self, channel: str) -> str:
        """``Dev1/ao0`` of ``ao0``."""
        return f"{self.device}/{channel}"

    def terminal(self, terminal: str) -> str:
        """``/Dev1/PFI0`` of ``PFI0``."""
        return f"/{self.device}/{terminal}"

    def describe(self) -> dict[str, Any]:
        """Model and channels of the card, for a person.

        Raises
        ------
        DeviceError
            It does not answer.
        """
        from nidaqmx.system import Device

        with self.errors(self.device):
            device = Device(self.device, grpc_options=self._options()) if self.server else Device(self.device)
            return {
                "model": str(device.product_type),
                "serial": f"{device.serial_num:X}",
                "lines": [name.partition("/")[2] for name in device.do_lines.channel_names],
                "analog": [name.partition("/")[2] for name in device.ao_physical_chans.channel_names],
                "counters": [name.partition("/")[2] for name in device.co_physical_chans.channel_names],
                "terminals": [name.rpartition("/")[2] for name in device.terminals],
                "read_lines": [name.partition("/")[2] for name in device.di_lines.channel_names],
                "inputs": [name.partition("/")[2] for name in device.ai_physical_chans.channel_names],
            }

    @contextmanager
    def errors(self, channel: str) -> Iterator[None]:
        """What NI says inside, as a DeviceError that names device, channel and remedy."""
        from nidaqmx import errors

        where = self.device if channel == self.device else f"{self.device} {channel}"
        try:
            yield
        except errors.RpcError as error:
            code = getattr(error.rpc_code, "name", str(error.rpc_code))
            text = f"{where} at {self.server}: {_first_line(error)} ({code})"
            raise DeviceError(self.name, text, _GRPC_REMEDIES.get(code, _ANY_SERVER)) from error
        except errors.DaqError as error:
            text = f"{where}: {_first_line(error)} (NI-DAQmx {error.error_code})"
            remedy = _REMEDIES.get(error.error_code, _LOOK_UP.format(code=error.error_code))
            raise DeviceError(self.name, text, remedy) from error
        except errors.DaqFunctionNotSupportedError as error:
            remedy = _NEWER.format(oldest=OLDEST_DRIVER)
            raise DeviceError(self.name, f"{where}: {_first_line(error)}", remedy) from error
        except errors.Error as error:
            raise DeviceError(self.name, f"{where}: {_first_line(error)}", _INSTALL) from error

    def _options(self, session: str = "") -> Any:
        if self._channel is None:
            return None
        from nidaqmx import GrpcSessionOptions

        return GrpcSessionOptions(self._channel, session)

    def _fresh(self, make: Callable[[], Any]) -> Any:
        task = make()
        if self._channel is not None and not task._close_on_exit:
            task.close()
            task = make()
        return task


def _first_line(error: Exception) -> str:
    """What happened, without the table of codes below it."""
    text = " ".join(str(error).split("\n\n")[0].split())
    return text.removeprefix("StatusCode.UNAVAILABLE: ")


def _connected(server: str) -> Any:
    """A channel whose calls all end in time."""
    import grpc

    class Deadline(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            return continuation(details._replace(timeout=DEADLINE_S), request)

    # A connection of its own: one that is shared would go on waiting after the failures of the one before.
    channel = grpc.insecure_channel(server, options=[("grpc.use_local_subchannel_pool", 1)])
    return grpc.intercept_channel(channel, Deadline())
