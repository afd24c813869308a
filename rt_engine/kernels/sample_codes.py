"""What a sample of a trace is worth: the codes that the trace kernels share."""

MISSING = 0
"""No sample, for a reason nobody announced (NaN, motion): counts towards the inhibit rule."""

GOOD = 1
"""A sample."""

EXPECTED_MISSING = 2
"""No sample, but explained (blanked by our own light, a frame that the counter says was lost)."""

CENSORED = 3
"""A lower bound (saturated detector): may raise an event, teaches nothing."""
