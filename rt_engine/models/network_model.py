"""The causal network in torch, for training alone; the engine runs `kernels.network` with the same weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rt_engine.interfaces.network_weights import HEADS, HOLDS, N_HIDDEN, N_INPUTS, N_MIDDLE, NetworkWeights
from rt_engine.kernels.network import MOST_ODDS, MOST_RATE

SMOOTHING_FRAMES = 1.5  # standard deviation: that of the score at 30 Hz
SMALLEST = 1e-6
HOLD_WEIGHTS = (0.12, 0.16, 0.18, 0.36, 0.18)
CORRELATION_WEIGHT, COUNT_WEIGHT, ODDS_WEIGHT = 1.0, 0.5, 5.0
N_TOGETHER = 4
"""Windows of a batch that are of one row and stand beside each other: their correlation is one, so that it tells too
how busy each is."""


class CausalNetwork(nn.Module):
    """Gated recurrent unit, then two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.GRU(N_INPUTS, N_HIDDEN, batch_first=True)
        self.middle = nn.Linear(N_HIDDEN + N_INPUTS, N_MIDDLE)
        self.output = nn.Linear(N_MIDDLE, len(HEADS) * len(HOLDS))
        with torch.no_grad():  # begins as the decision without the network
            self.output.weight.mul_(0.1)
            self.output.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Heads of every frame, shape (..., n_frames, len(HEADS) * len(HOLDS)), before their bounds."""
        held, _ = self.unit(inputs)
        told: Tensor = self.output(functional.relu(self.middle(torch.cat([held, inputs], -1))))
        return told


def export_weights(network: CausalNetwork, card: str) -> NetworkWeights:
    """As the engine wants them."""
    of = {name: np.ascontiguousarray(value.detach().numpy(), np.float32) for name, value in network.named_parameters()}
    return NetworkWeights(
        input=of["unit.weight_ih_l0"],
        state=of["unit.weight_hh_l0"],
        input_bias=of["unit.bias_ih_l0"],
        state_bias=of["unit.bias_hh_l0"],
        middle=of["middle.weight"],
        middle_bias=of["middle.bias"],
        output=of["output.weight"],
        output_bias=of["output.bias"],
        card=card,
    )


class Batch(NamedTuple):
    """Windows: ``inputs`` (n, n_frames, N_INPUTS); ``probability``, ``rate`` without the network and ``counts`` of the
    frame that each column speaks of, for every hold, (n, n_frames, len(HOLDS)), NaN where unknown.
    """

    inputs: Tensor
    probability: Tensor
    rate: Tensor
    counts: Tensor


def losses(told: Tensor, batch: Batch, n_burn: int) -> dict[str, Tensor]:
    """What is to be made small: cross entropy of the odds, one less the correlation of the smoothed rate, and the
    negative log likelihood of the count under a negative binomial law; the holds by `HOLD_WEIGHTS`, without the first
    `n_burn` frames.
    """
    odds, rate, count, spread = (told[..., k * len(HOLDS) : (k + 1) * len(HOLDS)] for k in range(len(HEADS)))
    known = torch.isfinite(batch.counts) & torch.isfinite(batch.probability) & torch.isfinite(batch.rate)
    known = known & (torch.arange(told.shape[1]) >= n_burn)[:, None]
    counts = torch.nan_to_num(batch.counts)
    before = torch.nan_to_num(batch.probability, 0.5).clamp(SMALLEST, 1 - SMALLEST)
    logit = torch.logit(before) + float(MOST_ODDS) * torch.tanh(odds)
    entropy = functional.binary_cross_entropy_with_logits(logit, (counts > 0).float(), reduction="none")
    after = torch.sigmoid(logit).detach()
    spikes = torch.nan_to_num(batch.rate) * torch.sqrt(after / before) * torch.exp(float(MOST_RATE) * torch.tanh(rate))
    expected = after * (1 + functional.softplus(count))
    law = _negative_binomial(expected, functional.softplus(spread) + 1e-3, counts)
    n_known = known.sum((0, 1)).clamp(min=1)
    weight = torch.tensor(HOLD_WEIGHTS)
    return {
        "odds": (weight * (entropy * known).sum((0, 1)) / n_known).sum(),
        "correlation": (weight * _uncorrelated(spikes * known, counts * known, known)).sum(),
        "count": (weight * (law * known).sum((0, 1)) / n_known).sum(),
    }


def total(parts: dict[str, Tensor]) -> Tensor:
    """One number of `losses`."""
    return ODDS_WEIGHT * parts["odds"] + CORRELATION_WEIGHT * parts["correlation"] + COUNT_WEIGHT * parts["count"]


def _negative_binomial(mean: Tensor, dispersion: Tensor, counts: Tensor) -> Tensor:
    """Negative log likelihood for variance mean + dispersion mean^2."""
    size = 1 / dispersion
    log_law = torch.lgamma(counts + size) - torch.lgamma(size) - torch.lgamma(counts + 1)
    log_law = log_law - size * torch.log1p(mean / size) + counts * torch.log(mean / (mean + size))
    return -log_law


def _uncorrelated(told: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """One less Pearson's r of the smoothed courses for every hold, mean over the rows of a batch with spikes."""
    n_windows, n_frames, n_holds = told.shape
    frames = torch.arange(-5, 6)
    kernel = torch.exp(-0.5 * (frames / SMOOTHING_FRAMES) ** 2)
    kernel = (kernel / kernel.sum())[None, None]

    def of_row(x: Tensor) -> Tensor:
        """Shape (n_rows, n_holds, N_TOGETHER n_frames)."""
        windows = x.reshape(-1, N_TOGETHER, n_frames, n_holds)
        return windows.permute(0, 3, 1, 2).reshape(n_windows // N_TOGETHER, n_holds, -1)

    def smooth(x: Tensor) -> Tensor:
        course = x.permute(0, 2, 1).reshape(-1, 1, n_frames)
        return functional.conv1d(course, kernel, padding=5).reshape(n_windows, n_holds, n_frames).permute(0, 2, 1)

    a, b, known, truth = (of_row(x) for x in (smooth(told), smooth(truth), known, truth))
    n = known.sum(-1, keepdim=True).clamp(min=1)
    a, b = ((x - (x * known).sum(-1, keepdim=True) / n) * known for x in (a, b))
    r = (a * b).sum(-1) / torch.sqrt((a * a).sum(-1) * (b * b).sum(-1) + 1e-9)
    fires = (truth.sum(-1) > 0).float()
    return ((1 - r) * fires).sum(0) / fires.sum(0).clamp(min=1)
