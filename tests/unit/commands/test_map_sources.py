"""What `spikeloop map` makes of a list: names that stay, fingerprints that miss nothing, and nothing of others lost."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from rt_engine.cli import build_parser
from rt_engine.commands.map_sources import fingerprint_of, names_of, require_usable_options, tasks_of
from rt_engine.interfaces.errors import ConfigError
from rt_engine.services.many_tasks import Fate, Ledger, Outcome, Task

INDICATOR = ("--indicator", "jGCaMP8m")


def asked(into: Path, *options: str, cmd: str = "infer") -> argparse.Namespace:
    """A parsed command line."""
    return build_parser().parse_args(["map", cmd, "--into", str(into), "--with", *(options or INDICATOR)])


def listed(into: Path, *sources: Path, options: tuple[str, ...] = INDICATOR) -> list[Task]:
    """The tasks of one call."""
    into.mkdir(exist_ok=True)
    return tasks_of(asked(into, *options), list(sources), Ledger(into))


def do(into: Path, tasks: list[Task]) -> None:
    """As if they had been done."""
    ledger = Ledger(into)
    for task in tasks:
        if not task.problem:
            Path(task.target).write_text("made")
            Path(f"{task.target}.log").write_text("said")
        fate = Fate.FAILED if task.problem else Fate.DONE
        ledger.write(Outcome(task.name, fate, task.argv, task.fingerprint, 1.0, task.problem))


def source(path: Path) -> Path:
    """A file with something in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("traces")
    return path


def test_a_name_belongs_to_its_source_whatever_the_list_is(tmp_path: Path) -> None:
    first, second = source(tmp_path / "A" / "s.npz"), source(tmp_path / "B" / "s.npz")
    into = tmp_path / "into"
    alone = listed(into, first)
    do(into, alone)
    later = listed(into, second)
    assert alone[0].name == "s"
    assert later[0].target != alone[0].target
    do(into, later)
    both = listed(into, second, first)
    assert {task.target for task in both} == {alone[0].target, later[0].target}
    assert all(Ledger(into).is_done(task) for task in both)


def test_every_source_of_a_list_has_a_name() -> None:
    names = names_of([Path("/m/a/x.npz"), Path("/m/b/x.npz"), Path("/m/b/y.npz")], {}, ())
    assert list(names.values()) == ["a-x-npz", "b-x-npz", "y"]
    alike = names_of([Path("/m/s0.npz"), Path("/m/s0.nwb"), Path("/m/S0.npz")], {}, ())
    assert len({name.casefold() for name in alike.values()}) == 3, "a disk may not tell S0 from s0"
    assert names_of([Path("/m/x y;rm.npz")], {}, ())[Path("/m/x y;rm.npz")] == "x_y_rm"
    deep = [Path(f"/{top}/1/2/3/4/5/6/x.npz") for top in "ab"]
    assert len(set(names_of(deep, {}, ()).values())) == 2


def test_what_is_not_there_fails_by_name_and_holds_nobody_up(tmp_path: Path) -> None:
    good, missing = source(tmp_path / "a.npz"), tmp_path / "none.npz"
    tasks = listed(tmp_path / "into", missing, good)
    assert [bool(task.problem) for task in tasks] == [True, False]
    assert str(missing) in tasks[0].problem


def test_an_output_that_map_has_not_made_is_left_alone(tmp_path: Path) -> None:
    into, one = tmp_path / "into", source(tmp_path / "a.npz")
    source(into / "a.npz")
    for _ in range(2):
        (task,) = listed(into, one)
        assert "not made by map" in task.problem
        do(into, [task])
    (into / "a.npz").unlink()
    (task,) = listed(into, one)
    assert not task.problem
    do(into, [task])
    assert not listed(into, one)[0].problem


def test_a_fingerprint_sees_every_file_however_many_and_deep(tmp_path: Path) -> None:
    for i in range(200):
        source(tmp_path / "s" / f"{i:03}.tif")
    deep = source(tmp_path / "s" / "sub" / "sub" / "last.tif")
    before = fingerprint_of(tmp_path / "s")
    assert fingerprint_of(tmp_path / "s") == before
    deep.write_text("other")
    changed = fingerprint_of(tmp_path / "s")
    os.utime(tmp_path / "s" / "199.tif", ns=(1, 1))
    assert len({before, changed, fingerprint_of(tmp_path / "s")}) == 3


def test_another_calibration_under_the_old_name_is_other_work(tmp_path: Path) -> None:
    into, one, weights = tmp_path / "into", source(tmp_path / "a.npz"), source(tmp_path / "w.npz")
    options = (*INDICATOR, "--weights", str(weights))
    do(into, listed(into, one, options=options))
    assert Ledger(into).is_done(listed(into, one, options=options)[0])
    weights.write_text("trained anew")
    assert not Ledger(into).is_done(listed(into, one, options=options)[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--indicator", "GCaMP9"), "unknown indicator"),
        ((*INDICATOR, "-o", "mine.npz"), "names an output"),
        ((*INDICATOR, "--json", "mine.json"), "names an output"),
    ],
)
def test_what_every_source_would_fail_of_is_said_at_once(options: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        require_usable_options(asked(tmp_path, *options))


@pytest.mark.parametrize("options", [("--bogus",), (*INDICATOR, "--hold", "soon"), ("--hold", "2")])
def test_an_option_that_the_command_does_not_have_is_bad_usage(options: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        require_usable_options(asked(tmp_path, *options))
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("cmd", "options"),
    [
        *(("infer", INDICATOR), ("calibrate", INDICATOR), ("export", ("--frames", "none"))),
        *(("score", ("--hold", "3")), ("train-data", ()), ("replay", ("--speed", "max"))),
    ],
)
def test_each_command_takes_the_line_that_map_gives_it(cmd: str, options: tuple[str, ...], tmp_path: Path) -> None:
    parsed = build_parser().parse_args(["map", cmd, "--into", str(tmp_path), "--with", *options])
    require_usable_options(parsed)


def test_a_calibration_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        require_usable_options(asked(tmp_path, "--calibration", str(tmp_path / "none.h5"), cmd="replay"))
