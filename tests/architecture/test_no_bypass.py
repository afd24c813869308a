"""Nobody gets light past the interlock: by type, by import contract, and by trying."""

from __future__ import annotations

import ast
import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safety_rig import FakeClock, Rig

from drivers.outputs.virtual import VirtualOutput
from rt_engine.interfaces import devices
from rt_engine.interfaces.devices import PulseCommand, PulseToken, issue_pulse_token, require_command
from rt_engine.interfaces.errors import DeviceError, WithdrawnError
from rt_engine.interfaces.messages import Outcome

ROOT = Path(__file__).parents[2]
FILES = [path for folder in ("rt_engine", "drivers", "protocols", "gui") for path in (ROOT / folder).rglob("*.py")]
INTERLOCK = ROOT / "rt_engine" / "safety" / "interlock.py"
LATCH = ROOT / "rt_engine" / "safety" / "latch.py"
DEVICES = ROOT / "rt_engine" / "interfaces" / "devices.py"
FIELDS: dict[str, Any] = {
    **{"decision_id": "mine", "output": "led", "pulses": 1, "width_us": 10**6, "period_us": 0},
    **{"power_uw": (10**6,), "targets_yx_px": ((1.0, 1.0),)},
}


@pytest.fixture
def light() -> list[Any]:
    return []


@pytest.fixture
def output(light: list[Any]) -> VirtualOutput:
    """An armed output in the hands of somebody who is not the interlock."""
    output = VirtualOutput("led", FakeClock(), light.append, watchdog_ms=100.0)
    output.open()
    output.arm()
    return output


def _judged() -> PulseCommand:
    """A real command, caught on its way."""
    rig = Rig().armed()
    rig.interlock.request(rig.request())
    command: PulseCommand = rig.outputs["led"].fired[0][2]
    return command


def _hollow() -> PulseCommand:
    command = PulseCommand.__new__(PulseCommand)
    for name, value in FIELDS.items():
        object.__setattr__(command, name, value)
    return command


def _forged_proof() -> PulseCommand:
    command = _hollow()
    object.__setattr__(command, "_proof", PulseToken())
    return command


class Lookalike:
    """Has every field of a command and is none."""

    def __init__(self) -> None:
        vars(self).update(FIELDS)


@pytest.mark.parametrize("make", [_hollow, _forged_proof, Lookalike, lambda: FIELDS, lambda: None, lambda: "light!"])
def test_an_output_refuses_what_the_interlock_has_not_made(
    make: Callable[[], Any], output: VirtualOutput, light: list[Any]
) -> None:
    with pytest.raises(DeviceError):
        output.fire(make())
    assert light == []


@pytest.mark.parametrize("token", [PulseToken(), None, "token", object()])
def test_a_command_cannot_be_made_without_the_token(token: Any) -> None:
    with pytest.raises(PermissionError):
        PulseCommand(token, ask=lambda: 0, **FIELDS)


def test_the_token_is_handed_out_once() -> None:
    with pytest.raises(PermissionError):
        issue_pulse_token()


@pytest.mark.parametrize("name", [*FIELDS, "_proof", "anything"])
def test_a_command_cannot_be_changed_after_it_was_judged(name: str) -> None:
    command = _judged()
    with pytest.raises(PermissionError):
        setattr(command, name, 10**9)
    with pytest.raises(PermissionError):
        delattr(command, name)


@pytest.mark.parametrize("double", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_command_cannot_be_doubled(double: Callable[[Any], Any]) -> None:
    with pytest.raises(PermissionError):
        double(_judged())


def test_a_command_has_no_subclasses() -> None:
    with pytest.raises(PermissionError):
        type("Stronger", (PulseCommand,), {})


def test_a_real_command_lights_only_the_output_it_was_judged_for(output: VirtualOutput, light: list[Any]) -> None:
    rig, caught = Rig().armed(), list[PulseCommand]()

    def fire(command: PulseCommand) -> int:
        caught.append(command)
        with pytest.raises(DeviceError, match="output led"):
            require_command("laser", command, armed=True, last=None)
        t_command_ns = output.fire(command)
        with pytest.raises(DeviceError, match="fired before"):
            output.fire(command)
        return t_command_ns

    vars(rig.outputs["led"])["fire"] = fire
    assert rig.interlock.request(rig.request()).outcome is Outcome.DELIVERED
    assert len(light) == 1
    output.safe_state()
    output.arm()
    other = VirtualOutput("led", FakeClock(), light.append, watchdog_ms=100.0)
    other.open()
    other.arm()
    with pytest.raises(WithdrawnError, match="has been answered"):
        other.fire(caught[0])
    assert len(light) == 1


def _names(path: Path) -> set[str]:
    """Every name and attribute that a file mentions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def _calls(path: Path) -> set[str]:
    """Name of everything that a file calls, the last part of it."""
    called = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return {f.attr if isinstance(f, ast.Attribute) else f.id for f in called if isinstance(f, ast.Attribute | ast.Name)}


def test_only_the_interlock_names_the_token_and_makes_commands() -> None:
    assert [path for path in FILES if "issue_pulse_token" in _names(path) and path != DEVICES] == [INTERLOCK]
    assert [path for path in FILES if "_ISSUED" in _names(path)] == [DEVICES]
    assert [path for path in FILES if "PulseCommand" in _calls(path)] == [INTERLOCK]
    assert [path for path in FILES if "PulseToken" in _calls(path)] == [DEVICES]


def test_only_the_interlock_fires_feeds_and_arms_outputs() -> None:
    """Drivers may call these on a device of their own; nobody else calls them at all."""
    callers = {path: _calls(path) for path in FILES if not {"outputs", "protocols"} & set(path.relative_to(ROOT).parts)}
    assert [path for path, called in callers.items() if "fire" in called] == [INTERLOCK]
    assert [path for path, called in callers.items() if "feed" in called] == [LATCH]


def test_every_output_driver_checks_what_it_is_given_first() -> None:
    drivers = [path for path in FILES if {"outputs", "drivers"} <= set(path.relative_to(ROOT).parts)]
    found = 0
    for path in drivers:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "fire":
                found += 1
                first = next(line for line in node.body if not isinstance(line, ast.Expr))
                assert "require_command" in ast.dump(first), f"{path.name}: fire begins with something else"
    assert found > 0


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("output.fire({'pulses': 1})", "arg-type"),
        ("output.fire(request)", "arg-type"),
        ("PulseCommand(None, decision_id='x', output='led')", "arg-type"),
        ("PulseCommand(decision_id='x', output='led')", "call-arg"),
    ],
)
def test_the_type_checker_refuses_a_bypass(code: str, complaint: str, tmp_path: Path) -> None:
    source = tmp_path / "bypass.py"
    source.write_text(
        "from rt_engine.interfaces.devices import Output, PulseCommand\n"
        "from rt_engine.interfaces.stimulation import PulseRequest\n\n\n"
        f"def cheat(output: Output, request: PulseRequest) -> None:\n    {code}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, cwd=ROOT, check=False)
    assert complaint in done.stdout, done.stdout + done.stderr


def test_a_process_that_takes_the_token_first_has_no_interlock() -> None:
    """Taking it before the interlock is imported ends the program: it cannot be done unnoticed."""
    code = "from rt_engine.interfaces.devices import issue_pulse_token as t\nt()\nimport rt_engine.safety.interlock\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=500, cwd=ROOT, check=False
    )
    assert done.returncode != 0
    assert "PermissionError" in done.stderr
    assert devices._ISSUED
