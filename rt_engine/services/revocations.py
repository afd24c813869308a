"""A key that is revoked on one computer of a run is refused on all of them.

Each keeper tells the supervisor the public keys that are revoked on its computer, and is told those of the supervisor,
which has taken in what all others told: with every word, and before a service is started. What has been revoked stays
so; the lists need no order and no answer, and whoever was cut off catches up with his next word.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.errors import ConfigError
from rt_engine.transport.key_store import KeyStore

LOOK_AGAIN_NS = NS_PER_S
MOST_KEYS = 10_000
_Z85_LENGTH = 40
_KEY = "revoked"


class Revocations:
    """What one computer knows of revoked keys, and learns of others.

    Parameters
    ----------
    folder : str or None
        Of the keys on this computer; None where sockets are plain, and nothing is told or taken.
    clock : Clock
    say : callable
        Told a level and a sentence.
    """

    def __init__(self, folder: str | None, clock: Clock, say: Callable[[str, str], None]) -> None:
        self._store = None if folder is None else KeyStore(Path(folder))
        self._clock, self._say = clock, say
        self._told: list[str] = []
        self._due_ns: int | None = None
        self._said = ""

    def told(self) -> dict[str, Any]:
        """What goes with a word to the other side; the folder is read again once a second."""
        if self._store is None:
            return {}
        now_ns = self._clock.now_ns()
        if self._due_ns is None or now_ns >= self._due_ns:
            self._due_ns = now_ns + LOOK_AGAIN_NS
            try:
                self._told = self._store.revoked()[:MOST_KEYS]
            except ConfigError as error:
                self._say_once(f"revoked keys are not told to other computers: {error}")
        return {_KEY: self._told}

    def take(self, args: dict[str, Any], whence: str) -> None:
        """Revoke here what came with a word from the other side; anything but a list of public keys is passed over."""
        publics = args.get(_KEY)
        if self._store is None or not isinstance(publics, list) or len(publics) > MOST_KEYS:
            return
        new = {one for one in publics if isinstance(one, str) and len(one) == _Z85_LENGTH} - set(self._told)
        if not new:
            return
        try:
            names = self._store.revoke_all(new)
        except ConfigError as error:
            self._say_once(f"a key that was revoked on {whence} is still accepted here: {error}")
            return
        if names:
            self._due_ns = None
        for name in names:
            self._say("warning", f"the key {name!r} was revoked on {whence}; it is refused here too")

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say("error", text)
