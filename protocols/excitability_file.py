"""The file in which an excitability map is kept: power for half the largest response of each cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import ConfigError

FILE_NAME = "excitability.json"
_FORMAT = "spikeloop excitability/1"


def write_p50_mw(folder: Path, cells: dict[int, dict[str, Any]]) -> Path:
    """Write the fitted cells of a session.

    Parameters
    ----------
    folder : Path
    cells : dict of int to dict
        `roi_id` to `p50_mw` (None where no response could be fitted) and whatever else was fitted.
    """
    path = folder / FILE_NAME
    data = {"format": _FORMAT, "cells": {str(roi): cell for roi, cell in cells.items()}}
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return path


def read_p50_mw(where: str, key: str) -> dict[int, float]:
    """Power for half the largest response, by `roi_id`; cells without a fit are left out.

    Parameters
    ----------
    where : str
        The file, or the folder of the session that wrote it.
    key : str
        Key of the protocol file, for the message.

    Raises
    ------
    ConfigError
        The file cannot be read or is none of ours.
    """
    path = Path(where) / FILE_NAME if Path(where).is_dir() else Path(where)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != _FORMAT:
            raise ConfigError(f"{path} is {data['format']!r}, not {_FORMAT!r}", key=key)
        return {int(roi): float(c["p50_mw"]) for roi, c in data["cells"].items() if c["p50_mw"] is not None}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", "run the protocol `excitability_map` first", key=key
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no excitability map", key=key) from error
