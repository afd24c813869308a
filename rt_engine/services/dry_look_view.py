"""What a dry look tells a person: figures, sentences, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from protocols.effects.power import detectable_sd, power
from protocols.effects.report import contrasts
from protocols.running.assignment import Assignment
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.recording.protocol_figure import Timeline, save_timeline
from rt_engine.services.dry_look import DryLook

EFFECTS_SD = (0.2, 0.5, 0.8)
"""Small, medium and large after Cohen 1988, in standard deviations of a trial's response."""


def figures_of(
    look: DryLook, config: ProtocolConfig, n_trials: int | None = None, effect: float | None = None
) -> dict[str, Any]:
    """Figures of a dry look.

    Parameters
    ----------
    look : DryLook
    config : ProtocolConfig
    n_trials : int or None
        Trials for which the statistical power is told; None: those the protocol stops at, else those of this look.
    effect : float or None
        Effect in the unit of the response for which the power is told too.
    """
    outcomes = {name: n for name, n in look.outcomes().items() if n}
    light = np.array(look.light_s).reshape(-1, 3)
    reasons: dict[str, int] = {}
    for _, decision in look.decisions:
        if decision.outcome in ("refused", "late") and decision.reason:
            words = decision.reason.split(" is beyond")[0].rstrip("0123456789.e+- ")
            reasons[words] = reasons.get(words, 0) + 1
    return {
        "protocol": config.name,
        "duration_s": look.duration_s,
        "eligible": look.n_eligible,
        "outcomes": outcomes,
        "refused_because": reasons,
        "pulses": len(light),
        "dose_mj": float(light[:, 1].sum()),
        "mean_power_mw": float(light[:, 2].mean()) if len(light) else None,
        "max_power_mw": float(light[:, 2].max()) if len(light) else None,
        "trips": look.trips,
        "arms": look.effects["arms"],
        "means": look.effects["means"],
        "contrasts": look.effects["contrasts"],
        "power": _power(look, config, n_trials, effect),
    }


def _power(look: DryLook, config: ProtocolConfig, n_trials: int | None, effect: float | None) -> dict[str, Any]:
    """Power of every comparison, from the spread of the control's responses."""
    assignment = Assignment(config.design)
    complete = {name: counts["complete"] for name, counts in look.effects["arms"].items()}
    total = sum(complete[name] for name in assignment.names)
    wanted = n_trials or config.design.stop.trials or total
    found: dict[str, Any] = {}
    for name, treated, control in contrasts(assignment) if config.design.response else []:
        shares = [config.design.arms[assignment.names[i]].share for i in (treated, control)]
        n_treated, n_control = (round(wanted * share) for share in shares)
        sd = look.effects["means"][assignment.names[control]]["sd"]
        alpha = config.design.alpha
        one: dict[str, Any] = {
            "n_treated": n_treated,
            "n_control": n_control,
            "response_sd": sd,
            "power_at_sd": {str(d): power(d, n_treated, n_control, alpha) for d in EFFECTS_SD},
        }
        detectable = detectable_sd(n_treated, n_control, alpha)
        one["detectable"] = detectable * sd if sd and np.isfinite(detectable) else None
        if effect is not None and sd:
            one["effect"] = effect
            one["power_at_effect"] = power(effect / sd, n_treated, n_control, alpha)
        found[name] = one
    return found


def sentences(figures: dict[str, Any]) -> list[str]:
    """The figures in words."""
    outcomes = ", ".join(f"{n} {name}" for name, n in figures["outcomes"].items()) or "none"
    lines = [f"{figures['duration_s']:.0f} s simulated: {figures['eligible']} eligible triggers; {outcomes}"]
    for reason, n in figures["refused_because"].items():
        lines.append(f"  refused {n} times: {reason}")
    lines += [f"  TRIPPED: {trip}" for trip in figures["trips"]]
    if figures["pulses"]:
        lines.append(
            f"light: {figures['pulses']} pulses, {figures['dose_mj']:.2f} mJ over all targets, "
            f"{figures['mean_power_mw']:.1f} mW mean and {figures['max_power_mw']:.1f} mW largest power for each target"
        )
    for name, one in figures["power"].items():
        told = ", ".join(f"{d} SD {100 * p:.0f} %" for d, p in one["power_at_sd"].items())
        lines.append(f"{name}, {one['n_treated']} and {one['n_control']} trials: power to find an effect of {told}")
        if one["detectable"] is not None:
            lines.append(f"  80 % power at an effect of {one['detectable']:.3g} (response SD {one['response_sd']:.3g})")
        if "power_at_effect" in one:
            lines.append(f"  power for the effect of {one['effect']:g}: {100 * one['power_at_effect']:.0f} %")
    return lines


def save_picture(look: DryLook, config: ProtocolConfig, words: list[str], path: Path) -> None:
    """Draw the timeline."""
    triggers: dict[str, list[float]] = {}
    t0_ns = NS_PER_S
    for request, decision in look.decisions:
        triggers.setdefault(str(decision.outcome), []).append((request.t_scan_ns - t0_ns) / NS_PER_S)
    save_timeline(
        Timeline(
            title=f"{config.name}: {config.description}",
            duration_s=look.duration_s,
            frame_rate_hz=look.frame_rate_hz,
            event_s=look.event_s,
            event_row=look.event_roi,
            phases=look.phases,
            signals=look.signals,
            triggers={name: np.array(times) for name, times in triggers.items()},
            light=np.array(look.light_s).reshape(-1, 3),
            marks=[t_s for t_s, _ in look.marks],
            words=words,
        ),
        path,
    )
