"""The kernel benchmark measures what it says, and says what it could not measure. Nothing here depends on speed."""

import importlib
import json
import sys

import numpy as np
import pytest

from rt_engine.bench import rounds
from rt_engine.bench.deconvolution import AR1, AR2, noisy_traces
from rt_engine.bench.frame_cost import contestants, sum_of_pixels
from rt_engine.bench.kernel_view import figure_path, print_figures, save_figure
from rt_engine.bench.kernels import TARGETS, Plan, run_kernel_benchmark
from rt_engine.bench.rounds import Contestant, Spread, measure
from rt_engine.cli import main
from rt_engine.interfaces.errors import ConfigError, SpikeloopError

TINY = Plan(n_rois=(10, 1000), n_samples=1000, n_peer_traces=2, n_peer_frames=50, n_frames=5, n_rounds=3)


@pytest.fixture(scope="module")
def figures():
    return run_kernel_benchmark(TINY, lambda stage, share: None)


def test_rounds_are_interleaved_and_the_first_is_not_counted(monkeypatch):
    clock_ns, order = [0], []
    monkeypatch.setattr(rounds.time, "thread_time_ns", lambda: clock_ns[0])

    def spend(name, durations_ns):
        left = iter(durations_ns)

        def run():
            order.append(name)
            clock_ns[0] += next(left)

        return Contestant(name, 10, run)

    times = measure([spend("a", [900, 10, 20]), spend("b", [900, 30, 40])], 2)
    assert order == ["a", "b"] * 3
    assert times["a"].tolist() == [1, 2]
    assert times["b"].tolist() == [3, 4]


def test_a_spread_is_the_median_and_the_range():
    assert Spread.of(np.array([5.0, 1.0, 2.0])) == (2.0, 1.0, 5.0)


@pytest.mark.parametrize("model", [AR1, AR2])
def test_no_two_cells_have_the_same_trace(model):
    traces = noisy_traces(model, 20, 500, seed=0)
    assert len(np.unique(traces, axis=1).T) == 500


def test_the_memory_pass_reads_every_pixel():
    pixels = np.arange(70_000, dtype=np.uint32).astype(np.uint16)
    assert sum_of_pixels(pixels) == int(pixels.sum(dtype=np.uint64))


def test_each_stage_runs_with_its_own_decision(monkeypatch):
    decided = []
    for kernel, module in (("decide_drive", "drive"), ("decide", "traces")):
        whole = getattr(importlib.import_module(f"rt_engine.pipeline.{module}"), kernel)
        monkeypatch.setattr(
            f"rt_engine.pipeline.{module}.{kernel}", lambda *a, f=whole, k=kernel: decided.append(k) or f(*a)
        )
    by_name = {one.name: one for one in contestants(8, 5)}
    for name, kernel in (("trace stage, combined", "decide_drive"), ("trace stage, matched filter", "decide")):
        decided.clear()
        by_name[name].run()
        assert decided == [kernel] * by_name[name].n_units == [kernel] * 5


def test_every_size_and_method_is_there(figures):
    assert list(figures["ns_per_sample"]) == ["10", "1000"]
    for of in figures["ns_per_sample"].values():
        assert {"AR(1)", "AR(1), s_min", "AR(2)", "oasis-deconv AR(1)", "oasis-deconv AR(2)"} <= set(of)
    stages = {"trace stage, matched filter", "trace stage, combined"}
    before = {"memory pass", "deconvolution", "drive smoother", "filter bank", "registration", "extraction"}
    assert set(figures["frame_us"]) == before | stages | {"trace stage, with network"}
    assert "network vs rest of the chain" in figures["targets"]
    assert {f"{name} vs memory pass" for name in stages} <= set(figures["targets"])
    assert figures["frame_vs_memory_pass"]["memory pass"] == (1, 1, 1)


def test_targets_are_judged_by_their_own_bound(figures):
    assert "AR(2) vs oasis-deconv" in figures["targets"]
    for name, one in figures["targets"].items():
        sign, bound = TARGETS[name]
        assert one["met"] == (one["value"] >= bound if sign == ">=" else one["value"] <= bound)


def test_ratios_are_of_the_same_round(figures):
    median, lowest, highest = figures["ratios"]["AR(2) vs oasis-deconv"]["1000"]
    ours, theirs = (figures["ns_per_sample"]["1000"][name] for name in ("AR(2)", "oasis-deconv AR(2)"))
    assert lowest <= median <= highest
    assert theirs.lowest / ours.highest <= lowest
    assert highest <= theirs.highest / ours.lowest


def test_figures_are_json_a_table_and_a_picture(figures, tmp_path, capsys):
    from rich.console import Console

    assert json.loads(json.dumps(figures))["n_rounds"] == 3
    print_figures({**figures, "suite2p": False}, Console())
    assert "suite2p is not installed" in capsys.readouterr().out
    for name in ("k.png", "k.svg"):
        save_figure(figures, figure_path(str(tmp_path / name)))
        assert (tmp_path / name).stat().st_size > 5000


def test_missing_oasis_deconv_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "oasis.oasis_methods", None)
    with pytest.raises(SpikeloopError, match=r"oasis-deconv.*not installed.*spikeloop\[bench\]"):
        run_kernel_benchmark(TINY, lambda stage, share: None)


def test_missing_suite2p_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "suite2p", None)
    figures = run_kernel_benchmark(TINY._replace(n_rois=(10,)), lambda stage, share: None)
    assert figures["suite2p"] is False
    assert not any("suite2p" in name for name in figures["ratios"])


def test_a_figure_that_cannot_be_written_is_bad_usage(tmp_path, capsys):
    for text in (str(tmp_path / "none" / "k.png"), str(tmp_path / "k.doc")):
        with pytest.raises(ConfigError):
            figure_path(text)
        assert main(["bench", "kernels", "-o", text]) == 2
    assert "k.doc" in capsys.readouterr().err


def test_an_unknown_benchmark_is_bad_usage():
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "nonsense"])
    assert stopped.value.code == 2
