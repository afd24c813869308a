"""Blocks of samples for training, made once and kept in a folder; what is there already is not made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rt_engine.interfaces.errors import ConfigError
from rt_engine.models.ground_truth import Recording, load_recordings, view
from rt_engine.models.indicators import indicator
from rt_engine.models.network_samples import Samples, samples_of_synthetic, samples_of_views
from rt_engine.models.randomisation import Randomisation
from rt_engine.models.synthetic_traces import synthetic_traces

SHORTEST_S = 2.0
REAL_NOISES = (None, 2.0, 4.0, 6.0)
"""Percent per root hertz that real recordings are raised to; None: as they are."""
REAL_RATE_HZ = 30.0
N_ROIS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPlan:
    """What a corpus consists of.

    Attributes
    ----------
    folder : Path
        Blocks are kept here.
    ranges : Randomisation
    n_blocks : int
        Synthetic blocks of `N_ROIS` cells and 90 s.
    seed : int
    real : Path or None
        Folder of ground-truth files.
    left_out : tuple of str
        Data sets that must not be learned from.
    """

    folder: Path
    ranges: Randomisation
    n_blocks: int
    seed: int
    real: Path | None = None
    left_out: tuple[str, ...] = ()


class Block(NamedTuple):
    """``source`` : name of the data set, or "synthetic"."""

    source: str
    samples: Samples


def build_corpus(plan: CorpusPlan, progress: Callable[[float], None]) -> list[Block]:
    """All blocks, made where they are missing.

    Parameters
    ----------
    plan : CorpusPlan
    progress : Callable
        Told the share that is done.

    Raises
    ------
    ConfigError
        The real folder holds nothing to learn from, or a data set that is to be left out is not there.
    """
    return _made(plan.folder, [*_synthetic(plan), *_real(plan)], progress)


def build_recordings(folder: Path, recordings: Path, progress: Callable[[float], None]) -> list[Block]:
    """The blocks of one ground-truth file, as `build_corpus` makes and finds them.

    Parameters
    ----------
    folder : Path
        Of the corpus.
    recordings : Path
        A ground-truth file.
    progress : Callable
        Told the share that is done.

    Raises
    ------
    ConfigError
        The file is none, or holds nothing to learn from.
    """
    makers = list(_of_file(folder, recordings))
    if not makers:
        raise ConfigError(f"holds no recording of {SHORTEST_S:g} s or more", file=str(recordings))
    return _made(folder, makers, progress)


def _made(folder: Path, makers: list[_Maker], progress: Callable[[float], None]) -> list[Block]:
    folder.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = []
    for done, (source, path, make) in enumerate(makers):
        progress(done / len(makers))
        if not path.exists():
            unfinished = path.with_suffix(".part")
            make().save(unfinished)
            unfinished.replace(path)
        blocks.append(Block(source, Samples.load(path)))
    progress(1.0)
    return blocks


_Maker = tuple[str, Path, Callable[[], Samples]]


def _synthetic(plan: CorpusPlan) -> Iterator[_Maker]:
    for k in range(plan.n_blocks):

        def make(k: int = k) -> Samples:
            return samples_of_synthetic(synthetic_traces(plan.ranges, (plan.seed, k), N_ROIS))

        yield "synthetic", plan.folder / f"synthetic-{plan.seed}-{k}.npz", make


def _real(plan: CorpusPlan) -> Iterator[_Maker]:
    if plan.real is None:
        return
    files = sorted(plan.real.glob("*.npz"))
    names = [path.stem for path in files]
    unknown = [name for name in plan.left_out if name not in names]
    if unknown:
        raise ConfigError(f"there is no {unknown[0]}.npz", f"known: {', '.join(names)}", file=str(plan.real))
    kept = [path for path in files if path.stem not in plan.left_out]
    if not kept:
        raise ConfigError(
            "holds no ground-truth .npz file to learn from", "see docs/how-to/train.md", file=str(plan.real)
        )
    for path in kept:
        yield from _of_file(plan.folder, path)


def _of_file(folder: Path, path: Path) -> Iterator[_Maker]:
    recordings = [r for r in load_recordings(path) if len(r.dff) / r.frame_rate_hz >= SHORTEST_S]
    for noise in REAL_NOISES:
        yield from _of_recordings(folder, path.stem, recordings, noise)


def _of_recordings(folder: Path, name: str, recordings: list[Recording], noise: float | None) -> Iterator[_Maker]:
    rates = sorted({_seen_at_hz(r) for r in recordings})
    for k, rate_hz in enumerate(rates):
        of_rate = [r for r in recordings if _seen_at_hz(r) == rate_hz]

        def make(of_rate: list[Recording] = of_rate) -> Samples:
            views = [view(r, REAL_RATE_HZ, noise) for r in of_rate]
            return samples_of_views(views, indicator(of_rate[0].indicator))[0]

        yield name, folder / f"{name}-{'native' if noise is None else f'{noise:g}'}-{k}.npz", make


def _seen_at_hz(recording: Recording) -> float:
    slow = recording.frame_rate_hz < 1.3 * REAL_RATE_HZ
    return round(recording.frame_rate_hz, 6) if slow else REAL_RATE_HZ
