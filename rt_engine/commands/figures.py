"""Figures of a command as JSON."""

from __future__ import annotations

import argparse
from typing import Any


def write_json(arguments: argparse.Namespace, figures: dict[str, Any]) -> int:
    """Write `figures` where `--json` says, if it does; the exit code.

    Raises
    ------
    ServiceError
        The file cannot be written.
    """
    import json
    from pathlib import Path

    from rt_engine.interfaces.errors import ServiceError

    if arguments.json:
        try:
            Path(arguments.json).write_text(json.dumps(figures, indent=1, default=float), encoding="utf-8")
        except OSError as error:
            raise ServiceError(f"{arguments.json}: cannot be written: {error.strerror}") from error
    return 0
