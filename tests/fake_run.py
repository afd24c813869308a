"""A running session that writes down what it is asked."""

from __future__ import annotations

from typing import Any


class Run:
    """A live run of two planes that writes down what it is asked."""

    def __init__(self) -> None:
        self.phase = "live"
        self.engines = {0: "inference.0", 3: "inference.3"}
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.notes: list[tuple[str, str, dict[str, Any]]] = []
        self.ended = False

    def status(self) -> dict[str, Any]:
        return {"phase": self.phase}

    def enter(self, phase: str) -> None:
        self.phase = phase

    def end(self) -> None:
        self.ended = True

    def note(self, level: str, text: str, fields: dict[str, Any]) -> None:
        self.notes.append((level, text, fields))

    def request(self, service: str, cmd: str, args: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((service, cmd, args))
        return {"from": service}
