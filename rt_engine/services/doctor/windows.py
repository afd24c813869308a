"""What decides on Windows how evenly a loop runs and whether frames arrive: power plan, virus scanner, firewall."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import PureWindowsPath

from rt_engine.interfaces.findings import Finding, Verdict, passed

_HIGH_PERFORMANCE = ("8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c", "e9a42b02-d5df-448d-aa00-03f14749eb61")
_PREFERENCES = "$p = Get-MpPreference; ($p.ExclusionPath + $p.ExclusionProcess) -join ';'"
_ALLOWED = (
    "(Get-NetFirewallApplicationFilter -Program '{}' -ErrorAction SilentlyContinue | Get-NetFirewallRule | "
    "Where-Object {{ $_.Enabled -eq 'True' -and $_.Direction -eq 'Inbound' -and $_.Action -eq 'Allow' }}).Count"
)
Said = Callable[[list[str]], str | None]
"""What a program of the system prints; None where it is missing or refuses."""


def settings(said: Said, folder: str, *, listens: bool, python: str = sys.executable) -> list[Finding]:
    """Power plan, virus scanner and firewall.

    Parameters
    ----------
    said : callable
        Runs a program of the system.
    folder : str
        Where sessions are written.
    listens : bool
        Whether another computer connects to this one.
    python : str
        The interpreter that runs spikeloop.
    """
    return [*_power_plan(said), *_virus_scanner(said, folder, python), *_firewall(said, python, listens=listens)]


def _power_plan(said: Said) -> list[Finding]:
    plan = said(["powercfg", "/getactivescheme"])
    if not plan:
        return []
    if any(guid in plan.lower() for guid in _HIGH_PERFORMANCE):
        return [passed("power", "high performance")]
    meaning = "the processor is slow at first after every pause"
    remedy = "powercfg /setactive SCHEME_MIN  (high performance)"
    return [Finding(Verdict.WARN, "power", plan.split("(")[-1].strip(") \r\n"), meaning, remedy)]


def _virus_scanner(said: Said, folder: str, python: str) -> list[Finding]:
    text = said(["powershell", "-NoProfile", "-Command", _PREFERENCES])
    if text is None:
        return []
    if "administrator" in text.lower():
        meaning = "Windows tells the exclusions of Defender to an administrator only"
        remedy = "run the doctor once from a terminal that was started as administrator"
        return [Finding(Verdict.WARN, "virus scanner", "not known whether it reads along", meaning, remedy)]
    excluded = {one.strip().rstrip("\\").lower() for one in text.split(";") if one.strip()}
    path, program = PureWindowsPath(folder), PureWindowsPath(python)
    found = []
    if not {str(one).rstrip("\\").lower() for one in (path, *path.parents)} & excluded:
        meaning = "Defender reads every file of a session while it is written"
        remedy = f"as administrator: Add-MpPreference -ExclusionPath '{folder}'"
        found.append(Finding(Verdict.WARN, "virus scanner", f"{folder} is not excluded", meaning, remedy))
    if not {program.name.lower(), str(program).lower()} & excluded:
        meaning = "Defender looks at every message and file that spikeloop touches"
        remedy = f"as administrator: Add-MpPreference -ExclusionProcess '{python}'"
        found.append(Finding(Verdict.WARN, "virus scanner", f"{program.name} is not excluded", meaning, remedy))
    return found or [passed("virus scanner", "folder and program are excluded")]


def _firewall(said: Said, python: str, *, listens: bool) -> list[Finding]:
    if not listens:
        return [passed("firewall", "everything of this rig stays in this computer, where ports are not filtered")]
    rules = said(["powershell", "-NoProfile", "-Command", _ALLOWED.format(python)])
    if rules is None:
        return []
    if rules.strip() not in ("", "0"):
        return [passed("firewall", f"{PureWindowsPath(python).name} may be connected to")]
    meaning = "another computer of this rig could not connect"
    rule = f"New-NetFirewallRule -DisplayName spikeloop -Direction Inbound -Program '{python}' -Action Allow"
    text = f"no rule lets anybody connect to {python}"
    return [Finding(Verdict.WARN, "firewall", text, meaning, f"as administrator: {rule}")]
