"""The window's picture of the rig is what the messages said, and nothing else gets in."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import wire_samples as wire

from gui.model.live import LiveModel
from gui.model.rings import RowRing
from rt_engine.interfaces.events import EVENT_DTYPE


class Clock:
    """Time that stands until it is set."""

    def __init__(self) -> None:
        self.t_ns = 1_000_000_000

    def now_ns(self) -> int:
        """The time set."""
        return self.t_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def model(clock: Clock) -> LiveModel:
    return LiveModel(clock)


def give(model: LiveModel, *messages: tuple[str, Any, bytes]) -> None:
    """Let the model take messages."""
    for topic, header, payload in messages:
        model.take(topic, header, memoryview(payload))


def test_a_ring_gives_its_newest_rows_in_order_wherever_it_stands() -> None:
    ring = RowRing(5, 1, np.int64)
    for n in range(23):
        ring.append(n)
        held = min(n + 1, 5)
        assert ring.newest()[:, 0].tolist() == list(range(n + 1 - held, n + 1))
        assert ring.newest(2)[:, 0].tolist() == list(range(n + 1 - min(held, 2), n + 1))


def test_a_whole_frame_is_shown_pixel_for_pixel(model: LiveModel) -> None:
    image = np.random.default_rng(1).integers(0, 4096, wire.SHAPE).astype("<u2")
    give(model, wire.frame(7, image))
    picture = model.frames.pictures[(0, 0)]
    assert picture.frame == 7
    np.testing.assert_array_equal(picture.image, image)


def test_strips_become_a_picture_only_when_the_last_has_come(model: LiveModel) -> None:
    image = np.random.default_rng(2).integers(0, 4096, wire.SHAPE).astype("<u2")
    for line0 in (0, 16):
        assert (0, 0) not in model.frames.pictures
        strip = image[line0 : line0 + 16]
        give(model, wire.frame(1, strip, line0=line0, lines_per_frame=32))
    np.testing.assert_array_equal(model.frames.pictures[(0, 0)].image, image)


def test_a_frame_with_a_strip_missing_is_not_shown(model: LiveModel) -> None:
    image = np.zeros(wire.SHAPE, "<u2")
    for number, line0 in ((1, 0), (2, 16)):
        give(model, wire.frame(number, image[:16], line0=line0, lines_per_frame=32))
    assert model.frames.pictures == {}


@pytest.mark.parametrize(
    "changes",
    [{"n_lines": 31}, {"dtype": "f4"}, {"lines_per_frame": 10**9}, {"line0": 1}, {"pixels_per_line": 0}],
    ids=str,
)
def test_a_frame_that_does_not_fit_its_header_is_counted_and_said(model: LiveModel, changes: dict[str, Any]) -> None:
    give(model, wire.frame(1, **changes))
    assert model.frames.pictures == {}
    assert model.n_malformed == 1
    assert model.last_malformed


def test_a_click_finds_the_cell_under_it_or_near_it(model: LiveModel) -> None:
    give(model, wire.rois(3))
    cells = model.cells[0]
    assert cells.at(4.5, 5.5) == 11
    assert cells.at(9.0, 9.0) == 12
    assert cells.at(31.0, 39.0) is None
    np.testing.assert_allclose(cells.centroid_yx_px[1], (5.0, 6.0))


@pytest.mark.parametrize(
    "changes",
    [
        {"footprint_start": [0, 4, 8, 13]},
        {"footprint_start": [0, 4, 4, 12]},
        {"footprint_start": [0, -4, 8, 12]},
        {"pixels_per_line": 3},
        {"lines_per_frame": 10**9},
    ],
    ids=str,
)
def test_footprints_that_lead_nowhere_are_refused(model: LiveModel, changes: dict[str, Any]) -> None:
    give(model, wire.rois(3, **changes))
    assert model.cells == {}
    assert model.n_malformed == 1


def test_a_cell_that_was_taken_out_keeps_its_row_and_is_nowhere_to_be_found(model: LiveModel) -> None:
    topic, header, payload = wire.rois(3, footprint_start=[0, 4, 4, 8])
    header.rois[1].kind = "removed"
    pixels = np.frombuffer(payload, "<u4")
    give(model, (topic, header, np.concatenate([pixels[:4], pixels[8:]]).tobytes()))
    assert model.n_malformed == 0
    cells = model.cells[0]
    assert cells.n_rois == 3
    assert cells.read == [10, 12]
    assert cells.at(5.5, 6.5) in (10, 12)
    assert cells.at(9.0, 6.0) == 12
    np.testing.assert_allclose(cells.centroid_yx_px[[0, 2]], [(1.0, 6.0), (9.0, 6.0)])
    assert np.isnan(cells.centroid_yx_px[1]).all()


def test_traces_keep_every_sample_and_a_hole_where_frames_are_missing(model: LiveModel) -> None:
    give(model, wire.rois(2))
    for number in (0, 1, 2, 5):
        give(model, wire.activity(number, np.full((8, 2), number + 0.5)))
    dff = model.traces[0].window("dff", np.array([1]))[:, 0]
    np.testing.assert_array_equal(dff, [0.5, 1.5, 2.5, np.nan, 5.5])
    assert not model.footprints_wanted


def test_fast_frames_are_thinned_so_that_half_a_minute_is_kept(model: LiveModel) -> None:
    for number in range(200 * 40):
        give(model, wire.activity(number, np.zeros((8, 1)), t_scan_ns=number * 5_000_000))
    times = model.traces[0].times_ns()
    assert (times[-1] - times[0]) / 1e9 > 29.9
    assert len(times) <= 2048


def test_events_are_those_of_the_message(model: LiveModel) -> None:
    events = np.zeros(2, EVENT_DTYPE)
    events["roi_id"], events["t_event_ns"], events["n_spikes"] = (10, 12), (100, 200), (1, 2)
    give(model, wire.spikes(1, events))
    assert model.traces[0].events_since(150).tolist() == [[12, 200]]
    assert model.traces[0].n_events == 2


def test_delays_are_the_differences_of_the_stamps(model: LiveModel) -> None:
    give(model, wire.spikes(1), wire.stim())
    delays = model.health.delays
    assert delays.values_ms("scan_to_receive").tolist() == [0.5]
    assert delays.values_ms("receive_to_decision").tolist() == [1.0]
    assert delays.values_ms("decision_to_command").tolist() == [1.0]
    assert delays.values_ms("scan_to_command").tolist() == [3.0]
    assert delays.values_ms("scan_to_output").tolist() == [5.0]


def test_frames_missing_in_the_heartbeat_are_lost_frames(model: LiveModel) -> None:
    give(model, wire.spikes(1), wire.spikes(2), wire.spikes(2), wire.spikes(6))
    assert model.health.frames_lost == 3


def test_what_the_window_has_not_heard_is_not_lost_at_the_rig(model: LiveModel) -> None:
    for frame, seq in ((1, 0), (2, 1), (9, 8), (10, 9)):
        topic, header, payload = wire.spikes(frame)
        give(model, (topic, msgspec.structs.replace(header, seq=seq), payload))
    assert model.health.frames_lost == 0
    assert model.health.n_unheard == 6


def test_frames_of_a_plane_are_counted_by_volumes(model: LiveModel) -> None:
    for seq, volume in enumerate((0, 1, 2, 4)):
        topic, header, payload = wire.spikes(4 * volume, volume=volume)
        give(model, (topic, msgspec.structs.replace(header, seq=seq), payload))
    assert model.health.frames_lost == 1


def test_another_session_begins_with_nothing_of_the_one_before(model: LiveModel) -> None:
    give(model, wire.session(), wire.rois(3), wire.stim())
    give(model, wire.session(name="next"))
    assert model.cells == {}
    assert model.decisions.outcomes == {}


def test_rows_without_footprints_make_it_ask(model: LiveModel) -> None:
    topic, header, _ = wire.rois(3, footprint_start=[])
    give(model, (topic, header, b""))
    assert model.footprints_wanted
    give(model, wire.rois(3))
    give(model, wire.activity(0, np.zeros((8, 3))))
    assert not model.footprints_wanted


def test_silence_is_known_after_two_seconds(model: LiveModel, clock: Clock) -> None:
    give(model, wire.log())
    assert not model.is_silent(clock.now_ns() + 1_900_000_000)
    assert model.is_silent(clock.now_ns() + 2_100_000_000)
