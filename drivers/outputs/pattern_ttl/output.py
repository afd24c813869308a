"""Light of an NI card through a pattern of another program: primed before it is needed, fired by the card."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import ExitStack

from drivers.outputs.ni_daq import NiDaqOutput
from drivers.outputs.pattern_ttl.holoblink import HoloBlink
from drivers.outputs.pattern_ttl.selectors import make_selector
from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, Clock
from rt_engine.interfaces.devices import PulseCommand
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.pattern_config import ByHoloBlink, ByLines, Pattern, PatternTtlSettings
from rt_engine.interfaces.slm_registration import SlmRegistration

_OLD_DAYS = 30
_SAME_POWER = 0.01


class PatternTtlOutput(NiDaqOutput):
    """As `NiDaqOutput`, for the targets of patterns alone; belongs to the stimulation thread.

    A pattern that has to be changed in the run is written first, and the card itself holds the light back until it
    stands: `t_command_ns` is the call, the light comes `settle_ms` later.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : PatternTtlSettings
    clock : Clock
    emit : callable
        Publishes one pulse on topic `light` when it is due: what was commanded.
    """

    def __init__(
        self, name: str, config: PatternTtlSettings, clock: Clock, emit: Callable[[LightFields], None]
    ) -> None:
        super().__init__(name, config, clock, emit)
        self._patterns = config
        self._selector = make_selector(self._card, config)
        self._ready: Callable[[], bool] | None = None
        self._ready_task: object | None = None
        self._shown: Pattern | None = None
        self._shown_ns = 0

    def open(self) -> None:
        """As of `NiDaqOutput`, and the lines or the program that show patterns. Raises DeviceError."""
        super().open()
        with ExitStack() as undo:
            undo.callback(self._release)
            self._selector.open()
            self._open_ready()
            undo.pop_all()

    def arm(self) -> None:
        """Show the pattern that is `primed`, then as of `NiDaqOutput`. Raises DeviceError."""
        if self._enable is not None and not self._armed and self._failure is None:
            self._show(next(one for one in self._patterns.patterns if one.number == self._patterns.primed))
        super().arm()

    def examine(self) -> list[Finding]:
        """As of `NiDaqOutput`; and whether the program answers, and how well the SLM is registered."""
        found, config, part = super().examine(), self._patterns, f"output {self.name}"
        if config.registration is not None:
            found.append(_registered(part, config.registration))
        if isinstance(config.select, ByHoloBlink):
            found.append(_answers(self.name, part, config.select.server))
        return found

    def _aim(self, command: PulseCommand) -> int:
        """Have the pattern of the command's targets shown; by how much its light has to wait, microseconds."""
        pattern = self._patterns.pattern_of(command.targets_yx_px, command.target_planes)
        if pattern is None:
            text = f"no pattern has the {len(command.targets_yx_px)} targets of decision {command.decision_id}"
            raise DeviceError(self.name, text, "make such a pattern there and name it in `patterns`")
        if max(command.power_uw) - min(command.power_uw) > _SAME_POWER * max(command.power_uw):
            raise DeviceError(self.name, "a pattern gives each target the same power", "command one power for all")
        by_lines = isinstance(self._patterns.select, ByLines)
        if pattern is not self._shown:
            if not by_lines:
                text = f"shows pattern {self._shown.number if self._shown else 'none'}, not {pattern.number}"
                raise DeviceError(self.name, text, "one pattern a run (`primed`), or select by lines")
            self._show(pattern)
        settle_ms = getattr(self._patterns.select, "settle_ms", 0.0)
        if self._clock.now_ns() - self._shown_ns < settle_ms * NS_PER_MS:
            if by_lines:
                return round(settle_ms * 1000)
            raise DeviceError(self.name, f"pattern {pattern.number} is still loading", "arm earlier before the first")
        if self._ready is not None and not self._is_ready():
            raise DeviceError(
                self.name, f"{self._patterns.ready_line} is low: the pattern is not ready", "look at that program"
            )
        return 0

    def _show(self, pattern: Pattern) -> None:
        self._shown = None
        self._selector.show(pattern)
        self._shown, self._shown_ns = pattern, self._clock.now_ns()

    def _open_ready(self) -> None:
        line = self._patterns.ready_line
        if line is None or self._ready is not None:
            return
        from nidaqmx.stream_readers import DigitalSingleChannelReader

        with self._card.errors(line):
            task = self._card.task("ready")
            self._ready_task = task
            task.di_channels.add_di_chan(self._card.path(line))
            self._ready = DigitalSingleChannelReader(task.in_stream).read_one_sample_one_line

    def _is_ready(self) -> bool:
        with self._card.errors(self._patterns.ready_line or ""):
            return bool(self._ready and self._ready())

    def _release(self) -> None:
        task, self._ready_task, self._ready = self._ready_task, None, None
        if task is not None:
            self._card.end(task)
        self._selector.close()
        self._shown = None
        super()._release()


def _answers(name: str, part: str, server: str) -> Finding:
    """Whether a hologram program greets; it is asked for nothing else."""
    link = HoloBlink(name, server)
    try:
        link.open()
        return passed(part, f"a hologram program answers at {server}")
    except DeviceError as error:
        return failed(part, error, "no pattern can be shown")
    finally:
        link.close()


def _registered(part: str, registration: SlmRegistration) -> Finding:
    """How well, how long ago, and by whom."""
    age_days = (datetime.date.today() - registration.date).days
    text = (
        f"SLM registered {registration.date} by {registration.person} with {len(registration.spots)} spots, "
        f"missed by {max(registration.residuals_px):.2f} px at most ({registration.max_residual_px:g} are allowed)"
    )
    if age_days <= _OLD_DAYS:
        return passed(part, text)
    meaning = f"{age_days} days old: mirrors and mounts drift, and light falls beside the cells"
    return Finding(Verdict.WARN, part, text, meaning, "burn or click spots again: spikeloop register-slm")
