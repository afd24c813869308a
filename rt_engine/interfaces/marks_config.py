"""Lines on which a scope sees what the program does, and when."""

from __future__ import annotations

from pydantic import Field, model_validator

from rt_engine.interfaces.ni_config import Line, NiDaqSettings, NiGate
from rt_engine.interfaces.output_config import OutputConfig
from rt_engine.interfaces.strict import Strict


class MarksConfig(Strict):
    """Digital lines of an NI card that change their level: `frame_line` when a frame has been decided on,
    `decision_line` when a request for light has been judged. Each costs a call to the driver after the fact.
    """

    device: str = Field(pattern=r"^[A-Za-z0-9_-]+$")
    server: str | None = Field(None, pattern=r"^[^\s:]+:\d+$", description="host:port of a gRPC Device Server")
    frame_line: Line | None = None
    decision_line: Line | None = None

    @model_validator(mode="after")
    def _two_lines(self) -> MarksConfig:
        if self.frame_line is None and self.decision_line is None:
            raise ValueError("marks: neither frame_line nor decision_line is given")
        if self.frame_line == self.decision_line:
            raise ValueError(f"marks: {self.frame_line} has two roles")
        return self


def require_no_light(marks: MarksConfig, outputs: dict[str, OutputConfig]) -> None:
    """Refuse a mark on a line that an output uses: the light would blink with the frames.

    Raises
    ------
    ValueError
        Naming the line and the output.
    """
    lines = {marks.frame_line, marks.decision_line}
    for name, output in outputs.items():
        if not isinstance(output, NiDaqSettings) or output.device != marks.device:
            continue
        used = {output.enable_line, *output.more_lines}
        used |= {output.trigger.line} if output.trigger else set()
        used |= {output.pulse.line} if isinstance(output.pulse, NiGate) else set()
        if used & lines:
            raise ValueError(f"marks: {', '.join(sorted(used & lines))} is a line of output {name}")
