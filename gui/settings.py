"""What the window remembers from one start to the next: one small JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEFAULTS: dict[str, Any] = {
    "theme": "dark",
    "large": False,
    "page": 0,
    "colour_by": "activity",
    "colour_map": "grey",
    "average": 1,
    "operator": "",
    "rig": "virtual_rig",
    "folder": "",
    "size": [1280, 720],
    "split": [620, 660],
    "outlines": True,
}


class Settings:
    """Values by name; only names and types of `DEFAULTS` are taken from the file.

    Parameters
    ----------
    path : Path or None
        The file; None keeps everything in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._values = dict(DEFAULTS)
        for name, value in self._read().items():
            if name in DEFAULTS and isinstance(value, type(DEFAULTS[name])):
                self._values[name] = value

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in DEFAULTS:
            raise KeyError(name)
        self._values[name] = value

    def save(self) -> str:
        """Write the file; returns why that was not possible, or nothing."""
        if self._path is None:
            return ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._values, indent=1), encoding="utf-8")
        except OSError as error:
            return f"settings cannot be saved in {self._path}: {error.strerror}"
        return ""

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def default_path() -> Path:
    """The file of this user."""
    return Path.home() / ".spikeloop" / "window.json"
