"""A small virtual sample: frames of a baseline, then live ones, that several tests of the engine share."""

N_BASELINE, N_LIVE, SIZE = 400, 200, 128
PERIOD_NS = 33_333_333
