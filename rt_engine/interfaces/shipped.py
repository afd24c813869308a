"""Files that come with spikeloop: rig configs, found in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

from rt_engine.interfaces.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def rig_folder() -> Path:
    """Folder of the shipped rig configs."""
    installed = _PACKAGE / "hardware_configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "hardware_configs"


def find_rig(name_or_path: str) -> Path:
    """Rig file by path, or by the name of a shipped one.

    Raises
    ------
    ConfigError
        There is no such file; lists the shipped names.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = rig_folder() / f"{name_or_path}.yaml"
    if shipped.is_file() and shipped.parent == rig_folder():
        return shipped
    names = ", ".join(sorted(file.stem for file in rig_folder().glob("*.yaml")))
    raise ConfigError("there is no such rig file", f"give a path, or one of: {names}", file=name_or_path)
