"""A key that is revoked on one computer of a run is soon refused on all of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from rt_engine.interfaces.control import Role
from rt_engine.services.revocations import LOOK_AGAIN_NS, Revocations
from rt_engine.transport.key_store import KeyStore


class HandClock:
    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns


class Computer:
    """One with a copy of the keys."""

    def __init__(self, folder: Path, clock: HandClock) -> None:
        self.store, self.said = KeyStore(folder), list[tuple[str, str]]()
        self.revocations = Revocations(str(folder), clock, lambda *said: self.said.append(said))

    def accepts(self, name: str) -> bool:
        return self.store.role_of(name) is not None


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def computers(tmp_path: Path, clock: HandClock) -> dict[str, Computer]:
    first = KeyStore(tmp_path / "rig")
    for name in ("anna", "ben"):
        first.new_client(name, Role.OPERATOR)
    for other in ("light", "microscope"):
        shutil.copytree(tmp_path / "rig", tmp_path / other)
    return {name: Computer(tmp_path / name, clock) for name in ("rig", "light", "microscope")}


def a_word(computers: dict[str, Computer], name: str) -> None:
    """What a keeper and the supervisor tell each other."""
    rig, far = computers["rig"].revocations, computers[name].revocations
    rig.take(far.told(), name)
    far.take(rig.told(), "rig")


@pytest.mark.parametrize("where", ["rig", "light", "microscope"])
def test_a_key_revoked_anywhere_is_refused_everywhere(
    computers: dict[str, Computer], clock: HandClock, where: str
) -> None:
    for name in ("light", "microscope"):
        a_word(computers, name)
    computers[where].store.revoke("anna")
    clock.t_ns += LOOK_AGAIN_NS
    for _ in range(2):
        for name in ("light", "microscope"):
            a_word(computers, name)
    assert [one.accepts("anna") for one in computers.values()] == [False] * 3
    assert [one.accepts("ben") for one in computers.values()] == [True] * 3
    told = {name: one.said for name, one in computers.items()}
    assert told.pop(where) == []
    for said in told.values():
        ((level, text),) = said
        assert level == "warning"
        assert text.startswith("the key 'anna' was revoked on ")


def test_whoever_was_cut_off_catches_up_and_nothing_is_undone(computers: dict[str, Computer], clock: HandClock) -> None:
    computers["light"].store.revoke("anna")
    computers["rig"].store.revoke("ben")
    clock.t_ns += 60 * LOOK_AGAIN_NS
    a_word(computers, "light")
    assert not any(computers["light"].accepts(name) or computers["rig"].accepts(name) for name in ("anna", "ben"))
    assert computers["microscope"].accepts("anna")
    a_word(computers, "microscope")
    assert not any(computers["microscope"].accepts(name) for name in ("anna", "ben"))


@pytest.mark.parametrize(
    "word", [{}, {"revoked": None}, {"revoked": "anna"}, {"revoked": [1, None, {}]}, {"revoked": ["x" * 40] * 20_000}]
)
def test_nonsense_revokes_nothing(computers: dict[str, Computer], word: dict[str, Any]) -> None:
    computers["light"].revocations.take(word, "somewhere")
    assert computers["light"].accepts("anna")
    assert computers["light"].said == []


def test_a_name_that_means_another_key_elsewhere_stays_with_its_own(
    tmp_path: Path, computers: dict[str, Computer], clock: HandClock
) -> None:
    """It is the key that is revoked, not whoever has the same name on another computer."""
    elsewhere = KeyStore(tmp_path / "elsewhere")
    elsewhere.new_client("anna", Role.VIEWER)
    other = Computer(tmp_path / "elsewhere", clock)
    computers["rig"].store.revoke("anna")
    other.revocations.take(computers["rig"].revocations.told(), "rig")
    assert other.accepts("anna")


def test_a_folder_that_cannot_be_read_is_said_once(computers: dict[str, Computer], clock: HandClock) -> None:
    (computers["light"].store.folder / "anna.json").write_bytes(b"torn")
    for _ in range(3):
        clock.t_ns += LOOK_AGAIN_NS
        computers["light"].revocations.told()
    ((level, text),) = computers["light"].said
    assert level == "error"
    assert "anna.json" in text


def test_without_keys_nothing_is_told_or_taken() -> None:
    plain = Revocations(None, HandClock(), lambda *said: pytest.fail(f"said {said}"))
    assert plain.told() == {}
    plain.take({"revoked": ["x" * 40]}, "somewhere")
