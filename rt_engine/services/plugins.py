"""Drivers that other packages offer by entry point, checked before anything trusts them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.devices import Microscope, Output
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.inputs import AnyInput, EdgeInput, LevelInput, SampleInput
from rt_engine.interfaces.plugin_config import PluginInput, PluginMicroscope, PluginOutputSettings, PluginSettings

MICROSCOPES, OUTPUTS, INPUTS = "spikeloop.microscopes", "spikeloop.outputs", "spikeloop.inputs"


def plugin_microscope(config: PluginMicroscope, clock: Clock) -> Microscope:
    """``factory(settings, clock)`` of the package.

    Raises
    ------
    ConfigError
        No package offers it, it refuses the settings, or what it makes is no microscope.
    """
    made = _made(MICROSCOPES, config, "microscope", lambda factory: factory(dict(config.settings), clock))
    if not isinstance(made, Microscope):
        raise ConfigError(f"what {config.name!r} makes is no Microscope", _PROTOCOLS, key="microscope.name")
    return made


def plugin_output(name: str, config: PluginOutputSettings, clock: Clock, emit: Callable[[LightFields], None]) -> Output:
    """``factory(name, settings, watchdog_ms, clock, emit)`` of the package.

    Raises
    ------
    ConfigError
        No package offers it, it refuses the settings, or what it makes is no output, has another name, another
        watchdog, or says that it is virtual.
    """
    key = f"outputs.{name}"
    made = _made(OUTPUTS, config, key, lambda make: make(name, dict(config.settings), config.watchdog_ms, clock, emit))
    if not isinstance(made, Output):
        raise ConfigError(f"what {config.name!r} makes is no Output", _PROTOCOLS, key=f"{key}.name")
    said = (made.name, made.is_virtual, made.watchdog_ms)
    if said != (name, False, config.watchdog_ms):
        text = f"{config.name!r} says (name, is_virtual, watchdog_ms) {said}, not {(name, False, config.watchdog_ms)}"
        raise ConfigError(text, "a driver of another package is real light, with the watchdog it was given", key=key)
    return made


def plugin_input(name: str, config: PluginInput, clock: Clock) -> AnyInput:
    """``factory(name, settings, clock)`` of the package.

    Raises
    ------
    ConfigError
        No package offers it, it refuses the settings, or what it makes has another name or is not of that kind.
    """
    key = f"inputs.{name}"
    made = _made(INPUTS, config, key, lambda make: make(name, dict(config.settings), clock))
    is_kind: type[Any] = {"edges": EdgeInput, "level": LevelInput, "samples": SampleInput}[config.kind]
    if not isinstance(made, is_kind):
        raise ConfigError(f"what {config.name!r} makes is no {is_kind.__name__}", _INPUTS, key=f"{key}.name")
    if made.name != name:
        raise ConfigError(f"{config.name!r} says its name is {made.name!r}, not {name!r}", key=f"{key}.name")
    return cast(AnyInput, made)


_INPUTS = "see rt_engine/interfaces/inputs.py: every method and attribute named there"
_PROTOCOLS = "see rt_engine/interfaces/devices.py: every method and attribute named there"


def _made(group: str, config: PluginSettings, key: str, make: Callable[[Callable[..., Any]], Any]) -> Any:
    points = {point.name: point for point in entry_points(group=group)}
    if config.name not in points:
        known = ", ".join(sorted(points)) or "none"
        text = f"no installed package offers {config.name!r} ({group})"
        raise ConfigError(text, f"installed: {known}", key=f"{key}.name")
    try:
        return make(points[config.name].load())
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{config.name!r} cannot be imported: {error}", key=f"{key}.name") from error
    except (TypeError, ValueError, KeyError) as error:
        text = f"{config.name!r} does not take this: {type(error).__name__}: {error}"
        raise ConfigError(text, key=f"{key}.settings") from error
