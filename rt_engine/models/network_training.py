"""Training of the causal network: seeded, resumable, ended early when what it has not seen gets no better."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import HOLDS, N_INPUTS, NetworkWeights
from rt_engine.kernels.network import N_DYNAMIC
from rt_engine.models.network_corpus import Block
from rt_engine.models.network_model import N_TOGETHER, Batch, CausalNetwork, export_weights, losses, total
from rt_engine.models.network_samples import Samples

N_WINDOW_FRAMES, N_BURN = 192, 40
CONDITION_JITTER = 0.25  # of the conditions of a window: they must not tell which data set it is of
VALIDATION_EVERY = 10  # of the rows one is kept for validation
N_CHECK_BATCHES = 4
LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How to train.

    Attributes
    ----------
    folder : Path
        Of the checkpoint.
    n_steps : int
    mixture : float
        Part of the windows that are real, where there are real blocks.
    seed : int
    learning_rate : float
    patience : int
        Checks without a better validation loss after which training ends.
    n_windows : int
        Of a batch, a multiple of `network_model.N_TOGETHER`.
    check_every : int
        Steps from one validation and checkpoint to the next.
    """

    folder: Path
    n_steps: int
    mixture: float = 0.5
    seed: int = 0
    learning_rate: float = 4e-3
    patience: int = 8
    n_windows: int = 512
    check_every: int = 50


@dataclass(slots=True)
class Progress:
    """``step`` of ``n_steps``; losses of the last check, the mean over its steps and those of the validation."""

    step: int
    n_steps: int
    training: float
    validation: dict[str, float]


class _Drawer:
    """Draws windows: data sets by the root of their length, rows by their length."""

    def __init__(self, blocks: list[Block], plan: TrainingPlan, *, validation: bool) -> None:
        self._n_windows = plan.n_windows
        self._rows: dict[str, list[tuple[Samples, int]]] = {}
        for block in blocks:
            for row in range(len(block.samples.counts)):
                if (row % VALIDATION_EVERY == VALIDATION_EVERY - 1) == validation:
                    self._rows.setdefault(block.source, []).append((block.samples, row))
        self._n_frames = {
            source: np.array([int((s.counts[row] >= 0).sum()) for s, row in rows], float)
            for source, rows in self._rows.items()
        }
        self._sources = sorted(self._rows)
        weight = np.array([np.sqrt(self._n_frames[s].sum()) if s != "synthetic" else 0.0 for s in self._sources])
        share = plan.mixture if "synthetic" in self._rows else 1.0
        weight *= share / weight.sum() if weight.sum() else 0.0
        self._weight = weight
        if "synthetic" in self._rows:
            self._weight[self._sources.index("synthetic")] = 1 - weight.sum()

    def _row(self, source: str, rng: np.random.Generator) -> tuple[Samples, int]:
        of = self._n_frames[source]
        return self._rows[source][rng.choice(len(of), p=of / of.sum())]

    def draw(self, rng: np.random.Generator, jitter: float) -> Batch:
        """A batch of windows."""
        n_windows = self._n_windows
        inputs = np.zeros((n_windows, N_WINDOW_FRAMES, N_INPUTS), np.float32)
        probability, rate, counts = np.full((3, n_windows, N_WINDOW_FRAMES, len(HOLDS)), np.nan, np.float32)
        places = rng.choice(len(self._sources), n_windows // N_TOGETHER, p=self._weight)
        rows = [self._row(self._sources[k], rng) for k in places]
        for n in range(n_windows):
            samples, row = rows[n // N_TOGETHER]
            length = int((samples.counts[row] >= 0).sum())
            first = int(rng.integers(0, max(1, length - N_WINDOW_FRAMES + 1)))
            m = min(N_WINDOW_FRAMES, length - first)
            inputs[n, :m] = samples.inputs[row, first : first + m]
            probability[n, :m] = samples.probability[row, first : first + m]
            rate[n, :m] = samples.rate[row, first : first + m]
            for place, hold in enumerate(HOLDS):
                start = max(0, hold - first)
                counts[n, start:m, place] = samples.counts[row, first + start - hold : first + m - hold]
        jitters = jitter * rng.standard_normal((len(rows), 1, N_INPUTS - N_DYNAMIC))
        inputs[:, :, N_DYNAMIC:] += np.repeat(jitters, N_TOGETHER, axis=0)
        return Batch(*(torch.from_numpy(x) for x in (inputs, probability, rate, counts)))


def train(
    blocks: list[Block], plan: TrainingPlan, tell: Callable[[Progress], None], facts: dict[str, Any]
) -> NetworkWeights:
    """Weights of the smallest validation loss.

    Parameters
    ----------
    blocks : list of Block
    plan : TrainingPlan
        If its folder holds a checkpoint of the same plan, training goes on from there.
    tell : Callable
        Called after every check.
    facts : dict
        For the card of the weights.

    Raises
    ------
    ConfigError
        The checkpoint is of another plan.
    """
    torch.set_num_threads(1)  # the sums, and so the weights, depend on it
    torch.manual_seed(plan.seed)
    torch.use_deterministic_algorithms(True)
    network = CausalNetwork()
    optimiser = torch.optim.Adam(network.parameters(), plan.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.learning_rate, total_steps=plan.n_steps, pct_start=0.1
    )
    learned, kept = (_Drawer(blocks, plan, validation=v) for v in (False, True))
    state: dict[str, Any] = {"step": 0, "best": np.inf, "best_network": network.state_dict(), "stale": 0, "course": []}
    path = plan.folder / "checkpoint.pt"
    if path.exists():
        state = _resume(path, plan, network, optimiser, schedule)
    summed, n_summed = 0.0, 0
    while state["step"] < plan.n_steps and state["stale"] < plan.patience:
        network.train()
        batch = learned.draw(np.random.default_rng((plan.seed, 0, state["step"])), CONDITION_JITTER)
        loss = total(losses(network(batch.inputs), batch, N_BURN))
        optimiser.zero_grad()
        torch.autograd.backward([loss])
        torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        state["step"] += 1
        summed, n_summed = summed + float(loss.detach()), n_summed + 1
        if state["step"] % plan.check_every == 0 or state["step"] == plan.n_steps:
            found = _check(network, kept, plan.seed)
            _note(state, network, found, summed / n_summed)
            _save(path, state, plan, network, optimiser, schedule)
            tell(Progress(state["step"], plan.n_steps, summed / n_summed, found))
            summed, n_summed = 0.0, 0
    network.load_state_dict(state["best_network"])
    course = [[step, round(training, 5), round(validation, 5)] for step, training, validation in state["course"]]
    card = facts | {"plan": _as_json(plan), "steps": state["step"], "course": course}
    return export_weights(network, json.dumps(card, sort_keys=True))


def _check(network: CausalNetwork, kept: _Drawer, seed: int) -> dict[str, float]:
    """Losses on the same windows every time."""
    network.eval()
    summed: dict[str, float] = {}
    with torch.no_grad():
        for k in range(N_CHECK_BATCHES):
            batch = kept.draw(np.random.default_rng((seed, 1, k)), 0.0)
            parts = losses(network(batch.inputs), batch, N_BURN)
            for name, value in (parts | {"total": total(parts)}).items():
                summed[name] = summed.get(name, 0.0) + float(value) / N_CHECK_BATCHES
    return summed


def _note(state: dict[str, Any], network: CausalNetwork, found: dict[str, float], training: float) -> None:
    state["course"].append((state["step"], training, found["total"]))
    state["stale"] += 1
    if found["total"] < state["best"]:
        state["best"], state["stale"] = found["total"], 0
        state["best_network"] = {name: value.clone() for name, value in network.state_dict().items()}


def _as_json(plan: TrainingPlan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan).items() if name != "folder"}


def _save(path: Path, state: dict[str, Any], plan: TrainingPlan, *parts: Any) -> None:
    unfinished = path.with_suffix(".part")
    content = {"plan": _as_json(plan), "state": state, "parts": [part.state_dict() for part in parts]}
    torch.save(content, unfinished)
    unfinished.replace(path)


def _resume(path: Path, plan: TrainingPlan, *parts: Any) -> dict[str, Any]:
    content = torch.load(path, weights_only=True)
    if content["plan"] != _as_json(plan):
        raise ConfigError("is of another training", "give another folder, or delete it", file=str(path))
    for part, saved in zip(parts, content["parts"], strict=True):
        part.load_state_dict(saved)
    state: dict[str, Any] = content["state"]
    return state


def heads_of(network: CausalNetwork, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heads of one row from its first frame on, shape (n_frames, len(HEADS) len(HOLDS)), for comparison."""
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(inputs)[None])[0].numpy())
