"""What a vote of the network is worth, by how much of it is believed, from the samples that it was trained on.

``python tests/benchmarks/network_votes.py GROUND_TRUTH CORPUS WEIGHTS… --hold 3 --odds 0.5 0.75 --rate 0.75
--threshold 0.25`` takes for every data set the weights that left it out (weights that left out none: for all), prints a
line for every combination, native and at noise 4, and with several combinations what choosing for each set on the
others gives. Seconds instead of the minutes of `rt_engine.bench.network_folds`: the stage is not run again, and an
event is where the probability crosses the threshold.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, logit

from rt_engine.bench.network_folds import weights_by_set
from rt_engine.interfaces.network_weights import HOLDS, read_weights
from rt_engine.kernels.network import MOST_ODDS, MOST_RATE, N_DYNAMIC
from rt_engine.models.ground_truth import View, load_recordings, view
from rt_engine.models.network_corpus import REAL_RATE_HZ, SHORTEST_S
from rt_engine.models.network_model import CausalNetwork
from rt_engine.models.network_samples import Samples
from rt_engine.models.spike_scoring import Prediction, Row, score, summarise
from rt_engine.pipeline.network import CENTRES, NOISE_OF_TRUST, WIDTH_OF_TRUST

NOISES = {"native": None, "4": 4.0}
REFRACTORY_S = 0.1
SLOWEST = 1.3  # recordings below so many times the rate keep their own


class Vote(NamedTuple):
    """How much is believed, and from which probability on an event is told."""

    odds: float
    rate: float
    threshold: float


class Block(NamedTuple):
    """Rows of one frame rate: samples, their views, and the heads of the network (or None), squashed."""

    samples: Samples
    views: list[View]
    heads: NDArray[np.float32] | None


def as_torch(path: Path) -> CausalNetwork:
    """The network with the weights of a file."""
    weights, network = read_weights(path), CausalNetwork()
    fields = ("input", "state", "input_bias", "state_bias", "middle", "middle_bias", "output", "output_bias")
    with torch.no_grad():
        for parameter, field in zip(network.parameters(), fields, strict=True):
            parameter.copy_(torch.from_numpy(getattr(weights, field)))
    return network


def read_blocks(truth: Path, corpus: Path, name: str, noise: str, network: CausalNetwork | None) -> list[Block]:
    """All rows of a data set."""
    recordings = [r for r in load_recordings(truth / f"{name}.npz") if len(r.dff) / r.frame_rate_hz >= SHORTEST_S]

    def seen_at_hz(rate_hz: float) -> float:
        return round(rate_hz, 6) if rate_hz < SLOWEST * REAL_RATE_HZ else REAL_RATE_HZ

    blocks = []
    for k, rate_hz in enumerate(sorted({seen_at_hz(r.frame_rate_hz) for r in recordings})):
        views = [view(r, REAL_RATE_HZ, NOISES[noise]) for r in recordings if seen_at_hz(r.frame_rate_hz) == rate_hz]
        samples = Samples.load(corpus / f"{name}-{noise}-{k}.npz")
        heads = None
        if network is not None:
            x = torch.from_numpy(samples.inputs.astype(np.float32))
            with torch.no_grad():
                told = torch.cat([network(x[n : n + 8])[..., : 2 * len(HOLDS)] for n in range(0, len(x), 8)])
            heads = np.tanh(told.numpy())
        blocks.append(Block(samples, views, heads))
    return blocks


def predictions(block: Block, hold: int, vote: Vote) -> list[Prediction]:
    """Rates and events of every row."""
    at = HOLDS.index(hold)
    probability = block.samples.probability[..., at].astype(np.float64)
    rate = block.samples.rate[..., at].astype(np.float64)
    before = np.clip(np.nan_to_num(probability, nan=0.5), 1e-6, 1 - 1e-6)
    after = before
    if block.heads is not None:
        log_noise = block.samples.inputs[..., N_DYNAMIC].astype(np.float64) + CENTRES[0]
        trust = vote.rate * expit((log_noise - np.log(NOISE_OF_TRUST)) / WIDTH_OF_TRUST)
        after = expit(logit(before) + vote.odds * MOST_ODDS * block.heads[..., at])
        rate *= np.sqrt(after / before) * np.exp(trust * MOST_RATE * block.heads[..., len(HOLDS) + at])
    after = np.where(np.isnan(probability), 0.0, after)
    found = []
    for row, v in enumerate(block.views):
        n = len(v.y)
        course = np.zeros(n)
        course[: max(n - hold, 0)] = np.nan_to_num(rate[row, hold:n])
        found.append(Prediction(course, hold * v.dt_s, events(after[row, :n], v, hold, vote.threshold)))
    return found


def events(probability: NDArray[np.float64], v: View, hold: int, threshold: float) -> NDArray[np.float64]:
    """Times of spike and report, one spike each."""
    told, last, before, found = False, -np.inf, -2, []
    for t in np.flatnonzero(probability >= threshold):
        told = told and t == before + 1  # one event for a run above
        before = t
        if not told and t >= hold and t - last > int(REFRACTORY_S / v.dt_s + 1e-6):
            told, last = True, t
            found.append((v.t_s[t - hold] + v.dt_s / 2, v.t_s[t] + v.dt_s, 1.0))
    return np.array(found).reshape(-1, 3)


def line(rows: list[Row]) -> str:
    """Medians of all neurons, and means of sets."""
    table = summarise(rows)
    metrics = ("corr_cascade", "corr_online", "F1_event", "F1_latency@200")
    return ", ".join(f"{m} {table['ALL neurons'][m]:.3f} / {table['mean of sets'][m]:.3f}" for m in metrics)


def chosen_on_others(found: dict[tuple[str, Vote], list[Row]], votes: list[Vote], names: list[str]) -> None:
    """Print what the best vote of the others gives on each set: correlation and F1_event, both noises, summed."""

    def worth(vote: Vote, name: str) -> float:
        of = [[r.metrics for r in found[noise, vote] if r.dataset == name] for noise in NOISES]
        return sum(float(np.nanmedian([r[m] for r in rows])) for rows in of for m in ("corr_cascade", "F1_event"))

    by_set = {(vote, name): worth(vote, name) for vote in votes for name in names}
    best = {
        name: max(votes, key=lambda vote, out=name: sum(by_set[vote, n] for n in names if n != out)) for name in names
    }
    for noise in NOISES:
        rows = [r for name in names for r in found[noise, best[name]] if r.dataset == name]
        print(f"{noise:6s} chosen on the others: {line(rows)}")


def main() -> None:
    """Print all lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("weights", type=Path, nargs="*", help="none: the decision without a network")
    parser.add_argument("--hold", type=int, default=3, choices=HOLDS)
    parser.add_argument("--sets", nargs="*", help="these data sets only")
    for name, default in (("odds", 0.75), ("rate", 0.75), ("threshold", 0.25)):
        parser.add_argument(f"--{name}", type=float, nargs="+", default=[default])
    a = parser.parse_args()
    torch.set_num_threads(1)
    names = a.sets or sorted(path.stem for path in a.truth.glob("*.npz"))
    left_out = set(weights_by_set(a.weights))
    files = {n: next(p for p in a.weights if n in weights_by_set([p])) for n in left_out & set(names)}
    network = {n: as_torch(files.get(n, a.weights[0])) if a.weights else None for n in names}
    votes = [Vote(*of) for of in product(a.odds, a.rate, a.threshold)]
    found: dict[tuple[str, Vote], list[Row]] = {}
    for noise in NOISES:
        blocks = [b for n in names for b in read_blocks(a.truth, a.corpus, n, noise, network[n])]
        for vote in votes:
            views = [v for b in blocks for v in b.views]
            rows = found[noise, vote] = score(views, [p for b in blocks for p in predictions(b, a.hold, vote)])
            print(f"{noise:6s} odds {vote.odds:g} rate {vote.rate:g} from {vote.threshold:g}: {line(rows)}", flush=True)
    if len(votes) > 1:
        chosen_on_others(found, votes, names)


if __name__ == "__main__":
    main()
