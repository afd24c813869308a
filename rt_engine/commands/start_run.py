"""A run of a rig, as `run`, `demo` and `replay` start it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rt_engine.commands.window_process import start_window
from rt_engine.interfaces.calibration_planes import load_plane
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.rig_config import ReplayMicroscope, RigConfig, VirtualMicroscope, require_measured_power
from rt_engine.interfaces.yaml_files import config_error, read_yaml

if TYPE_CHECKING:
    from rt_engine.services.replay_plan import ReplayOf


def run_rig(
    rig: RigConfig,
    *,
    kind: str,
    output: str | None,
    protocol: str | None,
    baseline_s: float,
    duration_s: float | None,
    calibration: str | None = None,
    baseline_frames: int | None = None,
    dry_run: bool = False,
    replay: ReplayOf | None = None,
    window_of: str | None = None,
) -> dict[str, Any]:
    """Check everything that can be checked before a device is touched, then run; the summary.

    `window_of` is the rig file or name whose window is opened beside the run, None for no window.

    Raises
    ------
    SpikeloopError
        Protocol, calibration or folder cannot be used, or the run failed.
    """
    from protocols.checking.check import check_against_rig
    from protocols.load import find_protocol, load_protocol
    from rt_engine.interfaces.network_weights import find_weights
    from rt_engine.models.indicators import indicator
    from rt_engine.services.run_plan import RunPlan
    from rt_engine.services.run_view import RunView
    from rt_engine.services.session_folder import give_back, make_session_folder
    from rt_engine.services.session_run import SessionRun

    if replay is not None:  # all of it lives here
        rig = rig.model_copy(update={"ports": rig.ports.model_copy(update={"hosts": {}})})
    indicator(rig.inference.indicator)
    if rig.inference.network is not None:
        find_weights(rig.inference.network)
    if rig.mqtt is not None and replay is None:
        rig.mqtt.require_usable()
    if rig.metrics is not None and replay is None:
        rig.metrics.require_usable()
    if not dry_run and replay is None:
        require_measured_power(rig, rig.name)
    protocol_path = find_protocol(protocol) if protocol else None
    if protocol_path is not None:
        check_against_rig(load_protocol(protocol_path), rig, str(protocol_path))
    calibration_path = Path(calibration) if calibration else None
    if calibration_path is not None:
        _require_fits(rig, calibration_path)
    view = RunView()
    if calibration_path is not None and (said := _other_rule(rig, calibration_path)):
        view.say(said)
    for said in () if replay is None else replay.sayings:
        view.say(said)
    plan = RunPlan(
        rig=rig,
        kind=kind,
        folder=make_session_folder(output, rig.name, rig.recording.min_free_mb),
        protocol=protocol_path,
        calibration=calibration_path,
        baseline_s=baseline_s,
        baseline_frames=baseline_frames,
        duration_s=duration_s,
        dry_run=dry_run,
        subject=rig.subject,
        replay=replay,
    )
    try:
        if window_of is not None and (said := start_window(window_of, plan.folder / "window.log")):
            view.say(said)
        return SessionRun(plan, view).run()
    finally:
        give_back(plan.folder)


def _require_fits(rig: RigConfig, path: Path) -> None:
    """Refuse a calibration of another size, zoom, indicator, plane or channel, as far as the rig says before it opens.

    Raises
    ------
    CalibrationError
        It cannot be read, does not fit, or lacks a plane of the rig.
    """
    microscope = rig.microscope
    virtual = microscope if isinstance(microscope, VirtualMicroscope) else None
    replayed = microscope if isinstance(microscope, ReplayMicroscope) else None
    is_movie = replayed is not None and not (Path(replayed.path) / "config.yaml").is_file()
    for plane in rig.planes_inferred:
        load_plane(path, plane).require_fits(
            virtual.n_lines if virtual else None,
            virtual.pixels_per_line if virtual else None,
            str(path),
            um_per_px=microscope.um_per_px,
            indicator=None if is_movie else rig.inference.indicator,
            channel=rig.functional_channel,
        )


def _other_rule(rig: RigConfig, path: Path) -> str | None:
    """Words about a calibration that decides otherwise than the rig asks for."""
    asked, made = rig.inference, load_plane(path, rig.planes_inferred[0])
    rate, cost = asked.false_alarms_per_min, asked.false_event_cost
    same = made.false_event_cost == cost if made.by_cost or cost is not None else made.false_alarms_per_min == rate
    if same:
        return None
    wanted = f"{rate:g} false events per minute and cell" if cost is None else f"a false_event_cost of {cost:g}"
    return f"events are decided as calibrated, by {made.rule}; the rig's {wanted} would take a new calibration"


def rig_of_session(folder: Path) -> tuple[RigConfig, str | None]:
    """Rig and protocol that a session was recorded with.

    Raises
    ------
    ConfigError
        The folder holds no session.
    """
    from pydantic import ValidationError

    path = folder / "config.yaml"
    if not path.is_file():
        raise ConfigError("is no session folder", "it holds no config.yaml", file=str(folder))
    config = read_yaml(path)
    try:
        return RigConfig.model_validate(config.get("rig")), config.get("protocol")
    except ValidationError as error:
        raise config_error(str(path), error) from error
