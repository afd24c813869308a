"""A package of somebody else, as pip would install it."""

from __future__ import annotations

from pathlib import Path


def installed(site: Path, module: str, code: str, entry_points: str) -> Path:
    """Write `module` with its entry points into a folder that then can be put on the path."""
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text(f"Name: {module.replace('_', '-')}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    return site
