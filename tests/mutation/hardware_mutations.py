"""What keeps light at a card bounded and told, broken one line at a time; as `security_mutations`, for the hardware."""

from __future__ import annotations

from mutation.broken_lines import BrokenLine

_OUTPUTS = "unit/drivers/outputs/"
_T_NI = tuple(
    f"{_OUTPUTS}test_{name}.py" for name in ("ni_dark", "ni_daq", "ni_shapes", "waiting_light", "conformance")
)
_T_DOCTOR = ("unit/services/doctor/test_doctor.py",)
_T_INPUTS = ("unit/drivers/inputs/test_ni_edges.py", "unit/drivers/inputs/test_conformance.py")
_T_POWER = ("unit/drivers/outputs/test_ni_daq.py", "unit/services/test_power_calibration.py")
_NI_DAQ = "drivers/outputs/ni_daq.py"
_TRAIN = "drivers/outputs/ni_train.py"
_PULSES = "drivers/outputs/ni_pulses.py"
_SHAPE = "drivers/outputs/ni_shape.py"
_CARD = "drivers/ni/connection.py"
_EXAMINED = "drivers/ni/examination.py"

BROKEN = {
    "the interlock is not asked before light begins": BrokenLine(
        _NI_DAQ, "t_command_ns = command.last_word()", "t_command_ns = self._clock.now_ns()", _T_NI
    ),
    "a card that was not fed while it was primed fires": BrokenLine(
        _NI_DAQ, "self._pulse.prime(shape)\n        self._require_fed()", "self._pulse.prime(shape)", _T_NI
    ),
    "light behind an enable line that has gone low is a delivery": BrokenLine(
        _NI_DAQ, "self._pulse.begin()\n        self._require_fed()", "self._pulse.begin()", _T_NI
    ),
    "the beam has no bound": BrokenLine(_NI_DAQ, "if beam_mw > self._config.max_beam_mw:", "if False:", _T_NI),
    "the voltage has no bound": BrokenLine(_NI_DAQ, "if volts > settings.max_v:", "if False:", _T_NI),
    "a gated source takes any power": BrokenLine(
        _NI_DAQ, "abs(beam_mw - fixed_mw) > _GATE_TOLERANCE * fixed_mw", "False", _T_NI
    ),
    "an enable line that reads high passes": BrokenLine(_NI_DAQ, "        if high:\n", "        if False:\n", _T_NI),
    "dark leaves the enable line high": BrokenLine(
        _NI_DAQ, "dark = self._try(lambda: self._set_enable(False))", "dark = True", _T_NI
    ),
    "a card that could not be made dark is no longer watched": BrokenLine(
        _NI_DAQ, "if dark and self._watching:", "if self._watching:", _T_NI
    ),
    "an expired watchdog is not noticed": BrokenLine(
        _NI_DAQ, "expired = late and bool(self._watchdog.expired)", "expired = False", _T_NI
    ),
    "the rest of a train comes after dark": BrokenLine(
        _NI_DAQ, "        self._try(self._pulse.rest)\n", "", _T_NI
    ),
    "the watchdog of a dead process holds the line": BrokenLine(
        _NI_DAQ, "                self._watchdog.clear_expiration()\n                self._watchdog.stop()\n",
        "                self._watchdog.stop()\n", _T_NI,
    ),
    "light that waits for the scanner waits for ever": BrokenLine(
        _NI_DAQ, "if now_ns >= self._give_up_ns:", "if False:", _T_NI
    ),
    "a train longer than the lines hold is let through": BrokenLine(
        _NI_DAQ, "train_us > gate.window_ms * 1000", "False", _T_NI
    ),
    "a width is rounded up": BrokenLine(
        _SHAPE, "width = int(shape.width_us * sample_rate_hz / 1e6)",
        "width = math.ceil(shape.width_us * sample_rate_hz / 1e6)", _T_NI,
    ),
    "the last sample is not zero": BrokenLine(
        _SHAPE, "n_samples = starts[-1] + width + 1", "n_samples = starts[-1] + width", _T_NI
    ),
    "pulses may touch": BrokenLine(_SHAPE, "later - earlier <= width", "False", _T_NI),
    "another power is fired with the old samples": BrokenLine(
        _TRAIN, "            if primed != level:\n                self._rewrite(level)\n", "", _T_NI
    ),
    "a trigger line stays high": BrokenLine(
        _PULSES, "                self._raise_line(False)\n            self.edge_high = False",
        "                pass\n            self.edge_high = False", _T_NI,
    ),
    "power is extrapolated": BrokenLine(
        "rt_engine/interfaces/power_table.py", "if not lowest <= power_mw <= highest:", "if False:", _T_POWER
    ),
    "an old driver passes": BrokenLine(_CARD, "if major < OLDEST_DRIVER:", "if False:", _T_NI + _T_INPUTS),
    "a device that is not there passes": BrokenLine(
        _CARD, "if self.device not in names:", "if False:", _T_NI + _T_INPUTS
    ),
    "errors of the card have no remedy": BrokenLine(
        _CARD, "_REMEDIES.get(error.error_code, _LOOK_UP.format(code=error.error_code))", '""', _T_NI + _T_INPUTS
    ),
    "errors do not name the channel": BrokenLine(
        _CARD, 'where = self.device if channel == self.device else f"{self.device} {channel}"', "where = self.device",
        _T_NI + _T_INPUTS,
    ),
    "a task of a dead process is gone on with": BrokenLine(
        _CARD, "if self._channel is not None and not task._close_on_exit:", "if False:", _T_NI + _T_INPUTS
    ),
    "doctor does not see a line that floats": BrokenLine(_EXAMINED, "    if high:\n", "    if False:\n", _T_DOCTOR),
    "doctor does not miss a channel": BrokenLine(_EXAMINED, "    if missing:\n", "    if False:\n", _T_DOCTOR),
    "doctor passes a card without a watchdog": BrokenLine(
        _EXAMINED, 'return failed(part, error, f"nothing bounds', 'return passed(part, f"nothing bounds', _T_DOCTOR
    ),
    "doctor passes a wire that is not there": BrokenLine(
        "rt_engine/services/doctor/wiring.py", "if seen == _EDGES:", "if True:", _T_DOCTOR
    ),
    "doctor does not compare pulses with the loop-back": BrokenLine(
        "rt_engine/services/doctor/fire.py", "if len(seen_ns) != len(commands_ns):", "if False:", _T_DOCTOR
    ),
    "the counter's register wraps": BrokenLine(
        "drivers/inputs/ni_edges.py", "(count - near + _WRAP // 2) % _WRAP - _WRAP // 2", "count - near", _T_INPUTS
    ),
}  # fmt: skip
