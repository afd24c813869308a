"""`spikeloop map` over many files with real workers, a cluster of dask, and a SLURM that is a script."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from many_work import task, work
from synthetic_session import make_rich_session
from system_rig import command, small_rig, spikeloop, summary_of, write_rig

from rt_engine.commands.map_sources import SUFFIXES
from rt_engine.services.many_pools import open_pool
from rt_engine.services.many_tasks import LEDGER_FILE, Fate, Ledger, run_many

SBATCH = """#!/bin/sh
# The script is deleted as soon as this returns, so it is copied first.
for last; do :; done
copy=$(mktemp) && cp "$last" "$copy"
(sh "$copy" >"$copy.out" 2>&1 &) >/dev/null 2>&1
echo "Submitted batch job $$"
"""
JOBQUEUE = """
jobqueue:
  slurm: {cores: 1, memory: 2GiB, processes: 1, interface: lo, walltime: "00:30:00", log-directory: null}
"""


def traces(folder: Path, n: int, n_frames: int = 300) -> list[Path]:
    """Files of two cells with noise and a few transients."""
    folder.mkdir(parents=True, exist_ok=True)
    random, paths = np.random.default_rng(1), []
    for i in range(n):
        dff = random.normal(0, 0.05, (2, n_frames)).astype(np.float32)
        for onset in random.integers(30, n_frames - 60, 5):
            dff[:, onset : onset + 40] += 0.5 * np.exp(-np.arange(40) / 10.0).astype(np.float32)
        paths.append(folder / f"s{i:04}.npz")
        np.savez(paths[-1], traces=dff, frame_rate_hz=30.0)
    return paths


def ended(folder: Path) -> list[dict[str, str]]:
    """Lines of the ledger."""
    path = folder / LEDGER_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.realtime
def test_a_list_is_done_once_and_what_failed_is_named_and_tried_again(tmp_path: Path) -> None:
    paths = traces(tmp_path / "in", 6)
    paths[2].write_bytes(b"no archive")
    line = ("map", "infer", *paths, "--into", tmp_path / "out", "--workers", "2", "--with", "--indicator", "jGCaMP8m")
    first = spikeloop(*line)
    assert first.returncode == 1
    assert "failed: s0002:" in first.stderr
    assert "5 of 6 done, 1 failed" in first.stdout
    assert not (tmp_path / "out" / "s0002.npz").exists()
    traces(tmp_path / "other", 1)[0].replace(paths[2])
    again = spikeloop(*line)
    assert again.returncode == 0, again.stderr
    assert "5 done before" in again.stdout
    assert len(ended(tmp_path / "out")) == 7
    alone = tmp_path / "alone.npz"
    assert spikeloop("infer", paths[0], "-o", alone, "--indicator", "jGCaMP8m").returncode == 0
    with np.load(alone) as one, np.load(tmp_path / "out" / "s0000.npz") as other:
        assert set(one) == set(other)
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.realtime
@pytest.mark.parametrize("scheduler", ["local", "slurm"])
def test_dask_does_the_same(scheduler: str, tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="needs the extra cluster")
    if scheduler == "slurm" and os.name != "posix":
        pytest.skip("the stand-in for sbatch is a shell script")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (tmp_path / "dask.yaml").write_text(JOBQUEUE, encoding="utf-8")
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "DASK_CONFIG": str(tmp_path)}
    paths = traces(tmp_path / "in", 4)
    line = ("map", "infer", *paths, "--into", tmp_path / "out", "--workers", "1", "--scheduler", scheduler)
    done = subprocess.run(
        command(*line, "--with", "--indicator", "jGCaMP8m"),
        capture_output=True,
        text=True,
        timeout=900,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 done" in done.stdout
    assert len(list((tmp_path / "out").glob("s*.npz"))) == 4


@pytest.mark.realtime
def test_a_dask_worker_that_dies_costs_nothing_but_its_own_piece(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs the extra cluster")
    kinds = {"x1": "dies once", "x3": "dies", "x4": "raises"}
    tasks = [task(tmp_path, f"x{i}", kinds.get(f"x{i}", "good")) for i in range(6)]
    with open_pool("local", 2) as pool:
        outcomes = run_many(tasks, work, pool.make, pool.n_workers, Ledger(tmp_path))
    fates = {one.name: one.fate for one in outcomes}
    assert fates == {task.name: Fate.FAILED if task.name in ("x3", "x4") else Fate.DONE for task in tasks}
    (killed,) = [one for one in outcomes if one.name == "x3"]
    assert "KilledWorker" in killed.error


@pytest.mark.realtime
def test_movies_are_calibrated_replayed_side_by_side_and_exported(small_calibration: Path, tmp_path: Path) -> None:
    """Replays are runs of a whole rig: each has ports of its own."""
    rig = write_rig(tmp_path, small_rig())
    movies = [tmp_path / f"movie{seed}.tif" for seed in (1, 2)]
    for seed, movie in enumerate(movies, 1):
        assert spikeloop("simulate", rig, "-o", movie, "--duration", "20", "--seed", str(seed)).returncode == 0
    two = ("--workers", "2")
    known = ("--rig", rig, "--calibration", small_calibration, "--protocol", "none")
    for cmd, sources, options in (
        ("calibrate", movies, ("--with", "--indicator", "jGCaMP8m")),
        ("replay", movies, ("--with", "--speed", "max", *known)),
        ("export", [tmp_path / "replay" / movie.stem for movie in movies], ("--with", "--frames", "none")),
    ):
        into = tmp_path / cmd
        done = spikeloop("map", cmd, *sources, "--into", into, *two, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        made = [Path(f"{into / source.stem}{SUFFIXES[cmd]}") for source in sources]
        assert all(one.exists() for one in made)
        for one in made:
            said = Path(f"{one}.log").read_text(encoding="utf-8")
            assert str(one) in said, "where it is now"
            assert ".part" not in said
        again = spikeloop("map", cmd, *sources, "--into", into, *two, *options)
        assert "2 done before" in again.stdout
    assert all(summary_of(tmp_path / "replay" / movie.stem)["frames"] > 0 for movie in movies)


@pytest.mark.realtime
def test_folders_of_truth_are_scored_with_a_figure_each(tmp_path: Path) -> None:
    folders = [tmp_path / "truth" / name for name in ("DS1", "DS2")]
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        truth(folder / "DS01-1.npz", seed)
    done = spikeloop("map", "score", *folders, "--into", tmp_path / "scores", "--workers", "2", "--with", "--hold", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "scores").glob("DS*.[jp]*")} >= {
        *("DS1.json", "DS1.png", "DS2.json", "DS2.png")
    }


@pytest.mark.realtime
def test_a_reader_who_leaves_ends_no_work(tmp_path: Path) -> None:
    """`spikeloop map … | head -1`."""
    paths = traces(tmp_path / "in", 2)
    line = command(
        "map", "infer", *paths, "--into", tmp_path / "out", "--workers", "1", "--with", "--indicator", "OGB-1"
    )
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.stdout is None or run.stderr is None:
        raise RuntimeError("no pipes")
    run.stdout.readline()
    run.stdout.close()
    said = run.stderr.read()
    run.stderr.close()
    assert run.wait(600) == 0
    assert said == b""
    assert [one["fate"] for one in ended(tmp_path / "out")] == ["done", "done"]


def truth(path: Path, seed: int) -> None:
    """A ground-truth file of one neuron, 20 s."""
    random = np.random.default_rng(seed)
    spikes_s = np.sort(random.uniform(1, 19, 25))
    t_s = np.arange(600) / 30.0
    dff = 0.2 * sum(np.exp(-np.maximum(t_s - s, 0) / 0.3) * (t_s >= s) for s in spikes_s)
    record = {"neuron": "1", "trial": 0, "n": 600, "dt": 1 / 30, "raw": False, "fs": 30.0}
    meta = {"dataset": path.stem, "indicator": "GCaMP6f", "latency_valid": True, "records": [record]}
    noisy = (dff + random.normal(0, 0.03, 600)).astype(np.float32)
    np.savez(path, meta=json.dumps(meta), dff_0=noisy, spk_0=spikes_s)


@pytest.mark.realtime
def test_training_finds_made_what_map_has_made(tmp_path: Path) -> None:
    """The same blocks, bit for bit, as training makes by itself; and a file that is none is named."""
    from rt_engine.models.network_corpus import CorpusPlan, build_corpus
    from rt_engine.models.randomisation import SHIPPED_RANGES, load_randomisation

    folder, corpus = tmp_path / "truth", tmp_path / "corpus"
    folder.mkdir()
    for seed in (1, 2):
        truth(folder / f"DS{seed:02}.npz", seed)
    np.savez(folder / "none.npz", traces=np.zeros(3))
    line = ("map", "train-data", *sorted(folder.iterdir()), "--into", corpus, "--workers", "2")
    done = spikeloop(*line)
    assert done.returncode == 1
    assert "failed: none:" in done.stderr
    assert "no ground-truth file" in done.stderr
    (folder / "none.npz").unlink()
    assert json.loads((corpus / "DS01.json").read_text())["samples"] > 0
    ranges = load_randomisation(SHIPPED_RANGES)
    made = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in corpus.glob("*.npz")}
    plan = CorpusPlan(folder=corpus, ranges=ranges, n_blocks=0, seed=1, real=folder)
    assert {block.source for block in build_corpus(plan, lambda share: None)} == {"DS01", "DS02"}
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in corpus.glob("*.npz")} == made
    alone = CorpusPlan(folder=tmp_path / "alone", ranges=ranges, n_blocks=0, seed=1, real=folder)
    for ours, own in zip(build_corpus(plan, print), build_corpus(alone, print), strict=True):
        for field, other in zip(ours.samples, own.samples, strict=True):
            assert np.array_equal(np.asarray(field, np.float64), np.asarray(other, np.float64), equal_nan=True)


@pytest.mark.statistics
@pytest.mark.timeout(7200)
def test_a_thousand_sessions_on_two_workers_with_one_killed(tmp_path: Path) -> None:
    n = int(os.environ.get("SPIKELOOP_MAP_SESSIONS", "1000"))
    traces(tmp_path / "in", n)
    listed = tmp_path / "list"
    listed.write_text("\n".join(str(path) for path in sorted((tmp_path / "in").iterdir())), encoding="utf-8")
    first = next((tmp_path / "in").iterdir())
    line = command("map", "infer", first, "--into", tmp_path / "out", "--workers", "2", "--list", listed)
    listed.write_text("\n".join(p for p in listed.read_text().splitlines() if p != str(first)), encoding="utf-8")
    run = subprocess.Popen(
        [*line, "--with", "--indicator", "jGCaMP8m"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    parent, killed, early_bytes, peak_bytes = psutil.Process(run.pid), False, 0, 0
    while run.poll() is None:
        with contextlib.suppress(psutil.Error):  # one that was killed, or ends in this moment
            workers = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]
            taken_bytes = max(one.memory_info().rss for one in [parent, *workers])
            if len(ended(tmp_path / "out")) < n // 10:
                early_bytes = max(early_bytes, taken_bytes)
            peak_bytes = max(peak_bytes, taken_bytes)
            if not killed and len(ended(tmp_path / "out")) >= n // 2 and workers:
                workers[0].kill()
                killed = True
        time.sleep(0.2)
    said, _ = run.communicate()
    assert run.returncode == 0, said
    assert killed
    lines = ended(tmp_path / "out")
    assert sorted(one["name"] for one in lines) == [f"s{i:04}" for i in range(n)]
    assert len(list((tmp_path / "out").glob("s*.npz"))) == n
    print(said.splitlines()[-1], f"largest process {early_bytes / 1e6:.0f} MB early, {peak_bytes / 1e6:.0f} MB in all")
    assert 0 < peak_bytes < 1.25 * early_bytes, "memory is that of the workers, however long the list"
    began = time.monotonic()
    again = subprocess.run([*line, "--with", "--indicator", "jGCaMP8m"], capture_output=True, text=True, check=False)
    assert f"{n} done before" in again.stdout
    print(f"nothing to do: {time.monotonic() - began:.1f} s")


@pytest.mark.statistics
@pytest.mark.timeout(7200)
def test_many_session_folders_are_exported_with_a_worker_killed(tmp_path: Path) -> None:
    n = int(os.environ.get("SPIKELOOP_MAP_FOLDERS", "60"))
    sessions = [tmp_path / "in" / f"s{i:03}" for i in range(n)]
    for session in sessions:
        make_rich_session(session, n_frames=60)
    (sessions[3] / "session_000.mcap").write_bytes(b"no journal")
    line = command(
        "map", "export", *sessions, "--into", tmp_path / "out", "--workers", "2", "--with", "--frames", "none"
    )
    run = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    parent, killed = psutil.Process(run.pid), False
    while run.poll() is None:
        with contextlib.suppress(psutil.Error):
            workers = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]
            if not killed and len(ended(tmp_path / "out")) >= n // 2 and workers:
                workers[0].kill()
                killed = True
        time.sleep(0.1)
    said, _ = run.communicate()
    assert killed
    assert run.returncode == 1, said
    assert "failed: s003:" in said
    fates = {one["name"]: one["fate"] for one in ended(tmp_path / "out")}
    assert fates == {session.name: "failed" if session.name == "s003" else "done" for session in sessions}
