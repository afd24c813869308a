"""What really was in a frame of the virtual rig, told beside it."""

from __future__ import annotations

from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.devices import AnswersLight, FrameInfo
from rt_engine.interfaces.messages import TruthHeader
from rt_engine.transport.publisher import Publisher

_SAMPLE_PERIOD_NS = 5 * NS_PER_S


class TruthDesk:
    """Publishes `truth` of every frame, and the sample itself now and then, for whoever joins late.

    Parameters
    ----------
    publisher : Publisher
    clock : Clock
    """

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher, self._clock = publisher, clock
        self._sample_due_ns: dict[int, int] = {}

    def tell(self, sample: AnswersLight, info: FrameInfo) -> None:
        """After the last lines of a frame."""
        truth, publisher = sample.take_truth(), self._publisher
        header = TruthHeader(
            **publisher.stamp("truth"), kind="frame", plane=info.plane, frame=info.frame, sample=None, **truth
        )
        publisher.send("truth", header)
        now_ns = self._clock.now_ns()
        if now_ns < self._sample_due_ns.get(info.plane, 0):
            return
        self._sample_due_ns[info.plane] = now_ns + _SAMPLE_PERIOD_NS
        header = TruthHeader(
            **publisher.stamp("truth"),
            kind="sample",
            plane=info.plane,
            frame=info.frame,
            shift_y_px=0.0,
            shift_x_px=0.0,
            spike_cell=[],
            t_spike_ns=[],
            spike_frame=[],
            evoked=[],
            t_light_ns=[],
            sample=sample.describe_sample(info.plane),
        )
        publisher.send("truth", header)
