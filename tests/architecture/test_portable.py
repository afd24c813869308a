"""Rig computers mostly run Windows: what exists on one system only stays out of what all of them run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("rt_engine", "drivers", "protocols", "gui") for path in (ROOT / folder).rglob("*.py")
)
MODULES = {"fcntl", "termios", "pwd", "grp", "pty", "resource", "posix", "msvcrt", "winreg"}
CALLS = {"fork", "forkpty", "killpg", "kill", "add_signal_handler", "setrlimit", "sched_setaffinity", "setsid"}
SIGNALS = {"SIGTERM", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCONT", "SIGPIPE"}
ALLOWED = {
    ("rt_engine/services/doctor/real_time.py", "resource"): "asked on Linux only: the right to real-time priority",
}


def _found(path: Path) -> set[str]:
    """Everything in a file that not every system has."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names} & MODULES
            case ast.ImportFrom(module=str(module)):
                found |= {module} & MODULES
            case ast.Attribute(value=ast.Name(id="os"), attr=name):
                found |= {name} & CALLS
            case ast.Attribute(attr=name):
                found |= {name} & (SIGNALS | {"add_signal_handler"})
            case ast.Constant(value=str(text)):
                found |= {"ipc://"} if text.startswith("ipc://") else set()
                found |= {"fork"} if text in ("fork", "forkserver") else set()
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shared_paths_use_what_every_system_has(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = {one for one in _found(path) if (name, one) not in ALLOWED}
    assert found == set(), f"{name}: not on every system; guard it, and say why in ALLOWED"


def test_what_is_allowed_is_still_there() -> None:
    for name, one in ALLOWED:
        assert one in _found(ROOT / name), f"{name} does not use {one} any more"


@pytest.mark.parametrize("code", [
    "import fcntl", "from resource import getrlimit", "import os\nos.fork()", "import os\nos.kill(1, 9)",
    "import signal\nsignal.signal(signal.SIGTERM, None)", "s.bind('ipc://x')", "get_context('fork')",
])  # fmt: skip
def test_each_kind_is_found(code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")
    assert _found(tmp_path / "bad.py")
