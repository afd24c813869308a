"""When light was given: what a session can be yoked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.stimulation import PulseRequest

FILE_NAME = "pulse_times.json"
_FORMAT = "spikeloop pulse times/1"


class PulseTimes:
    """Times of delivered requests by block; a train counts once."""

    def __init__(self) -> None:
        self._blocks: dict[int, list[float]] = {}
        self._is_own: dict[int, bool] = {}

    def note(self, place: tuple[int, float], request: PulseRequest) -> None:
        """A request has been delivered at a block and the seconds since its beginning."""
        if not request.sham:
            self._blocks.setdefault(place[0], []).append(place[1])
            self._is_own[place[0]] = bool(request.roi_ids)

    def as_dict(self) -> dict[str, Any]:
        """What the file holds: blocks in which triggers commanded the light."""
        blocks = [times for index, times in sorted(self._blocks.items()) if self._is_own[index]]
        return {"format": _FORMAT, "blocks_s": blocks}


def read_partner(where: str, key: str) -> tuple[tuple[float, ...], ...]:
    """Pulse times of a partner's blocks, seconds from the beginning of each.

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
        return tuple(tuple(float(t_s) for t_s in block) for block in data["blocks_s"])
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", "name a session that gave light, or its file", key=key
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no pulse times", key=key) from error
