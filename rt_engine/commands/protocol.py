"""`spikeloop protocol`: static proof of bounds, and a dry look on the virtual rig."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rt_engine.commands.figures import write_json
from rt_engine.commands.parsers import Commands, add_json, new_command, positive
from rt_engine.interfaces.errors import ConfigError

if TYPE_CHECKING:
    from protocols.checking.findings import Finding
    from protocols.schema.protocol import ProtocolConfig
    from rt_engine.interfaces.rig_config import RigConfig


def add_parser(commands: Commands) -> None:
    """The command line of `spikeloop protocol`."""
    parser = new_command(
        commands,
        "protocol",
        "Check a protocol against a rig, or try it on the virtual rig.",
        "spikeloop protocol check spike_triggered --rig virtual_rig",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = new_command(
        actions,
        "check",
        "Prove what can be proved of a protocol before it runs.",
        "spikeloop protocol check my_protocol.yaml --rig my_rig.yaml",
    )
    simulate = new_command(
        actions,
        "simulate",
        "Run a protocol on the traces of the virtual rig and draw the timeline.",
        "spikeloop protocol simulate activity_clamp --rig virtual_rig --duration 60 -o clamp.png",
    )
    for one in (check, simulate):
        one.add_argument("protocol", metavar="P", help="protocol file, or the name of a shipped one")
        one.add_argument("--rig", metavar="RIG", default="virtual_rig", help="rig file or name (default virtual_rig)")
        add_json(one)
    simulate.add_argument("--duration", type=positive, default=120.0, metavar="S", help="seconds (default 120)")
    simulate.add_argument("--seed", type=int, metavar="N", help="of the sample (default: the rig's)")
    simulate.add_argument("--trials", type=int, metavar="N", help="trials whose statistical power is told")
    simulate.add_argument("--effect", type=float, metavar="D", help="effect, in the response's unit, to tell power for")
    simulate.add_argument("--no-blanking", action="store_true", help="let the artefact of the light look like activity")
    simulate.add_argument("-o", "--output", metavar="FIGURE", help="picture (default PROTOCOL.png)")


def execute(arguments: argparse.Namespace) -> int:
    """Check or try a protocol."""
    from protocols.load import find_protocol, load_protocol
    from rt_engine.interfaces.rig_config import load_rig
    from rt_engine.interfaces.shipped import find_rig

    path = find_protocol(arguments.protocol)
    config, rig = load_protocol(path), load_rig(find_rig(arguments.rig))
    if arguments.action == "check":
        return _check(arguments, config, rig, path)
    return _simulate(arguments, config, rig, path)


def _check(arguments: argparse.Namespace, config: ProtocolConfig, rig: RigConfig, path: Path) -> int:
    from rich.console import Console

    from protocols.checking.check import check_protocol
    from protocols.checking.findings import Verdict

    findings = check_protocol(config, rig)
    colours = {Verdict.ERROR: "red", Verdict.WARNING: "yellow", Verdict.PROVED: "green"}
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        verdict = finding.verdict
        console.print(f"[{colours[verdict]}]{verdict.value:<8}[/] {finding.key}: {finding.text}")
    counts = {verdict.value: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
    told = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    console.print(f"{config.name} on {rig.name}: {told}")
    write_json(arguments, {"protocol": config.name, "rig": rig.name, **counts, "findings": [_row(f) for f in findings]})
    if counts["error"]:
        first = next(f for f in findings if f.verdict is Verdict.ERROR)
        raise ConfigError(first.text, file=str(path), key=first.key)
    return 0


def _row(finding: Finding) -> dict[str, str]:
    return {"verdict": finding.verdict.value, "key": finding.key, "text": finding.text}


def _simulate(arguments: argparse.Namespace, config: ProtocolConfig, rig: RigConfig, path: Path) -> int:
    from protocols.checking.check import check_against_rig
    from protocols.load import partner_of
    from rt_engine.interfaces.rig_config import VirtualMicroscope
    from rt_engine.services.dry_look import dry_look
    from rt_engine.services.dry_look_view import figures_of, save_picture, sentences
    from rt_engine.services.run_view import RunView

    if not isinstance(rig.microscope, VirtualMicroscope):
        raise ConfigError(
            "a dry look needs a virtual microscope", "use --rig virtual_rig", file=arguments.rig, key="microscope"
        )
    n_planes = rig.microscope.n_planes
    check_against_rig(config, rig, str(path))
    if arguments.seed is not None:
        sample = rig.microscope.sample.model_copy(update={"seed": arguments.seed})
        microscope = rig.microscope.model_copy(update={"sample": sample})
        rig = rig.model_copy(update={"microscope": microscope})
    target = Path(arguments.output or f"{config.name}.png")
    if target.suffix not in (".png", ".svg", ".pdf") or not target.parent.is_dir():
        raise ConfigError("must be a .png, .svg or .pdf in a folder that is there", key="--output", file=str(target))
    view = RunView()
    partner = partner_of(config)
    view.say(f"{config.name} on the traces of {rig.name}: no image, no motion; events drawn, not decided by the engine")
    if n_planes > 1:
        view.say(f"plane 0 of {n_planes} alone: `run --dry-run` looks at the whole volume")
    look = dry_look(
        config,
        rig,
        arguments.duration,
        is_blanked=not arguments.no_blanking,
        partner_s=partner.blocks_s if partner else (),
        progress=lambda share: view.progress("simulated", share),
    )
    view.end_progress()
    figures = figures_of(look, config, arguments.trials, arguments.effect)
    words = sentences(figures)
    for line in words:
        view.say(line)
    save_picture(look, config, words, target)
    view.say(f"picture: {target}")
    return write_json(arguments, figures)
