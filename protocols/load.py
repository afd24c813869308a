"""Find and read a protocol file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from protocols.references import check_references
from protocols.running.pulse_times import Partner, read_partner
from protocols.schema.design import BlockKind
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.yaml_files import config_error, parse_yaml, read_bytes

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
    return parse_protocol(read_bytes(path), str(path))


def parse_protocol(text: bytes, file: str) -> ProtocolConfig:
    """Check the text of a protocol; `file` is named in errors.

    Raises
    ------
    ConfigError
        Naming the file, the key, and what is allowed.
    """
    data = parse_yaml(text, file)
    if data.get("schema_version") == 1:
        raise ConfigError(
            "version 1 (`kind: spike_triggered`) is no longer read",
            "the shipped spike_triggered.yaml shows the same protocol in version 2",
            file=file,
            key="schema_version",
        )
    try:
        config = ProtocolConfig.model_validate(data)
    except ValidationError as error:
        raise config_error(file, error) from error
    check_references(config, file)
    return config


def partner_of(config: ProtocolConfig, kept: Mapping[str, bytes] | None = None) -> Partner | None:
    """The recorded partner that a yoked block names; None where none does.

    Parameters
    ----------
    config : ProtocolConfig
    kept : mapping of str to bytes
        Partners that a session kept, by the name that its protocol has for them: those are not read from the disk.

    Raises
    ------
    ConfigError
        The partner cannot be read.
    """
    for name, block in (config.design.blocks.kinds if config.design.blocks else {}).items():
        if block.kind is BlockKind.YOKED and block.partner != "previous":
            return read_partner(block.partner, f"design.blocks.kinds.{name}.partner", (kept or {}).get(block.partner))
    return None
