"""`spikeloop train`: weights of the causal network from synthetic and, if given, real traces."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import save_weights
from rt_engine.models.network_corpus import CorpusPlan, build_corpus
from rt_engine.models.randomisation import SHIPPED_RANGES, load_randomisation
from rt_engine.services.run_view import RunView


def run_training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the samples, train, write ``weights.npz`` and its card.

    Raises
    ------
    ConfigError
        torch is not installed, or an option is wrong.
    """
    try:
        from rt_engine.models.network_training import Progress, TrainingPlan, train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ConfigError("training needs torch", "pip install spikeloop[train]") from error
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    left_out = tuple(name for name in (arguments.leave_out or "").split(",") if name)
    if left_out and arguments.real is None:
        raise ConfigError("needs real recordings", "give --real too", key="--leave-out")
    ranges = load_randomisation(Path(arguments.ranges) if arguments.ranges else SHIPPED_RANGES)
    if arguments.width != 1.0:
        ranges = ranges.narrowed(arguments.width)
    corpus = CorpusPlan(
        folder=Path(arguments.corpus) if arguments.corpus else folder / "corpus",
        ranges=ranges,
        n_blocks=arguments.blocks,
        seed=arguments.seed,
        real=Path(arguments.real) if arguments.real else None,
        left_out=left_out,
    )
    view = RunView()
    last = -1

    def tell_corpus(share: float) -> None:
        nonlocal last
        if int(share * 20) > last:
            last = int(share * 20)
            view.say(f"samples {100 * share:3.0f} %")

    def tell(progress: Progress) -> None:
        parts = ", ".join(f"{name} {value:.4f}" for name, value in progress.validation.items())
        view.say(f"step {progress.step} of {progress.n_steps}: training {progress.training:.4f}; validation {parts}")

    blocks = build_corpus(corpus, tell_corpus)
    if not blocks:
        raise ConfigError("there is nothing to learn from", "give --blocks above 0, or --real", key="--blocks")
    sources: dict[str, int] = {}
    for block in blocks:
        sources[block.source] = sources.get(block.source, 0) + int((block.samples.counts >= 0).sum())
    plan = TrainingPlan(
        folder=folder, n_steps=arguments.steps, mixture=arguments.mixture, seed=arguments.seed
    )  # fmt: skip
    facts = {
        "name": arguments.name,
        "date": datetime.now(UTC).date().isoformat(),
        "samples": sources,
        "left_out": list(left_out),
        "width": arguments.width,
    }
    weights = train(blocks, plan, tell, facts)
    target = folder / "weights.npz"
    save_weights(target, weights)
    card = json.loads(weights.card)
    view.say(f"{target}: {weights.n_hidden} units, sha256 {weights.digest}")
    return {"weights": str(target), "digest": weights.digest, "card": card}
