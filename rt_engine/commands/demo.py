"""`spikeloop demo`: the virtual rig, closed loop, with a short baseline."""

from __future__ import annotations

import argparse
import contextlib
from typing import TYPE_CHECKING

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command, positive

if TYPE_CHECKING:
    from rt_engine.interfaces.rig_config import RigConfig

_DEMO_BASELINE_S = 20.0


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop demo`."""
    parser = new_command(commands, "demo", "Virtual rig, closed loop, report.", "spikeloop demo --duration 30")
    parser.add_argument("--duration", type=positive, default=60.0, metavar="S", help="seconds live (default 60)")
    parser.add_argument("--no-gui", action="store_true", help="live text instead of the window")
    parser.add_argument("--mqtt", action="store_true", help="with an MQTT broker on 127.0.0.1:1883 meanwhile")
    parser.add_argument("--output", metavar="DIR", help="session folder (default sessions/<UTC time>-virtual_rig)")
    add_json(parser)


def execute(arguments: argparse.Namespace) -> int:
    """The virtual rig, closed loop, with a short baseline."""
    from rt_engine.commands.start_run import run_rig
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig

    rig = load_rig(find_rig("virtual_rig"))
    with contextlib.ExitStack() as stack:
        if arguments.mqtt:
            rig = _with_broker(rig, stack)
        summary = run_rig(
            rig,
            kind="demo",
            output=arguments.output,
            protocol=rig.protocol,
            baseline_s=_DEMO_BASELINE_S,
            duration_s=arguments.duration,
            window_of=None if arguments.no_gui else "virtual_rig",
        )
    return write_json(arguments, summary)


def _with_broker(rig: RigConfig, stack: contextlib.ExitStack) -> RigConfig:
    """The rig with a broker that lives as long as `stack`, and that takes everything a behaviour task may send."""
    from rt_engine.interfaces.mqtt_config import CommandKind, MqttConfig
    from rt_engine.services.embedded_broker import EmbeddedBroker

    config = MqttConfig(accept=(CommandKind.MARK, CommandKind.TRIAL, CommandKind.REQUEST))
    stack.enter_context(EmbeddedBroker(config.port))
    return rig.model_copy(update={"mqtt": config})
