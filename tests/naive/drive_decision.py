"""The decision on the drive for one cell, a frame at a time, written from its definition."""

import math

import numpy as np

FIRST_BURST, BURST_RATIO, LARGEST_BURST = 0.6, 0.4, 6
RATE_FLOOR = 1.2
ONSET_SPAN = 2
FIRST_KNOT, KNOT_STEP = (-10.0, -3.0, -3.0, -3.0), (2.0, 1.0, 1.0, 1.0)  # of odds, z, z after, z before


def log_evidence(z, gain):
    """Log likelihood ratio of the number of spikes that is the likeliest together with its prior."""
    shares = [FIRST_BURST * BURST_RATIO ** (n - 1) for n in range(1, LARGEST_BURST + 1)]
    return max(math.log(share) + n * gain * (z - n * gain / 2) for n, share in enumerate(shares, start=1))


def features(drive, hold, noise, gain, log_prior):
    """Odds against the neighbours, z, z after, z before of every frame; `drive` : (n_frames, hold + 1)."""
    noise, gain, log_prior = float(noise), float(gain), float(log_prior)  # whose infinities warn of nothing
    found, before, z_before = [], -math.inf, 0.0
    for newest in drive:
        z = float(newest[hold]) / noise
        z_after = float(newest[hold - 1]) / noise if hold else z
        here = log_prior + log_evidence(z, gain)
        after = log_prior + log_evidence(z_after, gain) if hold else here - math.log(2)
        rivals = [rival for rival in (before, after) if not math.isnan(rival)]
        found.append((here - max([0.0, *rivals]), z, z_after, z_before))
        before, z_before = here, z
    return found


def probability(of_frame, log_prior, tables, calibration):
    """Sum of what the tables say, recalibrated."""
    at = [first + step * np.arange(len(tables[0])) for first, step in zip(FIRST_KNOT, KNOT_STEP, strict=True)]
    score = log_prior + sum(float(np.interp(x, at[k], tables[k])) for k, x in enumerate(of_frame))
    return float(np.interp(score, *calibration))


def rate(z, chance, noise, unit):
    """Geometric mean of probability and excess over the floor."""
    excess = (float(z) - RATE_FLOOR) * float(noise) / float(unit)
    return math.sqrt((excess if excess > 0 else 0.0) * chance)


def events(drive, hold, z, chance, code, threshold, smallest, refractory):
    """(frame told, frame that it stands in, its drive, censored) of every event."""
    found, armed, last = [], True, -math.inf
    for t, newest in enumerate(drive):
        if not (z[t] >= threshold and chance[t] >= smallest):
            armed = True
            continue
        if code[t] not in (1, 3) or not armed or t - last <= refractory:
            continue
        armed, last = False, t
        lags = [hold - k for k in range(ONSET_SPAN + 1) if hold - k >= 0]
        onset = max(lags, key=lambda lag: (newest[lag] if not math.isnan(newest[lag]) else -math.inf, lag))
        found.append((t, t - onset, float(newest[onset]), code[t] == 3))
    return found
