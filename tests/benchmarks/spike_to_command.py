"""What a scientist waits for on the virtual rig: from the true spike to the command, by indicator and hold.

    python tests/benchmarks/spike_to_command.py --seconds 120 --indicators jGCaMP8f jGCaMP8m GCaMP6s --holds 0 1 2

The whole rig runs as `spikeloop run` does, at 30 Hz in real time: virtual cells, a baseline, its own calibration, every
service, and the delay that the loop has on this computer. Prints a Markdown table: `spike_to_command` against the truth
(median and 99th percentile), and beside it what the loop itself takes, `scan_to_command`. The former are tens of
milliseconds, so that a busy computer changes them little; `scan_to_command` it does change. A field of 128 x 128.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from system_rig import command, small_rig, summary_of, write_rig

INDICATORS = ("jGCaMP8f", "jGCaMP8m", "jGCaMP8s", "GCaMP6f", "GCaMP6s")
HOLDS = (0, 1, 2, 3)


def rig_of(indicator: str, hold: int, strip_lines: int | None) -> dict[str, Any]:
    """A small rig in real time; nothing is withheld from the light but what its limits say."""
    rig = small_rig(microscope__pace="real_time", inference__indicator=indicator, inference__hold_frames=hold)
    rig["microscope"]["sample"]["indicator"] = indicator
    if strip_lines is not None:
        rig["microscope"]["strip_lines"] = strip_lines
    return rig


def run(indicator: str, hold: int, arguments: argparse.Namespace) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory(prefix="spikeloop-wait-") as folder:
        rig = write_rig(Path(folder), rig_of(indicator, hold, arguments.strip_lines))
        session = Path(folder) / "session"
        line = command("run", rig, "--no-gui", "--baseline", str(arguments.baseline))
        line += ["--duration", str(arguments.seconds), "--output", str(session)]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{indicator}, hold {hold}: {done.stderr[-500:]}")
        summary = summary_of(session)
    waits, loop = (summary["latency_ms"].get(name) for name in ("spike_to_command", "scan_to_command"))
    if not waits or not loop:
        return f"| {indicator} | {hold} | – | – | – | 0 |\n"
    n = sum(summary["stim"].values())
    return f"| {indicator} | {hold} | {waits['p50']:.0f} | {waits['p99']:.0f} | {loop['p50']:.1f} | {n} |\n"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--indicators", nargs="+", default=INDICATORS, metavar="NAME")
    parser.add_argument("--holds", nargs="+", type=int, default=HOLDS, metavar="N", help="frames")
    parser.add_argument("--baseline", type=float, default=60.0, metavar="S")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="of each run, live")
    parser.add_argument("--strip-lines", type=int, metavar="N", help="lines of a message (default: whole frames)")
    arguments = parser.parse_args()
    out = sys.stdout
    out.write("| indicator | hold | spike_to_command p50, ms | p99, ms | scan_to_command p50, ms | decisions |\n")
    out.write("|---|---|---|---|---|---|\n")
    for indicator in arguments.indicators:
        for hold in arguments.holds:
            out.write(run(indicator, hold, arguments))
            out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
