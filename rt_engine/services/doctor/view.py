"""Findings for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from rt_engine.interfaces.findings import Finding, Verdict

_STYLE = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def show(findings: Sequence[Finding], console: Console) -> None:
    """One line each, and below what is not well what it means and what to do."""
    width = max((len(one.part) for one in findings), default=0)
    for one in findings:
        console.print(Text.assemble((f"{one.verdict.value:5}", _STYLE[one.verdict]), f"{one.part:{width}}  {one.text}"))
        indent = " " * (width + 7)
        if one.meaning:
            console.print(Text(f"{indent}{one.meaning}", style="dim"))
        if one.remedy:
            console.print(Text(f"{indent}→ {one.remedy}"))


def closing(findings: Sequence[Finding]) -> str:
    """The sum of it."""
    n = {verdict: sum(one.verdict is verdict for one in findings) for verdict in Verdict}
    return f"{n[Verdict.PASS]} passed, {n[Verdict.WARN]} to look at, {n[Verdict.FAIL]} failed"
