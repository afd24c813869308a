"""What can be said of an NI card without driving anything."""

from __future__ import annotations

from drivers.ni.connection import NiConnection
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.ni_config import NiAnalog, NiDaqSettings, NiGate

_NO_LIGHT = "this output cannot be armed"
_NOT_READ = "a run of this rig would not start"


def examine_output(card: NiConnection, config: NiDaqSettings) -> list[Finding]:
    """The card, its channels, and the level at which the enable line floats. Releases the card again."""
    part = f"output {card.name}"
    try:
        card.open()
        found = _has(card, _channels(config), part, _NO_LIGHT)
        whole = all(one.verdict is Verdict.PASS for one in found)
        return [*found, *_floating(card, config, part)] if whole else found
    except DeviceError as error:
        return [failed(part, error, _NO_LIGHT)]
    finally:
        card.close()


def examine_input(card: NiConnection, needs: dict[str, str]) -> list[Finding]:
    """The card, and whether it has the channels an input needs. Releases the card again.

    Parameters
    ----------
    card : NiConnection
    needs : dict of str to str
        Channels, and among what of `NiConnection.describe` each is found.
    """
    part = f"input {card.name}"
    try:
        card.open()
        return _has(card, needs, part, _NOT_READ)
    except DeviceError as error:
        return [failed(part, error, _NOT_READ)]
    finally:
        card.close()


def _has(card: NiConnection, needs: dict[str, str], part: str, meaning: str) -> list[Finding]:
    """What card it is, and whether these channels are there."""
    described = card.describe()
    found = passed(part, f"{card.device}: {described['model']}, serial {described['serial']}")
    missing = [name for name, kind in needs.items() if name not in described[kind]]
    if missing:
        text, remedy = f"{card.device} has no {', '.join(missing)}", "compare the rig file with the pinout of the card"
        return [found, Finding(Verdict.FAIL, part, text, meaning, remedy)]
    return [found, passed(part, f"has {', '.join(needs)}")]


def _channels(config: NiDaqSettings) -> dict[str, str]:
    """Every channel that the output uses, and among what it is found."""
    pulse = config.pulse
    if isinstance(pulse, NiGate):
        found = {pulse.line: "lines"}
    else:
        found = {pulse.channel: "analog"} if isinstance(pulse, NiAnalog) else {pulse.counter: "counters"}
    found |= dict.fromkeys((config.enable_line, *config.more_lines), "lines")
    if config.trigger is not None:
        found |= {config.trigger.line: "lines", config.trigger.terminal: "terminals"}
    if config.shutter is not None:
        found[config.shutter.counter] = "counters"
    if config.scan_gate is not None:
        found[config.scan_gate.terminal] = "terminals"
    return found


def _floating(card: NiConnection, config: NiDaqSettings, part: str) -> list[Finding]:
    """Read the lines that let light through as inputs: that is where they are while no program drives them."""
    gate = (config.pulse.line,) if isinstance(config.pulse, NiGate) else ()
    return [_floats(card, line, part) for line in (config.enable_line, *gate)]


def _floats(card: NiConnection, line: str, part: str) -> Finding:
    from nidaqmx.stream_readers import DigitalSingleChannelReader

    with card.errors(line):
        task = card.task("floating")
        try:
            task.di_channels.add_di_chan(card.path(line))
            high = DigitalSingleChannelReader(task.in_stream).read_one_sample_one_line()
        finally:
            card.end(task)
    if high:
        text = f"{line} is high while nobody drives it"
        meaning = "light is possible whenever the program does not run, and while the card starts"
        remedy = "a resistor of 10 kOhm from the line to ground, or a gate that is closed by an open input"
        return Finding(Verdict.FAIL, part, text, meaning, remedy)
    return passed(part, f"{line} is low while nobody drives it")
