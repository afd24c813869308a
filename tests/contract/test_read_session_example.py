"""The example of docs/how-to/read-a-session.md runs, and finds the effect that was planted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from synthetic_session import make_rich_session

SCRIPT = Path(__file__).parents[2] / "docs" / "how-to" / "read_session.py"


def test_the_example_tells_delivered_from_withheld(tmp_path: Path) -> None:
    make_rich_session(tmp_path / "session", n_frames=1500)
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "session"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    effect = {name: float(value) for name, value in re.findall(r"(delivered|withheld): ([+-][\d.]+) dF/F", done.stdout)}
    assert effect["delivered"] > effect["withheld"] + 0.1
    assert "events of" in done.stdout
