"""Samples of the lines come back from `pynwb` alone, with their values and their times, whatever happened to them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pynwb import NWBHDF5IO
from synthetic_session import T_MONO_NS, SessionMaker

from rt_engine.interfaces.messages import SyncHeader
from rt_engine.recording import nwb_behaviour
from rt_engine.recording.nwb_export import Frames, NwbPlan, export_nwb
from rt_engine.recording.reader import open_session


def send(maker: SessionMaker, line: str, t_ns: int, rate_hz: float, samples: np.ndarray) -> None:
    """One block of samples, the first taken `t_ns` after the start of the session."""
    maker.send(
        "sync", SyncHeader, "acquisition", samples.tobytes(), line=line, kind="samples", t_edge_ns=None, edge=None,
        t_first_ns=T_MONO_NS + t_ns, sample_rate_hz=rate_hz, dtype=samples.dtype.str[1:],
    )  # fmt: skip


def exported(folder: Path) -> Path:
    target = folder / "x.nwb"
    export_nwb(open_session(folder), NwbPlan(target, Frames.NONE), lambda *_: None)
    return target


def record(folder: Path, blocks: list[tuple[int, np.ndarray]], rate_hz: float = 1000.0) -> Path:
    maker = SessionMaker(folder)
    maker.session()
    for t_ns, samples in blocks:
        send(maker, "wheel", t_ns, rate_hz, samples)
    maker.close()
    return exported(folder)


def wheel(first: int, n: int) -> np.ndarray:
    return (np.arange(first, first + n) * 0.5 - 3).astype("<f4")


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_regular_samples_have_a_start_and_a_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(nwb_behaviour, "_CHUNK_SAMPLES", piece)
    target = record(tmp_path, [(5_000_000 + k * 10_000_000, wheel(10 * k, 10)) for k in range(12)])
    with NWBHDF5IO(target, "r") as file:
        series = file.read().processing["behavior"]["wheel_samples"]
        assert (series.rate, series.timestamps) == (1000.0, None)
        assert series.starting_time == pytest.approx(0.005, abs=1e-12)
        assert series.data.dtype == np.float32
        np.testing.assert_array_equal(series.data[:], wheel(0, 120))
        assert series.unit == "volts"


@pytest.mark.parametrize("piece", [3, 1 << 16])
def test_a_gap_stays_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(nwb_behaviour, "_CHUNK_SAMPLES", piece)
    target = record(tmp_path, [(0, wheel(0, 4)), (4_000_000, wheel(4, 4)), (2_000_000_000, wheel(8, 3))])
    with NWBHDF5IO(target, "r") as file:
        series = file.read().processing["behavior"]["wheel_samples"]
        assert series.rate is None
        expected = [*(k / 1000 for k in range(8)), 2.0, 2.001, 2.002]
        np.testing.assert_allclose(series.timestamps[:], expected, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(series.data[:], wheel(0, 11))


def test_a_card_whose_clock_is_fast_has_the_rate_that_it_really_had(tmp_path: Path) -> None:
    real_hz = 1000.05
    target = record(tmp_path, [(round(k * 10 * 1e9 / real_hz), wheel(10 * k, 10)) for k in range(200)])
    with NWBHDF5IO(target, "r") as file:
        series = file.read().processing["behavior"]["wheel_samples"]
        assert series.rate == pytest.approx(real_hz, rel=1e-9)


def test_a_clock_that_wanders_leaves_a_time_for_every_sample(tmp_path: Path) -> None:
    starts = [0, 10_000_000, 20_005_000, 30_000_000]
    target = record(tmp_path, [(t_ns, wheel(10 * k, 10)) for k, t_ns in enumerate(starts)])
    with NWBHDF5IO(target, "r") as file:
        t_s = file.read().processing["behavior"]["wheel_samples"].timestamps[:]
    np.testing.assert_allclose(t_s[::10], [0.0, 0.01, 0.020005, 0.03], rtol=0, atol=1e-9)
    np.testing.assert_allclose(t_s[20:30] - t_s[20], np.arange(10) / 1000, rtol=0, atol=1e-9)


def test_lines_are_told_apart_and_what_is_not_samples_is_passed_over(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    send(maker, "wheel", 0, 1000.0, wheel(0, 5))
    send(maker, "diode", 3_000_000, 500.0, np.array([1, -2, 3], "<i2"))
    maker.send(
        "sync", SyncHeader, "acquisition", b"odd", line="wheel", kind="samples", t_edge_ns=None, edge=None,
        t_first_ns=T_MONO_NS, sample_rate_hz=1000.0, dtype="f4",
    )  # fmt: skip
    send(maker, "wheel", 5_000_000, 1000.0, wheel(5, 5))
    maker.close()
    with NWBHDF5IO(exported(tmp_path), "r") as file:
        lines = file.read().processing["behavior"]
        np.testing.assert_array_equal(lines["wheel_samples"].data[:], wheel(0, 10))
        np.testing.assert_array_equal(lines["diode_samples"].data[:], [1, -2, 3])
        assert (lines["diode_samples"].rate, lines["diode_samples"].data.dtype) == (500.0, np.int16)
        assert lines["diode_samples"].starting_time == pytest.approx(0.003, abs=1e-12)


def test_the_level_of_a_line_that_is_told_twice_a_second_is_no_edge(tmp_path: Path) -> None:
    maker = SessionMaker(tmp_path)
    maker.session()
    told = ((1, "level", "low"), (2, "edge", "rising"), (3, "level", "high"), (4, "edge", "falling"))
    for t_ms, kind, edge in told:
        maker.send(
            "sync", SyncHeader, "acquisition", line="lick", kind=kind, edge=edge,
            t_edge_ns=T_MONO_NS + t_ms * 1_000_000, t_first_ns=None, sample_rate_hz=None, dtype=None,
        )  # fmt: skip
    maker.close()
    with NWBHDF5IO(exported(tmp_path), "r") as file:
        edges = file.read().processing["behavior"]["lick_edges"]
        np.testing.assert_array_equal(edges.data[:], [1, 0])
        np.testing.assert_allclose(edges.timestamps[:], [0.002, 0.004])


@pytest.mark.parametrize("regular", [True, False])
def test_memory_does_not_grow_with_the_samples(tmp_path: Path, regular: bool) -> None:
    peaks, block = [], np.zeros(20_000, "<f4")
    for n in (20, 120):
        folder = tmp_path / f"s{n}"
        maker = SessionMaker(folder)
        maker.session()
        for k in range(n):
            send(maker, "wheel", k * 20_000_000 + (0 if regular else k % 2 * 5000), 1e6, block)
        maker.close()
        tracemalloc.start()
        exported(folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    more_bytes = 100 * block.nbytes
    assert peaks[1] - peaks[0] < 0.1 * more_bytes, peaks
