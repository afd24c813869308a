"""Work over a pool of real processes: done once, resumed, and nothing lost with a worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from many_work import task, work

from rt_engine.commands.map import _names
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


def test_names_come_from_the_files_and_from_their_folders_where_they_must() -> None:
    assert _names(["a/x.npz", "b/y.npz"]) == ["x", "y"]
    assert _names(["/m/a/x.npz", "/m/b/x.npz"]) == ["a-x", "b-x"]
    assert _names(["/m/../x y;rm.npz"])[0] == "x_y_rm"


@pytest.mark.parametrize("scheduler", ["slrum", "", "http"])
def test_a_scheduler_that_is_none_is_said(scheduler: str) -> None:
    with pytest.raises(ConfigError, match="pool, local, slurm"), open_pool(scheduler, 1):
        pass
