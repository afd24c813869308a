"""What can be said of an NI card without driving anything."""

from __future__ import annotations

from drivers.ni.connection import NiConnection
from rt_engine.interfaces.errors import DeviceError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.ni_config import NiAnalog, NiCounter, NiDaqSettings, NiGate

_COUNTER_PINS = {f"ctr{i}": (f"port2/line{4 + i}", f"PFI{12 + i}") for i in range(4)}
"""Where the output of a counter comes out of an X Series card, unless it is routed elsewhere."""
_NO_LIGHT = "this output cannot be armed"
_NOT_READ = "a run of this rig would not start"


def examine_output(card: NiConnection, config: NiDaqSettings) -> list[Finding]:
    """The card, its channels, and the level at which the enable line floats. Releases the card again."""
    part = f"output {card.name}"
    try:
        card.open()
        found = _has(card, _channels(config), part, _NO_LIGHT)
        whole = all(one.verdict is Verdict.PASS for one in found)
        return [*found, _watchdog(card, config, part), *_floating(card, config, part)] if whole else found
    except DeviceError as error:
        return [failed(part, error, _NO_LIGHT)]
    finally:
        card.close()


def examine_marks(card: NiConnection, lines: list[str]) -> list[Finding]:
    """The card of lines that a scope looks at, and whether it has them. Releases the card again."""
    part = "marks"
    try:
        card.open()
        return _has(card, dict.fromkeys(lines, "lines"), part, _NOT_READ)
    except DeviceError as error:
        return [failed(part, error, _NOT_READ)]
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
    driver = f"NI-DAQmx {card.versions['NI-DAQmx']}"
    found = passed(part, f"{card.device}: {described['model']}, serial {described['serial']}, {driver}")
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


def _watchdog(card: NiConnection, config: NiDaqSettings, part: str) -> Finding:
    """Whether the card has one, for so long and for this line: it is made, never started, and released."""
    try:
        with card.errors("watchdog"):
            card.end(card.watchdog(config.watchdog_ms / 1000, [config.enable_line], "examined"))
    except DeviceError as error:
        return failed(part, error, f"nothing bounds a pulse when the program dies; {_NO_LIGHT}")
    return passed(part, f"has a watchdog for {config.enable_line} within {config.watchdog_ms:g} ms")


def _floating(card: NiConnection, config: NiDaqSettings, part: str) -> list[Finding]:
    """Read the lines that let light through as inputs: that is where they are while no program drives them."""
    gate = (config.pulse.line,) if isinstance(config.pulse, NiGate) else ()
    found = [_floats(card, line, line, part) for line in (config.enable_line, *gate)]
    counters = [config.pulse.counter] if isinstance(config.pulse, NiCounter) else []
    counters += [config.shutter.counter] if config.shutter else []
    readable = card.describe()["read_lines"] if counters else []
    for counter in counters:
        line, pin = _COUNTER_PINS.get(counter, ("", ""))
        if line in readable:
            found.append(_floats(card, line, f"{counter} ({pin}, {line})", part))
        else:
            text, meaning = (
                f"where {counter} floats cannot be read on this card",
                "it may be high while nobody drives it",
            )
            found.append(Finding(Verdict.WARN, part, text, meaning, "measure its terminal with the program closed"))
    return found


def _floats(card: NiConnection, line: str, called: str, part: str) -> Finding:
    from nidaqmx.stream_readers import DigitalSingleChannelReader

    with card.errors(line):
        task = card.task("floating")
        try:
            task.di_channels.add_di_chan(card.path(line))
            high = DigitalSingleChannelReader(task.in_stream).read_one_sample_one_line()
        finally:
            card.end(task)
    if high:
        text = f"{called} is high while nobody drives it"
        meaning = "light is possible whenever the program does not run, and while the card starts"
        remedy = "a resistor of 10 kOhm from the line to ground, or a gate that is closed by an open input"
        return Finding(Verdict.FAIL, part, text, meaning, remedy)
    return passed(part, f"{called} is low while nobody drives it")
