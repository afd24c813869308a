"""Drivers that other packages offer by entry point, checked before anything trusts them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, cast

from drivers.outputs.virtual import LightFields
from rt_engine.interfaces.clock import NS_PER_MS, Clock
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
        text = f"what {config.name!r} makes is no Microscope: it lacks {_lacks(made, Microscope)}"
        raise ConfigError(text, _PROTOCOLS, key="microscope.name")
    return made


def plugin_output(name: str, config: PluginOutputSettings, clock: Clock, emit: Callable[[LightFields], None]) -> Output:
    """``factory(name, settings, watchdog_ms, clock, emit)`` of the package.

    Raises
    ------
    ConfigError
        No package offers it, it refuses the settings, or what it makes is no output, has another name, another
        watchdog, says that it is virtual, or that its light takes longer than the rig file allows for.
    """
    key = f"outputs.{name}"
    made = _made(OUTPUTS, config, key, lambda make: make(name, dict(config.settings), config.watchdog_ms, clock, emit))
    if not isinstance(made, Output):
        text = f"what {config.name!r} makes is no Output: it lacks {_lacks(made, Output)}"
        raise ConfigError(text, _PROTOCOLS, key=f"{key}.name")
    said = (made.name, made.is_virtual, made.watchdog_ms)
    if said != (name, False, config.watchdog_ms):
        text = f"{config.name!r} says (name, is_virtual, watchdog_ms) {said}, not {(name, False, config.watchdog_ms)}"
        raise ConfigError(text, "a driver of another package is real light, with the watchdog it was given", key=key)
    if made.longest_wait_ns > round(config.longest_wait_ms * NS_PER_MS):
        wait_ms = made.longest_wait_ns / NS_PER_MS
        text = f"light of {config.name!r} may begin {wait_ms:g} ms after its command, not {config.longest_wait_ms:g}"
        raise ConfigError(text, f"set longest_wait_ms: {wait_ms:g}", key=f"{key}.longest_wait_ms")
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
        text = f"what {config.name!r} makes is no {is_kind.__name__}: it lacks {_lacks(made, is_kind)}"
        raise ConfigError(text, _INPUTS, key=f"{key}.name")
    if made.name != name:
        raise ConfigError(f"{config.name!r} says its name is {made.name!r}, not {name!r}", key=f"{key}.name")
    return cast(AnyInput, made)


_INPUTS = "see rt_engine/interfaces/inputs.py: every method and attribute named there"
_PROTOCOLS = "see rt_engine/interfaces/devices.py: every method and attribute named there"


def _lacks(made: object, protocol: type[Any]) -> str:
    """Names of a Protocol that an object has not."""
    public = {name for name in (*vars(protocol), *protocol.__annotations__) if not name.startswith("_")}
    return ", ".join(sorted(name for name in public if not hasattr(made, name)))


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
