"""`spikeloop infer`: a file of traces becomes a file of spikes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.network_weights import NetworkWeights, find_weights
from rt_engine.models.cost_price import require_reachable
from rt_engine.models.indicators import indicator as find_indicator
from rt_engine.models.trace_files import read_traces, write_inference
from rt_engine.models.trace_inference import InferenceSettings, Method, TraceKind, infer_traces
from rt_engine.services.run_view import RunView

USUAL_WEIGHTS = "synthetic+real"


def chosen_weights(method: Method, asked: str | None) -> NetworkWeights | None:
    """Weights asked for, else `USUAL_WEIGHTS`; None where no network votes.

    Raises
    ------
    ConfigError
        There are no such weights, or another method was asked for.
    """
    if method is Method.NETWORK:
        return find_weights(asked or USUAL_WEIGHTS)
    if asked is not None:
        raise ConfigError("are of the network alone", "use --method network", key="--weights")
    return None


def run_inference(arguments: argparse.Namespace) -> dict[str, Any]:
    """Read, infer, write, and say what was found.

    Raises
    ------
    ConfigError
        A file, the indicator or an option is wrong.
    """
    indicator = find_indicator(arguments.indicator)
    method = Method(arguments.method)
    if arguments.false_event_cost is not None and method not in (Method.COMBINED, Method.NETWORK):
        raise ConfigError("needs calibrated probabilities", "use --method combined", key="--false-event-cost")
    weights = chosen_weights(method, arguments.weights)
    target = Path(arguments.output)
    if not target.parent.is_dir():
        raise ConfigError("there is no such folder", "make it first", file=str(target.parent))
    source = read_traces(Path(arguments.source), TraceKind(arguments.kind) if arguments.kind else None)
    hold = arguments.hold
    if hold is None:
        rate_hz = float(np.median(source.frame_rate_hz)) if len(source.frame_rate_hz) else 30.0
        hold = indicator.default_hold_frames(rate_hz)
    if arguments.false_event_cost is not None:
        require_reachable(arguments.false_event_cost, hold, "--false-event-cost")
    settings = InferenceSettings(
        indicator=indicator,
        kind=source.kind or TraceKind.DFF,
        method=method,
        hold_frames=hold,
        baseline_s=arguments.baseline,
        false_alarms_per_min=arguments.false_alarms_per_min,
        false_event_cost=arguments.false_event_cost,
        network=weights,
    )
    found = infer_traces(source.traces, source.frame_rate_hz, settings, source.neuropil)
    write_inference(target, found, hold, source.time_s)
    minutes = float((np.isfinite(source.traces).sum(axis=1) / source.frame_rate_hz).sum() / 60)
    figures = {
        "n_rois": len(source.traces),
        "n_frames": source.traces.shape[1],
        "hold_frames": hold,
        "n_events": len(found.events),
        "events_per_min": len(found.events) / minutes if minutes else 0.0,
    }
    RunView().say(
        f"{figures['n_rois']} rows, {minutes:.1f} min, {figures['n_events']} events; column t of spike_rate speaks of "
        f"frame t - {hold}: {target}"
    )
    return figures
