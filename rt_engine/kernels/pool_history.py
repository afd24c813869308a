"""What the deconvolution kernels share: which cells need their stacks, and where pools began.

numba caches a kernel by the file that it stands in: after a change here, touch the files of the kernels that call it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rt_engine.kernels.compile_options import NO_ALLOCATION

N_POOLS = 16
LARGEST_HOLD = 62
"""Frames: the start of every pool is a bit of a 64-bit history."""
SMALLEST_DECAY = 1e-30
"""The decay of a pool stops here, where its past is forgotten: keeps denormal numbers out."""


@njit(**NO_ALLOCATION)
def shift_starts(n_frames, starts):
    """Let the history of all cells grow older by frames in which no pool begins."""
    for i in range(starts.shape[0]):
        starts[i] = starts[i] << np.uint64(n_frames) if n_frames < 64 else np.uint64(0)


@njit(**NO_ALLOCATION)
def note_starts(flags, starts):
    """Let the history of all cells grow older by a frame, in which a pool begins where the flag is set."""
    for i in range(starts.shape[0]):
        starts[i] = (starts[i] << np.uint64(1)) | (np.uint64(1) if flags[i] > 0.0 else np.uint64(0))


@njit(**NO_ALLOCATION)
def select_flagged(count, flags, selected_out):
    """List the cells whose flag is set, without a branch that could be guessed wrongly; how many they are."""
    n_selected = np.uint64(0)  # unsigned: no check for indices from the end
    for i in range(count):
        selected_out[n_selected] = i
        n_selected += np.uint64(np.int64(flags[i]))
    return np.int64(n_selected)


@njit(**NO_ALLOCATION)
def select_started(hold, starts, selected_out):
    """List the cells where a pool began `hold` frames ago; how many they are."""
    n_selected = np.uint64(0)
    for i in range(starts.shape[0]):
        selected_out[n_selected] = i
        n_selected += (starts[i] >> np.uint64(hold)) & np.uint64(1)
    return np.int64(n_selected)


@njit(**NO_ALLOCATION)
def count_later(starts, hold):
    """How many pools began after the frame `hold` ago, without a loop."""
    bits = starts & ((np.uint64(1) << np.uint64(hold)) - np.uint64(1))
    bits -= (bits >> np.uint64(1)) & np.uint64(0x5555555555555555)
    bits = (bits & np.uint64(0x3333333333333333)) + ((bits >> np.uint64(2)) & np.uint64(0x3333333333333333))
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((bits * np.uint64(0x0101010101010101)) >> np.uint64(56))
