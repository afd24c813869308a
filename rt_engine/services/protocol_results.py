"""What a protocol leaves behind: its trials, pulse times and maps as files, its effects in the summary."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from protocols.excitability_file import write_p50_mw
from protocols.running.pulse_times import FILE_NAME as PULSE_TIMES_FILE
from protocols.schema.design import MapKind

TRIALS_FILE = "trials.csv"
RESULT_FILES = (TRIALS_FILE, PULSE_TIMES_FILE, "excitability.json")


def write_results(folder: Path, concluded: dict[str, Any]) -> dict[str, Any]:
    """Write the files of a protocol into a session folder.

    Parameters
    ----------
    folder : Path
        Session folder.
    concluded : dict
        `ProtocolRun.conclude`; empty without a protocol.

    Returns
    -------
    dict
        For ``summary.json``: `effects`, everything but what stands in the files; None without a protocol.
    """
    effects = effects_of(concluded)
    if effects is None:
        return {"effects": None}
    trials, pulse_times = concluded["trials"], concluded["pulse_times"]
    if trials["arm"]:
        _write_trials(folder / TRIALS_FILE, trials)
    if any(pulse_times["blocks_s"]):
        (folder / PULSE_TIMES_FILE).write_text(json.dumps(pulse_times) + "\n", encoding="utf-8")
    found = effects.get("map")
    if found and found["kind"] == MapKind.EXCITABILITY:
        write_p50_mw(folder, {int(roi): cell for roi, cell in found["cells"].items()})
    return {"effects": effects}


def effects_of(concluded: dict[str, Any]) -> dict[str, Any] | None:
    """What of the results stands in ``summary.json``: all but what stands in files; None without a protocol."""
    return {name: one for name, one in concluded.items() if name not in ("trials", "pulse_times")} or None


def _write_trials(path: Path, trials: dict[str, list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trial", *trials])
        writer.writerows([number, *row] for number, row in enumerate(zip(*trials.values(), strict=True)))


def effect_lines(effects: dict[str, Any] | None) -> list[str]:
    """The effects in a few sentences."""
    if effects is None:
        return []
    lines = []
    for name, one in effects["contrasts"].items():
        if "difference" not in one:
            continue
        text = f"effect {name.replace('_', ' ')}: {one['difference']:+.4g}"
        if "low" in one:
            text += (
                f", anytime-valid {100 * (1 - effects['alpha']):g} % interval {one['low']:+.3g} to {one['high']:+.3g}"
            )
        if one.get("p") is not None:
            text += f", randomisation test p {one['p']:.2g}"
        lines.append(f"{text} ({one['n_treated']:.0f} and {one['n_control']:.0f} trials)")
    void = {name: counts["void"] for name, counts in effects["arms"].items() if counts["void"]}
    if void:
        lines.append("void trials: " + ", ".join(f"{n} {name}" for name, n in void.items()))
    found = effects.get("map")
    if found and found["kind"] == MapKind.INFLUENCE and found["n_pairs"]:
        lines.append(
            f"influence: {found['n_significant']} of {found['n_pairs']} pairs at a false discovery rate of "
            f"{found['false_discovery_rate']:g}"
        )
    if found and found["kind"] == MapKind.EXCITABILITY:
        fitted = sum(cell["p50_mw"] is not None for cell in found["cells"].values())
        lines.append(f"excitability: {fitted} of {len(found['cells'])} cells fitted; see excitability.json")
    return lines
