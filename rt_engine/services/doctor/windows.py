"""What decides on Windows how evenly a loop runs and whether frames arrive: power plan, virus scanner, firewall."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import PureWindowsPath

from rt_engine.interfaces.findings import Finding, Verdict, passed

_HIGH_PERFORMANCE = ("8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c", "e9a42b02-d5df-448d-aa00-03f14749eb61")
_LEAST_CLOCK = ["powercfg", "/query", "SCHEME_CURRENT", "SUB_PROCESSOR", "PROCTHROTTLEMIN"]
_FULL_PERCENT = 100
_PREFERENCES = "$p = Get-MpPreference -ErrorAction Stop; (@($p.ExclusionPath) + @($p.ExclusionProcess)) -join ';'"
_ALLOWED = (
    "@(Get-NetFirewallApplicationFilter -Program '{}' -ErrorAction SilentlyContinue | Get-NetFirewallRule | "
    "Where-Object {{ $_.Enabled -eq 'True' -and $_.Direction -eq 'Inbound' -and $_.Action -eq 'Allow' }}).Count"
)
Said = Callable[[list[str]], str | None]
"""What a program of the system prints; None where it is missing or refuses."""


def real_python() -> str:
    """The program that runs: ``python.exe`` of a virtual environment only starts the one it was made from."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def settings(said: Said, folder: str, *, listens: bool, python: str | None = None) -> list[Finding]:
    """Power plan, virus scanner and firewall.

    Parameters
    ----------
    said : callable
        Runs a program of the system.
    folder : str
        Where sessions are written.
    listens : bool
        Whether another computer connects to this one.
    python : str, optional
        The interpreter that runs spikeloop; None: this one.
    """
    python = python or real_python()
    return [*_power_plan(said), *_virus_scanner(said, folder, python), *_firewall(said, python, listens=listens)]


def _power_plan(said: Said) -> list[Finding]:
    """A plan of another name may be as good: what counts is the least clock of the processor on mains."""
    plan = said(["powercfg", "/getactivescheme"])
    if not plan or not plan.strip():
        return [_unknown("power", "the power plan", "powercfg", "choose the plan High performance by hand")]
    if any(guid in plan.lower() for guid in _HIGH_PERFORMANCE):
        return [passed("power", "high performance")]
    name = plan.strip().partition("(")[2].rpartition(")")[0].strip() or plan.strip()
    # Two numbers end the answer in every language: the setting on mains, and that on battery.
    clocks = re.findall(r"\b0x([0-9a-f]{8})\b", (said(_LEAST_CLOCK) or "").lower())[-2:]
    if len(clocks) == 2 and int(clocks[0], 16) >= _FULL_PERCENT:
        return [passed("power", f"{name}: the processor is never slowed down on mains")]
    meaning = "the processor is slow at first after every pause"
    remedy = "powercfg /setactive SCHEME_MIN  (high performance)"
    return [Finding(Verdict.WARN, "power", name, meaning, remedy)]


def _unknown(part: str, what: str, program: str, remedy: str) -> Finding:
    text = f"{what} is not known: {program} did not answer"
    return Finding(Verdict.WARN, part, text, "nobody has looked, so it may be wrong", remedy)


def _is_no_entry(text: str) -> bool:
    """A sentence in the place of exclusions, in whatever language: neither a folder nor the name of a program."""
    is_folder = "\\" in text or "%" in text or re.match(r"^[a-z*?]:", text, re.IGNORECASE) is not None
    return not is_folder and re.fullmatch(r"[^\\/:<>|\"]+\.\w{1,5}", text) is None


def _virus_scanner(said: Said, folder: str, python: str) -> list[Finding]:
    text = said(["powershell", "-NoProfile", "-Command", _PREFERENCES])
    if text is None:
        remedy = f"where another scanner is installed, exclude {folder} and {python} in it"
        return [_unknown("virus scanner", "whether a virus scanner reads along", "Windows Defender", remedy)]
    entries = [one.strip() for one in text.split(";") if one.strip()]
    if any(_is_no_entry(one) for one in entries):
        meaning = "Windows tells the exclusions of Defender to an administrator only"
        remedy = "run the doctor once from a terminal that was started as administrator"
        return [Finding(Verdict.WARN, "virus scanner", "not known whether it reads along", meaning, remedy)]
    excluded = {one.rstrip("\\").lower() for one in entries}
    path, program = PureWindowsPath(folder), PureWindowsPath(python)
    found = []
    if not {str(one).rstrip("\\").lower() for one in (path, *path.parents)} & excluded:
        meaning = "Defender reads every file of a session while it is written"
        remedy = f"as administrator: Add-MpPreference -ExclusionPath {_quoted(folder)}"
        found.append(Finding(Verdict.WARN, "virus scanner", f"{folder} is not excluded", meaning, remedy))
    if not {program.name.lower(), str(program).lower()} & excluded:
        meaning = "Defender looks at every message and file that spikeloop touches"
        remedy = f"as administrator: Add-MpPreference -ExclusionProcess {_quoted(python)}"
        found.append(Finding(Verdict.WARN, "virus scanner", f"{program.name} is not excluded", meaning, remedy))
    return found or [passed("virus scanner", "folder and program are excluded")]


def _firewall(said: Said, python: str, *, listens: bool) -> list[Finding]:
    if not listens:
        return [passed("firewall", "everything of this rig stays in this computer, where ports are not filtered")]
    rules = said(["powershell", "-NoProfile", "-Command", _ALLOWED.format(python.replace("'", "''"))])
    if rules is None:
        remedy = "look whether its inbound rules allow this Python"
        return [_unknown("firewall", "whether others may connect", "Windows Firewall", remedy)]
    if rules.strip() not in ("", "0"):
        return [passed("firewall", f"{PureWindowsPath(python).name} may be connected to")]
    meaning = "another computer of this rig could not connect"
    rule = f"New-NetFirewallRule -DisplayName spikeloop -Direction Inbound -Program {_quoted(python)} -Action Allow"
    text = f"no rule lets anybody connect to {python}"
    return [Finding(Verdict.WARN, "firewall", text, meaning, f"as administrator: {rule}")]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
