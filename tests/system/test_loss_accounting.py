"""From a source with planted faults to the journal: what was sent is what met a fate, and what the file holds."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from stream_source import StreamSource, stream_rig, until_live
from system_rig import Start, summary_of

from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import ActivityHeader, FateHeader, FrameHeader, HealthHeader, SpikesHeader
from rt_engine.recording.reader import Session, open_session
from rt_engine.transport.free_ports import free_ports

FAR_BEHIND_S = 0.4
"""40 frames; the limit is 8."""


class Numbered(StreamSource):
    """Keeps the number of every frame that was sent, whole or not."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.sent: list[int] = []

    def send(self, frame: int, payload: bytes | None = None, **changes: Any) -> None:
        super().send(frame, payload, **changes)
        self.sent.append(frame)


def headers(session: Session, topic: str, kind: type[Any]) -> list[Any]:
    return [message.header for message in session.messages(topic) if isinstance(message.header, kind)]


def numbers(session: Session) -> dict[Fate, list[int]]:
    """Numbers of every fate, as the journal alone tells them."""
    found: dict[Fate, list[int]] = {fate: [] for fate in Fate}
    for header in headers(session, "fate.0", FateHeader):
        found[header.fate] += range(header.first, header.first + header.n)
    found[Fate.DECIDED] = [header.frame for header in headers(session, "activity.0", ActivityHeader)]
    idle = [header.frame for header in headers(session, "spikes.0", SpikesHeader) if header.mode != "live"]
    found[Fate.UNUSED] = [frame for frame in idle if frame not in found[Fate.OUT_OF_ORDER]]
    return found


def plant(source: Numbered, k: int, pid: int) -> int:
    """One fault of every kind, and the number that would be next."""
    for frame in (k, k, k + 1, k + 5, k + 3):  # k twice; k + 2 to k + 4 missing, of which k + 3 comes after all
        source.send(frame)
    source.send(k + 6, flags=int(FrameFlag.ARTEFACT), blanked=[[8, 4]])
    source.send(k + 7, t_scan_ns=time.perf_counter_ns() - 300_000_000)  # late, and nothing waits behind it
    time.sleep(0.2)
    k += 8
    os.kill(pid, signal.SIGSTOP)
    end_s = time.monotonic() + FAR_BEHIND_S
    while time.monotonic() < end_s:
        source.send(k)
        k += 1
    os.kill(pid, signal.SIGCONT)
    for _ in range(40):
        source.send(k)
        k += 1
    return k


@pytest.mark.realtime
@pytest.mark.skipif(os.name == "nt", reason="freezes the engine by a POSIX signal")
def test_frames_sent_are_the_sum_of_their_fates_and_of_the_journal_number_by_number(start: Start) -> None:
    port = free_ports(1)[0]
    rig = stream_rig(port)
    rig["inference"] |= {"max_backlog_frames": 8, "deadline_ms": 50.0, "new_cells": "off"}
    run = start(rig, "--baseline", "2")
    source = Numbered(port)
    try:
        first_fault = until_live(run, source)
        before = run.ctl("status")
        last = plant(source, first_fault, before["pids"]["inference"])
        run.wait_for("the frames before the end", lambda status: status["frames"] >= before["frames"] + 40)
        source.send(last, source.random.bytes(64 * 128 * 2), line0=0, n_lines=64)  # torn: its other half never comes
        time.sleep(0.5)
        run.ctl("stop")
        assert run.wait() == 0, run.output()
    finally:
        source.close()
    session, summary = open_session(run.session), summary_of(run.session)
    k, fate = first_fault, numbers(session)

    # What was planted is told, by number.
    assert fate[Fate.MISSING] == [k + 2, k + 3, k + 4]
    assert fate[Fate.DUPLICATED] == [k]
    assert fate[Fate.OUT_OF_ORDER] == [k + 3]
    assert fate[Fate.BLANKED] == [k + 6]
    assert k + 7 in fate[Fate.LATE]
    assert fate[Fate.REFUSED] == [last]
    assert fate[Fate.DISCARDED] == []
    assert len(fate[Fate.SKIPPED]) > 8
    assert set(fate[Fate.LATE]) <= set(fate[Fate.DECIDED])

    # Every number from the first that the engine saw to the last has one fate.
    one_each = [Fate.DECIDED, Fate.UNUSED, Fate.MISSING, Fate.SKIPPED, Fate.REFUSED]
    all_numbers = sorted(number for one in one_each for number in fate[one])
    assert all_numbers == list(range(all_numbers[0], last + 1))

    # Sent = fates, message by message: those before the engine listened are in neither.
    heard = [number for number in source.sent if number >= all_numbers[0]]
    met = Counter(all_numbers) - Counter(fate[Fate.MISSING])
    met += Counter(fate[Fate.DUPLICATED]) + Counter(fate[Fate.OUT_OF_ORDER])
    assert met == Counter(heard)

    # The recorder loses nothing, of skipped frames neither.
    frames = headers(session, "frame.0.0", FrameHeader)
    kept = [header.frame for header in frames]
    assert [number for number in kept if number >= all_numbers[0]] == heard
    assert session.is_complete
    assert summary["journal"]["gaps"] == {}
    assert summary["journal"]["lost_messages"] == {}

    # Services agree: what inference counted is what the journal tells, and the summary sums up.
    told = {one.value: len(numbers_) for one, numbers_ in fate.items() if numbers_}
    last_health = [h for h in headers(session, "health", HealthHeader) if h.source == "inference.0"][-1]
    of_engine = last_health.fates | {"refused": 1}  # the torn frame is given up after the last heartbeat
    assert of_engine == told
    assert summary["fates"]["0"] == {name: n for name, n in told.items() if name != "unused"}
    assert summary["frames"] == len(fate[Fate.DECIDED]) + 1  # the torn one too, as far as it came
    assert summary["frames_lost"] == len(fate[Fate.MISSING]) + len(fate[Fate.SKIPPED])
