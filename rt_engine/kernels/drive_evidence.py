"""What the smoothed drive says of a spike, for a block of cells: small loops that the compiler makes vector code of.

numba caches a kernel by the file that it stands in: after a change here, touch the files of the kernels that call it.

``cell`` is always the scratch of a block: a float64 ndarray, shape (N_FIELDS * BLOCK,), field after field at constant
distances, so that the compiler can prove that they do not overlap. Loops that touch nothing else run over all of it:
what they make of the unused rest of the last block is never read. What is not a number stays so, and every index is
worked out such that one of a NaN lies within its table.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from rt_engine.kernels.compile_options import NO_ALLOCATION

BLOCK = 64
"""Cells that are worked on together, so that the passes over them stay in the innermost cache."""
Z, Z_AFTER, Z_BEFORE, ODDS, PROBABILITY, HAS_REASON, _HERE, _AFTER, _SCORE = (BLOCK * k for k in range(9))
_LEFT, _SHARE = 9 * BLOCK, 13 * BLOCK  # of the first four fields: knot to the left, and how far beyond it
N_FIELDS = 17

RATE_FLOOR = 1.2  # noise standard deviations of drive that are taken for noise
FLOOR_ROUND = 0.5  # of the rate where a network votes: how far from the floor its edge is rounded off
FIRST_BURST, BURST_RATIO = 0.6, 0.4  # prior of one spike in a frame with any, and of each more
LARGEST_BURST = 6
LOG_FIRST, LOG_RATIO, LOG_2 = math.log(FIRST_BURST), math.log(BURST_RATIO), math.log(2.0)


@njit(**NO_ALLOCATION)
def log_evidence(z, gain):
    """Logarithm of the likelihood ratio against no spike of the best number of spikes, given z.

    A parabola in the number: the best is one of the two next to its crest.
    """
    per_gain = 1.0 / gain
    crest = (z + LOG_RATIO * per_gain) * per_gain
    n = np.floor(max(1.0, min(crest, LARGEST_BURST - 1.0)))
    fewer = n * (LOG_RATIO + gain * (z - 0.5 * n * gain))
    n += 1.0
    more = n * (LOG_RATIO + gain * (z - 0.5 * n * gain))
    return LOG_FIRST - LOG_RATIO + max(fewer, more)


@njit(**NO_ALLOCATION)
def in_noise(drive, drive_after, noise, cell):
    """Drive of the frame decided on and of the one after, in noise standard deviations."""
    for n in range(noise.shape[0]):
        per_noise = 1.0 / noise[n]
        cell[Z + n] = drive[n] * per_noise
        cell[Z_AFTER + n] = drive_after[n] * per_noise


@njit(**NO_ALLOCATION)
def weigh(has_after, gain, log_prior, cell):
    """Log odds of a spike in the frame, and in the one after as far as that is known."""
    for n in range(gain.shape[0]):
        here = log_prior[n] + log_evidence(cell[Z + n], gain[n])
        after = log_prior[n] + log_evidence(cell[Z_AFTER + n], gain[n])
        cell[_HERE + n] = here
        cell[_AFTER + n] = after if has_after else here - LOG_2


@njit(**NO_ALLOCATION)
def compete(log_odds_before, z_before, cell):
    """What the frames before and after leave of the odds; remember this frame for the next."""
    for n in range(log_odds_before.shape[0]):
        # In this order a NaN of the frame before does not compete.
        cell[ODDS + n] = cell[_HERE + n] - max(0.0, log_odds_before[n], cell[_AFTER + n])
        cell[Z_BEFORE + n] = z_before[n]
        log_odds_before[n] = cell[_HERE + n]
        z_before[n] = cell[Z + n]


@njit(**NO_ALLOCATION)
def _place(fields, count, first, per_knot, last, cell):
    """Between which knots the values of neighbouring fields lie, those beyond the ends at the ends."""
    for n in range(count):
        at = min(max((cell[fields + n] - first) * per_knot, 0.0), last)
        left = np.floor(min(last - 1.0, at))  # in this order a NaN finds a knot
        cell[_LEFT + fields + n] = left
        cell[_SHARE + fields + n] = at - left


@njit(**NO_ALLOCATION)
def _read(field, n, table, cell):
    """Value of a table at a field of a cell."""
    left = np.uint64(np.int64(cell[_LEFT + field + n]))  # unsigned: no check for indices from the end
    return table[left] + cell[_SHARE + field + n] * (table[left + np.uint64(1)] - table[left])


@njit(**NO_ALLOCATION)
def add_tables(first_odds, odds_per_knot, first_z, tables, cell):
    """What the four tables, constant beyond their ends, add to the log odds of the prior."""
    last = tables.shape[1] - 1.0
    _place(Z, 3 * BLOCK, first_z, 1.0, last, cell)  # of the frame, after and before: in one loop, which is faster
    _place(ODDS, BLOCK, first_odds, odds_per_knot, last, cell)
    odds, here, after, before = tables[0], tables[1], tables[2], tables[3]
    for n in range(BLOCK):
        score = _read(ODDS, n, odds, cell) + _read(Z, n, here, cell)
        cell[_SCORE + n] = score + _read(Z_AFTER, n, after, cell) + _read(Z_BEFORE, n, before, cell)


@njit(**NO_ALLOCATION)
def calibrate(log_prior, knots, cell):
    """Probability on the line through the knots (x in row 0, value in row 1), constant beyond its ends."""
    x, y, last = knots[0], knots[1], np.uint64(knots.shape[1] - 1)
    for n in range(log_prior.shape[0]):
        cell[_SCORE + n] = max(min(cell[_SCORE + n] + log_prior[n], x[last]), x[0])
    for n in range(BLOCK):  # those beyond the last cell too: from here on it is an index
        cell[_AFTER + n] = 0.0
    for k in range(1, knots.shape[1] - 1):
        knot = x[k]
        for n in range(BLOCK):
            cell[_AFTER + n] += 1.0 if cell[_SCORE + n] >= knot else 0.0
    for n in range(BLOCK):
        left = np.uint64(np.int64(cell[_AFTER + n]))
        right = left + np.uint64(1)
        share = (cell[_SCORE + n] - x[left]) / (x[right] - x[left])
        cell[PROBABILITY + n] = y[left] + share * (y[right] - y[left])


@njit(**NO_ALLOCATION)
def tell(noise, unit, cell, rate_out, z_out, probability_out):
    """Write rate, z and probability."""
    for n in range(z_out.shape[0]):
        z_out[n] = cell[Z + n]
        probability_out[n] = cell[PROBABILITY + n]
    for n in range(noise.shape[0]):
        excess = (cell[Z + n] - RATE_FLOOR) * noise[n] / unit[n]
        rate_out[n] = np.sqrt(max(0.0, excess) * cell[PROBABILITY + n])


@njit(**NO_ALLOCATION)
def vote(odds_factor, cell):
    """Multiply the odds of the probability."""
    for n in range(odds_factor.shape[0]):
        p = cell[PROBABILITY + n]
        raised = p * np.float64(odds_factor[n])
        cell[PROBABILITY + n] = raised / (1.0 - p + raised)


@njit(**NO_ALLOCATION)
def vote_rate(noise, unit, rate_factor, cell, rate_out):
    """Rate where a network votes: its floor is a hyperbola's, so that drive just below it still counts."""
    for n in range(rate_out.shape[0]):
        above = cell[Z + n] - RATE_FLOOR
        excess = 0.5 * (above + np.sqrt(above * above + FLOOR_ROUND * FLOOR_ROUND)) * noise[n] / unit[n]
        rate_out[n] = np.sqrt(excess * cell[PROBABILITY + n]) * np.float64(rate_factor[n])


@njit(**NO_ALLOCATION)
def find_reasons(threshold, smallest_probability, cell, armed):
    """Flag the cells with reason for an event, and arm those without; NaN is no reason."""
    for n in range(threshold.shape[0]):
        has_reason = (cell[Z + n] >= threshold[n]) & (cell[PROBABILITY + n] >= smallest_probability[n])
        cell[HAS_REASON + n] = 1.0 if has_reason else 0.0
        armed[n] = armed[n] if has_reason else np.uint8(1)
