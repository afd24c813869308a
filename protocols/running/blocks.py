"""Blocks: closed-loop, yoked and open-loop parts of a session, in shuffled rounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from protocols.schema.design import BlockKind, Blocks
from rt_engine.interfaces.clock import NS_PER_S


class Now(NamedTuple):
    """Where a session is: block `number`, from 0, of the kind `name`, begun at `start_ns`; or the pause after it."""

    number: int
    name: str
    kind: BlockKind
    start_ns: int
    is_pause: bool


class BlockSchedule:
    """Which block is when; times count from the end of the baseline.

    Parameters
    ----------
    config : Blocks
    seed : int
    partner_s : tuple of tuple of float
        Pulse times of the blocks of a recorded partner, seconds from the beginning of each; repeated where they end.

    Notes
    -----
    Every round holds each kind once, shuffled; a yoked block that has no partner yet changes places with the
    closed-loop block of its round.
    """

    def __init__(self, config: Blocks, seed: int, partner_s: tuple[tuple[float, ...], ...] = ()) -> None:
        self._config, self._seed = config, seed
        self._partner_s = partner_s
        self._block_ns = round(config.block_s * NS_PER_S)
        self._step_ns = self._block_ns + round(config.pause_s * NS_PER_S)
        self._order: list[str] = []
        self._random = np.random.Generator(np.random.PCG64([seed, 3]))
        self._closed: list[list[int]] = []
        self._due: list[int] = []
        self._index = -1
        self._n_yoked = 0

    def at(self, since_ns: int) -> Now:
        """The block at a time since the end of the baseline."""
        index = since_ns // self._step_ns
        while len(self._order) <= index:
            self._order += self._round()
        name = self._order[index]
        start_ns = index * self._step_ns
        if index != self._index:
            self._index = index
            self._begin(name)
        return Now(index, name, self._config.kinds[name].kind, start_ns, since_ns - start_ns >= self._block_ns)

    def note(self, offset_ns: int) -> None:
        """A pulse of the present closed-loop block, for the block yoked to it."""
        if self._closed:
            self._closed[-1].append(offset_ns)

    def is_due(self, offset_ns: int) -> bool:
        """True if a pulse of the present yoked or open-loop block is due; asked again for the next one."""
        if self._due and offset_ns >= self._due[0]:
            del self._due[0]
            return True
        return False

    def _round(self) -> list[str]:
        names = list(self._config.kinds)
        order = [names[i] for i in self._random.permutation(len(names))]
        if self._order:
            return order
        kinds = [self._config.kinds[name] for name in order]
        closed = next((i for i, one in enumerate(kinds) if one.kind is BlockKind.CLOSED_LOOP), None)
        for index, one in enumerate(kinds):
            waits = one.kind is BlockKind.YOKED and one.partner == "previous"
            if waits and closed is not None and closed > index:
                order[index], order[closed] = order[closed], order[index]
                closed = index
        return order

    def _begin(self, name: str) -> None:
        block = self._config.kinds[name]
        self._due = []
        if block.kind is BlockKind.CLOSED_LOOP:
            self._closed.append([])
        elif block.kind is BlockKind.OPEN_LOOP:
            random = np.random.Generator(np.random.PCG64([self._seed, 4, self._index]))
            n = int(random.poisson((block.rate_hz or 0.0) * self._config.block_s))
            self._due = sorted(round(t * self._block_ns) for t in random.random(n))
        elif block.partner == "previous":
            self._due = list(self._closed[-1]) if self._closed else []
        elif self._partner_s:
            times_s = self._partner_s[self._n_yoked % len(self._partner_s)]
            self._due = [round(t_s * NS_PER_S) for t_s in sorted(times_s) if t_s < self._config.block_s]
            self._n_yoked += 1
