"""Who may ask a running session for what, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_run import Run

from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.errors import ConfigError
from rt_engine.services.client_commands import ClientCommands
from rt_engine.services.stimulation import StimulationService


@pytest.fixture
def run() -> Run:
    return Run()


def ask(run: Run, cmd: str, role: Role = Role.OPERATOR, **args: Any) -> dict[str, Any]:
    """The answer to one request."""
    return ClientCommands(run).handle(Request(id="1", role=role, cmd=cmd, args=args))


@pytest.mark.parametrize("cmd", ["arm", "disarm", "reset", "mark", "pause", "start", "stop", "rois_edit", "shutdown"])
def test_a_viewer_changes_nothing(run: Run, cmd: str) -> None:
    with pytest.raises(ConfigError, match="viewer"):
        ask(run, cmd, Role.VIEWER)
    assert (run.asked, run.notes, run.ended, run.phase) == ([], [], False, "live")


def test_everybody_may_trip(run: Run) -> None:
    ask(run, "trip", Role.VIEWER, text="smoke")
    assert run.asked == [("stimulation", "trip", {"text": "smoke", "role": Role.VIEWER})]


def test_a_mark_is_written_down_with_its_note(run: Run) -> None:
    ask(run, "mark", note=" bubble under the lens ", operator="Ada")
    assert run.notes == [("mark", "bubble under the lens", {"operator": "Ada", "phase": "live"})]


def test_a_pause_reaches_every_plane_and_start_ends_it(run: Run) -> None:
    ask(run, "pause")
    assert run.phase == "paused"
    ask(run, "start")
    assert run.phase == "live"
    expected = [(one, "mode", {"mode": mode}) for mode in ("paused", "live") for one in ("inference.0", "inference.3")]
    assert run.asked == expected


@pytest.mark.parametrize(("cmd", "phase"), [("pause", "baseline"), ("start", "live"), ("start", "baseline")])
def test_what_makes_no_sense_now_is_refused_with_the_phase(run: Run, cmd: str, phase: str) -> None:
    run.phase = phase
    with pytest.raises(ConfigError, match=phase):
        ask(run, cmd)
    assert run.asked == []


def test_another_calibration_is_another_session_and_the_way_there_is_told(run: Run) -> None:
    with pytest.raises(ConfigError, match="keeps the calibration") as refused:
        ask(run, "calibrate", path="c.h5")
    assert "--calibration NEW.h5" in refused.value.remedy
    assert run.asked == []


@pytest.mark.parametrize("cmd", ["rois_edit", "set_threshold"])
def test_cells_change_only_after_disarming(run: Run, cmd: str) -> None:
    ask(run, cmd, plane=3, action="remove")
    assert [one[:2] for one in run.asked] == [("stimulation", "disarm"), ("inference.3", cmd)]


def test_a_dry_threshold_disarms_nobody_and_is_for_every_plane(run: Run) -> None:
    told = ask(run, "set_threshold", false_alarms_per_min=0.5, dry=True)
    assert [one[:2] for one in run.asked] == [("inference.0", "set_threshold"), ("inference.3", "set_threshold")]
    assert told == {"planes": {"0": {"from": "inference.0"}, "3": {"from": "inference.3"}}}


def test_a_plane_that_is_not_there_is_named(run: Run) -> None:
    with pytest.raises(ConfigError, match="no plane 7"):
        ask(run, "rois_edit", plane=7)
    assert run.asked == []


def test_describe_makes_every_engine_tell_its_cells(run: Run) -> None:
    assert ask(run, "describe", Role.VIEWER) == {"phase": "live"}
    assert [one[:2] for one in run.asked] == [("inference.0", "describe"), ("inference.3", "describe")]


def test_an_unknown_command_lists_those_that_are_known(run: Run) -> None:
    with pytest.raises(ConfigError, match="mark"):
        ask(run, "dance")


NO_PROTOCOLS = ["../spike_triggered", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "x" * 200, ["x"], None]


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a protocol one folder up from where the run was started."""
    (tmp_path / "run").mkdir()
    (tmp_path / "spike_triggered").write_text("schema_version: 2")
    monkeypatch.chdir(tmp_path / "run")


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("name", NO_PROTOCOLS)
def test_a_client_names_a_protocol_and_no_path(run: Run, name: Any) -> None:
    with pytest.raises(ConfigError, match="is not the name of a protocol"):
        ask(run, "set_protocol", path=name)
    assert run.asked == []


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize("name", NO_PROTOCOLS)
def test_nor_does_a_client_of_the_stimulation_service_itself(name: Any) -> None:
    asked: list[dict[str, Any]] = []
    service = object.__new__(StimulationService)
    service.commands = {"set_protocol": lambda args: asked.append(args) or {}}
    with pytest.raises(ConfigError, match="is not the name of a protocol"):
        service.handle(Request(id="1", role=Role.OPERATOR, cmd="set_protocol", args={"path": name}))
    assert asked == []
