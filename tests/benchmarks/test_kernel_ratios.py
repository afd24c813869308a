"""Ratios of speed against the code of others, opt-in: `pytest -m benchmark` on a quiet machine."""

import pytest

from rt_engine.bench.kernels import TARGETS, Plan, run_kernel_benchmark

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def targets():
    return run_kernel_benchmark(Plan(), lambda stage, share: None)["targets"]


@pytest.mark.parametrize("name", TARGETS)
def test_target_is_met(targets, name):
    if name not in targets:
        pytest.skip("suite2p is not installed")
    assert targets[name]["met"], targets[name]
