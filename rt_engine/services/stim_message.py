"""One phase of a decision, as topic `stim` tells it."""

from __future__ import annotations

from rt_engine.interfaces.messages import Phase, StimHeader
from rt_engine.interfaces.stimulation import Decision, PulseRequest
from rt_engine.transport.publisher import Stamp


def stim_header(
    stamp: Stamp, request: PulseRequest, decision: Decision, phase: Phase, t_output_ns: int | None
) -> StimHeader:
    """What is known in a phase: of an intent neither outcome nor times of light.

    Parameters
    ----------
    stamp : Stamp
        `Publisher.stamp` of the topic.
    request : PulseRequest
    decision : Decision
    phase : Phase
    t_output_ns : int or None
        When the light was seen, where it is.
    """
    fired = phase is not Phase.INTENT
    return StimHeader(
        **stamp,
        decision_id=decision.decision_id,
        phase=phase,
        rule=request.rule,
        arm=request.arm,
        outcome=decision.outcome if fired else None,
        reason=decision.reason if fired else None,
        plane=request.plane,
        frame=request.frame,
        roi_ids=list(request.roi_ids),
        target_ids=list(request.target_ids),
        target_planes=list(request.target_planes),
        pattern_id=request.pattern_id,
        t_scan_ns=request.t_scan_ns,
        t_decided_ns=request.t_decided_ns,
        t_judged_ns=decision.t_judged_ns,
        t_command_ns=decision.t_command_ns if fired else None,
        t_output_ns=t_output_ns,
        output=decision.output,
        pulses=decision.pulses,
        width_us=decision.width_us,
        power_uw=list(decision.power_uw) if decision.power_uw else None,
        energy_nj=list(decision.energy_nj) if decision.energy_nj else None,
    )
