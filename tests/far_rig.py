"""One rig over several computers: network namespaces of this one, each with a clock of its own, and a router between.

Links are cut at the router, or made bad there: slow by `tc`, late and lossy by `bad_link.py`, for `tc netem` is not in
every kernel. Clocks differ truly: each is a time namespace, whose CLOCK_MONOTONIC is set off by whole seconds. Linux
and root alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from system_rig import command

from rt_engine.interfaces.clock import NS_PER_S

HOSTS = {"rig": 1, "acquisition": 2, "inference": 3, "stimulation": 4, "inference.0": 5, "inference.1": 6}
"""Computer -> the third number of its address."""
AHEAD_S = {
    **{"rig": 0, "acquisition": 5000, "inference": 90_000, "stimulation": 300},
    **{"inference.0": 2000, "inference.1": 70_000},
}
"""How far the clock of each is ahead of that of this computer."""
CAN_RUN = all(shutil.which(tool) for tool in ("ip", "unshare", "nsenter")) and getattr(os, "geteuid", lambda: 1)() == 0
DEADLINE_S = 600.0
_TABLE = "78"
"""Routes of what goes through a bad link."""


def address(host: str) -> str:
    """Address of a computer."""
    return f"10.78.{HOSTS[host]}.2"


class Network:
    """Computers on a router."""

    def __init__(self) -> None:
        self._prefix = f"far{os.getpid()}"
        self._bad_link: subprocess.Popen[bytes] | None = None

    def name(self, host: str) -> str:
        """Network namespace of a computer, or of the ``router``."""
        return f"{self._prefix}-{host}"

    def open(self) -> None:
        """Make the computers, the router, and a cable to each."""
        for host in ("router", *HOSTS):
            self.ip("netns", "add", self.name(host))
            self.ip("-n", self.name(host), "link", "set", "lo", "up")
        self.at("router", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for host, number in HOSTS.items():
            far, near = self.name(host), self.name("router")
            self.ip("link", "add", "eth", "netns", far, "type", "veth", "peer", "name", f"to-{number}", "netns", near)
            for where, link, last in ((far, "eth", 2), (near, f"to-{number}", 1)):
                self.ip("-n", where, "address", "add", f"10.78.{number}.{last}/24", "dev", link)
                self.ip("-n", where, "link", "set", link, "up")
            self.ip("-n", far, "route", "add", "default", "via", f"10.78.{number}.1")

    def close(self) -> None:
        """Take all of it away."""
        self._end_bad_link()
        for host in ("router", *HOSTS):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.ip("netns", "del", self.name(host))

    def cut(self, one: str, other: str) -> None:
        """No packet passes between two computers any more; nobody is told."""
        self._rules("add", one, other)

    def heal(self, one: str, other: str) -> None:
        """As before `cut`."""
        self._rules("del", one, other)

    def slow(self, host: str, bit_per_s: int) -> None:
        """Everything that comes to a computer comes at this rate, or after two seconds never."""
        words = ("root", "tbf", "rate", f"{bit_per_s}bit", "burst", "1600", "latency", "2s")
        self.at("router", "tc", "qdisc", "replace", "dev", f"to-{HOSTS[host]}", *words)

    def worsen(self, host: str, delay_ms: float, jitter_ms: float, lost: float) -> None:
        """Everything that comes to a computer comes late, in another order, or, a share `lost` of it, never."""
        program = [sys.executable, str(Path(__file__).with_name("bad_link.py")), "bad"]
        line = ["ip", "netns", "exec", self.name("router"), *program, str(delay_ms), str(jitter_ms), str(lost)]
        self._bad_link = subprocess.Popen(line, stdout=subprocess.PIPE)
        assert self._bad_link.stdout is not None
        assert self._bad_link.stdout.readline(), "the bad link did not begin"
        router, to = self.name("router"), address(host)
        self.ip("-n", router, "link", "set", "bad", "up")
        self.ip("-n", router, "route", "add", "default", "dev", "bad", "table", _TABLE)
        self.ip("-n", router, "rule", "add", "pref", "10", "to", to, "iif", "bad", "lookup", "main")
        self.ip("-n", router, "rule", "add", "pref", "11", "to", to, "lookup", _TABLE)

    def mend(self, host: str) -> None:
        """As before `slow` or `worsen`."""
        if self._bad_link is None:
            self.at("router", "tc", "qdisc", "del", "dev", f"to-{HOSTS[host]}", "root")
            return
        for pref in ("11", "10"):
            self.ip("-n", self.name("router"), "rule", "del", "pref", pref)
        self._end_bad_link()

    def _end_bad_link(self) -> None:
        """What it still holds is lost; its device, and the route by it, go with it."""
        link, self._bad_link = self._bad_link, None
        if link is not None and link.stdout is not None:
            link.kill()
            link.wait()
            link.stdout.close()

    def _rules(self, action: str, one: str, other: str) -> None:
        for a, b in ((one, other), (other, one)):
            words = ("rule", action, "from", address(a), "to", address(b), "blackhole")
            self.ip("-n", self.name("router"), *words)

    def ip(self, *words: str) -> None:
        """One command of iproute2."""
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def at(self, host: str, *words: str) -> None:
        """A command on one of them, to its end."""
        subprocess.run(["ip", "netns", "exec", self.name(host), *words], check=True, capture_output=True)

    def line(self, host: str, *words: str | Path) -> list[str]:
        """Command line of `spikeloop` on one of them, in its own time."""
        ahead = ("unshare", "--time", "--monotonic", str(AHEAD_S[host]), "--fork", "--kill-child=INT")
        return ["ip", "netns", "exec", self.name(host), *ahead, *command(*words)]


class FarRun:
    """A run over the network, with everything that it consists of."""

    def __init__(self, network: Network, folder: Path, rig: Path, far: tuple[str, ...]) -> None:
        self.network, self.folder, self.rig = network, folder, rig
        self.session = folder / "session"
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._far = far

    def start(self, *arguments: str | Path) -> None:
        """Start the keepers, each with files of its own, then the run."""
        for service in self._far:
            there = self.computer(service)
            shutil.copytree(self.rig.parent / "keys", there / "keys")
            rig = shutil.copyfile(self.rig, there / self.rig.name)
            self._start(service, service, "serve", rig, "--service", service, "--output", there)
        self._start("run", "rig", "run", self.rig, "--output", self.session, "--no-gui", *arguments)

    def computer(self, service: str) -> Path:
        """Folder with the rig file, the keys and the sessions of the computer that carries a service."""
        return self.folder / f"at-{service}"

    def _start(self, name: str, host: str, *words: str | Path) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._programs[name] = subprocess.Popen(self.network.line(host, *words), stdout=log, stderr=log)

    def ctl(self, *words: str) -> dict[str, Any] | None:
        """Result of `spikeloop ctl` where the run was started; None if it failed."""
        line = self.network.line("rig", "ctl", *words, "--rig", self.rig)
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def until(self, what: str, done: Any) -> dict[str, Any]:
        """Ask for the status until `done` says yes."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            if self._programs["run"].poll() is not None:
                raise RuntimeError(f"the run ended while waiting for {what}:\n{self.said()}")
            status = self.ctl("status")
            if status is not None and done(status):
                return status
        raise TimeoutError(f"{what} did not come:\n{self.said()}")

    def wait(self) -> int:
        """Exit code of the run."""
        return self._programs["run"].wait(DEADLINE_S)

    def said(self, name: str = "") -> str:
        """What one of the programs printed, or all of them."""
        names = [name] if name else list(self._programs)
        return "\n".join(f"== {one}\n" + (self.folder / f"{one}.log").read_text(errors="replace") for one in names)

    def close(self) -> None:
        """End what still runs, the run last."""
        for program in reversed(self._programs.values()):
            if program.poll() is None:
                program.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.wait(40)
            program.kill()
            program.wait()


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Computers for as long as the `with` block."""
    made = Network()
    try:
        made.open()
        yield made
    finally:
        made.close()


def true_offset_ns(host: str) -> int:
    """What topic `clock` should tell of a computer: ``rig = host + offset``."""
    return (AHEAD_S["rig"] - AHEAD_S[host]) * NS_PER_S
