"""Who gets light: arms of trials and stimuli of trials, drawn with the seed; and how they might have been drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.schema.design import ArmKind, Design

STIM, UNASSIGNED = "stim", ""
"""Name of the only arm where a design names none; the arm of what is no trial."""


class Draw(NamedTuple):
    """The arm of one trial, and the probability that each arm had just before it was drawn."""

    arm: int
    probability: NDArray[np.float64]


class Assignment:
    """Draws one arm a trial: by itself (Bernoulli), or in shuffled blocks that hold exactly every arm's share.

    Parameters
    ----------
    design : Design

    Attributes
    ----------
    names : tuple of str
    kinds : tuple of ArmKind
    """

    def __init__(self, design: Design) -> None:
        arms = design.arms
        self.names: tuple[str, ...] = tuple(arms) or (STIM,)
        self.kinds: tuple[ArmKind, ...] = tuple(arm.kind for arm in arms.values()) or (ArmKind.STIM,)
        self._share = np.array([arm.share for arm in arms.values()] or [1.0])
        self._edges: list[float] = np.cumsum(self._share)[:-1].tolist()
        self._block_size = design.block_size
        self._random = np.random.Generator(np.random.PCG64([design.seed, 1]))
        self._left: list[int] = []

    def draw(self) -> Draw:
        """Arm of the next eligible trial."""
        if self._block_size is None:
            return Draw(bisect_right(self._edges, self._random.random()), self._share)
        if not self._left:
            self._left = self._block(self._random).tolist()
        probability = np.bincount(self._left, minlength=len(self.names)) / len(self._left)
        return Draw(self._left.pop(0), probability)

    def redraw(self, n: int, n_draws: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Arms of `n` trials from the first on, as they might have been: the same mechanism, another generator.

        Parameters
        ----------
        n : int
        n_draws : int
        random : numpy Generator

        Returns
        -------
        int64 ndarray, shape (n_draws, n)
        """
        if self._block_size is None:
            return np.searchsorted(self._edges, random.random((n_draws, n)), side="right")
        n_blocks = -(-n // self._block_size)
        blocks = np.tile(self._shares_of_block(), (n_draws * n_blocks, 1))
        return random.permuted(blocks, axis=1).reshape(n_draws, -1)[:, :n]

    def _shares_of_block(self) -> NDArray[np.int64]:
        counts = np.round(self._share * (self._block_size or 1)).astype(int)
        return np.repeat(np.arange(len(counts)), counts)

    def _block(self, random: np.random.Generator) -> NDArray[np.int64]:
        return random.permutation(self._shares_of_block())


class Rounds:
    """Stimuli one after another, in shuffled rounds that hold each of them once.

    Parameters
    ----------
    n : int
        How many there are.
    seed : sequence of int
    """

    def __init__(self, n: int, seed: Sequence[int]) -> None:
        self._n = n
        self._random = np.random.Generator(np.random.PCG64(list(seed)))
        self._left: list[int] = []

    def draw(self) -> int:
        """Index of the next one."""
        if self._n == 1:
            return 0
        if not self._left:
            self._left = self._random.permutation(self._n).tolist()
        return self._left.pop(0)
