"""The static check as a whole."""

from __future__ import annotations

from protocols.checking.findings import Finding
from protocols.checking.light import check_light, raise_first
from protocols.checking.logic import check_lines, check_logic
from protocols.checking.session import check_session
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig


def check_protocol(config: ProtocolConfig, rig: RigConfig) -> list[Finding]:
    """Everything that can be said of a protocol before it runs on a rig.

    Parameters
    ----------
    config : ProtocolConfig
        Its references have been checked.
    rig : RigConfig
        Its outputs with their limits, the limits of its sessions, and its lines; those of a replay are not asked for,
        for its recording may have had others.

    Returns
    -------
    list of Finding
        Errors, warnings and proofs.
    """
    limits = {name: output.limits for name, output in rig.outputs.items()}
    found = [*check_logic(config), *check_light(config, limits), *check_session(config, limits, rig.session_limits)]
    if not isinstance(rig.microscope, ReplayMicroscope):
        found += check_lines(config, rig.inputs)
    return found


def check_against_rig(config: ProtocolConfig, rig: RigConfig, file: str = "") -> None:
    """Refuse what can never hold, and what the interlock could never let pass.

    Parameters
    ----------
    config : ProtocolConfig
    rig : RigConfig
    file : str
        Protocol file, for the message.

    Raises
    ------
    ConfigError
        Naming the key, its value and the limit.
    """
    raise_first(iter(check_protocol(config, rig)), file)
