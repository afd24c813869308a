"""The section of the report on what the light did: arms, estimates, test, maps."""

from __future__ import annotations

from typing import Any

from rt_engine.recording import report_template as html

_STATUS = ("complete", "void", "lost", "open")
_CONTRASTS = (
    "Difference of the means; IPW: the same, every trial weighted by one over the probability of its arm. Both compare "
    "the protocol's response, which is not the curve above where signal or window differ. The interval and the e-value "
    "hold however often somebody looked; p: re-randomisation of the trials as they were drawn."
)


def effect_section(effects: dict[str, Any] | None, missing: str | None = None) -> str:
    """Trials by arm, and every comparison; nothing where the protocol had no trial.

    Parameters
    ----------
    effects : dict or None
        `effects` of the summary.
    missing : str, optional
        Why they could not be made again.
    """
    if not effects and missing:
        return html.section("Effect of the light", html.paragraph(f"Not known: {missing}.", "warning"))
    if not effects or not any(sum(counts.values()) for counts in effects["arms"].values()):
        return ""
    parts = [
        html.paragraph(
            "Trials by arm. Void: too few valid samples, found before any arm was looked at. Lost: refused, late or "
            "failed. A loss that differs between arms would bias the comparison.",
            "note",
        ),
        html.paragraph(_measured(effects["response"]), "note") if "response" in effects else "",
        html.table(["arm", *_STATUS, "mean response", "SD"], [_arm_row(name, effects) for name in effects["arms"]]),
    ]
    rows = [_contrast_row(name, one) for name, one in effects["contrasts"].items()]
    if rows:
        level = f"{100 * (1 - effects['alpha']):g} %"
        head = ["comparison", "difference", "IPW", f"anytime-valid {level}", "e-value", "randomisation p"]
        parts.append(html.table(head, rows))
        parts.append(html.paragraph(_CONTRASTS, "note"))
    parts.append(_map_paragraph(effects.get("map")))
    return html.section("Effect of the light", *parts)


def _measured(response: dict[str, Any] | None) -> str:
    """What the response of a trial is, as the protocol defines it."""
    if response is None:
        return "The protocol names no response: trials are counted, none is measured."
    minus = response["minus_before_ms"]
    before = f", minus its mean over the {minus:g} ms before" if minus else ""
    window = f"{response['from_ms']:g} to {response['to_ms']:g} ms after the trigger"
    return f"Response of a trial: mean of the protocol's signal “{response['signal']}”, {window}{before}."


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}"


def _arm_row(name: str, effects: dict[str, Any]) -> list[str]:
    counts, means = effects["arms"][name], effects["means"][name]
    return [name, *(str(counts[one]) for one in _STATUS), _number(means["mean"]), _number(means["sd"])]


def _contrast_row(name: str, one: dict[str, Any]) -> list[str]:
    interval = f"{_number(one['low'])} to {_number(one['high'])}" if "low" in one else "too few trials"
    numbers = [_number(one.get("difference")), _number(one.get("ipw")), interval]
    return [name.replace("_", " "), *numbers, _number(one.get("e_value")), _number(one.get("p"))]


def _map_paragraph(found: dict[str, Any] | None) -> str:
    if not found:
        return ""
    if found["kind"] == "excitability":
        fitted = [cell["p50_mw"] for cell in found["cells"].values() if cell["p50_mw"] is not None]
        middle = f"; median P50 {sorted(fitted)[len(fitted) // 2]:.2f} mW" if fitted else ""
        return html.paragraph(f"Excitability: {len(fitted)} of {len(found['cells'])} cells fitted{middle}.")
    if not found["n_pairs"]:
        return html.paragraph("Influence map: too few trials at targets or control sites.")
    return html.paragraph(
        f"Influence map: {found['n_significant']} of {found['n_pairs']} pairs at a false discovery rate of "
        f"{found['false_discovery_rate']:g}, from {found['n_trials']} trials, "
        f"{found['n_control_trials']} of them at control sites."
    )
