"""When light was given: what a session can be yoked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.stimulation import PulseRequest

FILE_NAME = "pulse_times.json"
CAPACITY = 100_000
_FORMAT = "spikeloop pulse times/1"


class PulseTimes:
    """Times of delivered requests by block, in memory that is there from the start; a train counts once.

    Parameters
    ----------
    capacity : int
        Requests that are kept; those beyond are counted.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._block = np.full(capacity, -1, np.int32)
        self._t_s = np.full(capacity, np.nan)
        self._n = self._n_beyond = 0
        self._is_own: dict[int, bool] = {}

    def note(self, place: tuple[int, float], request: PulseRequest) -> None:
        """A request has been delivered at a block and the seconds since its beginning."""
        if request.sham:
            return
        if self._n == len(self._t_s):
            self._n_beyond += 1
            return
        self._block[self._n], self._t_s[self._n] = place
        self._is_own[place[0]] = bool(request.roi_ids)
        self._n += 1

    def as_dict(self) -> dict[str, Any]:
        """What the file holds: blocks in which triggers commanded the light; it lacks `n_beyond` pulses, if any."""
        block, t_s = self._block[: self._n], self._t_s[: self._n]
        blocks = [t_s[block == index].tolist() for index in sorted(self._is_own) if self._is_own[index]]
        beyond = {"n_beyond": self._n_beyond} if self._n_beyond else {}
        return {"format": _FORMAT, "blocks_s": blocks} | beyond


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
