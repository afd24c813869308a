"""What a behaviour task can reach: the record, and keys that the protocol waits for. Nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from fake_run import Run

from rt_engine.interfaces.control import Request, Role
from rt_engine.interfaces.errors import ConfigError
from rt_engine.services.client_commands import ClientCommands


class _Listening(Run):
    """A run whose protocol waits for `keys`."""

    def __init__(self, *keys: str, late: bool = False) -> None:
        super().__init__()
        self.keys, self.late = keys, late

    def request(self, service: str, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        super().request(service, cmd, args)
        if self.late:
            return {"awaited": False, "late": True}
        return {"awaited": args["key"] in self.keys, "keys": self.keys, "interlock": "armed"}


def tell(run: Run, command: str, **args: Any) -> dict[str, Any]:
    """The answer to one command of the task `rig2`."""
    args |= {"command": command, "client": "rig2"}
    return ClientCommands(run).handle(Request(id="1", role=Role.SERVICE, cmd="behaviour", args=args))


def test_a_mark_is_recorded_and_nothing_else() -> None:
    run = _Listening("lick")
    tell(run, "mark", note="lick")
    assert run.asked == []
    ((level, text, fields),) = run.notes
    assert (level, text, fields["operator"]) == ("mark", "lick", "mqtt:rig2")


def test_a_request_presses_a_key_that_the_protocol_waits_for() -> None:
    run = _Listening("reward")
    assert tell(run, "request", name="reward", deadline_ns=77) == {"awaited": True, "interlock": "armed"}
    assert run.asked == [("stimulation", "key", {"key": "reward", "deadline_ns": 77})]
    assert [text for _, text, _ in run.notes] == ["request reward"]


def test_a_request_that_nobody_waits_for_says_what_is_waited_for() -> None:
    run = _Listening("reward", "air_puff")
    with pytest.raises(ConfigError, match="reward, air_puff"):
        tell(run, "request", name="light!")
    assert run.notes == []


def test_a_late_request_is_said_to_be_late() -> None:
    with pytest.raises(ConfigError, match="too late"):
        tell(_Listening("reward", late=True), "request", name="reward")


@pytest.mark.parametrize("phase", ["starting", "baseline", "calibrating", "paused", "stopping"])
def test_requests_are_for_live_runs_and_trials_are_recorded_always(phase: str) -> None:
    run = _Listening("reward", "trial_start")
    run.phase = phase
    with pytest.raises(ConfigError, match=phase):
        tell(run, "request", name="reward")
    assert tell(run, "trial", trial=3, kind="go") == {"awaited": False}
    assert run.asked == []
    assert [text for _, text, _ in run.notes] == ["trial 3 go"]


@pytest.mark.parametrize("key", ["trial_start", "reward"])
def test_a_trial_start_is_a_key_that_a_protocol_may_wait_for(key: str) -> None:
    run = _Listening(key)
    assert tell(run, "trial", trial=3) == {"awaited": key == "trial_start"}
    assert [args["key"] for _, _, args in run.asked] == ["trial_start"]


@pytest.mark.parametrize("command", ["fire", "arm", "reset", "key", None, ""])
def test_a_task_can_ask_for_nothing_else(command: Any) -> None:
    run = _Listening("reward")
    with pytest.raises(ConfigError, match="may send"):
        tell(run, command)
    assert (run.asked, run.notes, run.ended) == ([], [], False)


@pytest.mark.parametrize("deadline_ns", ["soon", 1.5, [1], {"a": 1}])
def test_a_deadline_that_is_none_reaches_nobody(deadline_ns: Any) -> None:
    run = _Listening("reward")
    with pytest.raises(ConfigError, match="no time in nanoseconds"):
        tell(run, "request", name="reward", deadline_ns=deadline_ns)
    assert run.asked == []
