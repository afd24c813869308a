"""Table of indicators: what the papers say of one action potential, and the numbers fitted to it.

Tags: ``S`` read in the source named; ``S2`` in a secondary source (a laboratory's note, a code dictionary); ``M`` from
memory of the paper; ``P`` our choice; ``C`` computed by `fit_indicator.fit_physics` and `fit_kernel` from the
other columns. Everything but ``S`` is a prior, to be checked against the user's own recording.
"""

from __future__ import annotations

from typing import NamedTuple

from rt_engine.models.indicator_physics import RiseKind


class Cited(NamedTuple):
    """A number, how well it is known, and where from."""

    value: float
    tag: str
    source: str


class Row(NamedTuple):
    """One indicator: published numbers, then fitted ones (`C`), then the decision lag in frames at 30 Hz."""

    name: str
    k_d_nm: Cited
    hill: Cited
    r_f: Cited
    rest_calcium_nm: Cited
    tau_calcium_s: Cited
    peak_dff: Cited
    rise_s: Cited
    rise_kind: RiseKind
    half_decay_s: Cited
    step_calcium_nm: float
    tau_on_s: float
    tau_off_s: float
    amplitude_dff: float
    tau_rise_s: float
    tau_s: float
    hold_frames_at_30_hz: int


CHEN = "Chen et al. 2013, Nature 499:295"
DANA16 = "Dana et al. 2016, eLife 5:e12727"
DANA19 = "Dana et al. 2019, Nat Methods 16:649"
ZHANG = "Zhang et al. 2023, Nature 615:884"
NOTE = "laboratory note citing the Janelia tables"
MLSPIKE = "Deneux et al. 2016, Nat Commun 7:12190, range of autocalibration"
MAKER = "maker's data sheet"

REST = Cited(50.0, "S", "NAOMi-style simulation code: rest 50 nM")
EXTRUSION = Cited(0.062, "S", "NAOMi-style simulation code: (1 + 110)/1800 per s")
REST_8S = Cited(25.0, "P", "at 50 nM the ceiling is 0.8 dF/F, below the published single-spike peak of 1.1")
BUFFERED_150 = Cited(0.15, "P", "62 ms cannot give the published slow rise; calcium buffered by the indicator")
BUFFERED_250 = Cited(0.25, "P", BUFFERED_150.source)

LIBRARY = (
    Row(
        "GCaMP6f", Cited(375, "S2", NOTE), Cited(2.27, "M", CHEN), Cited(52, "M", CHEN), REST, EXTRUSION,
        Cited(0.19, "M", CHEN), Cited(0.045, "M", CHEN), RiseKind.PEAK, Cited(0.142, "M", CHEN),
        22.19, 0.03764, 0.1156, 0.19, 0.02624, 0.1412, 3,
    ),
    Row(
        "GCaMP6s", Cited(144, "S2", NOTE), Cited(2.90, "S2", NOTE), Cited(63, "M", CHEN), REST, BUFFERED_150,
        Cited(0.23, "M", CHEN), Cited(0.179, "M", CHEN), RiseKind.PEAK, Cited(0.550, "M", CHEN),
        17.1, 0.246, 0.5658, 0.2301, 0.09087, 0.6007, 5,
    ),
    Row(
        "jGCaMP7f", Cited(174, "M", DANA19), Cited(2.3, "M", DANA19), Cited(30, "M", DANA19), REST, EXTRUSION,
        Cited(0.25, "M", DANA19), Cited(0.025, "S2", NOTE), RiseKind.HALF, Cited(0.225, "S2", NOTE),
        63.29, 0.3842, 0.2304, 0.25, 0.06775, 0.2285, 3,
    ),
    Row(
        "jGCaMP7s", Cited(68, "M", DANA19), Cited(2.5, "M", DANA19), Cited(40, "M", DANA19), REST, BUFFERED_250,
        Cited(0.60, "M", DANA19), Cited(0.085, "S2", NOTE), RiseKind.HALF, Cited(1.26, "S2", NOTE),
        79.38, 0.3507, 1.409, 0.5999, 0.1664, 1.445, 5,
    ),
    Row(
        "jGCaMP8f", Cited(334, "M", ZHANG), Cited(2.1, "M", ZHANG), Cited(79, "M", ZHANG), REST, EXTRUSION,
        Cited(0.40, "S2", NOTE), Cited(0.007, "S2", NOTE), RiseKind.HALF, Cited(0.067, "S2", NOTE),
        23.81, 0.01968, 0.02575, 0.3999, 0.01891, 0.06385, 1,
    ),
    Row(
        "jGCaMP8m", Cited(108, "M", ZHANG), Cited(1.9, "M", ZHANG), Cited(46, "M", ZHANG), REST, EXTRUSION,
        Cited(0.70, "S2", NOTE), Cited(0.007, "S2", NOTE), RiseKind.HALF, Cited(0.118, "S2", NOTE),
        42.05, 0.01766, 0.07841, 0.6999, 0.01928, 0.1149, 1,
    ),
    Row(
        "jGCaMP8s", Cited(46, "M", ZHANG), Cited(2.2, "M", ZHANG), Cited(50, "M", ZHANG), REST_8S, EXTRUSION,
        Cited(1.10, "S2", NOTE), Cited(0.010, "S2", NOTE), RiseKind.HALF, Cited(0.307, "S2", NOTE),
        35.32, 0.0277, 0.3438, 1.1, 0.01983, 0.3727, 1,
    ),
    Row(
        "jRGECO1a", Cited(148, "M", DANA16), Cited(1.9, "M", DANA16), Cited(11.6, "M", DANA16), REST, BUFFERED_150,
        Cited(0.10, "M", DANA16), Cited(0.050, "M", DANA16), RiseKind.HALF, Cited(0.357, "S2", NOTE),
        22.53, 0.3639, 0.2872, 0.1, 0.1774, 0.2639, 3,
    ),
    Row(
        "OGB-1", Cited(170, "M", MAKER), Cited(1.0, "P", "one binding site"), Cited(10, "M", MAKER), REST, EXTRUSION,
        Cited(0.07, "S", MLSPIKE), Cited(0.005, "P", "published only as below 10 ms"), RiseKind.HALF,
        Cited(0.555, "P", f"ln 2 times 0.8 s, the geometric mean of {MLSPIKE}"),
        9.842, 0.01117, 0.7055, 0.07001, 0.008842, 0.7462, 1,
    ),
    Row(
        "Cal-520", Cited(320, "M", MAKER), Cited(1.0, "P", "one binding site"), Cited(100, "M", MAKER), REST, EXTRUSION,
        Cited(0.15, "M", "low confidence"), Cited(0.005, "P", "published only as below 10 ms"), RiseKind.HALF,
        Cited(0.39, "P", "ln 2 times 0.57 s, the geometric mean of 0.4 to 0.8 s (from memory, low confidence)"),
        13.99, 0.0112, 0.4656, 0.15, 0.009704, 0.5065, 1,
    ),
)  # fmt: skip
