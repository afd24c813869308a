"""Where a recorded session is from: its first words, its protocols, the code and the computer that made it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import ConfigError, MessageError
from rt_engine.interfaces.messages import InputHeader, InputKind, SessionHeader
from rt_engine.recording.reader import open_session
from rt_engine.services.session_folder import git_hash, processor, versions


def first_session_header(folder: Path) -> SessionHeader:
    """What the session said of itself at its start.

    Raises
    ------
    ConfigError
        The journal does not say it.
    """
    for message in open_session(folder).messages("session"):
        try:
            header = message.header
        except MessageError:
            continue
        if isinstance(header, SessionHeader):
            return header
    raise ConfigError("its journal holds no `session` message", "recover it first", file=str(folder))


def protocols_loaded(folder: Path) -> list[tuple[str, bool]]:
    """Names of the protocols that a session ran, in the order in which they began, and whether it kept their text."""
    found: list[tuple[str, bool]] = []
    digest: str | None = None
    for message in open_session(folder).messages("input"):
        try:
            header = message.header
        except MessageError:
            continue
        if not isinstance(header, InputHeader) or header.kind is not InputKind.LOAD:
            continue
        if not found or header.name != found[-1][0] or header.sha256 != digest:
            found.append((header.name, header.sha256 is not None))
        digest = header.sha256
    return found


def other_machine(config: dict[str, Any]) -> list[str]:
    """A sentence about a processor that is not that of the recording."""
    then, now = (config.get("machine") or {}).get("processor"), processor()
    if then in (None, now):
        return []
    return [f"recorded on {config.get('host', 'another host')} ({then}), replayed on {socket.gethostname()} ({now})"]


def other_code(header: SessionHeader) -> list[str]:
    """Sentences about code that is not that of the recording."""
    here = git_hash()
    found = []
    if header.git_hash != here:
        found.append(f"recorded by git {header.git_hash or 'unknown'}, replayed by {here or 'unknown'}")
    elif here is not None and here.endswith("-dirty"):
        found.append("recorded and replayed by a working copy with changes that no hash tells of")
    now = versions()
    found += [
        f"{name} {header.versions[name]} then, {now.get(name, 'absent')} now"
        for name in sorted(header.versions)
        if header.versions[name] != now.get(name)
    ]
    return found
