"""The real inference service under frames that are lost, repeated, reordered, broken, late and too many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inference_bench import SIDE_PX, InferenceBench, planted_field

from rt_engine.bench.loop.field import PlantedLoop
from rt_engine.interfaces.events import FrameFlag
from rt_engine.interfaces.fates import Fate
from rt_engine.interfaces.messages import SpikesHeader
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.pipeline.engine import ACTIVITY_FIELDS
from rt_engine.services.engine_loading import load_engine


@pytest.fixture(scope="module")
def planted() -> PlantedLoop:
    return planted_field()


@pytest.fixture(params=list(FrameWay))
def rig(planted: PlantedLoop, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[InferenceBench]:
    made = InferenceBench(planted, tmp_path, request.param)
    yield made
    made.close()


def test_every_number_from_the_first_to_the_last_has_its_fate_and_is_told(rig: InferenceBench) -> None:
    k = rig.next
    rig.send(k)
    rig.send(k + 1)
    rig.send(k + 1)  # twice
    rig.send(k + 4)  # two are missing
    rig.send(k + 3)  # one of them comes after all
    rig.send(k + 5, flags=int(FrameFlag.DISCARD))
    rig.send(k + 6, age_ms=50.0)  # past the deadline
    rig.send(k + 7, blanked=[[4, 6]])
    rig.send(k + 8, line0=0, n_lines=32)
    rig.send(k + 8, line0=64, n_lines=32)  # the lines between are missing
    rig.send(k + 9, line0=0, n_lines=32)  # begun and never ended
    rig.send(k + 10)
    rig.send(k + 11)
    counts = rig.counts()
    rig.until(lambda: counts[Fate.DECIDED] >= 7)
    rig.until(lambda: len(rig.told(Fate.REFUSED)) == 2 and bool(rig.told(Fate.BLANKED)))
    assert rig.service._book.n_unaccounted == 0
    assert counts[Fate.DECIDED] == 7
    assert counts[Fate.UNUSED] > 0
    assert rig.told(Fate.MISSING) == [(k + 2, 2)]
    assert rig.told(Fate.DUPLICATED) == [(k + 1, 1)]
    assert rig.told(Fate.OUT_OF_ORDER) == [(k + 3, 1)]
    assert rig.told(Fate.DISCARDED) == [(k + 5, 1)]
    assert rig.told(Fate.LATE) == [(k + 6, 1)]
    assert rig.told(Fate.BLANKED) == [(k + 7, 1)]
    assert rig.told(Fate.REFUSED) == [(k + 8, 1), (k + 9, 1)]


def test_a_late_decision_says_so_where_it_is_made(rig: InferenceBench) -> None:
    k = rig.next
    rig.send(k, age_ms=1.0)
    rig.send(k + 1, age_ms=60.0)
    rig.until(lambda: rig.counts()[Fate.LATE] == 1)
    rig.until(lambda: any(isinstance(h, SpikesHeader) and h.frame == k + 1 for h in rig.heard))
    late = {h.frame: h.late for h in rig.heard if isinstance(h, SpikesHeader) and h.frame >= k}
    assert late == {k: False, k + 1: True}


def test_far_behind_the_newest_frame_is_gone_to_and_every_number_left_out_is_told(rig: InferenceBench) -> None:
    k, n = rig.next, 12
    rig.send(k)
    rig.until(lambda: rig.counts()[Fate.DECIDED] == 1)
    for frame in range(k + 1, k + 1 + n):
        rig.send(frame, age_ms=33.0 * (k + n - frame) + 1.0)
    time.sleep(0.2)  # several of them wait now
    counts = rig.counts()
    rig.until(lambda: counts[Fate.DECIDED] + counts[Fate.SKIPPED] == n + 1)
    rig.until(lambda: sum(n for _, n in rig.told(Fate.SKIPPED)) == counts[Fate.SKIPPED])  # they are on their way
    skipped = [first for first, _ in rig.told(Fate.SKIPPED)]
    beyond_the_limit = [frame for frame in range(k + 1, k + 1 + n) if k + n - frame > 4]
    assert set(skipped) >= set(beyond_the_limit)
    assert k + n not in skipped
    rig.until(lambda: any(isinstance(h, SpikesHeader) and h.frame == k + n for h in rig.heard))
    assert rig.service._book.n_unaccounted == 0


def test_frames_left_out_or_lost_pass_for_the_cells_as_frames_without_a_sample(
    rig: InferenceBench, planted: PlantedLoop
) -> None:
    k, lost, discarded = rig.next, (31, 32), 40
    sent = [i for i in range(60) if i not in lost]
    counts = rig.counts()
    for i in sent[:30]:
        rig.send(k + i, flags=int(FrameFlag.DISCARD) if i == discarded else 0)
        rig.until(lambda i=i: counts[Fate.DECIDED] == i + 1)  # type: ignore[misc]
    for i in sent[30:50]:  # 31 and 32 never come; those before the last have waited for long
        rig.send(k + i, age_ms=33.0 * (51 - i) + 1.0, flags=int(FrameFlag.DISCARD) if i == discarded else 0)
    time.sleep(0.2)
    rig.until(lambda: sum(counts[fate] for fate in (Fate.DECIDED, Fate.SKIPPED, Fate.DISCARDED)) == 50)
    for i in sent[50:]:
        rig.send(k + i)
    rig.until(lambda: sum(counts[fate] for fate in (Fate.DECIDED, Fate.SKIPPED, Fate.DISCARDED)) == 58)
    rig.until(lambda: sum(n for _, n in rig.told(Fate.SKIPPED)) == counts[Fate.SKIPPED])
    skipped = {first - k for first, _ in rig.told(Fate.SKIPPED)}
    assert len(skipped) > 8
    without = skipped | set(lost) | {discarded}
    args = {"path": str(rig.calibration)}
    told_all, _ = load_engine(rig.rig, 0, args, rig.clock, None)
    for i in range(60):
        told_all.process(rig.pixels(k + i), k + i, 0, 0, [[0, SIDE_PX]] if i in without else [])
    assert rig.service._engine is not None
    seen, expected = rig.service._engine.fill_activity(), told_all.fill_activity()
    for name, one, other in zip(ACTIVITY_FIELDS, seen, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_frame_cut_short_is_refused_and_its_number_is_missing_afterwards(rig: InferenceBench) -> None:
    k = rig.next
    rig.send(k)
    rig.send(k + 1, cut=100)
    rig.send(k + 2)
    rig.until(lambda: rig.counts()[Fate.DECIDED] == 2)
    rig.until(lambda: bool(rig.told(Fate.MISSING)))
    assert rig.told(Fate.MISSING) == [(k + 1, 1)]
    assert rig.service.commands["status"]({})["messages_refused"] == 1
