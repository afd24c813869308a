"""What tasks of a simulated card read: counters latched by a clock, sampled voltages and lines."""

from __future__ import annotations

from drivers.outputs.simulators.ni_card import TIMEBASE_HZ, TOO_FEW, CardError, SimulatedCard
from drivers.outputs.simulators.ni_task import NS_PER_S, Kind, SimulatedTask

_TICK_NS = NS_PER_S // TIMEBASE_HZ
_U32 = 1 << 32


def count_now(card: SimulatedCard, task: SimulatedTask) -> int:
    """The count register of a running counter."""
    now_ns = card.look()
    if task.edges_term.endswith("Timebase"):
        return (card.device_ns(task, now_ns) // _TICK_NS) % _U32
    return len(card.signal(task.edges_term).rises(task.started_ns, now_ns)) % _U32


def available(card: SimulatedCard, task: SimulatedTask) -> int:
    """Samples of each channel that have not been read."""
    now_ns = card.look()
    if task.kind is Kind.CI:
        return len(_latched(card, task, now_ns))
    there = int(card.device_ns(task, now_ns) * (task.rate_hz or 0.0) / NS_PER_S) + 1
    return (min(there, task.samples) if task.finite else there) - task.read_from


def _latched(card: SimulatedCard, task: SimulatedTask, now_ns: int) -> list[int]:
    """Edges of the sample clock that have not been read."""
    return card.signal(card.terminal(task.clock_source)).rises(task.started_ns, now_ns)[task.read_from :]


def read_counter(card: SimulatedCard, task: SimulatedTask, wanted: int) -> list[int]:
    """Counts latched by the sample clock since the last read; -1 takes what is there.

    Raises
    ------
    CardError
        More are wanted than are there, or the task has failed.
    """
    if not task.clock_source:
        return [count_now(card, task)] * max(wanted, 1)
    edges = _latched(card, task, card.look())
    if wanted < 0:
        wanted = len(edges)
    if len(edges) < wanted:
        raise CardError(TOO_FEW, f"Some or all of the samples requested have not yet been acquired. {task.name}")
    task.read_from += wanted
    return [(card.device_ns(task, t_ns) // _TICK_NS) % _U32 for t_ns in edges[:wanted]]


def read_sampled(card: SimulatedCard, task: SimulatedTask, wanted: int) -> list[list[float]]:
    """Samples of each channel since the last read, or one taken now where there is no clock.

    Raises
    ------
    CardError
        More are wanted than are there.
    """
    if task.rate_hz is None:
        return [[card.level(channel)] for channel in task.channels]
    there = available(card, task)
    if wanted < 0:
        wanted = there
    if there < wanted:
        raise CardError(TOO_FEW, f"Some or all of the samples requested have not yet been acquired. {task.name}")
    first, task.read_from = task.read_from, task.read_from + wanted
    period_ns = NS_PER_S / task.rate_hz / (card.device_ns(task, task.started_ns + NS_PER_S) / NS_PER_S)
    times = [task.started_ns + round(i * period_ns) for i in range(first, first + wanted)]
    names = task.channels if task.kind in (Kind.AI, Kind.DI) else []
    low_v, high_v = task.range_v
    return [[min(max(card.seen(name, t_ns), low_v), high_v) for t_ns in times] for name in names]
