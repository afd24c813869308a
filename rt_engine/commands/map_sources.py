"""What `spikeloop map` is to do: a piece of work for each source, under a name that stays its own."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.interfaces.errors import ConfigError

if TYPE_CHECKING:
    from rt_engine.services.many_tasks import Ledger, Outcome, Task

SUFFIXES = {
    **{"calibrate": ".h5", "infer": ".npz", "export": ".nwb", "score": ".json", "replay": "", "train-data": ".json"}
}
"""What each command writes; `replay` a folder, `train-data` samples beside it."""
LOG_SUFFIX = ".log"
"""Of what a command said, beside its output; written before the output is moved into place."""
_OPTIONS = {"replay": "--output", "score": "--json", "train-data": "--json"}
_OWN_PORTS = "--own-ports"
_FILES_OF_OPTIONS = ("calibration", "rois", "old", "pred")
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_DEPTHS = 5


def listed_sources(arguments: argparse.Namespace) -> list[Path]:
    """Absolute paths of all sources, each once, in the order in which they were named.

    Raises
    ------
    ConfigError
        There are none, or `--list` cannot be read.
    """
    sources = list(arguments.sources)
    if arguments.list:
        try:
            lines = Path(arguments.list).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ConfigError(f"cannot be read: {why}", file=arguments.list, key="--list") from error
        sources += [line.strip() for line in lines if line.strip()]
    if not sources:
        raise ConfigError("no sources", "name files or folders, or a --list", key="SOURCE")
    return list(dict.fromkeys(Path(source).absolute() for source in sources))


def tasks_of(arguments: argparse.Namespace, sources: list[Path], ledger: Ledger) -> list[Task]:
    """A task for each source; what follows ``--with`` goes to every one of them.

    A source that cannot be read, or whose output would take the place of something that `map` has not made, becomes a
    task with a `problem`: it fails by name, and keeps none of the others waiting.
    """
    from rt_engine.services.many_tasks import Task

    into, cmd, options = Path(arguments.into).absolute(), arguments.cmd, tuple(arguments.options)
    of_options = _fingerprint_of_options(options)
    # A line without fingerprint is of a source that could not be read: it has no output, and keeps no name.
    before = [one for one in ledger.newest.values() if one.fingerprint]
    known = {Path(one.argv[1]): one.name for one in before if one.argv[0] == cmd}
    others = {f"{one.name}{SUFFIXES[one.argv[0]]}" for one in before if one.argv[0] != cmd}
    taken = {name.removesuffix(SUFFIXES[cmd]) for name in others} | set(known.values())
    tasks = []
    for source, name in names_of(sources, known, taken).items():
        part, target = into / ".part" / name, into / f"{name}{SUFFIXES[cmd]}"
        try:
            problem, fingerprint = "", fingerprint_of(source) + of_options
        except OSError as error:
            problem, fingerprint = f"{source} cannot be read: {error.strerror or error}", ""
        if not problem and target.exists() and not _is_ours(target, ledger.newest.get((cmd, name))):
            problem = f"{target} lies there and was not made by map: move it away, or give another --into"
        argv = command_line(cmd, source, part, target.name, options)
        tasks.append(Task(name, argv, fingerprint, str(part), str(target), problem, _limit_bytes(arguments)))
    return tasks


def _is_ours(target: Path, newest: Outcome | None) -> bool:
    """True for what an earlier call has made, also where it was ended before it could write so into its ledger."""
    return (newest is not None and newest.fate == "done") or Path(f"{target}{LOG_SUFFIX}").exists()


def command_line(cmd: str, source: Path, part: Path, made: str, options: Iterable[str]) -> tuple[str, ...]:
    """What `spikeloop` is to be called with so that the output `made` appears in the folder `part`."""
    argv = (cmd, str(source), _OPTIONS.get(cmd, "-o"), str(part / made), *options)
    if cmd == "score":
        argv += ("-o", str(part / Path(made).with_suffix(".png")))
    if cmd == "train-data":
        argv += ("--corpus", str(part))
    return (*argv, _OWN_PORTS) if cmd == "replay" else argv


def require_usable_options(arguments: argparse.Namespace) -> None:
    """Refuse at once what every source would fail of: options that CMD does not have, or that name nothing.

    Raises
    ------
    ConfigError
        An unknown indicator, a file that is not there, or an output of one's own.
    SystemExit
        CMD does not know an option, or cannot use its value (2, with CMD's own words).
    """
    from rt_engine.cli import build_parser
    from rt_engine.models.indicators import indicator

    part = Path(arguments.into).absolute() / ".part"
    argv = command_line(arguments.cmd, Path("SOURCE"), part, "made", arguments.options)
    asked = vars(build_parser().parse_args(argv))
    made = {str(part), str(part / "made"), str(part / "made.png")} & set(argv)
    named = {str(value) for value in asked.values()}
    if not made <= named or not str(asked.get("json") or part).startswith(str(part)):
        raise ConfigError("names an output", "map names the outputs, and puts them into --into", key="--with")
    if asked.get("indicator"):
        indicator(asked["indicator"])
    for name in _FILES_OF_OPTIONS:
        if asked.get(name) and not Path(asked[name]).exists():
            raise ConfigError("is not there", file=str(asked[name]), key="--with")


def names_of(sources: Iterable[Path], known: Mapping[Path, str], taken: Iterable[str]) -> dict[Path, str]:
    """A name for each source: the one it had before, else its own, with those of folders above it where it must.

    Parameters
    ----------
    sources : iterable of Path
        Absolute.
    known : mapping of Path to str
        Names that were given in earlier calls: kept, whatever the list is now.
    taken : iterable of str
        Names that are not to be given again.
    """
    listed = list(sources)
    names = {source: known[source] for source in listed if source in known}
    used = {name.casefold() for name in taken}
    for depth in range(_DEPTHS + 1):
        open_ones = {source: _candidate(source, depth) for source in listed if source not in names}
        counts = Counter(candidate.casefold() for candidate in open_ones.values())
        for source, candidate in open_ones.items():
            if counts[candidate.casefold()] == 1 and candidate.casefold() not in used:
                names[source] = candidate
        used |= {name.casefold() for name in names.values()}
    return {source: names[source] for source in listed}


def _candidate(source: Path, depth: int) -> str:
    """Stem; stem and suffix; then with more and more folders; at last with a number that no other path has."""
    stem = f"{source.stem}-{source.suffix[1:]}" if depth >= 1 and source.suffix else source.stem
    if depth == _DEPTHS:
        stem = f"{stem}-{hashlib.sha256(str(source).encode()).hexdigest()[:12]}"
    parts = [*source.parts[-depth:-1], stem] if depth >= 2 else [stem]
    return _PLAIN.sub("_", "-".join(parts)).lstrip(".") or "_"


def fingerprint_of(source: Path) -> str:
    """Digest of size and time of change of a file, or of every file below a folder.

    Raises
    ------
    OSError
        It cannot be read.
    """
    digest = hashlib.sha256()
    for path in [source] if not source.is_dir() else _files_below(source):
        fact = path.stat()
        digest.update(f"{path.relative_to(source)}:{fact.st_size}:{fact.st_mtime_ns}\n".encode(errors="replace"))
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    """In an order that does not depend on the file system."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from _files_below(path)
        elif path.exists():
            yield path


def _fingerprint_of_options(options: Iterable[str]) -> str:
    """Of files that options name: another calibration under the old name is another piece of work."""
    told = ""
    for word in options:
        path = Path(word.partition("=")[2] if word.startswith("--") else word)
        try:
            if path.name and path.exists():
                told += f";{word}={fingerprint_of(path.absolute())}"
        except OSError:
            continue
    return told


def _limit_bytes(arguments: argparse.Namespace) -> int:
    return round((arguments.memory_gb or 0) * 1e9)
