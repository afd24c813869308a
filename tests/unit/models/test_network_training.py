"""Training: it learns what can be learned, repeats from its seed, and goes on where it was stopped."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install spikeloop[train]")

from rt_engine.interfaces.errors import ConfigError  # noqa: E402
from rt_engine.interfaces.network_weights import HOLDS, N_INPUTS, random_weights  # noqa: E402
from rt_engine.models.network_corpus import Block  # noqa: E402
from rt_engine.models.network_model import Batch, losses  # noqa: E402
from rt_engine.models.network_samples import Samples, record_samples  # noqa: E402
from rt_engine.models.network_training import TrainingPlan, train  # noqa: E402
from rt_engine.models.randomisation import load_randomisation  # noqa: E402
from rt_engine.models.synthetic_traces import synthetic_traces  # noqa: E402
from rt_engine.models.trace_inference import InferenceSettings, Method, infer_traces  # noqa: E402


def block(seed, n_rows=20, n_frames=400):
    """Each hold has an input that lights so many frames after a spike; the decision it votes in knows nothing."""
    rng = np.random.default_rng(seed)
    counts = (rng.random((n_rows, n_frames)) < 0.1).astype(np.int16)
    inputs = 0.3 * rng.standard_normal((n_rows, n_frames, N_INPUTS))
    for place, hold in enumerate(HOLDS):
        inputs[:, hold:, place] += 3.0 * counts[:, : n_frames - hold]
    same = np.full((*counts.shape, len(HOLDS)), 0.1, np.float32)
    return Block("synthetic", Samples(inputs.astype(np.float16), same, same.copy(), counts))


def plan(folder, **changed):
    of = {"n_steps": 12, "n_windows": 4, "check_every": 4, "seed": 2, "learning_rate": 0.02}
    return TrainingPlan(folder=folder, **(of | changed))


def told(progress):
    def tell(step):
        progress.append(step)

    return tell


def test_it_learns_what_the_inputs_say(tmp_path):
    progress = []
    train([block(0)], plan(tmp_path, n_steps=24, check_every=12, learning_rate=0.05), told(progress), {})
    first, last = progress[0].validation, progress[-1].validation
    nothing_known = -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    assert last["odds"] < 0.5 * nothing_known
    assert last["correlation"] < first["correlation"]


def test_the_same_seed_gives_the_same_weights_stopped_or_not(tmp_path):
    for name in ("whole", "again", "parts"):
        (tmp_path / name).mkdir()
    blocks = [block(0)]
    whole = train(blocks, plan(tmp_path / "whole"), told([]), {})
    again = train(blocks, plan(tmp_path / "again"), told([]), {})
    assert whole.digest == again.digest

    class Stopped(Exception):
        pass

    def stop(_):
        raise Stopped

    with pytest.raises(Stopped):
        train(blocks, plan(tmp_path / "parts"), stop, {})
    progress = []
    parts = train(blocks, plan(tmp_path / "parts"), told(progress), {})
    assert [p.step for p in progress] == [8, 12]
    assert parts.digest == whole.digest
    other = train(blocks, plan(tmp_path, seed=3), told([]), {})
    assert other.input.tobytes() != whole.input.tobytes()


def test_a_checkpoint_of_another_plan_is_refused(tmp_path):
    train([block(0)], plan(tmp_path, n_steps=4), told([]), {})
    with pytest.raises(ConfigError, match="another training"):
        train([block(0)], plan(tmp_path, n_steps=8), told([]), {})


def test_it_ends_when_validation_gets_no_better(tmp_path):
    rng = np.random.default_rng(0)
    noise = block(0).samples
    random = noise._replace(counts=(rng.random(noise.counts.shape) < 0.1).astype(np.int16))
    progress = []
    hasty = plan(tmp_path, n_steps=400, check_every=1, patience=2, learning_rate=1.0)
    weights = train([Block("synthetic", random)], hasty, told(progress), {})
    assert progress[-1].step < 400
    card = json.loads(weights.card)
    assert card["steps"] == progress[-1].step
    assert card["plan"]["seed"] == 2


def test_unknown_frames_count_for_nothing(tmp_path):
    rng = np.random.default_rng(1)
    n, t, n_holds = 4, 120, len(HOLDS)
    batch = Batch(
        torch.zeros(n, t, N_INPUTS),
        torch.full((n, t, n_holds), 0.2),
        torch.full((n, t, n_holds), 0.2),
        torch.from_numpy((rng.random((n, t, n_holds)) < 0.1).astype(np.float32)),
    )
    heads = torch.from_numpy(rng.standard_normal((n, t, 20)).astype(np.float32))
    before = losses(heads, batch, 20)
    batch.counts[:, 60:80] = float("nan")
    without = losses(heads, batch, 20)
    batch.probability[:, 60:80] = 0.9
    batch.rate[:, 60:80] = float("nan")
    heads[:, 60:80] = 5.0
    same = losses(heads, batch, 20)
    assert before["odds"] != without["odds"]
    for name in without:
        assert float(same[name]) == pytest.approx(float(without[name]), rel=1e-6)


def test_the_count_has_the_law_of_scipy():
    from scipy.stats import nbinom

    counts = torch.tensor([0.0, 1.0, 4.0])[None, :, None].expand(4, 3, len(HOLDS)).contiguous()
    same = torch.full(counts.shape, 0.3)
    batch = Batch(torch.zeros(4, 3, N_INPUTS), same, same, counts)
    found = float(losses(torch.zeros(4, 3, 20), batch, 0)["count"])
    mean, dispersion = 0.3 * (1 + np.log(2)), np.log(2) + 1e-3
    size = 1 / dispersion
    expected = -nbinom.logpmf(counts.numpy(), size, size / (size + mean)).mean()
    assert found == pytest.approx(expected, rel=1e-4)


def test_only_plain_files_are_kept(tmp_path: Path):
    of = block(1).samples
    of.save(tmp_path / "block.npz")
    found = Samples.load(tmp_path / "block.npz")
    assert found.counts.tolist() == of.counts.tolist()
    assert found.inputs.tobytes() == of.inputs.tobytes()


def test_holds_are_learned_together_and_each_by_its_own_answer():
    """Moving what is told of one hold changes the loss by no other hold's share."""
    rng = np.random.default_rng(3)
    counts = torch.from_numpy((rng.random((4, 60, len(HOLDS))) < 0.1).astype(np.float32))
    batch = Batch(torch.zeros(4, 60, N_INPUTS), torch.full(counts.shape, 0.1), torch.full(counts.shape, 0.1), counts)
    heads = torch.zeros(4, 60, 20, requires_grad=True)
    for place in range(len(HOLDS)):
        for other in range(len(HOLDS)):
            alone = batch._replace(counts=torch.where(torch.arange(len(HOLDS)) == other, counts, torch.nan))
            (slope,) = torch.autograd.grad(losses(heads, alone, 0)["odds"], heads)
            assert bool((slope[..., place] != 0).any()) == (place == other)


def test_samples_are_what_infer_tells_at_every_hold():
    made = synthetic_traces(load_randomisation(), (1, 1), 2, 10.0)
    samples = record_samples(made.traces, made.counts.astype(np.int16), made.frame_rate_hz, made.indicator)
    assert samples.inputs.shape == (2, 300, N_INPUTS)
    for place, hold in enumerate(HOLDS):
        settings = InferenceSettings(
            indicator=made.indicator, method=Method.NETWORK, hold_frames=hold, network=random_weights(1, 1, 0, 0.0)
        )
        found = infer_traces(made.traces, np.full(2, made.frame_rate_hz), settings)
        for told, expected in ((samples.probability, found.probability), (samples.rate, found.spike_rate)):
            known = np.isfinite(told[..., place])
            assert known[:, 100:].mean() > 0.9
            assert told[..., place][known].tobytes() == expected[known].tobytes()
