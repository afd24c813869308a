"""What is kept of frames: all, every n-th, crops around the cells, none; of a baseline always all."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_session import SessionMaker

from rt_engine.interfaces.messages import CropsHeader, FrameHeader, RoisHeader, decode, decode_as, encode
from rt_engine.interfaces.service_config import RecordingConfig
from rt_engine.recording.frame_policy import FramePolicy

SHAPE = (12, 20)


def frame(number: int, line0: int = 0, n_lines: int = SHAPE[0]) -> tuple[str, bytes, bytes]:
    header = FrameHeader(
        source="a", host="h", boot_id="b", seq=number, t_sent_ns=1, plane=0, channel=1, frame=number, volume=None,
        line0=line0, n_lines=n_lines, lines_per_frame=SHAPE[0], pixels_per_line=SHAPE[1], dtype="u2", adc_max=None,
        offset=None, frame_period_ns=1, line_period_ns=None, t_scan_ns=7, t_scan_uncertainty_ns=None, t_device_s=None,
        flags=2,
    )  # fmt: skip
    return "frame.0.1", encode(header), pixels(number)[line0 : line0 + n_lines].tobytes()


def pixels(number: int) -> np.ndarray:
    return (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) + 1000 * number).astype("<u2")


def policy(baseline: bool = False, **config) -> FramePolicy:
    made = FramePolicy(RecordingConfig(**config))
    made.baseline = baseline
    return made


def test_all_frames_pass_as_they_came() -> None:
    assert list(policy().keep(*frame(3))) == [frame(3)]


@pytest.mark.parametrize("config", [{"every_nth_frame": 3}, {"frames": "none"}, {"frames": "crops"}])
def test_a_baseline_is_kept_whole(config) -> None:
    assert all(list(policy(True, **config).keep(*frame(n))) == [frame(n)] for n in range(4))


def test_every_nth_frame_is_kept_by_its_number() -> None:
    chosen = policy(every_nth_frame=3)
    assert [n for n in range(10) if list(chosen.keep(*frame(n)))] == [0, 3, 6, 9]
    assert chosen.n_left_out == 6


def test_none_and_ended_frames_leave_nothing_even_of_a_baseline() -> None:
    none, ended = policy(frames="none"), policy(True)
    ended.enabled = False
    assert list(none.keep(*frame(1))) == list(ended.keep(*frame(1))) == []


def learn(chosen: FramePolicy) -> None:
    first = [2 * SHAPE[1] + 3, 2 * SHAPE[1] + 4, 3 * SHAPE[1] + 3]  # lines 2 to 3, pixels 3 to 4
    second = [11 * SHAPE[1] + 19]  # the corner
    rois = RoisHeader(
        source="i", host="h", boot_id="b", seq=0, t_sent_ns=1, rev=1, plane=0, lines_per_frame=SHAPE[0],
        pixels_per_line=SHAPE[1], rois=[], footprint_start=[0, 3, 4],
    )  # fmt: skip
    chosen.learn_cells("rois", encode(rois), np.array(first + second, "<u4").tobytes())


def test_crops_are_the_pixels_around_the_cells_within_the_frame() -> None:
    chosen = policy(frames="crops", crop_margin_px=1)
    learn(chosen)
    [(topic, data, payload)] = chosen.keep(*frame(5))
    header = decode_as(CropsHeader, topic, data)
    assert topic == "crops.0.1"
    assert header.boxes == [[1, 2, 4, 4], [10, 18, 2, 2]]
    assert (header.frame, header.t_scan_ns, header.flags, header.seq) == (5, 7, 2, 5)
    values = np.frombuffer(payload, "<u2")
    np.testing.assert_array_equal(values[:16].reshape(4, 4), pixels(5)[1:5, 2:6])
    np.testing.assert_array_equal(values[16:].reshape(2, 2), pixels(5)[10:, 18:])


def test_strips_are_cropped_to_their_own_lines() -> None:
    chosen = policy(frames="crops", crop_margin_px=1)
    learn(chosen)
    [(topic, data, payload)] = chosen.keep(*frame(5, line0=3, n_lines=4))
    header = decode(topic, data)
    assert header.boxes == [[3, 2, 2, 4]]
    np.testing.assert_array_equal(np.frombuffer(payload, "<u2").reshape(2, 4), pixels(5)[3:5, 2:6])


def test_what_is_no_frame_header_is_kept_as_it_came() -> None:
    torn = ("frame.0.1", b"\x00", b"xy")
    assert list(policy(every_nth_frame=3).keep(*torn)) == [torn]


def test_cells_are_not_needed_where_nothing_is_cropped(tmp_path) -> None:
    maker = SessionMaker(tmp_path)
    maker.close()
    chosen = policy()
    learn(chosen)
    assert list(chosen.keep(*frame(1))) == [frame(1)]
