"""When light was given: what a session can be yoked to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

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


class Partner(NamedTuple):
    """The recorded session that a yoked block repeats.

    Attributes
    ----------
    where : str
        The file, or the folder of the session that wrote it, as the protocol names it.
    text : bytes
        The file.
    blocks_s : tuple of tuple of float
        Pulse times of its blocks, seconds from the beginning of each.
    """

    where: str
    text: bytes
    blocks_s: tuple[tuple[float, ...], ...]


def read_partner(where: str, key: str, kept: bytes | None = None) -> Partner:
    """Read and check a partner.

    Parameters
    ----------
    where : str
        The file, or the folder of the session that wrote it.
    key : str
        Key of the protocol file, for the message.
    kept : bytes or None
        What the file held when a session was recorded; then nothing is read.

    Raises
    ------
    ConfigError
        The file cannot be read or is none of ours.
    """
    path = Path(where) / FILE_NAME if Path(where).is_dir() else Path(where)
    try:
        text = path.read_bytes() if kept is None else kept
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ConfigError(f"{path} is {data['format']!r}, not {_FORMAT!r}", key=key)
        return Partner(where, text, tuple(tuple(float(t_s) for t_s in block) for block in data["blocks_s"]))
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", "name a session that gave light, or its file", key=key
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} holds no pulse times", key=key) from error
