"""What Windows answers is understood; the answers are those of its programs as Microsoft documents them."""

from __future__ import annotations

import pytest

from rt_engine.interfaces.findings import Verdict
from rt_engine.services.doctor import windows

FOLDER, PYTHON = r"D:\data\sessions", r"C:\spikeloop\.venv\Scripts\python.exe"
HIGH = "Power Scheme GUID: 8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c  (High performance)\r\n"
BALANCED = "GUID des Energieschemas: 381b4222-f694-41f0-9685-ff5bb260df2e  (Ausbalanciert)\r\n"
NOT_TOLD = "N/A: Must be an administrator to view exclusions\r\n"
GOOD = {"powercfg": HIGH, "preference": rf"d:\data;{PYTHON}" + "\r\n", "firewall": "2\r\n"}


def answers(**changes):
    said = GOOD | changes

    def say(command):
        if command[0] == "powercfg":
            return said["powercfg"]
        return said["preference" if "Get-MpPreference" in command[-1] else "firewall"]

    return say


def judged(*, listens=True, **changes):
    return windows.settings(answers(**changes), FOLDER, listens=listens, python=PYTHON)


@pytest.mark.parametrize("excluded", [rf"d:\data;{PYTHON}", r"D:\DATA\sessions\;python.exe", rf"D:\;{PYTHON.upper()}"])
def test_a_computer_that_is_set_up_passes(excluded):
    found = judged(preference=excluded + "\r\n")
    assert [one.part for one in found] == ["power", "virus scanner", "firewall"]
    assert {one.verdict for one in found} == {Verdict.PASS}


@pytest.mark.parametrize(("changes", "part", "text", "remedy"), [
    ({"powercfg": BALANCED}, "power", "Ausbalanciert", "SCHEME_MIN"),
    ({"preference": f"{PYTHON}\r\n"}, "virus scanner", rf"{FOLDER} is not excluded", f"-ExclusionPath '{FOLDER}'"),
    ({"preference": "D:\\database;python.exe\r\n"}, "virus scanner", "is not excluded", "-ExclusionPath"),
    ({"preference": "d:\\data\r\n"}, "virus scanner", "python.exe is not excluded", f"-ExclusionProcess '{PYTHON}'"),
    ({"preference": NOT_TOLD}, "virus scanner", "not known", "administrator"),
    ({"firewall": "0\r\n"}, "firewall", "no rule lets anybody connect", f"-Program '{PYTHON}'"),
    ({"firewall": "\r\n"}, "firewall", "no rule lets anybody connect", "New-NetFirewallRule"),
])  # fmt: skip
def test_what_is_not_set_up_is_said_with_the_command_that_does_it(changes, part, text, remedy):
    bad = [one for one in judged(**changes) if one.verdict is not Verdict.PASS]
    assert [one.part for one in bad] == [part]
    assert text in bad[0].text
    assert remedy in bad[0].remedy
    assert bad[0].meaning


def test_a_rig_of_one_computer_needs_no_rule_and_a_program_that_is_missing_says_nothing():
    (firewall,) = [one for one in judged(listens=False, firewall="0\r\n") if one.part == "firewall"]
    assert firewall.verdict is Verdict.PASS
    assert judged(powercfg=None, preference=None, firewall=None) == []
