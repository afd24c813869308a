"""Which key a command or a window shows to a rig."""

from __future__ import annotations

import os
from pathlib import Path

import zmq

from rt_engine.interfaces.control import Role
from rt_engine.transport.key_store import ClientKey, KeyStore, read_client_key
from rt_engine.transport.security import secure_client

KEY_VARIABLE = "SPIKELOOP_KEY"


def secure_from_command(
    context: zmq.Context[zmq.Socket[bytes]], key_file: str | None, keys_folder: str | None
) -> ClientKey | None:
    """Secure the context of a client, before it makes sockets; None where the rig has no keys and none was given.

    Parameters
    ----------
    context : zmq.Context
    key_file : str or None
        As given to the command; None looks at ``$SPIKELOOP_KEY``.
    keys_folder : str or None
        Of the rig file. Whoever may read the rig's own key there needs no other.

    Raises
    ------
    ConfigError
        The key cannot be used.
    """
    name = key_file or os.environ.get(KEY_VARIABLE)
    if name:
        key = read_client_key(Path(name))
    elif keys_folder is not None:
        rig = KeyStore(Path(keys_folder)).rig_key()
        key = ClientKey("rig", Role.SERVICE, rig.public, rig.secret, rig.public)
    else:
        return None
    secure_client(context, key)
    return key
