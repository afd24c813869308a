"""`spikeloop bench latency`: the whole loop against a bare hop, in one run."""

from __future__ import annotations

import contextlib
import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rt_engine.bench.kernels import machine
from rt_engine.bench.loop.chain import ProductChain
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.field import plant_loop
from rt_engine.bench.loop.harm import Harm
from rt_engine.bench.loop.intervals import Intervals
from rt_engine.bench.loop.peers import PeerChain
from rt_engine.bench.loop.reference import ReferenceHop
from rt_engine.bench.loop.shared_hop import SharedHop
from rt_engine.bench.loop.watcher import window_can_run
from rt_engine.bench.rounds import Spread
from rt_engine.interfaces.errors import ConfigError, ServiceError
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.transport.free_ports import free_ports

REFERENCE = "reference hop"
N_CELLS, SIDE_PX, N_FRAMES, SEED = 1000, 512, 240, 1
STRIP_LINES = 8
N_AHEAD = 8
SHARED = "hop through shared memory"
PEER_SHARE = 8
"""The peers get so many times fewer frames: they take ten times as long."""
PEERS = "chain of peers' parts"
SAME_WORK = "core, beside peers"
"""Ours without demixing, on the field and the frames that the peers' parts get, who do none either."""
BY_MESSAGES = "frames in messages"
NETWORK = "with the network"
"""And with demixing, on the crowded field."""
UNHARMED = "two subscribers"
MOST_HARM = {"p50": 1.1, "p99": 1.5}
"""What counts as noise: of two rounds of the same chain, 200 frames each, the 99th percentile is the second slowest."""
WHOLE, STRIPS, STRIPS_ALL_ON = "whole frames, to the command", "strips, to the command", "strips, everything on"


class Mode(NamedTuple):
    """How frames come.

    Attributes
    ----------
    name : str
    rate_hz : float or None
        None: the next when the one before has been answered.
    n_frames : int
        Of a round.
    """

    name: str
    rate_hz: float | None
    n_frames: int


LOCKSTEP, FAST, USUAL = Mode("lockstep", None, 400), Mode("200 Hz", 200.0, 200), Mode("30 Hz", 30.0, 60)
MODES = (LOCKSTEP, FAST, USUAL)


class Family(NamedTuple):
    """Chains that are alive together and take turns with the reference hop.

    Attributes
    ----------
    plans : tuple of ChainPlan
    modes : tuple of Mode
    peers : bool
        With the chain of other people's parts.
    shared : bool
        With the hop through shared memory.
    harms : tuple of Harm
        Each gets a turn of the first chain of its own.
    """

    plans: tuple[ChainPlan, ...]
    modes: tuple[Mode, ...]
    peers: bool = False
    shared: bool = False
    harms: tuple[Harm, ...] = ()


FAMILIES = (
    Family((ChainPlan("core"), ChainPlan("everything on", recorded=True, n_watchers=2)), MODES, shared=True),
    Family((ChainPlan(SAME_WORK),), (LOCKSTEP,), peers=True),
    Family((ChainPlan("demixed", demixed=True),), (LOCKSTEP,), peers=True),
    Family(
        (ChainPlan("frames in shared memory"), ChainPlan(BY_MESSAGES, frames_by=FrameWay.MESSAGES)),
        (LOCKSTEP, USUAL),
    ),
    Family((ChainPlan(NETWORK, demixed=True, network=True),), (LOCKSTEP,)),
    Family((ChainPlan(UNHARMED, recorded=True, n_watchers=2),), (FAST,), harms=tuple(Harm)),
    Family(
        (
            ChainPlan("no window", recorded=True),
            ChainPlan("window", recorded=True, has_window=True),
        ),
        (FAST,),
    ),
    Family(
        (
            ChainPlan("whole frames", awaits_decision=True),
            ChainPlan("strips", strip_lines=STRIP_LINES, awaits_decision=True),
        ),
        (USUAL,),
    ),
    Family(
        (
            ChainPlan(WHOLE),
            ChainPlan(STRIPS, strip_lines=STRIP_LINES, awaits_decision=True, hears_commands=True),
            ChainPlan(
                STRIPS_ALL_ON,
                strip_lines=STRIP_LINES,
                awaits_decision=True,
                hears_commands=True,
                recorded=True,
                n_watchers=2,
            ),
        ),
        (USUAL,),
    ),
)
_BOUNDS: tuple[tuple[str, str, str, float, str, float], ...] = (
    ("core", "lockstep", "scan_to_command", 0.5, "<=", 7.0),
    ("everything on", "lockstep", "scan_to_command", 0.5, "<=", 9.0),
    ("demixed", "lockstep", "scan_to_command", 0.5, "<=", 10.0),
    (NETWORK, "lockstep", "scan_to_command", 0.5, "<=", 12.0),
    ("core", "lockstep", "scan_to_command", 0.99, "<=", 8.0),
    ("everything on", "lockstep", "scan_to_command", 0.99, "<=", 12.0),
    ("core", "30 Hz", "scan_to_command", 0.5, "<=", 4.0),
)
_MOST_TURNS = 4
LAST_SHARE = 1e-3
"""Of the slowest frames, at which the drawn curves end."""
QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
Rounds = dict[tuple[str, str], list[Intervals]]


def families_with(name: str | None) -> tuple[Family, ...]:
    """The families that hold a chain of this name; None: all.

    Raises
    ------
    ConfigError
        There is no such chain.
    """
    found = tuple(one for one in FAMILIES if name is None or name in (plan.name for plan in one.plans))
    if not found:
        known = ", ".join(plan.name for one in FAMILIES for plan in one.plans)
        raise ConfigError(f"{name!r} is no chain of this benchmark", f"known: {known}", key="--only")
    return found


def run_latency_benchmark(
    n_rounds: int, progress: Callable[[str, float], None], families: tuple[Family, ...] = FAMILIES
) -> dict[str, Any]:
    """Measure all families.

    Parameters
    ----------
    n_rounds : int
    progress : Callable
        Told the name of the part and the share that is done.
    families : tuple of Family

    Returns
    -------
    dict
        ``machine``; ``n_rounds``; ``us``: variant to mode to interval to p50, p99, p999, max (all rounds together) and
        n; ``ratios``: name to [median, lowest, highest] over rounds, and ``bound`` and ``met`` where something was
        promised; ``sorted_us``: variant to mode to 400 quantiles of the interval that is drawn, down to the slowest
        thousandth.

    Raises
    ------
    SpikeloopError
        A process failed.
    """
    figures: dict[str, Any] = {"machine": machine(), "n_rounds": n_rounds, "us": {}, "ratios": {}, "sorted_us": {}}
    for number, family in enumerate(families):
        if any(plan.has_window for plan in family.plans) and not window_can_run():
            figures["left_out"] = "window: the extra `gui` is not installed"
            continue
        name = " / ".join(plan.name for plan in family.plans)
        rounds = _measure(family, n_rounds, lambda share, name=name: progress(name, share))  # type: ignore[misc]
        _add(figures, rounds, f"with {family.plans[0].name}" if number else "")
        _compare(figures["ratios"], rounds)
    return figures


def _measure(family: Family, n_rounds: int, progress: Callable[[float], None]) -> Rounds:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spikeloop-bench-")))
        reference = ReferenceHop((*free_ports(3),))  # type: ignore[arg-type]
        stack.callback(reference.close)
        fields = {d: plant_loop(N_CELLS, SIDE_PX, N_FRAMES, SEED, demixed=d) for d in {p.demixed for p in family.plans}}
        chains = []
        for plan in family.plans:
            chains.append(ProductChain(plan, fields[plan.demixed], folder / plan.name.replace(" ", "-")))
            stack.callback(chains[-1].close)
        peers = None
        if family.peers:
            peers = PeerChain(next(iter(fields.values())), (*free_ports(3),))  # type: ignore[arg-type]
            stack.callback(peers.close)
        shared = None
        if family.shared:
            shared = SharedHop((*free_ports(3),))  # type: ignore[arg-type]
            stack.callback(shared.close)
        gc.collect()
        gc.disable()
        stack.callback(gc.enable)
        rounds: Rounds = {}
        for number in range(n_rounds):
            progress(number / n_rounds)
            for mode in family.modes:
                turns = {REFERENCE: _of_hop(reference.run(mode.n_frames, mode.rate_hz))}
                steps: list[tuple[str, ProductChain, Harm | None]] = [(one.plan.name, one, None) for one in chains]
                steps += [(harm.value, chains[0], harm) for harm in family.harms]
                if number % 2:  # who comes right after the hop finds the computer in another state
                    steps.reverse()
                turns |= {name: _turn(chain, mode, harm) for name, chain, harm in steps}
                if peers is not None:
                    turns[PEERS] = _of_hop(peers.run(mode.n_frames // PEER_SHARE, mode.rate_hz))
                if shared is not None:
                    turns[SHARED] = _of_hop(shared.run(mode.n_frames, mode.rate_hz))
                for name, times in turns.items():
                    rounds.setdefault((name, mode.name), []).append(times)
        progress(1.0)
        return rounds


def _turn(chain: ProductChain, mode: Mode, harm: Harm | None = None) -> Intervals:
    """One round; again if the interlock has tripped before its first command, as it does where everything stands still.

    Raises
    ------
    ServiceError
        It has done so each time.
    """
    for _ in range(_MOST_TURNS):
        times = _turn_once(chain, mode, harm)
        if chain.plan.awaits_decision or len(times.scan_to_command):
            return times
    raise ServiceError(f"{chain.plan.name}: no command in {_MOST_TURNS} rounds", "free the computer of other work")


def _turn_once(chain: ProductChain, mode: Mode, harm: Harm | None) -> Intervals:
    chain.go_live()
    try:
        if harm is not None:
            chain.do_harm(harm)
        if chain.plan.strip_lines is not None and mode.rate_hz is not None:
            return chain.run_strips(mode.n_frames, mode.rate_hz)
        return chain.run(mode.n_frames, mode.rate_hz)
    finally:
        chain.heal()
        chain.pause()


def _of_hop(took_ns: NDArray[np.int64]) -> Intervals:
    """What a chain that only knows its whole time has to say."""
    none = np.zeros(0, np.int64)
    return Intervals(none, none, none, none, took_ns, float(took_ns.sum()) / 1e9)


def _add(figures: dict[str, Any], rounds: Rounds, suffix: str) -> None:
    for (variant, mode), parts in rounds.items():
        name = f"{variant} {suffix}".strip() if variant in (REFERENCE, PEERS) else variant
        of = figures["us"].setdefault(name, {}).setdefault(mode, {})
        for interval in Intervals._fields[:-1]:
            values_us = np.concatenate([getattr(part, interval) for part in parts]) / 1e3
            if len(values_us) and values_us.any():
                of[interval] = {k: float(np.quantile(values_us, q)) for k, q in QUANTILES.items()} | {
                    "n": len(values_us)
                }
        drawn = np.concatenate([_whole(part) for part in parts]) / 1e3
        steps = 1 - np.geomspace(1.0, LAST_SHARE, 400)
        figures["sorted_us"].setdefault(name, {})[mode] = np.quantile(drawn, steps).tolist()
        if variant != REFERENCE:
            _ratios(figures["ratios"], name, mode, parts, rounds[REFERENCE, mode])


def _compare(ratios: dict[str, Any], rounds: Rounds) -> None:
    """Chains of one family with each other."""
    if ("strips", USUAL.name) in rounds:
        strips, whole = rounds["strips", USUAL.name], rounds["whole frames", USUAL.name]
        spread = _ratio_of(strips, whole, 0.5)
        ratios["strips over whole frames, 30 Hz, scan_to_arrival p50"] = _row(spread, ("<=", 1 / 8))
    for harm in Harm:
        if (harm.value, FAST.name) in rounds:
            harmed, usual = rounds[harm.value, FAST.name], rounds[UNHARMED, FAST.name]
            for name, q in (("p50", 0.5), ("p99", 0.99)):
                spread = _ratio_of(harmed, usual, q)
                ratios[f"{harm}, over none, 200 Hz, {name}"] = _row(spread, ("<=", MOST_HARM[name]))
    for name in (STRIPS, STRIPS_ALL_ON):
        if (name, USUAL.name) in rounds:
            spread = _ratio_of(rounds[name, USUAL.name], rounds[WHOLE, USUAL.name], 0.5)
            ratios[f"{name}, over whole frames, 30 Hz, scan_to_command p50"] = _row(spread)
    if ("window", FAST.name) in rounds:
        alone, seen = rounds["no window", FAST.name], rounds["window", FAST.name]
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            bound = ("<=", 1.1) if q == 0.5 else None
            ratios[f"window open over closed, 200 Hz, {name}"] = _row(_ratio_of(seen, alone, q), bound)
    for name, row, bound in (
        (SAME_WORK, "peers over ours, same work, lockstep, p50", (">=", 8.0)),
        ("demixed", "peers, who do not demix, over ours that does, lockstep, p50", None),
    ):
        if (name, LOCKSTEP.name) in rounds:
            ratios[row] = _row(_ratio_of(rounds[PEERS, LOCKSTEP.name], rounds[name, LOCKSTEP.name], 0.5), bound)
    for mode in (LOCKSTEP.name, USUAL.name):
        if (BY_MESSAGES, mode) in rounds:
            spread = _ratio_of(rounds["frames in shared memory", mode], rounds[BY_MESSAGES, mode], 0.5)
            ratios[f"frames in shared memory over messages, {mode}, p50"] = _row(spread)


def percentiles(values_us: NDArray[np.float64]) -> dict[str, float]:
    """p50, p99, p999, max and n.

    Parameters
    ----------
    values_us : float64 ndarray, shape (n,), n > 0
    """
    of = {name: float(np.quantile(values_us, q)) for name, q in QUANTILES.items()}
    return of | {"n": len(values_us)}


def _whole(part: Intervals) -> NDArray[np.int64]:
    """The interval that speaks for the whole chain."""
    return part.scan_to_command if len(part.scan_to_command) else part.scan_to_arrival


def _ratio_of(parts: list[Intervals], others: list[Intervals], q: float) -> Spread:
    ours, theirs = (np.array([np.quantile(_whole(p), q) for p in rounds]) for rounds in (parts, others))
    return Spread.of(ours / theirs)


def _ratios(ratios: dict[str, Any], variant: str, mode: str, parts: list[Intervals], hop: list[Intervals]) -> None:
    interval = "scan_to_command" if len(parts[0].scan_to_command) else "scan_to_arrival"
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        bound = next((b[4:6] for b in _BOUNDS if b[:4] == (variant, mode, interval, q)), None)
        ratios[f"{variant}, {mode}, {interval} {name}"] = _row(_ratio_of(parts, hop, q), bound)


def _row(spread: Spread, bound: tuple[str, float] | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"value": spread}
    if bound is not None:
        sense, limit = bound
        row |= {"bound": f"{sense} {limit:.4g}"}
        row["met"] = spread.median <= limit if sense == "<=" else spread.median >= limit
    return row
