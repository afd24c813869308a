"""The session folder: made and checked before anything starts, so that nothing can be lost for want of it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import yaml

from rt_engine.interfaces.errors import ConfigError

PROTOCOL_FOLDER = "protocol"
TAKEN_FILE = ".taken"
_PACKAGES = ("spikeloop", "numpy", "scipy", "numba", "pyzmq", "msgspec", "mcap", "h5py")
_DRIVER_PACKAGES = ("nidaqmx", "grpcio", "pyserial", "pymmcore", "mm-test-adapters")


def make_session_folder(output: str | None, rig_name: str, min_free_mb: float) -> Path:
    """A new, writable folder with enough space, taken for this run; `output` or ``sessions/<UTC time>-<rig>``.

    It is taken by a file that only one run can make, `TAKEN_FILE`, which `give_back` removes.

    Raises
    ------
    ConfigError
        It cannot be made or written, belongs to another run, holds a session already, or the disk is nearly full.
    """
    if output is None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
        folder = _unused(Path("sessions") / f"{now}-{rig_name}")
    else:
        folder = Path(output)
    key = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("session_*.mcap")):
            raise ConfigError("already holds a session", "give another folder with --output", file=key)
        _take(folder)
        free_mb = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        raise ConfigError(
            f"the session folder cannot be written: {error.strerror}", "give another with --output", file=key
        ) from error
    if free_mb < min_free_mb:
        give_back(folder)
        raise ConfigError(
            f"only {free_mb:.0f} MB are free, {min_free_mb:.0f} MB are required (recording.min_free_mb)",
            "free some space, or give a folder on another disk with --output",
            file=key,
        )
    return folder


def _take(folder: Path) -> None:
    """Of two runs that begin in one folder at the same instant one makes the file, and the other is refused.

    Raises
    ------
    ConfigError
        Another run has it, or had it and did not end in order.
    OSError
        The folder cannot be written.
    """
    taken = folder / TAKEN_FILE
    try:
        with taken.open("x", encoding="utf-8") as file:
            file.write(f"process {os.getpid()} on {platform.node()}\n")
    except FileExistsError as error:
        raise ConfigError(
            f"is taken by another run ({_taker(taken)})",
            f"give another folder with --output; if that run is gone, delete {taken}",
            file=str(folder),
        ) from error
    if any(folder.glob("session_*.mcap")):  # a run that has ended between the look and the file
        give_back(folder)
        raise ConfigError("already holds a session", "give another folder with --output", file=str(folder))


def _taker(taken: Path) -> str:
    try:
        return taken.read_text(encoding="utf-8").strip() or "which is just beginning"
    except (OSError, UnicodeDecodeError):
        return "which is just beginning"


def give_back(folder: Path) -> None:
    """The run has ended, or does not begin: the folder is nobody's. Whatever it holds stays."""
    with contextlib.suppress(OSError):  # a folder that cannot be written any more: the session in it is what counts
        (folder / TAKEN_FILE).unlink(missing_ok=True)


def _unused(folder: Path) -> Path:
    candidate, n = folder, 1
    while candidate.exists():
        n += 1
        candidate = folder.with_name(f"{folder.name}-{n}")
    return candidate


def write_config(folder: Path, resolved: dict[str, Any]) -> None:
    """Write ``config.yaml``."""
    text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def keep_protocol(folder: Path, protocol: Path | None) -> None:
    """Copy the protocol into the session folder, under its own name, so that a replay needs nothing else."""
    if protocol is not None:
        (folder / PROTOCOL_FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(protocol, folder / PROTOCOL_FOLDER / protocol.name)


def kept_protocol(folder: Path) -> Path | None:
    """The protocol that a session was run with; None if it keeps none."""
    return next(iter(sorted((folder / PROTOCOL_FOLDER).glob("*.yaml"))), None)


def versions() -> dict[str, str]:
    """Versions of Python, the platform, and the packages that decide results."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def driver_packages() -> dict[str, str]:
    """Versions of those packages that talk to devices, as far as they are installed."""
    found = {}
    for package in _DRIVER_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def machine() -> dict[str, Any]:
    """What the run runs on; last bits of a result may depend on the family of the processor."""
    return {
        "processor": processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
    }


def processor() -> str:
    """Name of the processor, as the system tells it."""
    told = Path("/proc/cpuinfo")
    if told.is_file():  # `platform` knows no more than the architecture there
        for line in told.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def git_hash() -> str | None:
    """Commit of the source tree, with ``-dirty`` where it was changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
