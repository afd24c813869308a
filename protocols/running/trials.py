"""The table of trials: what was drawn, what became of it, and what followed. Voids are found blind to the arm."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.running.lights import Stimulus
from protocols.running.signals import Signal
from protocols.schema.design import Response, ResponseMap
from rt_engine.interfaces.clock import NS_PER_MS

_HISTORY = 4096


class TrialStatus(IntEnum):
    """Where a trial stands."""

    OPEN = 0
    COMPLETE = 1
    VOID = 2
    """Too few valid samples."""
    LOST = 3
    """The interlock refused it, it was late, or the output failed: no trial in either arm."""


_OPEN, _VOID = int(TrialStatus.OPEN), int(TrialStatus.VOID)
"""A numpy number against an enum takes microseconds on the way to a decision; two plain numbers do not."""


class TrialTable:
    """Arrays over trials, allocated at the start.

    Parameters
    ----------
    capacity : int
        Trials beyond it are run and not analysed.
    arm_names : sequence of str
    n_drawn : int
        Arms that are drawn at trials; the others belong to blocks.

    Attributes
    ----------
    n : int
    t_ns, arm, status, site : integer ndarray, shape (capacity,)
    power_mw, response : float64 ndarray, shape (capacity,)
    probability : float64 ndarray, shape (capacity, n_arms)
        Of each arm just before the trial was drawn; NaN in blocks without a draw.
    is_drawn : bool ndarray, shape (capacity,)
    first_target : int64 ndarray, shape (capacity,)
        `roi_id` of the first lit cell, -1 for a site without a cell.
    """

    def __init__(self, capacity: int, arm_names: Sequence[str], n_drawn: int) -> None:
        self.arm_names = tuple(arm_names)
        self.n_drawn = n_drawn
        self.n = self.n_beyond = 0
        # `full` writes; `zeros` would leave it to the first use of each page to make memory of it, while it runs.
        self.t_ns = np.full(capacity, 0, np.int64)
        self.arm = np.full(capacity, 0, np.int64)
        self.status = np.full(capacity, int(TrialStatus.OPEN), np.int64)
        self.site = np.full(capacity, -1, np.int64)
        self.power_mw = np.full(capacity, 0.0)
        self.response = np.full(capacity, np.nan)
        self.probability = np.full((capacity, n_drawn), np.nan)
        self.is_drawn = np.full(capacity, False)
        self.first_target = np.full(capacity, -1, np.int64)

    def add(self, t_ns: int, arm: int, stimulus: Stimulus, probability: NDArray[np.float64] | None) -> int:
        """Begin a trial; returns its row, -1 where the table is full."""
        row = self.n
        if row >= len(self.t_ns):
            self.n_beyond += 1
            return -1
        self.n += 1
        self.t_ns[row], self.arm[row], self.site[row] = t_ns, arm, stimulus.site
        self.power_mw[row] = stimulus.power_mw
        self.first_target[row] = stimulus.target_ids[0] if stimulus.target_ids else -1
        if probability is not None:
            self.probability[row], self.is_drawn[row] = probability, True
        return row

    def lose(self, row: int) -> None:
        """The trial did not take place."""
        if self.status.item(row) != _VOID:
            self.status[row] = TrialStatus.LOST

    def complete(self, row: int) -> None:
        """The trial is over, and nothing speaks against it."""
        if self.status.item(row) == _OPEN:
            self.status[row] = TrialStatus.COMPLETE

    def as_columns(self) -> dict[str, list[Any]]:
        """The table as plain columns, for a file."""
        n = self.n
        return {
            "t_scan_ns": self.t_ns[:n].tolist(),
            "arm": [self.arm_names[i] for i in self.arm[:n].tolist()],
            "status": [TrialStatus(i).name.lower() for i in self.status[:n].tolist()],
            "response": [None if y != y else y for y in self.response[:n].tolist()],
            "power_mw": self.power_mw[:n].tolist(),
            "target": [None if i < 0 else i for i in self.first_target[:n].tolist()],
            "site": [None if i < 0 else i for i in self.site[:n].tolist()],
        }

    def counts(self) -> dict[str, dict[str, int]]:
        """Trials by arm and status."""
        arm, status = self.arm[: self.n], self.status[: self.n]
        return {
            name: {one.name.lower(): int(np.count_nonzero((arm == i) & (status == one))) for one in TrialStatus}
            for i, name in enumerate(self.arm_names)
        }


class ResponseMeter:
    """Measures the response of every trial, and says which are void.

    Parameters
    ----------
    config : Response
    signal : Signal
    table : TrialTable
    """

    def __init__(self, config: Response, signal: Signal, table: TrialTable) -> None:
        self._config, self.signal, self._table = config, signal, table
        self._from_ns, self._to_ns = round(config.from_ms * NS_PER_MS), round(config.to_ms * NS_PER_MS)
        self._before_ns = round(config.minus_before_ms * NS_PER_MS)
        self._recent: deque[tuple[int, float]] = deque(maxlen=_HISTORY)
        self._open: list[list[float]] = []
        self._frame: int | None = None

    def begin(self, row: int, t_ns: int) -> None:
        """A trial begins; the samples before it are those that have come."""
        before = 0.0
        n_bad = 0.0
        n = 0
        if self._before_ns:
            samples = []
            for t, x in reversed(self._recent):
                if t <= t_ns - self._before_ns:
                    break
                samples.append(x)
            n, n_bad = len(samples), float(sum(x != x for x in samples))
            known = [x for x in samples if x == x]
            before = sum(known) / len(known) if known else math.nan
        self._open.append([row, t_ns, before, n, n_bad, 0.0, 0])

    def sample(self, t_ns: int, frame: int) -> list[int]:
        """Take in the newest sample of the signal; returns the trials that it completes."""
        raw = self.signal.raw
        n_missing = 0 if self._frame is None else max(0, frame - self._frame - 1)
        self._frame = frame
        if self._before_ns:
            self._recent.append((t_ns, raw))
        if not self._open:
            return []
        done: list[int] = []
        for trial in self._open:
            since_ns = t_ns - trial[1]
            if since_ns > self._to_ns:
                self._close(trial)
                done.append(int(trial[0]))
            elif since_ns >= self._from_ns:
                trial[3] += 1 + n_missing
                trial[4] += n_missing
                if raw == raw:
                    trial[5] += raw
                    trial[6] += 1
                else:
                    trial[4] += 1
        if done:
            self._open = [trial for trial in self._open if int(trial[0]) not in done]
        return done

    def _close(self, trial: list[float]) -> None:
        row, _, before, n, n_bad, total, n_good = trial
        table = self._table
        is_valid = n_good > 0 and before == before and 1 - n_bad / max(n, 1) >= self._config.min_valid
        if table.status[int(row)] == TrialStatus.OPEN:
            table.status[int(row)] = TrialStatus.COMPLETE if is_valid else TrialStatus.VOID
        if is_valid:
            table.response[int(row)] = total / n_good - before


class MapMeter:
    """Keeps the mean response of every cell in every trial.

    Parameters
    ----------
    config : ResponseMap
    capacity, n_rois : int

    Attributes
    ----------
    response : float32 ndarray, shape (capacity, n_rois)
        Mean over the valid samples of the window; NaN where a cell had none, or the trial is not over.
    """

    def __init__(self, config: ResponseMap, capacity: int, n_rois: int) -> None:
        self.config = config
        self.response = np.full((capacity, n_rois), np.nan, np.float32)
        self._from_ns, self._to_ns = round(config.from_ms * NS_PER_MS), round(config.to_ms * NS_PER_MS)
        self._open: list[tuple[int, int, NDArray[np.float64], NDArray[np.int64]]] = []
        self._n_rois = n_rois

    def begin(self, row: int, t_ns: int) -> None:
        """A trial begins."""
        self._open.append((row, t_ns, np.zeros(self._n_rois), np.zeros(self._n_rois, np.int64)))

    def sample(self, t_ns: int, values: NDArray[np.float32], start: int) -> list[int]:
        """Take in the cells from row `start` on, one plane's field; returns the trials that are over."""
        cells = slice(start, min(start + len(values), self._n_rois))
        values = values[: cells.stop - start]
        finite = np.isfinite(values)
        still_open, done = [], []
        for row, begun_ns, total, n in self._open:
            since_ns = t_ns - begun_ns
            if since_ns > self._to_ns:
                with np.errstate(invalid="ignore", divide="ignore"):
                    self.response[row] = np.where(n > 0, total / n, np.nan)
                done.append(row)
                continue
            if since_ns >= self._from_ns:
                total[cells][finite] += values[finite]
                n[cells] += finite
            still_open.append((row, begun_ns, total, n))
        self._open = still_open
        return done
