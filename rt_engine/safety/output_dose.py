"""Dose of one output: integers of nJ and us, rounded up, charged before firing and never refunded."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rt_engine.safety.dose_file import SCALARS, DoseFile
from rt_engine.safety.limits import Bounds, Violation
from rt_engine.safety.sliding import SlidingSums
from rt_engine.safety.train import Train

CAPACITY = 16_384
"""Places of the template that one ledger can tell apart; each target takes up to nine."""
CARRY_OVER_NS = 24 * 3600 * 1_000_000_000
"""A subject's total starts again at zero only after this long without light."""
SETS_KEPT = 512
"""Sets of targets whose squares are kept."""
PLACES_SHOWN = 32
"""Targets whose dose is told to people."""
_TOTAL, _PULSES, _ON, _WALL, _ROWS, _ENERGY_WINDOW, _DUTY_WINDOW, _TOTAL_ON, _TRAIN = range(9)
_TEMPLATE, _ELSEWHERE, _CUMULATIVE_ELSEWHERE = range(9, len(SCALARS))
_LONG_AGO = -(1 << 62)
_ONE_ROW = np.zeros(1, np.intp)


class _Places:
    """The squares that a set of targets is charged to, and how often each; `rows` once all of them have one."""

    __slots__ = ("counts", "keys", "rows")

    def __init__(self, counts: dict[int, int]) -> None:
        self.keys = tuple(counts)
        self.counts = np.array(list(counts.values()), np.int64)
        self.rows: NDArray[np.intp] | None = None


class OutputDose:
    """What one output has given, and whether a train may still follow.

    Parameters
    ----------
    bounds : Bounds
        The limits.
    now_ns : int
        Monotonic time.
    path : Path or None
        File of this subject and output; None: in memory.
    grid_px : float
        Target positions closer than this share their dose whatever their row number (5 um is the intention).
    capacity : int
        See `CAPACITY`.
    wall_ns : callable
        Wall time, used only to tell a new day.

    Notes
    -----
    The template is cut into squares of `grid_px`. A target is charged to its square and the eight around it, and no
    square may exceed the limit: so no point of the template has, within `grid_px` of it, received more than the
    limit, also where targets lie astride a border. Dose of all planes is pooled, since light crosses them all.
    After a restart the windows count as if all that is in them had been given just now, or, where a train may still
    be running, at its end. With another template nobody knows which old place is which new one, so every place counts
    as having received what the most lit one had.
    """

    def __init__(
        self,
        bounds: Bounds,
        now_ns: int,
        path: Path | None = None,
        *,
        grid_px: float = 6.0,
        capacity: int = CAPACITY,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._file = DoseFile(path, capacity)
        self._scalars, self._keys, self._capacity = self._file.scalars, self._file.keys, capacity
        self._wall_ns, self._grid_px = wall_ns, grid_px
        self._start(bounds)
        self._row = {int(key): row for row, key in enumerate(self._keys[: self._scalars[_ROWS]])}
        left_ns = min(max(0, int(self._scalars[_WALL]) - wall_ns()), int(self._scalars[_TRAIN]))
        self._end_ns = now_ns + left_ns if self._scalars[_PULSES] > 0 else _LONG_AGO
        self._place_end_ns = np.full(capacity, _LONG_AGO, np.int64)
        self._place_end_ns[: len(self._row)] = self._end_ns
        self._place_end_view = self._place_end_ns.data
        self._elsewhere_end_ns = self._end_ns if self._scalars[_ELSEWHERE] > 0 else _LONG_AGO
        self._apply(bounds, now_ns + left_ns)
        self._onsets = array("q", [self._end_ns] * bounds.max_rate_n)
        self._lit: dict[int, tuple[float, float]] = {}
        self._places: dict[tuple[tuple[float, float], ...], _Places] = {}
        self._charged: tuple[Train, int, NDArray[np.intp], NDArray[np.int64]] | None = None

    def _start(self, bounds: Bounds) -> None:
        """Forget the dose of another day; make the windows right where their length has changed."""
        age_ns = self._wall_ns() - int(self._scalars[_WALL])
        if age_ns >= CARRY_OVER_NS:
            template = int(self._scalars[_TEMPLATE])
            self._file.scalars[:] = 0
            self._scalars[_TEMPLATE] = template
            self._file.window_nj[:] = 0
            self._file.cumulative_nj[:] = 0
        else:
            self._widen(bounds)

    def _widen(self, bounds: Bounds) -> None:
        """Where a window is longer than before, count everything of the day as in it."""
        if bounds.energy_window_ns > self._scalars[_ENERGY_WINDOW]:
            self._file.window_nj[:] = self._file.cumulative_nj
            self._scalars[_ELSEWHERE] = self._scalars[_CUMULATIVE_ELSEWHERE]
        if bounds.duty_window_ns > self._scalars[_DUTY_WINDOW]:
            self._scalars[_ON] = self._scalars[_TOTAL_ON]

    def _apply(self, bounds: Bounds, now_ns: int) -> None:
        self.bounds = bounds
        self._scalars[_ENERGY_WINDOW], self._scalars[_DUTY_WINDOW] = bounds.energy_window_ns, bounds.duty_window_ns
        self._energy = SlidingSums(self._file.window_nj, bounds.energy_window_ns, now_ns)
        self._energy.n_used = int(self._scalars[_ROWS])
        self._on_time = SlidingSums(self._scalars[_ON : _ON + 1], bounds.duty_window_ns, now_ns)
        elsewhere = self._scalars[_ELSEWHERE : _ELSEWHERE + 1]
        self._elsewhere = SlidingSums(elsewhere, bounds.energy_window_ns, now_ns)

    def set_template(self, template: int, now_ns: int) -> None:
        """Say in which template positions are from now on; what was given in another one counts everywhere.

        Parameters
        ----------
        template : int
            Number that differs between templates, positive and below 2^63.
        now_ns : int
            Monotonic time.
        """
        scalars, rows = self._scalars, len(self._row)
        if scalars[_TEMPLATE] not in (0, template) and rows:
            self._energy.advance(now_ns)
            self._elsewhere.advance(now_ns)
            # In this order: killed in between, the dose counts twice and not never.
            worst_nj = np.array([self._file.window_nj[:rows].max()])
            scalars[_CUMULATIVE_ELSEWHERE] += self._file.cumulative_nj[:rows].max()
            self._elsewhere.add(_ONE_ROW, worst_nj)
            self._elsewhere_end_ns = self._end_ns
            scalars[_ROWS] = 0
            self._file.window_nj[:rows] = 0
            self._file.cumulative_nj[:rows] = 0
            self._row.clear()
            self._places.clear()
            self._place_end_ns[:rows] = _LONG_AGO
            self._lit.clear()
            self._charged = None
            self._apply(self.bounds, now_ns)
        scalars[_TEMPLATE] = template

    def rebound(self, bounds: Bounds, now_ns: int) -> None:
        """Take other limits; nothing given so far is forgotten."""
        self._widen(bounds)
        kept = sorted(self._onsets)[-bounds.max_rate_n :]
        self._onsets = array("q", [kept[0]] * (bounds.max_rate_n - len(kept)) + kept)
        self._apply(bounds, now_ns)

    def violation(self, train: Train, now_ns: int) -> Violation | None:
        """First limit that `train`, begun now, would break; None if it may be fired. Charges nothing."""
        bounds = self.bounds
        if train.power_uw > bounds.max_power_uw:
            return Violation("power_mw", train.power_uw / 1e3, bounds.max_power_uw / 1e3)
        if train.width_us > bounds.max_width_us:
            return Violation("width_ms", train.width_us / 1e3, bounds.max_width_us / 1e3)
        for y_px, x_px in train.targets_yx_px:
            for zone in bounds.zones:
                distance_px = ((y_px - zone.y_px) ** 2 + (x_px - zone.x_px) ** 2) ** 0.5
                if distance_px <= zone.radius_px:
                    return Violation("exclusion_zone_radius_px", distance_px, zone.radius_px)
        return self._timing(train, now_ns) or self._dose(train, now_ns)

    def _timing(self, train: Train, now_ns: int) -> Violation | None:
        bounds, period_ns = self.bounds, train.period_us * 1000
        gap_ns = now_ns - self._end_ns
        if train.pulses > 1:
            gap_ns = min(gap_ns, period_ns - train.width_us * 1000)
        if gap_ns < bounds.min_gap_ns or gap_ns < 0:
            return Violation("gap_ms", gap_ns / 1e6, bounds.min_gap_ns / 1e6)
        n, window_ns = bounds.max_rate_n, bounds.rate_window_ns
        for pulse, onset_ns in zip(range(train.pulses), self._onsets, strict=False):
            if now_ns + pulse * period_ns - onset_ns < window_ns:
                return Violation("rate_hz", (n + 1) / window_ns * 1e9, n / window_ns * 1e9)
        if train.pulses > n and n * period_ns < window_ns:
            return Violation("rate_hz", 1e9 / max(period_ns, 1), n / window_ns * 1e9)
        self._on_time.advance(now_ns)
        on_us = int(self._scalars[_ON]) + self._on_us(train)
        if on_us > bounds.max_on_us:
            return Violation(
                "duty", on_us * 1e3 / bounds.duty_window_ns, bounds.max_on_us * 1e3 / bounds.duty_window_ns
            )
        return None

    def _on_us(self, train: Train) -> int:
        """Most light-on time of the train that any duty window can hold."""
        if train.pulses == 1:
            return train.width_us
        in_window = self.bounds.duty_window_ns // (train.period_us * 1000) + 2
        return min(train.pulses, in_window) * train.width_us

    def _dose(self, train: Train, now_ns: int) -> Violation | None:
        bounds, scalars = self.bounds, self._scalars
        total_nj = int(scalars[_TOTAL]) + train.energy_nj
        if total_nj > bounds.max_total_nj:
            return Violation("total_energy_mj", total_nj / 1e6, bounds.max_total_nj / 1e6)
        gap_ns = now_ns - max(map(self._dark_since_ns, train.targets_yx_px))
        if gap_ns < bounds.target_gap_ns:
            return Violation("target_refractory_ms", gap_ns / 1e6, bounds.target_gap_ns / 1e6)
        self._energy.advance(now_ns)
        self._elsewhere.advance(now_ns)
        places, new = self._places_of(train.targets_yx_px), 0
        if places.rows is not None:
            worst_nj = int((self._file.window_nj[places.rows] + places.counts * train.target_nj).max())
        else:
            rows = [self._row.get(key) for key in places.keys]
            window_nj = self._file.window_nj.data
            loads = zip(rows, places.counts.tolist(), strict=True)
            worst_nj = max((0 if row is None else window_nj[row]) + n * train.target_nj for row, n in loads)
            new = rows.count(None)
        worst_nj += int(scalars[_ELSEWHERE])
        if worst_nj > bounds.max_target_nj:
            return Violation("energy_per_target_mj", worst_nj / 1e6, bounds.max_target_nj / 1e6)
        if len(self._row) + new > self._capacity:
            return Violation("places_in_ledger", len(self._row) + new, self._capacity)
        return None

    def _dark_since_ns(self, position_yx_px: tuple[float, float]) -> int:
        row = self._row.get(self._square(position_yx_px))
        return self._elsewhere_end_ns if row is None else max(self._place_end_view[row], self._elsewhere_end_ns)

    def _places_of(self, targets_yx_px: tuple[tuple[float, float], ...]) -> _Places:
        """Squares of a set of targets; the same few sets come again and again, so they are kept."""
        known = self._places.get(targets_yx_px)
        if known is not None:
            return known
        counts: dict[int, int] = {}
        for position in targets_yx_px:
            key = self._square(position)
            for row_key in (key - (1 << 32), key, key + (1 << 32)):
                for square in (row_key - 1, row_key, row_key + 1):
                    counts[square] = counts.get(square, 0) + 1
        if len(self._places) >= SETS_KEPT:
            self._places.clear()
        places = self._places[targets_yx_px] = _Places(counts)
        return places

    def _rows_of(self, places: _Places) -> NDArray[np.intp]:
        """Rows of these squares in the tables; new ones get the next free row."""
        if places.rows is None:
            for key in places.keys:
                if key not in self._row:
                    row = self._row[key] = len(self._row)
                    self._keys[row] = key
                    self._scalars[_ROWS] = row + 1
            places.rows = np.array([self._row[key] for key in places.keys], np.intp)
            self._energy.n_used = len(self._row)
        return places.rows

    def _square(self, position_yx_px: tuple[float, float]) -> int:
        """Number of the square of the template that a position lies in."""
        return (int(position_yx_px[0] // self._grid_px) << 32) + int(position_yx_px[1] // self._grid_px)

    def charge(self, train: Train, now_ns: int) -> None:
        """Book a train that is about to be fired; call only after `violation` said None for the same time."""
        scalars = self._scalars
        end_ns = now_ns + train.duration_ns
        scalars[_TRAIN] = train.duration_ns
        scalars[_WALL] = max(0, self._wall_ns() + train.duration_ns)
        scalars[_TOTAL] += train.energy_nj
        scalars[_PULSES] += train.pulses
        scalars[_TOTAL_ON] += train.pulses * train.width_us
        places = self._places_of(train.targets_yx_px)
        rows = self._rows_of(places)
        self._remember(train)
        self._place_end_ns[rows] = end_ns
        energy_nj = places.counts * train.target_nj
        self._file.cumulative_nj[rows] += energy_nj
        self._energy.advance(end_ns)
        self._energy.add(rows, energy_nj)
        self._on_time.advance(end_ns)
        self._on_time.add(_ONE_ROW, np.array([self._on_us(train)]))
        for pulse in range(max(0, train.pulses - len(self._onsets)), train.pulses):
            self._onsets.append(now_ns + pulse * train.period_us * 1000)
        del self._onsets[: -self.bounds.max_rate_n]
        self._end_ns = end_ns
        self._charged = (train, now_ns, rows, energy_nj)

    def _remember(self, train: Train) -> None:
        """Keep the places lit last, for people."""
        lit = self._lit
        for position in train.targets_yx_px:
            key = self._square(position)
            lit.pop(key, None)
            lit[key] = position
        while len(lit) > PLACES_SHOWN:
            del lit[next(iter(lit))]

    def settle(self, t_command_ns: int) -> None:
        """Move the last train to when its light begins at the latest, so that no window forgets it too early."""
        if self._charged is None or t_command_ns <= self._charged[1]:
            return
        train, charged_ns, rows, energy_nj = self._charged
        late_ns = t_command_ns - charged_ns
        for index in range(-min(train.pulses, len(self._onsets)), 0):
            self._onsets[index] += late_ns
        self._end_ns += late_ns
        self._place_end_ns[rows] = self._end_ns
        self._scalars[_TRAIN] += late_ns
        self._scalars[_WALL] += late_ns
        self._on_time.move_to(_ONE_ROW, np.array([self._on_us(train)]), self._end_ns)
        self._energy.move_to(rows, energy_nj, self._end_ns)
        self._charged = None

    def used(self, now_ns: int) -> dict[str, Any]:
        """Dose so far, for people.

        Returns
        -------
        dict
            Totals, the highest target in the window; `fractions`: each of these as a share of its limit (1 is used
            up); `targets`: the places lit last, newest first, each with `y_px`, `x_px`, `energy_mj` in the window and
            its `fraction`.
        """
        self._on_time.advance(now_ns)
        self._energy.advance(now_ns)
        bounds, scalars, rows = self.bounds, self._scalars, len(self._row)
        self._elsewhere.advance(now_ns)
        worst_nj = int(self._file.window_nj[:rows].max(initial=0)) + int(scalars[_ELSEWHERE])
        started = sum(now_ns - onset_ns < bounds.rate_window_ns for onset_ns in self._onsets)
        return {
            "pulses": int(scalars[_PULSES]),
            "total_energy_mj": int(scalars[_TOTAL]) / 1e6,
            "duty": int(scalars[_ON]) * 1e3 / bounds.duty_window_ns,
            "max_energy_per_target_mj": worst_nj / 1e6,
            "fractions": {
                "total_energy": _share(int(scalars[_TOTAL]), bounds.max_total_nj),
                "energy_per_target": _share(worst_nj, bounds.max_target_nj),
                "duty": _share(int(scalars[_ON]), bounds.max_on_us),
                "rate": _share(started, bounds.max_rate_n),
            },
            "targets": [self._place(key, position) for key, position in reversed(self._lit.items())],
        }

    def _place(self, key: int, position: tuple[float, float]) -> dict[str, float]:
        energy_nj = int(self._file.window_nj[self._row[key]]) + int(self._scalars[_ELSEWHERE])
        return {
            "y_px": float(position[0]),
            "x_px": float(position[1]),
            "energy_mj": energy_nj / 1e6,
            "fraction": _share(energy_nj, self.bounds.max_target_nj),
        }

    def sync(self) -> None:
        """Push the numbers to the disk."""
        self._file.sync()


def _share(used: int, limit: int) -> float:
    """Part of a limit that is used; a limit of nothing is used up."""
    return used / limit if limit > 0 else 1.0
