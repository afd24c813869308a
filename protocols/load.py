"""Find and read a protocol file, and prove before the run what can be proved about its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from protocols.schema import ProtocolConfig, SpikeTriggeredConfig
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import Limits, config_error, read_yaml

LIBRARY = Path(__file__).parent / "library"
"""Folder of the shipped protocols, in a checkout and in an installed wheel alike."""


def shipped_protocols() -> list[str]:
    """Names of the shipped protocols."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def find_protocol(name_or_path: str) -> Path:
    """Path of a protocol file.

    Parameters
    ----------
    name_or_path : str
        A path, or the name of a shipped protocol.

    Raises
    ------
    ConfigError
        There is neither; the message lists what is shipped.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if name_or_path in shipped_protocols():
        return LIBRARY / f"{name_or_path}.yaml"
    raise ConfigError(f"no protocol file {name_or_path!r}", f"give a path or one of: {', '.join(shipped_protocols())}")


def load_protocol(path: Path) -> ProtocolConfig:
    """Read and check a protocol file.

    Raises
    ------
    ConfigError
        Naming the file, the key, and what is allowed.
    """
    try:
        return SpikeTriggeredConfig.model_validate(read_yaml(path))
    except ValidationError as error:
        raise config_error(str(path), error) from error


def check_against_limits(protocol: ProtocolConfig, limits: Mapping[str, Limits], file: str = "") -> None:
    """Refuse what the interlock could never let pass.

    Parameters
    ----------
    protocol : ProtocolConfig
    limits : mapping of str to Limits
        Output name to the rig's limits.
    file : str
        Protocol file, for the message.

    Raises
    ------
    ConfigError
        Naming the key, its value and the limit.
    """
    action = protocol.action
    if action.output not in limits:
        raise ConfigError(
            f"the rig has no output {action.output!r}",
            f"outputs: {', '.join(sorted(limits))}",
            file=file,
            key="action.output",
        )
    for output in protocol.limits:
        if output not in limits:
            raise ConfigError(
                "the rig has no such output", f"outputs: {', '.join(sorted(limits))}", file=file, key=f"limits.{output}"
            )
    limit = _with_protocol_limits(limits[action.output], protocol, file)
    period_ms = action.period_ms or 0.0
    energy_mj = action.power_mw * action.width_ms * action.pulses * 1e-3
    in_window = 1 if action.pulses == 1 else min(action.pulses, limit.duty_window_s * 1e3 // period_ms + 1)
    findings = [
        ("action.power_mw", action.power_mw, "max_power_mw", limit.max_power_mw),
        ("action.width_ms", action.width_ms, "max_width_ms", limit.max_width_ms),
        ("action.pulses", energy_mj, "max_energy_per_target_mj", limit.max_energy_per_target_mj),
        ("action.pulses", energy_mj, "max_total_energy_mj", limit.max_total_energy_mj),
        ("action.width_ms", in_window * action.width_ms * 1e-3 / limit.duty_window_s, "max_duty", limit.max_duty),
    ]
    if action.pulses > 1:
        findings += [
            ("action.period_ms", _busiest_hz(action.pulses, period_ms, limit), "max_rate_hz", limit.max_rate_hz),
            ("action.period_ms", -(period_ms - action.width_ms), "min_gap_ms", -limit.min_gap_ms),
        ]
    for key, value, name, bound in findings:
        if value > bound * (1 + 1e-9 if bound > 0 else 1 - 1e-9):
            raise ConfigError(
                f"gives {abs(value):g}, which the rig's limit {name} {abs(bound):g} can never let pass",
                file=file,
                key=key,
            )


def _busiest_hz(pulses: int, period_ms: float, limit: Limits) -> float:
    """Pulses per second in the busiest window of the rate limit (one second, or 1/rate below 1 Hz)."""
    window_ms = max(1e3, 1e3 / limit.max_rate_hz)
    return min(pulses, math.ceil(window_ms / period_ms)) / window_ms * 1e3


def _with_protocol_limits(limit: Limits, protocol: ProtocolConfig, file: str) -> Limits:
    own = protocol.limits.get(protocol.action.output, {})
    try:
        return Limits.model_validate({**limit.model_dump(), **own})
    except ValidationError as error:
        raise config_error(f"{file}: limits.{protocol.action.output}", error) from error
