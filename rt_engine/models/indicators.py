"""The indicator library: prior kernels and physics of each calcium indicator, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.indicator_library import LIBRARY, Cited, Row
from rt_engine.models.indicator_physics import IndicatorPhysics, ResponseShape, RiseKind

HOLD_RATE_HZ = 30.0
"""Frame rate at which the library's decision lags are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """One calcium indicator. Priors, to be replaced by what the user's recording says.

    Attributes
    ----------
    name : str
    amplitude_dff : float
        Peak dF/F of one action potential.
    tau_rise_s, tau_s : float
        Bi-exponential fitted to the simulated response to one action potential, see `kernel`.
    K_d_nm, hill, R_f : float
        Dissociation constant (nM), Hill coefficient, gain ``(F_bound - F_free)/F_free``.
    rest_calcium_nm, tau_calcium_s, dC_AP_nm : float
        Free calcium at rest (nM), its decay (s), and the fitted step of one action potential (nM).
    tau_on_s, tau_off_s : float
        Fitted relaxation of the bound fraction, s.
    table : ResponseShape
        Published response to one action potential, to which the fitted numbers belong.
    rise_kind : RiseKind
        Whether `table.rise_s` runs to half the peak or to the peak.
    hold_frames_at_30_hz : int
    provenance : mapping of str to Cited
        Field name -> value, tag and source; see `indicator_library`.
    """

    name: str
    amplitude_dff: float
    tau_rise_s: float
    tau_s: float
    K_d_nm: float
    hill: float
    R_f: float
    rest_calcium_nm: float
    tau_calcium_s: float
    dC_AP_nm: float
    tau_on_s: float
    tau_off_s: float
    table: ResponseShape
    rise_kind: RiseKind
    hold_frames_at_30_hz: int
    provenance: Mapping[str, Cited]

    @property
    def physics(self) -> IndicatorPhysics:
        """Numbers of the forward model."""
        return IndicatorPhysics(
            rest_calcium_nm=self.rest_calcium_nm,
            tau_calcium_s=self.tau_calcium_s,
            step_calcium_nm=self.dC_AP_nm,
            k_d_nm=self.K_d_nm,
            hill=self.hill,
            r_f=self.R_f,
            tau_on_s=self.tau_on_s,
            tau_off_s=self.tau_off_s,
        )

    def kernel(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """(exp(-t/tau_s) - exp(-t/tau_rise_s))/peak, `t_s` seconds after the spike: 0 before it, 1 at its peak."""
        rise, decay = self.tau_rise_s, self.tau_s
        top_s = np.log(decay / rise) * decay * rise / (decay - rise)
        height = np.exp(-top_s / decay) - np.exp(-top_s / rise)
        t = np.maximum(t_s, 0.0)
        return np.asarray((np.exp(-t / decay) - np.exp(-t / rise)) / height)

    @property
    def onset_offset_s(self) -> float:
        """How much later a deconvolution without rise puts a spike: the rise's time constant."""
        return self.tau_rise_s

    def default_hold_frames(self, frame_rate_hz: float) -> int:
        """Decision lag in frames: the library's delay in seconds (counted at 30 Hz) at this rate, at least 1."""
        return max(1, round(self.hold_frames_at_30_hz / HOLD_RATE_HZ * frame_rate_hz))


def _indicator(row: Row) -> Indicator:
    fitted = "fit of the forward model to peak, rise and half-decay of one action potential"
    hold = "1 for fast-rising indicators, 3 for 6f and 7f, 5 for 6s and 7s, at 30 Hz"
    provenance = {
        "amplitude_dff": Cited(row.amplitude_dff, "C", f"peak of the fitted response; table: {row.peak_dff.source}"),
        "tau_rise_s": Cited(row.tau_rise_s, "C", fitted),
        "tau_s": Cited(row.tau_s, "C", fitted),
        "K_d_nm": row.k_d_nm,
        "hill": row.hill,
        "R_f": row.r_f,
        "rest_calcium_nm": row.rest_calcium_nm,
        "tau_calcium_s": row.tau_calcium_s,
        "dC_AP_nm": Cited(row.step_calcium_nm, "C", fitted),
        "tau_on_s": Cited(row.tau_on_s, "C", fitted),
        "tau_off_s": Cited(row.tau_off_s, "C", fitted),
        "hold_frames_at_30_hz": Cited(row.hold_frames_at_30_hz, "P", hold),
        "table.peak_dff": row.peak_dff,
        "table.rise_s": row.rise_s,
        "table.half_decay_s": row.half_decay_s,
    }
    numbers = {name: cited.value for name, cited in provenance.items() if "." not in name}
    numbers.pop("hold_frames_at_30_hz")
    return Indicator(
        name=row.name,
        table=ResponseShape(row.peak_dff.value, row.rise_s.value, row.half_decay_s.value),
        rise_kind=row.rise_kind,
        hold_frames_at_30_hz=row.hold_frames_at_30_hz,
        provenance=MappingProxyType(provenance),
        **{name: float(value) for name, value in numbers.items()},
    )


def indicator_names() -> tuple[str, ...]:
    """Names that `indicator` accepts, as they are usually written."""
    return tuple(row.name for row in LIBRARY)


def indicator(name: str) -> Indicator:
    """Indicator by name, upper and lower case alike.

    Raises
    ------
    ConfigError
        The name is not in the library; the message lists those that are.
    """
    for row in LIBRARY:
        if row.name.lower() == name.strip().lower():
            return _indicator(row)
    raise ConfigError(f"unknown indicator {name!r}", f"known: {', '.join(indicator_names())}", key="indicator")
