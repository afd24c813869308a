"""Light, decisions and trials in an NWB file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from ndx_ophys_devices import Effector
from ndx_optogenetics import (
    ExcitationSource,
    ExcitationSourceModel,
    OptogeneticEffectors,
    OptogeneticExperimentMetadata,
    OptogeneticPulsesTable,
    OptogeneticSitesTable,
)
from pynwb import NWBFile
from pynwb.epoch import TimeIntervals
from pynwb.ogen import OptogeneticSeries, OptogeneticStimulusSite

from rt_engine.interfaces.messages import LightHeader
from rt_engine.recording.commanded_light import Commands, Decision
from rt_engine.recording.nwb_time import SessionTime
from rt_engine.recording.session_tables import SessionTables

_TRIALS = ("delivered", "withheld", "sham", "dry_run")
_COLUMNS = {
    "decision_id": "identity of the decision",
    "rule": "rule of the protocol that triggered",
    "arm": "arm of the design the trigger was assigned to; empty where none was drawn",
    "outcome": "what became of it: delivered, withheld (control), sham, suppressed, refused, late, failed, dry_run",
    "reason": "why, in the words of protocol or interlock; empty where delivered",
    "plane": "plane whose events triggered; -1 where only the end of the decision was saved",
    "trigger_frame": "frame after which it was decided; -1 where only the end of the decision was saved",
    "trigger_roi_ids": "cells that triggered, JSON list of roi_id",
    "target_roi_ids": "cells to be lit, JSON list of roi_id",
    "scan_to_command_ms": "from the last line scanned to the command of the output, software; NaN without one",
    "decision_to_command_ms": "from the decision of the engine to the command, software; NaN without one",
    "scan_to_output_ms": "from the last line scanned to the light, by loop-back; no column if never measured",
    "pulses": "pulses of the train",
    "width_ms": "width of each pulse",
    "power_mw": "power at the sample for each target, JSON list",
    "output": "output of the rig",
}

_OF_PULSE = ("decision_id", "outcome", "arm", "scan_to_command_ms")


def add_decisions(nwb: NWBFile, tables: SessionTables, time: SessionTime) -> None:
    """Every decision in the table `stimulation_events`; those with an arm also as trials."""
    decisions = list(tables.decisions.values())
    if not decisions:
        return
    every = TimeIntervals(name="stimulation_events", description="Every decision, also of what was not lit.")
    rows = sorted((_row(decision, time) for decision in decisions), key=_start)
    if not any(decision.t_output_ns for decision in decisions):
        for row in rows:
            del row["scan_to_output_ms"]  # no loop-back in this rig
    for name in rows[0]:
        if name in _COLUMNS:
            every.add_column(name, _COLUMNS[name])
    for row in rows:
        every.add_interval(**row)
    nwb.add_time_intervals(every)
    trials = [d for d in decisions if d.outcome in _TRIALS]
    if not trials:
        return
    for name in ("decision_id", "arm", "outcome"):
        nwb.add_trial_column(name, _COLUMNS[name])
    for row in sorted((_row(decision, time) for decision in trials), key=_start):
        chosen = {name: row[name] for name in ("start_time", "stop_time", "decision_id", "arm", "outcome")}
        nwb.add_trial(**chosen)


def _row(decision: Decision, time: SessionTime) -> dict[str, Any]:
    first = decision.first
    start_ns = decision.t_output_ns or decision.t_command_ns or first.t_decided_ns
    width_us, pulses = first.width_us or 0, first.pulses or 0
    start_s = time.seconds(start_ns)
    return {
        "start_time": start_s,
        "stop_time": start_s + max(width_us * pulses, 1) * 1e-6,
        "decision_id": first.decision_id,
        "rule": first.rule,
        "arm": first.arm,
        "outcome": decision.outcome or "unfinished",
        "reason": decision.reason or "",
        "plane": first.plane if decision.has_trigger else -1,
        "trigger_frame": first.frame if decision.has_trigger else -1,
        "trigger_roi_ids": json.dumps(first.roi_ids),
        "target_roi_ids": json.dumps(first.target_ids),
        "scan_to_command_ms": _ms(decision, decision.t_command_ns, first.t_scan_ns),
        "decision_to_command_ms": _ms(decision, decision.t_command_ns, first.t_decided_ns),
        "scan_to_output_ms": _ms(decision, decision.t_output_ns, first.t_scan_ns),
        "pulses": pulses,
        "width_ms": width_us / 1e3,
        "power_mw": json.dumps([uw / 1e3 for uw in first.power_uw or ()]),
        "output": first.output or "",
    }


def _start(row: dict[str, Any]) -> float:
    return float(row["start_time"])


def add_light(nwb: NWBFile, config: dict[str, Any], tables: SessionTables, time: SessionTime) -> None:
    """One optogenetic series of power for each output, and the table of all pulses."""
    rig = config.get("rig") or {}
    outputs = sorted({light.output for light in tables.lights} | set(rig.get("outputs") or {}))
    wavelength_nm = _or_nan((rig.get("optics") or {}).get("stimulation_nm"))
    if not outputs:
        return
    model = ExcitationSourceModel(
        name="stimulation_light", manufacturer="not stated", source_type="laser or LED",
        excitation_mode="not stated", description="As the rig file says.",
    )  # fmt: skip
    nwb.add_device_model(model)
    opsin = (rig.get("animal") or {}).get("opsin")
    effector = Effector(name="effector", label=opsin or "not stated", description="Opsin, as the rig file says.")
    sites = OptogeneticSitesTable(description="Outputs of the rig; targets are in the table of pulses.")
    for name in outputs:
        driver = ((rig.get("outputs") or {}).get(name) or {}).get("driver", "unknown")
        source = ExcitationSource(name=name, description=f"Output {name}, driver {driver}.", model=model)
        nwb.add_device(source)
        sites.add_row(excitation_source=source, effector=effector)
        _add_series(nwb, name, source, wavelength_nm, [one for one in tables.lights if one.output == name], time)
    effectors = OptogeneticEffectors(effectors=[effector])
    nwb.add_lab_meta_data(
        OptogeneticExperimentMetadata(
            stimulation_software="spikeloop", optogenetic_sites_table=sites, optogenetic_effectors=effectors
        )
    )
    if tables.lights:
        nwb.add_time_intervals(_pulses(tables, sites, outputs, wavelength_nm, time))


def _add_series(
    nwb: NWBFile, name: str, device: Any, wavelength_nm: float, lights: list[LightHeader], time: SessionTime
) -> None:
    """Power of all targets together as a staircase: before each edge and after it."""
    site = OptogeneticStimulusSite(
        name=f"site_{name}", device=device, description=f"Output {name}.", excitation_lambda=wavelength_nm,
        location="positions of the targets are in the table of pulses",
    )  # fmt: skip
    nwb.add_ogen_site(site)
    t_s, power_w = [], []
    for light in sorted(lights, key=lambda one: one.t_on_ns):
        on_s, watts = time.seconds(light.t_on_ns), sum(light.power_uw) * 1e-6
        t_s += [on_s, on_s + light.width_us * 1e-6]
        power_w += [watts, 0.0]
    if not t_s:
        return
    nwb.add_stimulus(
        OptogeneticSeries(
            name=f"OptogeneticSeries_{name}", data=np.array(power_w), timestamps=np.array(t_s), site=site,
            description="Power at the sample over all targets, watts; each value holds until the next.",
        )
    )  # fmt: skip


def _pulses(
    tables: SessionTables, sites: OptogeneticSitesTable, outputs: list[str], wavelength_nm: float, time: SessionTime
) -> OptogeneticPulsesTable:
    table = OptogeneticPulsesTable(
        name="optogenetic_pulses",
        description="Every pulse that was commanded.",
        target_tables={"optogenetic_sites": sites},
    )
    table.add_column("targets_yx_px", "places in the template, JSON list of (y, x), pixels")
    table.add_column("power_of_targets_in_mW", "power for each target, JSON list")
    for name in _OF_PULSE:
        table.add_column(name, _COLUMNS[name])
    commands = Commands(tables.decisions.values())
    for light in sorted(tables.lights, key=lambda one: one.t_on_ns):
        on_s, decision = time.seconds(light.t_on_ns), commands.of(light)
        row = dict.fromkeys(_OF_PULSE, "") | {"scan_to_command_ms": float("nan")}
        if decision is not None:
            row |= {name: value for name, value in _row(decision, time).items() if name in _OF_PULSE}
        table.add_row(
            start_time=on_s, stop_time=on_s + light.width_us * 1e-6, power_in_mW=sum(light.power_uw) / 1e3,
            wavelength_in_nm=wavelength_nm, optogenetic_sites=[outputs.index(light.output)],
            targets_yx_px=json.dumps(light.targets_yx_px),
            power_of_targets_in_mW=json.dumps([uw / 1e3 for uw in light.power_uw]), **row,
        )  # fmt: skip
    return table


def _ms(decision: Decision, t_ns: int | None, since_ns: int) -> float:
    return (t_ns - since_ns) / 1e6 if t_ns is not None and decision.has_trigger else float("nan")


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
