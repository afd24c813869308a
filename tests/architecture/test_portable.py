"""Rig computers mostly run Windows: what exists on one system only stays out of what all of them run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path for folder in ("rt_engine", "drivers", "protocols", "gui") for path in (ROOT / folder).rglob("*.py")
)
MODULES = {
    *{"fcntl", "termios", "tty", "pwd", "grp", "pty", "resource", "posix", "syslog", "spwd", "crypt"},
    *{"msvcrt", "winreg", "winsound", "_winapi"},
}
OF_OS = {
    *{"fork", "forkpty", "posix_spawn", "posix_spawnp", "register_at_fork", "killpg", "kill", "nice", "setsid"},
    *{"setpgrp", "setpgid", "getpgid", "getpgrp", "getuid", "geteuid", "getgid", "getegid", "setuid", "setgid"},
    *{"chown", "mkfifo", "uname", "getloadavg", "openpty", "wait", "wait3", "wait4", "waitid", "sendfile", "statvfs"},
    *{"memfd_create", "eventfd", "sched_setaffinity", "sched_getaffinity", "sched_setscheduler", "sched_param"},
    *{"SCHED_FIFO", "SCHED_RR", "sysconf", "ctermid", "startfile", "O_NONBLOCK", "setrlimit"},
    *{"SCHED_OTHER", "getpriority", "setpriority", "PRIO_PROCESS"},
}
ANYWHERE = {
    *{"SIGTERM", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGSTOP", "SIGCONT", "SIGPIPE", "SIGALRM", "SIGCHLD"},
    *{"SIGQUIT", "SIGTSTP", "SIGBREAK", "CTRL_C_EVENT", "CTRL_BREAK_EVENT"},
    *{"setitimer", "sigwait", "pthread_kill", "pthread_sigmask", "add_signal_handler", "setrlimit"},
    *{"AF_UNIX", "AF_NETLINK", "open_unix_connection", "start_unix_server", "create_unix_server"},
    *{"SO_REUSEPORT", "epoll", "kqueue", "clock_gettime", "clock_gettime_ns"},
}
ARGUMENTS = {"preexec_fn", "pass_fds", "start_new_session", "process_group", "creationflags"}
FOLDERS = ("/tmp", "/dev", "/proc", "/sys", "/var", "/run", "/etc", "/usr", "/home", "/mnt")
_LINUX_ONLY, _BY_SYSTEM = "on Linux only", "each system gets the one it knows, and ignores the other"
ALLOWED = {
    ("gui/job.py", "creationflags"): _BY_SYSTEM,
    ("gui/job.py", "start_new_session"): _BY_SYSTEM,
    ("rt_engine/commands/window_process.py", "creationflags"): _BY_SYSTEM,
    ("rt_engine/commands/window_process.py", "start_new_session"): _BY_SYSTEM,
    ("rt_engine/bench/loop/soak.py", "getloadavg"): "asked for with hasattr",
    ("rt_engine/services/doctor/real_time.py", "/sys/"): f"{_LINUX_ONLY}: the governor of the processor",
    ("rt_engine/services/scheduling.py", "sched_setscheduler"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "sched_param"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "SCHED_FIFO"): _LINUX_ONLY,
    ("rt_engine/transport/shared_segments.py", "/dev/"): f"{_LINUX_ONLY}: what room there is, and who left memory",
    ("rt_engine/transport/shared_segments.py", "fcntl"): f"{_LINUX_ONLY}: who lives holds his segment",
    ("rt_engine/services/scheduling.py", "SCHED_OTHER"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "sched_setaffinity"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "getpriority"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "setpriority"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "PRIO_PROCESS"): _LINUX_ONLY,
    ("rt_engine/services/scheduling.py", "/proc/"): f"{_LINUX_ONLY}: the threads of a process",
    ("rt_engine/services/session_folder.py", "/proc/"): "where there is such a file: the name of the processor",
}


def _found(path: Path) -> set[str]:
    """Everything in a file that not every system has."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    is_os = {alias.asname or alias.name for node in imports for alias in node.names if alias.name == "os"}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                found |= {alias.name.partition(".")[0] for alias in node.names} & MODULES
            case ast.ImportFrom(module=str(module), names=names):
                found |= {module.partition(".")[0]} & MODULES
                found |= {alias.name for alias in names} & (ANYWHERE | (OF_OS if module == "os" else set()))
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in is_os and attribute in OF_OS:
                found.add(attribute)
            case ast.Attribute(attr=name):
                found |= {name} & ANYWHERE
            case ast.keyword(arg=str(name)):
                found |= {name} & ARGUMENTS
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found |= _found_in(text)
    return found


def _found_in(text: str) -> set[str]:
    """What a string names; a docstring is none."""
    found = {"ipc://"} if "ipc://" in text else set()
    found |= {"fork"} if text in ("fork", "forkserver") else set()
    return found | {f"{one}/" for one in FOLDERS if text == one or text.startswith(f"{one}/")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_shared_paths_use_what_every_system_has(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    found = {one for one in _found(path) if (name, one) not in ALLOWED}
    assert found == set(), f"{name}: not on every system; guard it, and say why in ALLOWED"


def test_what_is_allowed_is_still_there() -> None:
    for name, one in ALLOWED:
        assert one in _found(ROOT / name), f"{name} does not use {one} any more"


@pytest.mark.parametrize("code", [
    "import fcntl", "import termios as t", "from resource import getrlimit", "import os\nos.fork()",
    "import os as o\no.fork()", "from os import fork", "import os\nos.kill(1, 9)", "import os\nos.setsid()",
    "import os\nos.geteuid()", "import signal\nsignal.signal(signal.SIGTERM, None)", "from signal import SIGKILL",
    "import signal\nsignal.raise_signal(signal.SIGUSR1)", "import signal\nsignal.setitimer(0, 1)", "s.bind('ipc://x')",
    "s.bind(f'ipc://{x}')", "at = 'at ipc://x'", "get_context('fork')", "mp.set_start_method(method='fork')",
    "socket.socket(socket.AF_UNIX)", "from socket import AF_UNIX", "asyncio.open_unix_connection(x)",
    "subprocess.Popen(x, preexec_fn=f)", "subprocess.Popen(x, start_new_session=True)", "open('/tmp/x')",
    "Path('/dev/shm') / name", "f'/dev/shm/{name}'", "Path('/tmp')", "open('/proc/self/status')",
])  # fmt: skip
def test_each_kind_is_found(code: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(code, encoding="utf-8")
    assert _found(tmp_path / "bad.py")


@pytest.mark.parametrize("code", [
    "process.kill()", "import os\nos.getpid()", "import signal\nsignal.signal(signal.SIGINT, None)",
    '"""Speaks of ipc:// and of /tmp."""', "get_context('spawn')", "at = '/temperature'", "s.bind('tcp://h:1')",
    "socket.socket(socket.AF_INET)", "subprocess.Popen(x, env=e)", "tempfile.gettempdir()",
])  # fmt: skip
def test_what_every_system_has_is_not_found(code: str, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(code, encoding="utf-8")
    assert not _found(tmp_path / "good.py")
