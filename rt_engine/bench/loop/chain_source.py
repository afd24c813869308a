"""The microscope of the chain under measurement: planted frames, sent as acquisition sends them."""

from __future__ import annotations

import time

import zmq

from rt_engine.bench.loop.field import RATE_HZ, PlantedLoop
from rt_engine.interfaces.clock import NS_PER_S, Clock
from rt_engine.interfaces.messages import FrameHeader, HealthHeader
from rt_engine.interfaces.service_config import Ports
from rt_engine.services.setup import Setup
from rt_engine.services.straight_ways import frame_sender
from rt_engine.transport.publisher import Publisher
from rt_engine.transport.source_publisher import SourcePublisher, frame_queues

_HEALTH_S = 0.2


class ChainSource:
    """Acquisition, and the health of a recorder that is not there.

    Parameters
    ----------
    context : zmq.Context
    ports : Ports
    setup : Setup
    clock : Clock
    planted : PlantedLoop
    recorded : bool
        There is a recorder.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        ports: Ports,
        setup: Setup,
        clock: Clock,
        planted: PlantedLoop,
        *,
        recorded: bool,
    ) -> None:
        self._planted = planted
        self._publisher = SourcePublisher(
            context,
            ports.endpoint("acquisition"),
            ports.endpoint("recorder_inlet") if recorded else None,
            engine_endpoint=ports.endpoint("engine_frames"),
            source="acquisition",
            session=setup.session,
            clock=clock,
            queues=frame_queues(planted.frames[0].nbytes, lossless=False),
            straight=frame_sender(setup),
        )
        self._health: list[tuple[Publisher, str]] = [(self._publisher, "acquisition")]
        if not recorded:
            # Without a recorder nobody may arm: this one only says that it is alive.
            endpoint = ports.endpoint("recording")
            recorder = Publisher(context, endpoint, None, source="recording", session=setup.session, clock=clock)
            self._health.append((recorder, "recording"))
        self._health_due_s = 0.0

    def records_pixels(self, whole: bool) -> None:
        """Whether the recorder gets frames or their headers alone."""
        self._publisher.records_pixels = whole

    def tell_health(self) -> None:
        """Now and then."""
        if time.monotonic() < self._health_due_s:
            return
        self._health_due_s = time.monotonic() + _HEALTH_S
        for publisher, source in self._health:
            publisher.send("health", _health(publisher, source))

    def send_lines(self, frame: int, line0: int, n_lines: int, t_ready_ns: int) -> None:
        """Lines of one frame, scanned at `t_ready_ns`."""
        _, lines_per_frame, pixels_per_line = self._planted.frames.shape
        header = FrameHeader(
            **self._publisher.stamp("frame.0.0"),
            plane=0,
            channel=0,
            frame=frame,
            volume=None,
            line0=line0,
            n_lines=n_lines,
            lines_per_frame=lines_per_frame,
            pixels_per_line=pixels_per_line,
            dtype="u2",
            adc_max=None,
            offset=None,
            frame_period_ns=round(NS_PER_S / RATE_HZ),
            line_period_ns=None,
            t_scan_ns=t_ready_ns,
            t_scan_uncertainty_ns=0,
            t_device_s=None,
            flags=0,
        )
        pixels = self._planted.frames[frame % len(self._planted.frames), line0 : line0 + n_lines]
        self._publisher.send("frame.0.0", header, pixels.data.cast("B"))

    def close(self) -> None:
        """Close the sockets, whatever waits in them."""
        for publisher, _ in self._health:
            publisher.close(linger_ms=0)


def _health(publisher: Publisher, source: str) -> HealthHeader:
    return HealthHeader(
        **publisher.stamp("health"), state="ready", dropped=0, gaps=0, late=0, queue=0, rss_bytes=0, latency_ms={}
    )
