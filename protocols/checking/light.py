"""Worst-case power, width, rate, duty and dose of a protocol, against the limits of a rig."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from protocols.checking.demand import Burst, Source, burst_of, most_pulses, pulses_in_window, sources
from protocols.checking.findings import Finding, Verdict
from protocols.schema.actions import Clamp, LightAction
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.output_config import Limits
from rt_engine.interfaces.stimulation import MAX_TARGETS
from rt_engine.interfaces.yaml_files import config_error

_HOUR_MS = 3_600_000.0


def check_light(config: ProtocolConfig, rig: Mapping[str, Limits]) -> Iterator[Finding]:
    """Findings on every light action and on every output as a whole."""
    try:
        limits = {name: _tightened(name, one, config) for name, one in rig.items()}
    except ConfigError as error:
        yield Finding(Verdict.ERROR, error.key, error.message.removeprefix(f"{error.key}: "))
        return
    lights = {name: action for name, action in config.actions.items() if isinstance(action, LightAction)}
    for name, action in lights.items():
        if action.output not in limits:
            there = ", ".join(sorted(limits)) or "none"
            yield Finding(
                Verdict.ERROR,
                f"actions.{name}.output",
                f"the rig has no output {action.output!r}; outputs: {there}",
            )
            continue
        yield from _check_burst(f"actions.{name}", burst_of(config, action), limits[action.output], action)
    for output in config.limits:
        if output not in rig:
            there = ", ".join(sorted(rig)) or "none"
            yield Finding(Verdict.ERROR, f"limits.{output}", f"the rig has no such output; outputs: {there}")
    for output, limit in limits.items():
        own = [one for one in sources(config) if lights[one.action].output == output]
        if own:
            bursts = [burst_of(config, lights[one.action]) for one in own]
            yield from _check_output(output, own, bursts, limit)


def _tightened(output: str, limit: Limits, config: ProtocolConfig) -> Limits:
    """Limits of an output as the protocol tightens them.

    Raises
    ------
    ConfigError
        An unknown key, or a value of the wrong kind.
    """
    try:
        return Limits.model_validate({**limit.model_dump(), **config.limits.get(output, {})})
    except ValidationError as error:
        first = config_error("", error)
        raise ConfigError(first.message.removeprefix(f"{first.key}: "), key=f"limits.{output}.{first.key}") from error


def _check_burst(key: str, burst: Burst, limit: Limits, action: LightAction) -> Iterator[Finding]:
    """What a single firing asks for: what is beyond a limit here can never pass."""
    power_key = f"{key}.max_mw" if isinstance(action, Clamp) else f"{key}.power_mw"
    energy_mj = burst.power_mw * burst.width_ms * burst.pulses * 1e-3
    on_ms = pulses_in_window(burst, limit.duty_window_s * 1e3) * burst.width_ms
    bounds = [
        (power_key, burst.power_mw, "max_power_mw", limit.max_power_mw),
        (f"{key}.width_ms", burst.width_ms, "max_width_ms", limit.max_width_ms),
        (f"{key}.pulses", energy_mj, "max_energy_per_target_mj", limit.max_energy_per_target_mj),
        (f"{key}.pulses", energy_mj, "max_total_energy_mj", limit.max_total_energy_mj),
        (f"{key}.width_ms", on_ms / (limit.duty_window_s * 1e3), "max_duty", limit.max_duty),
    ]
    if burst.pulses > 1:
        window_ms = _rate_window_ms(limit)
        rate_hz = pulses_in_window(burst, window_ms) / window_ms * 1e3
        bounds.append((f"{key}.period_ms", rate_hz, "max_rate_hz", limit.max_rate_hz))
        gap_ms = burst.period_ms - burst.width_ms
        if gap_ms < limit.min_gap_ms * (1 - 1e-9):
            yield _never(f"{key}.period_ms", gap_ms, "min_gap_ms", limit.min_gap_ms)
    if burst.n_targets is not None and burst.n_targets > MAX_TARGETS and action.targets != "triggering":
        yield Finding(
            Verdict.ERROR, f"{key}.targets", f"{burst.n_targets} targets; at most {MAX_TARGETS} are lit at once"
        )
    for where, value, name, bound in bounds:
        if value > bound * (1 + 1e-9):
            yield _never(where, value, name, bound)
        elif name in ("max_power_mw", "max_width_ms"):
            yield Finding(Verdict.PROVED, where, f"at most {value:g}, limit {name} {bound:g}")


def _never(key: str, value: float, name: str, bound: float) -> Finding:
    return Finding(Verdict.ERROR, key, f"gives {value:g}, which the rig's limit {name} {bound:g} can never let pass")


def _rate_window_ms(limit: Limits) -> float:
    """Window in which the rate limit counts: one second, or 1/rate below 1 Hz."""
    return max(1e3, 1e3 / limit.max_rate_hz)


def _check_output(output: str, own: list[Source], bursts: list[Burst], limit: Limits) -> Iterator[Finding]:
    """All sources of one output together, in the worst case."""
    pairs = list(zip(own, bursts, strict=True))
    unbounded = [one for one in own if one.interval_ms <= 0]
    for one in unbounded:
        yield Finding(
            Verdict.WARNING,
            one.key,
            f"nothing bounds how often {one.action!r} comes but {one.bounded_by}: the interlock will have to refuse",
        )
    if unbounded:
        return
    key = f"limits.{output}"
    window_ms = _rate_window_ms(limit)
    duty_ms, energy_ms = limit.duty_window_s * 1e3, limit.energy_window_s * 1e3
    rate_hz = sum(most_pulses(s, b, window_ms) for s, b in pairs) / window_ms * 1e3
    duty = sum(most_pulses(s, b, duty_ms + b.width_ms) * b.width_ms for s, b in pairs) / duty_ms
    dose_mj = sum(most_pulses(s, b, energy_ms) * b.width_ms * b.power_mw for s, b in pairs) * 1e-3
    yield _bound(key, "rate, Hz", rate_hz, "max_rate_hz", limit.max_rate_hz)
    yield _bound(key, "duty", duty, "max_duty", limit.max_duty)
    window = f"dose of a target in {limit.energy_window_s:g} s, mJ"
    yield _bound(key, window, dose_mj, "max_energy_per_target_mj", limit.max_energy_per_target_mj)
    gaps_ms = [
        min(s.interval_ms - b.duration_ms, b.period_ms - b.width_ms if b.pulses > 1 else math.inf) for s, b in pairs
    ]
    if len(pairs) > 1:
        yield Finding(Verdict.WARNING, key, f"{len(pairs)} sources of light can follow each other within min_gap_ms")
    elif min(gaps_ms) >= limit.min_gap_ms:
        yield Finding(Verdict.PROVED, key, f"gap at least {min(gaps_ms):g} ms, limit min_gap_ms {limit.min_gap_ms:g}")
    else:
        yield Finding(Verdict.WARNING, key, f"gap may be {min(gaps_ms):g} ms, limit min_gap_ms {limit.min_gap_ms:g}")
    dark_ms = min(s.interval_ms - b.duration_ms for s, b in pairs)
    if len(pairs) == 1:
        yield _at_least(key, "dark time of a target, ms,", dark_ms, "target_refractory_ms", limit.target_refractory_ms)
    yield from _dose_per_hour(key, pairs, limit)
    if limit.exclusion_zones:
        yield Finding(Verdict.WARNING, key, "exclusion zones are checked once the cells are known")


def _dose_per_hour(key: str, pairs: list[tuple[Source, Burst]], limit: Limits) -> Iterator[Finding]:
    if any(b.n_targets is None for _, b in pairs):
        yield Finding(Verdict.WARNING, key, "the number of targets is known with the calibration only: no total dose")
        return
    hour_mj = sum(most_pulses(s, b, _HOUR_MS) * b.width_ms * b.power_mw * (b.n_targets or 0) for s, b in pairs) * 1e-3
    text = f"total dose at most {hour_mj:g} mJ in an hour, limit max_total_energy_mj {limit.max_total_energy_mj:g}"
    if hour_mj <= limit.max_total_energy_mj:
        yield Finding(Verdict.PROVED, key, text)
        return
    hours = limit.max_total_energy_mj / hour_mj
    yield Finding(Verdict.WARNING, key, f"{text}: used up after {hours:.1f} h in the worst case")


def _at_least(key: str, what: str, value: float, name: str, bound: float) -> Finding:
    if value >= bound:
        return Finding(Verdict.PROVED, key, f"{what} at least {value:g}, limit {name} {bound:g}")
    return Finding(Verdict.WARNING, key, f"{what} may be {value:g}, limit {name} {bound:g}: the interlock refuses")


def _bound(key: str, what: str, value: float, name: str, bound: float) -> Finding:
    if value <= bound * (1 + 1e-9):
        return Finding(Verdict.PROVED, key, f"{what} at most {value:g}, limit {name} {bound:g}")
    return Finding(Verdict.WARNING, key, f"{what} may reach {value:g}, limit {name} {bound:g}: the interlock refuses")


def raise_first(findings: Iterator[Finding], file: str) -> None:
    """Raise the first error among findings.

    Raises
    ------
    ConfigError
        Naming file, key, value and limit.
    """
    for finding in findings:
        if finding.verdict is Verdict.ERROR:
            raise ConfigError(finding.text, file=file, key=finding.key)
