"""What a person sees of a run in a terminal: phases, progress, and a live block of numbers."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from rt_engine.interfaces.fates import Fate

_PLAIN_PERIOD_S = 5.0


@dataclass(slots=True)
class Snapshot:
    """The run at one moment."""

    phase: str = "starting"
    seconds: float = 0.0
    duration_s: float | None = None
    n_rois: int = 0
    frames: int = 0
    frames_lost: int = 0
    fates: dict[str, int] = field(default_factory=dict)
    plane_frames: dict[int, int] = field(default_factory=dict)
    frame_rate_hz: float = 0.0
    events: int = 0
    events_per_s: float = 0.0
    interlock: str = "disarmed"
    trip: str = ""
    stim: dict[str, int] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    dropped: int = 0
    last_events: deque[str] = field(default_factory=lambda: deque(maxlen=5))
    last_light: deque[str] = field(default_factory=lambda: deque(maxlen=3))


class RunView:
    """Live text: a block that refreshes in a terminal, a line every five seconds where output is piped."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live: Live | None = None
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._plain_due_s = 0.0
        self._said: dict[str, int] = {}

    def say(self, text: str, style: str = "") -> None:
        """One line that stays."""
        self.console.print(Text(text, style), soft_wrap=True)

    def progress(self, stage: str, fraction: float) -> None:
        """How far a long task is, 0 to 1."""
        if not self.console.is_terminal:
            tenth = int(fraction * 4) * 25
            if self._said.get(stage) != tenth:
                self._said[stage] = tenth
                self.say(f"  {stage}: {tenth} %")
            return
        if self._progress is None:
            columns = (TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
            self._progress = Progress(*columns, TimeElapsedColumn(), console=self.console)
            self._progress.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=1.0)
        self._progress.update(self._tasks[stage], completed=min(1.0, fraction))

    def end_progress(self) -> None:
        """Leave the progress bars as they are."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks = {}

    def show(self, snapshot: Snapshot) -> None:
        """Refresh the live block."""
        if self.console.is_terminal:
            if self._live is None:
                self._live = Live(console=self.console, refresh_per_second=5, transient=True)
                self._live.start()
            self._live.update(_block(snapshot))
            return
        now_s = time.monotonic()
        if now_s >= self._plain_due_s:
            self._plain_due_s = now_s + _PLAIN_PERIOD_S
            self.say(plain_line(snapshot))

    def end_live(self) -> None:
        """Remove the live block."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def plain_line(snapshot: Snapshot) -> str:
    """The snapshot in one line."""
    of = f"/{snapshot.duration_s:.0f}" if snapshot.duration_s else ""
    stim = ", ".join(f"{n} {outcome}" for outcome, n in sorted(snapshot.stim.items())) or "none"
    latency = snapshot.latency_ms.get("scan_to_command") or snapshot.latency_ms.get("receive_to_decision") or {}
    name = "scan_to_command" if snapshot.latency_ms.get("scan_to_command") else "receive_to_decision"
    timing = f"{name} p50 {latency['p50']:.2f} p99 {latency['p99']:.2f} ms" if latency else "no latency yet"
    return (
        f"  {snapshot.phase} {snapshot.seconds:.0f}{of} s | {snapshot.frames} frames, {_losses(snapshot)} | "
        f"{snapshot.events} events | light: {stim} | {timing} | {snapshot.interlock}"
    )


def _losses(snapshot: Snapshot) -> str:
    """Frames without a decision, and those whose decision was of no use; a word for each of the rest that occurs."""
    fates = snapshot.fates
    skipped = f" ({fates[Fate.SKIPPED]} skipped)" if fates.get(Fate.SKIPPED) else ""
    rest = [f", {fates[fate]} {fate.value}" for fate in (Fate.LATE, Fate.REFUSED) if fates.get(fate)]
    return f"{snapshot.frames_lost} lost{skipped}{''.join(rest)}"


def _block(snapshot: Snapshot) -> Panel:
    numbers = Table.grid(padding=(0, 3))
    numbers.add_row("frames", f"{snapshot.frames}", "lost", f"{snapshot.frames_lost}")
    numbers.add_row("rate", f"{snapshot.frame_rate_hz:.1f} frames/s", "dropped", f"{snapshot.dropped}")
    late, skipped = (f"{snapshot.fates.get(fate, 0)}" for fate in (Fate.LATE, Fate.SKIPPED))
    numbers.add_row("late", late, "skipped", skipped)
    numbers.add_row("cells", f"{snapshot.n_rois}", "events", f"{snapshot.events} ({snapshot.events_per_s:.1f}/s)")
    numbers.add_row("interlock", _interlock_text(snapshot), "light", _stim_text(snapshot))
    if len(snapshot.plane_frames) > 1:
        planes = ", ".join(f"{plane}: {n}" for plane, n in sorted(snapshot.plane_frames.items()))
        numbers.add_row("planes", planes, "", "")
    latency = Table(box=None, padding=(0, 2), header_style="dim")
    for column in ("interval", "p50 ms", "p99 ms", "max ms"):
        latency.add_column(column, justify="left" if column == "interval" else "right")
    for name, values in snapshot.latency_ms.items():
        if values:
            latency.add_row(name, f"{values['p50']:.2f}", f"{values['p99']:.2f}", f"{values['max']:.2f}")
    recent = Table.grid(padding=(0, 2))
    for text in snapshot.last_events:
        recent.add_row("[cyan]●[/]", escape(text))
    for text in snapshot.last_light:
        recent.add_row("[yellow]▲[/]", escape(text))
    of = f" of {snapshot.duration_s:.0f} s" if snapshot.duration_s else " s"
    title = f"spikeloop · {snapshot.phase} · {snapshot.seconds:.0f}{of}"
    return Panel(Group(numbers, "", latency, "", recent), title=title, subtitle="Ctrl-C ends the run", expand=False)


def _interlock_text(snapshot: Snapshot) -> str:
    if snapshot.trip:
        return f"[bold red]tripped[/]: {escape(snapshot.trip)}"
    return f"[bold green]{snapshot.interlock}[/]" if snapshot.interlock in ("armed", "firing") else snapshot.interlock


def _stim_text(snapshot: Snapshot) -> str:
    return ", ".join(f"{n} {outcome}" for outcome, n in sorted(snapshot.stim.items())) or "none yet"
