"""Numbers of an indicator: what the forward model needs, and the shape of one action potential seen through it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class RiseKind(StrEnum):
    """What a table's rise time means."""

    HALF = "half"
    PEAK = "peak"


@dataclass(frozen=True, slots=True)
class ResponseShape:
    """One action potential seen through an indicator: peak dF/F, spike to half peak or peak, peak to half (s)."""

    peak_dff: float
    rise_s: float
    half_decay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorPhysics:
    """Numbers of the forward model.

    Attributes
    ----------
    rest_calcium_nm, tau_calcium_s : float
        Free calcium at rest (nM) and its decay after a spike (s).
    step_calcium_nm : float
        Calcium that one spike adds, nM.
    k_d_nm, hill, r_f : float
        Dissociation constant (nM), Hill coefficient, fluorescence gain ``(F_bound - F_free)/F_free``.
    tau_on_s, tau_off_s : float
        Relaxation of the bound fraction upwards and downwards, s.
    """

    rest_calcium_nm: float
    tau_calcium_s: float
    step_calcium_nm: float
    k_d_nm: float
    hill: float
    r_f: float
    tau_on_s: float
    tau_off_s: float

    def as_array(self) -> NDArray[np.float64]:
        """The numbers in the order that the kernel reads, shape (8,)."""
        return np.array(
            [
                self.rest_calcium_nm,
                self.tau_calcium_s,
                self.step_calcium_nm,
                self.k_d_nm,
                self.hill,
                self.r_f,
                self.tau_on_s,
                self.tau_off_s,
            ]
        )

    def rest_bound(self) -> float:
        """Fraction of the indicator that is bound at rest."""
        x = (self.rest_calcium_nm / self.k_d_nm) ** self.hill
        return float(x / (1.0 + x))

    def ceiling_dff(self) -> float:
        """dF/F with every indicator molecule bound."""
        rest = self.rest_bound()
        return self.r_f * (1.0 - rest) / (1.0 + self.r_f * rest)
