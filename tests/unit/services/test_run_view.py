"""A person reads the run in a terminal, and in a file into which it is piped."""

from __future__ import annotations

import io
import threading
from collections import deque
from types import SimpleNamespace

import pytest
from rich.console import Console

from rt_engine.services import run_view
from rt_engine.services.run_view import RunView, Snapshot, plain_line


def piped() -> tuple[RunView, io.StringIO]:
    stream = io.StringIO()
    return RunView(Console(file=stream, force_terminal=False, width=80, highlight=False)), stream


def in_terminal() -> tuple[RunView, io.StringIO]:
    stream = io.StringIO()
    return RunView(Console(file=stream, force_terminal=True, width=140, height=40, color_system=None)), stream


def none_alive(threads: set[threading.Thread]) -> bool:
    """True if all of them end, which those of rich do by themselves, a refresh after they were stopped."""
    for thread in threads:
        thread.join(30.0)
    return not any(thread.is_alive() for thread in threads)


def test_a_line_has_every_number_of_the_run() -> None:
    snapshot = Snapshot(
        phase="live",
        seconds=12.4,
        duration_s=60.0,
        frames=372,
        frames_lost=1,
        events=9,
        interlock="armed",
        stim={"withheld": 2, "delivered": 3},
        latency_ms={"scan_to_command": {"p50": 1.234, "p99": 5.678}, "receive_to_decision": {"p50": 0.1, "p99": 0.2}},
    )
    assert plain_line(snapshot) == (
        "  live 12/60 s | 372 frames, 1 lost | 9 events | light: 3 delivered, 2 withheld | "
        "scan_to_command p50 1.23 p99 5.68 ms | armed"
    )


def test_frames_that_were_late_or_left_out_are_told_where_there_are_any() -> None:
    told = Snapshot(
        frames=372, frames_lost=7, fates={"decided": 372, "late": 3, "skipped": 5, "refused": 1, "unused": 9}
    )
    assert " 372 frames, 7 lost (5 skipped), 3 late, 1 refused | " in plain_line(told)
    view, stream = in_terminal()
    view.show(told)
    view.end_live()
    assert "late" in stream.getvalue()
    assert "skipped" in stream.getvalue()


def test_a_latency_is_named_for_what_it_is() -> None:
    assert "no latency yet" in plain_line(Snapshot())
    assert "light: none" in plain_line(Snapshot())
    decided = Snapshot(latency_ms={"receive_to_decision": {"p50": 0.5, "p99": 2.0}})
    assert "receive_to_decision p50 0.50 p99 2.00 ms" in plain_line(decided)


def test_where_output_is_piped_each_quarter_of_a_long_task_is_said_once() -> None:
    view, stream = piped()
    for fraction in (0.0, 0.1, 0.26, 0.3, 0.5, 0.74, 1.0, 1.0):
        view.progress("calibrating", fraction)
    view.end_progress()
    assert stream.getvalue().splitlines() == [f"  calibrating: {percent} %" for percent in (0, 25, 50, 100)]


def test_where_output_is_piped_there_is_one_line_in_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    view, stream = piped()
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(run_view, "time", SimpleNamespace(monotonic=lambda: now.s))
    for now.s in (1000.0, 1001.0, 1004.9, 1005.0, 1009.0, 1011.0):
        view.show(Snapshot(frames=int(now.s)))
    view.end_live()
    said = [line.split(" | ")[1] for line in stream.getvalue().splitlines()]
    assert said == ["1000 frames, 0 lost", "1005 frames, 0 lost", "1011 frames, 0 lost"]


def test_a_sentence_stays_in_one_piece_however_long_it_is() -> None:
    view, stream = piped()
    view.say("x" * 300, style="bold red")
    assert stream.getvalue() == "x" * 300 + "\n"


def test_the_block_in_a_terminal_shows_the_run_and_leaves_no_thread() -> None:
    view, stream = in_terminal()
    before = set(threading.enumerate())
    snapshot = Snapshot(
        phase="live",
        seconds=12.0,
        duration_s=60.0,
        n_rois=47,
        frames=372,
        frame_rate_hz=29.97,
        events_per_s=1.25,
        interlock="tripped",
        trip="no sign of the engine for 1001 ms",
        stim={"delivered": 3},
        latency_ms={"scan_to_command": {"p50": 1.234, "p99": 5.678, "max": 9.0}, "scan_to_receive": {}},
    )
    snapshot.last_events.append("cell 7: 2 spike(s)")
    snapshot.last_light.append("delivered after cell [7] 8.0 mW")
    view.show(snapshot)
    view.show(snapshot)
    view.end_live()
    view.end_live()
    shown = stream.getvalue()
    for text in (
        *("spikeloop · live · 12 of 60 s", "372", "30.0 frames/s", "47", "(1.2/s)", "3 delivered"),
        *("tripped: no sign of the engine for 1001 ms", "scan_to_command", "1.23", "5.68", "9.00"),
        *("cell 7: 2 spike(s)", "delivered after cell [7] 8.0 mW"),
    ):
        assert text in shown
    assert "scan_to_receive" not in shown
    assert none_alive(set(threading.enumerate()) - before)


def test_a_bar_in_a_terminal_ends_full_and_leaves_no_thread() -> None:
    view, stream = in_terminal()
    before = set(threading.enumerate())
    for fraction in (0.0, 0.5, 1.5):
        view.progress("calibrating", fraction)
    view.end_progress()
    view.end_progress()
    assert "calibrating" in stream.getvalue()
    assert "100 %" in stream.getvalue()
    assert none_alive(set(threading.enumerate()) - before)


def test_text_with_brackets_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    view = RunView(Console(file=stream, force_terminal=True, width=200, highlight=False))
    view.say("stop [/] [red]x")
    view.show(
        Snapshot(interlock="tripped", trip="smoke [/]", last_events=deque(["[bold]"]), last_light=deque(["[/x]"]))
    )
    view.end_live()
    assert "stop [/] [red]x" in stream.getvalue()
