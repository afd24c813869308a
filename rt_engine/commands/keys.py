"""`spikeloop keys`: who may see a rig, and who may command it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from rt_engine.commands.parsers import Commands, new_command

if TYPE_CHECKING:
    from rt_engine.transport.key_store import KeyStore

_ROLES = ("viewer", "operator", "source")
_DEFAULT_FOLDER = "keys"


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop keys`."""
    parser = new_command(
        commands, "keys", "Keys of those who may see or command a rig.", "spikeloop keys new anna --role operator"
    )
    parser.add_argument("action", choices=("new", "list", "revoke"), help="new NAME, list, revoke NAME")
    parser.add_argument("name", metavar="NAME", nargs="?", help="of a person, a computer or a program")
    parser.add_argument(
        "--role", choices=_ROLES, help="viewer sees and may trip; source may also mark; operator may all"
    )
    parser.add_argument("--folder", metavar="DIR", default=_DEFAULT_FOLDER, help="as in the rig file (default: keys)")


def execute(arguments: argparse.Namespace) -> int:
    """Make, list or revoke keys.

    Raises
    ------
    ConfigError
        The name or the role is missing or wrong, or the folder cannot be used.
    """
    from pathlib import Path

    from rt_engine.interfaces.control import Role
    from rt_engine.interfaces.errors import ConfigError
    from rt_engine.transport.key_store import KeyStore

    store = KeyStore(Path(arguments.folder))
    if arguments.action == "list":
        if arguments.name:
            raise ConfigError("list takes no name", "spikeloop keys list", key="NAME")
        return _list(store, arguments.folder)
    if not arguments.name:
        raise ConfigError("the name is missing", f"spikeloop keys {arguments.action} NAME", key="NAME")
    if arguments.action == "revoke":
        before = next((one for one in store.readable()[0] if one.name == arguments.name), None)
        client = store.revoke(arguments.name)
        if before is not None and before.revoked_utc is not None:
            sys.stdout.write(f"{client.name} was revoked before, at {client.revoked_utc}\n")
            return 0
        sys.stdout.write(f"{client.name} is refused from now on; what it hears already ends with the session\n")
        return 0
    if arguments.role is None:
        raise ConfigError("the role is missing", f"say one of {', '.join(_ROLES)}", key="--role")
    path = store.new_client(arguments.name, Role(arguments.role))
    sys.stdout.write(
        f"{path}\nTake this file to the computer of {arguments.name}, delete it here, and show it with --key there.\n"
        f"In the rig file: keys: {arguments.folder}\n"
    )
    return 0


def _list(store: KeyStore, folder: str) -> int:
    """Everyone who has a key; 1 if a record cannot be read."""
    clients, wrong = store.readable()
    if not clients and not wrong:
        sys.stdout.write(f"no keys in {folder}; spikeloop keys new NAME --role operator\n")
    for client in clients:
        until = f", revoked {client.revoked_utc}" if client.revoked_utc else ""
        sys.stdout.write(f"{client.name:20} {client.role:9} since {client.created_utc}{until}\n")
    for text in wrong:
        sys.stderr.write(f"spikeloop: {text}\n")
    return 1 if wrong else 0
