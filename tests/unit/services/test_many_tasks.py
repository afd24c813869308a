"""Work over a pool of real processes: done once, resumed, and nothing lost with a worker."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from many_work import task, work

from rt_engine.interfaces.errors import ConfigError
from rt_engine.services.many_pools import open_pool
from rt_engine.services.many_tasks import LEDGER_FILE, Fate, Ledger, Task, run_many


def do(folder: Path, tasks: list[Task]) -> dict[str, tuple[Fate, str]]:
    """Outcomes by name, of two workers."""
    with open_pool("pool", 2) as pool:
        outcomes = run_many(tasks, work, pool.make, pool.n_workers, Ledger(folder))
    return {one.name: (one.fate, one.error) for one in outcomes}


def made(folder: Path) -> dict[str, int]:
    """How often each output was made."""
    return {path.name: len(path.read_text().splitlines()) for path in folder.glob("x*") if path.suffix != ".died"}


def test_a_worker_that_dies_costs_nothing_but_its_own_piece(tmp_path: Path) -> None:
    kinds = {"x03": "dies once", "x05": "bad", "x08": "raises", "x11": "dies"}
    tasks = [task(tmp_path, f"x{i:02}", kinds.get(f"x{i:02}", "good")) for i in range(14)]
    outcomes = do(tmp_path, tasks)
    failed = {name: error for name, (fate, error) in outcomes.items() if fate is Fate.FAILED}
    assert failed.pop("x05") == "no good"
    assert failed.pop("x08") == "ValueError: out of tea"
    assert "its worker died" in failed.pop("x11")
    assert failed == {}
    before = made(tmp_path)
    # What was done when a neighbour died, but not yet told, is done twice; nothing is done a third time.
    assert set(before.values()) <= {1, 2}
    assert set(before) == {one.name for one in tasks} - {"x05", "x08", "x11"}
    assert set(outcomes) == {one.name for one in tasks}

    again = do(tmp_path, [one if one.name != "x11" else task(tmp_path, "x11") for one in tasks])
    assert set(again) == {"x05", "x08", "x11"}
    assert again["x11"][0] is Fate.DONE
    assert made(tmp_path) == before | {"x11": 1}


def test_what_changed_or_is_gone_is_done_again(tmp_path: Path) -> None:
    do(tmp_path, [task(tmp_path, f"x{i}") for i in range(4)])
    (tmp_path / "x1").unlink()
    with (tmp_path / LEDGER_FILE).open("ab") as stream:
        stream.write(b'{"name": "x3", "fa')
    tasks = [task(tmp_path, f"x{i}", fingerprint="2" if i == 2 else "1") for i in range(4)]
    assert set(do(tmp_path, tasks)) == {"x1", "x2"}


def test_what_failed_is_tried_again_though_an_older_output_lies_there(tmp_path: Path) -> None:
    (tmp_path / "x1").write_text("of long ago\n")
    tasks = [task(tmp_path, "x1", "bad")]
    assert do(tmp_path, tasks) == do(tmp_path, tasks) == {"x1": (Fate.FAILED, "no good")}


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="same output"):
        do(tmp_path, [task(tmp_path, "x"), task(tmp_path, "x")])


def test_a_piece_that_cannot_be_begun_fails_and_the_rest_is_done(tmp_path: Path) -> None:
    tasks = [msgspec.structs.replace(task(tmp_path, "x0"), problem="it is gone"), task(tmp_path, "x1")]
    assert do(tmp_path, tasks) == {"x0": (Fate.FAILED, "it is gone"), "x1": (Fate.DONE, "")}


def test_a_worker_that_takes_more_memory_than_it_may_is_ended_and_its_source_named(tmp_path: Path) -> None:
    greedy = msgspec.structs.replace(task(tmp_path, "x0", "waits"), memory_bytes=1_000_000)
    modest = msgspec.structs.replace(task(tmp_path, "x1"), memory_bytes=1 << 40)
    outcomes = do(tmp_path, [greedy, modest])
    assert outcomes["x1"] == (Fate.DONE, "")
    assert "it may take 0.001 GB" in outcomes["x0"][1]


@pytest.mark.parametrize("scheduler", ["slrum", "", "http"])
def test_a_scheduler_that_is_none_is_said(scheduler: str) -> None:
    with pytest.raises(ConfigError, match="pool, local, slurm"), open_pool(scheduler, 1):
        pass
