"""A short run of the loop as the rig file has it, on virtual light: what would this computer make of it?"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rt_engine.bench.loop.chain import ProductChain
from rt_engine.bench.loop.chain_plan import ChainPlan
from rt_engine.bench.loop.field import RATE_HZ, plant_loop
from rt_engine.bench.loop.reference import ReferenceHop
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.errors import SpikeloopError
from rt_engine.interfaces.findings import Finding, Verdict, failed, passed
from rt_engine.interfaces.rig_config import RigConfig, VirtualMicroscope
from rt_engine.interfaces.service_config import FrameWay
from rt_engine.transport.free_ports import free_ports

N_CELLS, N_PLANTED, N_FRAMES, SEED = 300, 60, 90, 1
_USUAL_SIDE_PX, _SIDES_PX = 512, (128, 1024)
_PART = "loop"


def measure_loop(rig: RigConfig) -> Finding:
    """Frames of a planted field through inference and stimulation in their own processes, and a recorder.

    Every frame ends in a command to a virtual output; size, rate, priorities, the way of the frames, strips and the
    network are the rig's where its file tells them. The field is square and of one plane, and has no keys. No device of
    the rig is touched.

    Parameters
    ----------
    rig : RigConfig

    Returns
    -------
    Finding
        scan_to_command against the rig's deadline, beside a bare hop on the same computer.
    """
    side_px, rate_hz = _geometry(rig)
    plan = plan_of(rig, side_px)
    try:
        with tempfile.TemporaryDirectory(prefix="spikeloop-doctor-") as folder:
            planted = plant_loop(N_CELLS, side_px, N_PLANTED, SEED)
            chain = ProductChain(plan, planted, Path(folder) / "session", rig.scheduling)
            try:
                chain.go_live()
                rounds = chain.run if plan.strip_lines is None else chain.run_strips
                command_ns = rounds(N_FRAMES, rate_hz).scan_to_command
            finally:
                chain.close()
        hop = ReferenceHop((*free_ports(3),))  # type: ignore[arg-type]
        try:
            hop_ns = hop.run(N_FRAMES, rate_hz)
        finally:
            hop.close()
    except SpikeloopError as error:
        return failed(_PART, error, "a run of this rig may fail in the same way")
    what = f"{N_CELLS} cells, {side_px} x {side_px} px at {rate_hz:g} Hz, {_ways(plan)}"
    return judge_loop(command_ns, hop_ns, rig.deadline_ns, what)


def plan_of(rig: RigConfig, side_px: int) -> ChainPlan:
    """The loop as the rig runs it; strips as they divide a field of `side_px` lines.

    Parameters
    ----------
    rig : RigConfig
    side_px : int
    """
    strip_lines = getattr(rig.microscope, "strip_lines", None)
    in_strips = strip_lines is not None and strip_lines < side_px and side_px % strip_lines == 0
    return ChainPlan(
        "self-test",
        recorded=True,
        strip_lines=strip_lines if in_strips else None,
        awaits_decision=in_strips,
        hears_commands=in_strips,
        network=rig.inference.network is not None,
        frames_by=rig.inference.frames_by,
    )


def _ways(plan: ChainPlan) -> str:
    lines = "whole frames" if plan.strip_lines is None else f"strips of {plan.strip_lines} lines"
    way = "shared memory" if plan.frames_by is FrameWay.SHARED_MEMORY else "messages"
    return f"{lines} in {way}" + (", with the network" if plan.network else "")


def _geometry(rig: RigConfig) -> tuple[int, float]:
    """Side of a square field like the rig's, and its frame rate; what is usual where frames are still to tell them."""
    microscope = rig.microscope
    if not isinstance(microscope, VirtualMicroscope):
        return _USUAL_SIDE_PX, RATE_HZ
    side_px = max(microscope.n_lines, microscope.pixels_per_line)
    return min(max(side_px, _SIDES_PX[0]), _SIDES_PX[1]), microscope.frame_rate_hz


def judge_loop(command_ns: NDArray[np.int64], hop_ns: NDArray[np.int64], deadline_ns: int, what: str) -> Finding:
    """What the times mean for somebody who wants light in time.

    Parameters
    ----------
    command_ns : int64 ndarray, shape (n_commands,)
        From the last line to the call of the driver.
    hop_ns : int64 ndarray, shape (n_frames,)
        The same way with nothing computed.
    deadline_ns : int
        Of the rig.
    what : str
        What was measured.
    """
    deadline_ms = deadline_ns / NS_PER_MS
    remedy = "close other programs; see `scheduling` in the rig file, and the settings of the system below"
    if not len(command_ns):
        meaning = "no light would have been given"
        return Finding(Verdict.FAIL, _PART, f"no frame ended in a command ({what})", meaning, remedy)
    (middle_ms, late_ms), hop_ms = np.quantile(command_ns, (0.5, 0.99)) / NS_PER_MS, np.median(hop_ns) / NS_PER_MS
    text = (
        f"scan_to_command {middle_ms:.2f} ms (p99 {late_ms:.2f}) where the deadline is {deadline_ms:g}; "
        f"the bare way takes {hop_ms:.2f} ms ({what})"
    )
    if middle_ms >= deadline_ms:
        return Finding(Verdict.FAIL, _PART, text, "most light would come too late to be given", remedy)
    if late_ms >= deadline_ms / 2:
        return Finding(Verdict.WARN, _PART, text, "now and then light will be too late to be given", remedy)
    return passed(_PART, text)
