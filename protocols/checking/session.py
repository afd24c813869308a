"""The light of a whole session, over all outputs, against the limits of a session."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from protocols.checking.demand import Burst, Source, burst_of, most_pulses, sources
from protocols.checking.findings import Finding, Verdict
from protocols.schema.actions import LightAction
from protocols.schema.protocol import ProtocolConfig
from rt_engine.interfaces.output_config import Limits, SessionLimits

_HOUR_S = 3600.0
_KEY = "session_limits"


def check_session(config: ProtocolConfig, rig: Mapping[str, Limits], session: SessionLimits) -> Iterator[Finding]:
    """Findings on `session_limits` of the rig.

    What no single firing can stay within is an error; for the rest it is told how long the limits last in the worst
    case: in the session if `design.stop.after_s` bounds it, in an hour if nothing does. An output gives no more than
    its `max_rate_hz`, whatever is asked of it.
    """
    lights = {name: one for name, one in config.actions.items() if isinstance(one, LightAction) and one.output in rig}
    for name, action in lights.items():
        yield from _check_burst(f"actions.{name}", burst_of(config, action), session)
    own = [one for one in sources(config) if one.action in lights]
    if own:
        pairs = [(one, burst_of(config, lights[one.action])) for one in own]
        rates_hz = [rig[lights[one.action].output].max_rate_hz for one in own]
        yield from _check_whole(pairs, rates_hz, config.design.stop.after_s, session)


def _check_burst(key: str, burst: Burst, session: SessionLimits) -> Iterator[Finding]:
    """One firing, on one target at least."""
    energy_mj = burst.power_mw * burst.width_ms * burst.pulses * 1e-3
    for what, value, name, bound in (
        ("mJ", energy_mj, "max_energy_mj", session.max_energy_mj),
        ("pulses", burst.pulses, "max_pulses", session.max_pulses),
    ):
        if value > bound * (1 + 1e-9):
            text = f"gives {value:g} {what}, which the rig's {_KEY}.{name} {bound:g} can never let pass"
            yield Finding(Verdict.ERROR, f"{key}.pulses", text)


def _check_whole(
    pairs: list[tuple[Source, Burst]], rates_hz: list[float], after_s: float | None, session: SessionLimits
) -> Iterator[Finding]:
    span_s, span = (_HOUR_S, "an hour") if after_s is None else (after_s, f"the {after_s:g} s of the session")
    pulses = [
        min(most_pulses(source, burst, span_s * 1e3), _allowed_pulses(rate_hz, span_s))
        for (source, burst), rate_hz in zip(pairs, rates_hz, strict=True)
    ]
    yield _told(f"pulses in {span}", float(sum(pulses)), "max_pulses", session.max_pulses, span_s)
    if any(burst.n_targets is None for _, burst in pairs):
        text = "the number of targets is known with the calibration only: no energy of a session"
        yield Finding(Verdict.WARNING, _KEY, text)
        return
    energy_mj = 1e-3 * sum(
        n * burst.power_mw * burst.width_ms * (burst.n_targets or 0)
        for n, (_, burst) in zip(pulses, pairs, strict=True)
    )
    yield _told(f"energy in {span}, mJ,", energy_mj, "max_energy_mj", session.max_energy_mj, span_s)


def _allowed_pulses(rate_hz: float, span_s: float) -> int:
    """Most pulses that an output lets pass: so many in every second, or one in every 1/rate."""
    return math.floor(rate_hz) * math.ceil(span_s) if rate_hz >= 1 else math.ceil(rate_hz * span_s)


def _told(what: str, value: float, name: str, bound: float, span_s: float) -> Finding:
    if value <= bound:
        return Finding(Verdict.PROVED, f"{_KEY}.{name}", f"{what} at most {value:g}, limit {bound:g}")
    lasts_min = span_s / 60 * bound / value
    text = f"{what} may reach {value:g}, limit {bound:g}: used up after {lasts_min:.1f} min in the worst case"
    return Finding(Verdict.WARNING, f"{_KEY}.{name}", text)
