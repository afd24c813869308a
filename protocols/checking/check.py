"""The static check as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.checking.findings import Finding
from protocols.checking.light import check_light, raise_first
from protocols.checking.logic import check_logic
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.rig_config import Limits


def check_protocol(config: ProtocolConfig, limits: Mapping[str, Limits]) -> list[Finding]:
    """Everything that can be said of a protocol before it runs.

    Parameters
    ----------
    config : ProtocolConfig
        Its references have been checked.
    limits : mapping of str to Limits
        Output name to the rig's limits.

    Returns
    -------
    list of Finding
        Errors, warnings and proofs.
    """
    return [*check_logic(config), *check_light(config, limits)]


def check_against_limits(config: ProtocolConfig, limits: Mapping[str, Limits], file: str = "") -> None:
    """Refuse what can never hold, and what the interlock could never let pass.

    Parameters
    ----------
    config : ProtocolConfig
    limits : mapping of str to Limits
        Output name to the rig's limits.
    file : str
        Protocol file, for the message.

    Raises
    ------
    ConfigError
        Naming the key, its value and the limit.
    """
    raise_first(iter(check_protocol(config, limits)), file)
