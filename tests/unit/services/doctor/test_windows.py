"""What Windows answers is understood; the answers are those of its programs as Microsoft documents them."""

from __future__ import annotations

import sys

import pytest

from rt_engine.interfaces.findings import Verdict
from rt_engine.services.doctor import real_time, windows

FOLDER, PYTHON = r"D:\data\sessions", r"C:\spikeloop\.venv\Scripts\python.exe"
HIGH = "Power Scheme GUID: 8c5e7fda-e8bf-4a96-9a85-a6e23a8c635c  (High performance)\r\n"
BALANCED = "GUID des Energieschemas: 381b4222-f694-41f0-9685-ff5bb260df2e  (Ausbalanciert)\r\n"
NOT_TOLD = "N/A: Must be an administrator to view exclusions\r\n"
GOOD = {"powercfg": HIGH, "preference": rf"d:\data;{PYTHON}" + "\r\n", "firewall": "2\r\n"}


QUERY = """GUID {scheme}: 381b4222-f694-41f0-9685-ff5bb260df2e  ({plan})
  GUID: 54533251-82be-4824-96c1-47b60b740d00
    GUID: 893dee8e-2bef-41e0-89c6-b55d0929964c
      {least}: 0x00000000
      {most}: 0x00000064
      {step}: 0x00000001
      %: %
    {ac}: {on_mains}
    {dc}: {on_battery}

"""
GERMAN = {"scheme": "des Energieschemas", "plan": "Dell", "least": "Mindestwert", "most": "Höchstwert", "step": "Stufe"}
GERMAN |= {"ac": "Index der aktuellen Wechselstromeinstellung", "dc": "Index der aktuellen Gleichstromeinstellung"}
JAPANESE = {"scheme": "電源設定", "plan": "バランス", "least": "最小", "most": "最大", "step": "間隔"}
JAPANESE |= {"ac": "現在の AC 電源設定のインデックス", "dc": "現在の DC 電源設定のインデックス"}


def answers(**changes):
    said = GOOD | changes

    def say(command):
        if command[:2] == ["powercfg", "/query"]:
            return said.get("query")
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
    ({"powercfg": "電源設定の GUID: 381b4222-f694-41f0-9685-ff5bb260df2e (バランス)\r\n"}, "power", "バランス",
     "SCHEME_MIN"),
    ({"powercfg": "GUID: 381b4222-f694-41f0-9685-ff5bb260df2e  (Mine (old))\r\n"}, "power", "Mine (old)", "SCHEME_MIN"),
    ({"powercfg": BALANCED, "query": QUERY.format(**GERMAN, on_mains="0x00000005", on_battery="0x00000064")},
     "power", "Ausbalanciert", "SCHEME_MIN"),
    ({"powercfg": BALANCED, "query": "Parameter ungültig"}, "power", "Ausbalanciert", "SCHEME_MIN"),
    ({"powercfg": None}, "power", "powercfg did not answer", "High performance"),
    ({"powercfg": " \r\n"}, "power", "powercfg did not answer", "High performance"),
    ({"preference": None}, "virus scanner", "Windows Defender did not answer", "exclude"),
    ({"preference": "\r\n"}, "virus scanner", "is not excluded", "-ExclusionPath"),
    ({"firewall": None}, "firewall", "Windows Firewall did not answer", "inbound rules"),
    ({"preference": f"{PYTHON}\r\n"}, "virus scanner", rf"{FOLDER} is not excluded", f"-ExclusionPath '{FOLDER}'"),
    ({"preference": "D:\\database;python.exe\r\n"}, "virus scanner", "is not excluded", "-ExclusionPath"),
    ({"preference": "d:\\data\r\n"}, "virus scanner", "python.exe is not excluded", f"-ExclusionProcess '{PYTHON}'"),
    ({"preference": NOT_TOLD}, "virus scanner", "not known", "administrator"),
    ({"firewall": "0\r\n"}, "firewall", "no rule lets anybody connect", f"-Program '{PYTHON}'"),
    ({"firewall": "\r\n"}, "firewall", "no rule lets anybody connect", "New-NetFirewallRule"),
])  # fmt: skip
def test_what_is_not_set_up_is_said_with_the_command_that_does_it(changes, part, text, remedy):
    bad = [one for one in judged(**changes) if one.verdict is not Verdict.PASS]
    assert {one.part for one in bad} == {part}
    assert text in bad[0].text
    assert remedy in bad[0].remedy
    assert bad[0].meaning


@pytest.mark.parametrize("sentence", [
    "N/A: Must be an administrator to view exclusions",
    "N/V: Zum Anzeigen von Ausschlüssen müssen Sie Administrator sein", "N/A : vous devez être administrateur",
    "N/D: debe ser administrador para ver las exclusiones", "N/A: 除外を表示するには管理者である必要があります",
    "不适用: 必须是管理员才能查看排除项", "Н/Д: для просмотра исключений требуются права администратора",
    "N/A: f\ufffdr Ausschl\ufffdsse Administrator",
])  # fmt: skip
def test_exclusions_that_windows_does_not_tell_are_not_known_in_any_language(sentence):
    bad = [one for one in judged(preference=f"{sentence}\r\n") if one.verdict is not Verdict.PASS]
    assert [(one.part, one.text) for one in bad] == [("virus scanner", "not known whether it reads along")]


@pytest.mark.parametrize("excluded", [
    r"D:\data;%ProgramFiles%\NI;\\server\share;*.mcap;python.exe", "D:\\data;my python.exe;python.exe",
    r"d:\data\;E:;PYTHON.EXE",
])  # fmt: skip
def test_exclusions_of_odd_forms_are_no_sentence(excluded):
    assert {one.verdict for one in judged(preference=excluded)} == {Verdict.PASS}


@pytest.mark.parametrize("words", [GERMAN, JAPANESE], ids=["German", "Japanese"])
def test_a_plan_of_any_name_passes_where_the_processor_is_never_slowed_down(words):
    query = QUERY.format(**words, on_mains="0x00000064", on_battery="0x00000005")
    power = judged(powercfg=BALANCED, query=query)[0]
    assert (power.part, power.verdict) == ("power", Verdict.PASS)
    assert "Ausbalanciert" in power.text


def test_names_with_an_apostrophe_stay_one_word_in_commands():
    asked = []
    say = answers(preference="\r\n", firewall="0")
    folder, python = r"C:\Users\O'Brien\sessions", r"C:\Users\O'Brien\python.exe"
    found = windows.settings(
        lambda command: (asked.append(command[-1]), say(command))[1], folder, listens=True, python=python
    )
    assert any("-Program 'C:\\Users\\O''Brien\\python.exe'" in one for one in asked)
    assert all("O''Brien" in one.remedy for one in found if one.part != "power")


def test_what_the_terminal_writes_in_another_code_page_ends_no_doctor(monkeypatch):
    """0x81 is a letter in the code pages of terminals and nothing in those of files."""
    code = "import sys; sys.stdout.buffer.write(bytes([0x66, 0x81, 0x72]))"
    said = real_time._said([sys.executable, "-c", code])
    assert said is not None
    assert said.startswith("f")
    assert said.endswith("r")


def test_a_rig_of_one_computer_needs_no_rule():
    (firewall,) = [one for one in judged(listens=False, firewall="0\r\n") if one.part == "firewall"]
    assert firewall.verdict is Verdict.PASS
