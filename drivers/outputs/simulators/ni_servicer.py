"""The calls of the NI gRPC Device Server, answered by simulated cards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from nidaqmx._stubs import nidaqmx_pb2 as pb
from nidaqmx._stubs import nidaqmx_pb2_grpc as rpc
from session_pb2 import Session

from drivers.outputs.simulators import ni_reading
from drivers.outputs.simulators.ni_attributes import Attributes
from drivers.outputs.simulators.ni_card import BAD_DEVICE, BAD_TASK, NO_WATCHDOG, CardError, SimulatedCard
from drivers.outputs.simulators.ni_task import Kind, SimulatedTask, TaskState

_CONTINUOUS = 10123
_FEED, _CLEAR = 0, 1
_START, _STOP, _VERIFY, _COMMIT, _RESERVE, _UNRESERVE, _ABORT = range(7)


class NiServicer(Attributes, rpc.NiDAQmxServicer):  # type: ignore[misc]
    """Answers the calls of the official client; what it does not know is UNIMPLEMENTED, as with an old server.

    Parameters
    ----------
    cards : list of SimulatedCard

    Attributes
    ----------
    slow_ms : float
        Every call takes so much longer.
    calls : dict of str to int
        How often each was called.
    lock : threading.RLock
        Held while a card is looked at or changed.
    """

    def __init__(self, cards: list[SimulatedCard]) -> None:
        self.cards = {card.name: card for card in cards}
        self.slow_ms = 0.0
        self.calls: dict[str, int] = {}
        self.lock = threading.RLock()
        self._owners: dict[str, SimulatedCard] = {}
        self._tasks: dict[str, SimulatedTask] = {}
        self._unnamed = 0

    def __getattribute__(self, name: str) -> Any:
        """Calls go through one place, which counts, delays, and turns what the card says into what NI's server says."""
        found = super().__getattribute__(name)
        if not name[:1].isupper():
            return found
        return lambda request, context: self._call(name, found, request, context)

    def _call(self, name: str, method: Callable[..., Any], request: Any, context: grpc.ServicerContext) -> Any:
        if self.slow_ms:
            time.sleep(self.slow_ms / 1000)
        with self.lock:
            self.calls[name] = self.calls.get(name, 0) + 1
            if name == "CreateWatchdogTimerTaskEx" and any("old" in card.faults for card in self.cards.values()):
                context.abort(grpc.StatusCode.UNIMPLEMENTED, "method not implemented")
            try:
                return method(request, context)
            except CardError as error:
                context.set_trailing_metadata((("ni-error", str(error.code)),))
                context.abort(grpc.StatusCode.UNKNOWN, f"{error}\n\nStatus Code: {error.code}")

    def card_called(self, name: str) -> SimulatedCard:
        """The card of that name.

        Raises
        ------
        CardError
            There is none, or it has been unplugged.
        """
        card = self.cards.get(name.strip("/").partition("/")[0])
        if card is None:
            raise CardError(BAD_DEVICE, f"Device identifier is invalid. Device Specified: {name}")
        card.check_there()
        return card

    def find(self, session: Any) -> tuple[SimulatedTask, SimulatedCard | None]:
        """The task of a session, and its card, which must be there."""
        task = self._tasks.get(session.name)
        if task is None:
            raise CardError(BAD_TASK, f"Task specified is invalid or does not exist: {session.name}")
        card = self._owners.get(task.name)
        if card is not None:
            card.check_there()
        return task, card

    def _of(self, session: Any) -> tuple[SimulatedTask, SimulatedCard]:
        task, card = self.find(session)
        if card is None:
            raise CardError(BAD_TASK, f"Task has no channels: {task.name}")
        return task, card

    def _made(self, name: str, behavior: int) -> tuple[str, bool]:
        if name in self._tasks and behavior != 1:
            return name, False
        if name in self._tasks:
            raise CardError(-200089, f"Task name conflicts with an existing task name: {name}")
        if not name:
            self._unnamed += 1
            name = f"_unnamedTask<{self._unnamed}>"
        self._tasks[name] = SimulatedTask(name)
        return name, True

    def _add(self, session: Any, kind: Kind, physical: str) -> SimulatedTask:
        task, _ = self.find(session)
        card = self.card_called(physical.split(",")[0])
        task.channels += card.local(physical, kind)
        task.kind = kind
        card.tasks[task.name] = task
        self._owners[task.name] = card
        return task

    # -- tasks

    def CreateTask(self, request: Any, context: Any) -> Any:
        """Make a task, or attach to one."""
        name, new = self._made(request.session_name, request.initialization_behavior)
        return pb.CreateTaskResponse(task=Session(name=name), new_session_initialized=new)

    def ClearTask(self, request: Any, context: Any) -> Any:
        """End a task."""
        task = self._tasks.pop(request.task.name, None)
        card = self._owners.pop(request.task.name, None)
        if task is not None and card is not None:
            card.clear(task)
        return pb.ClearTaskResponse()

    def StartTask(self, request: Any, context: Any) -> Any:
        """Run a task."""
        task, card = self._of(request.task)
        card.start(task)
        return pb.StartTaskResponse()

    def StopTask(self, request: Any, context: Any) -> Any:
        """Stop a task."""
        task, card = self._of(request.task)
        card.stop(task)
        return pb.StopTaskResponse()

    def TaskControl(self, request: Any, context: Any) -> Any:
        """Change the state of a task."""
        task, card = self._of(request.task)
        action = request.action_raw or request.action
        if action == _START:
            card.start(task)
        elif action in (_COMMIT, _RESERVE):
            card.commit(task)
        elif action in (_STOP, _UNRESERVE, _ABORT):
            card.stop(task)
            if action != _STOP:
                task.state, task.buffer = TaskState.MADE, []
        return pb.TaskControlResponse()

    def IsTaskDone(self, request: Any, context: Any) -> Any:
        """Say whether all samples are out."""
        task, card = self._of(request.task)
        return pb.IsTaskDoneResponse(is_task_done=card.is_done(task))

    # -- channels

    def CreateDOChan(self, request: Any, context: Any) -> Any:
        """Lines that are driven."""
        self._add(request.task, Kind.DO, request.lines)
        return pb.CreateDOChanResponse()

    def CreateDIChan(self, request: Any, context: Any) -> Any:
        """Lines that are read."""
        self._add(request.task, Kind.DI, request.lines)
        return pb.CreateDIChanResponse()

    def CreateAOVoltageChan(self, request: Any, context: Any) -> Any:
        """A voltage that is driven."""
        task = self._add(request.task, Kind.AO, request.physical_channel)
        task.range_v = (request.min_val, request.max_val)
        return pb.CreateAOVoltageChanResponse()

    def CreateAIVoltageChan(self, request: Any, context: Any) -> Any:
        """A voltage that is read."""
        task = self._add(request.task, Kind.AI, request.physical_channel)
        task.range_v = (request.min_val, request.max_val)
        return pb.CreateAIVoltageChanResponse()

    def CreateCOPulseChanTime(self, request: Any, context: Any) -> Any:
        """A counter that makes pulses."""
        task = self._add(request.task, Kind.CO, request.counter)
        task.delay_s, task.low_s, task.high_s = request.initial_delay, request.low_time, request.high_time
        return pb.CreateCOPulseChanTimeResponse()

    def CreateCICountEdgesChan(self, request: Any, context: Any) -> Any:
        """A counter that counts."""
        self._add(request.task, Kind.CI, request.counter)
        return pb.CreateCICountEdgesChanResponse()

    # -- timing and triggers

    def CfgSampClkTiming(self, request: Any, context: Any) -> Any:
        """Samples follow a clock."""
        task, card = self._of(request.task)
        task.rate_hz, task.samples = request.rate, request.samps_per_chan
        task.finite = (request.sample_mode_raw or request.sample_mode) != _CONTINUOUS
        task.clock_source = card.terminal(request.source)
        return pb.CfgSampClkTimingResponse()

    def CfgImplicitTiming(self, request: Any, context: Any) -> Any:
        """So many pulses."""
        task, _ = self._of(request.task)
        task.pulses = request.samps_per_chan
        return pb.CfgImplicitTimingResponse()

    def CfgDigEdgeStartTrig(self, request: Any, context: Any) -> Any:
        """Wait for an edge."""
        task, card = self._of(request.task)
        task.trigger = card.terminal(request.trigger_source)
        if task.trigger not in card.terminals and task.trigger not in card.channels[Kind.CO]:
            raise CardError(-89120, f"Source terminal to be routed could not be found: {request.trigger_source}")
        return pb.CfgDigEdgeStartTrigResponse()

    def SetTrigAttributeBool(self, request: Any, context: Any) -> Any:
        """Wait for another edge after the task is done."""
        task, _ = self._of(request.task)
        task.retriggerable = request.value
        return pb.SetTrigAttributeBoolResponse()

    # -- writing

    def WriteDigitalLines(self, request: Any, context: Any) -> Any:
        """Levels of lines, now."""
        task, card = self._of(request.task)
        card.write_static(task, [float(one) for one in request.write_array[: len(task.channels)]])
        return pb.WriteDigitalLinesResponse(samps_per_chan_written=1)

    def WriteDigitalU32(self, request: Any, context: Any) -> Any:
        """Samples of a line, at the place of its bit in the port."""
        task, card = self._of(request.task)
        bit = int(task.channels[0].rpartition("line")[2])
        levels = [float(one >> bit & 1) for one in request.write_array]
        if not task.is_timed:
            card.write_static(task, levels[:1])
        else:
            card.fill(task, levels)
        return pb.WriteDigitalU32Response(samps_per_chan_written=len(levels))

    def WriteAnalogF64(self, request: Any, context: Any) -> Any:
        """Samples of a voltage."""
        task, card = self._of(request.task)
        levels = list(request.write_array)
        card.check_voltages(task, levels)
        if not task.is_timed:
            card.write_static(task, levels[:1])
        else:
            card.fill(task, levels)
        return pb.WriteAnalogF64Response(samps_per_chan_written=len(levels))

    def WriteAnalogScalarF64(self, request: Any, context: Any) -> Any:
        """One voltage, now."""
        task, card = self._of(request.task)
        card.write_static(task, [request.value])
        return pb.WriteAnalogScalarF64Response()

    # -- reading

    def ReadDigitalLines(self, request: Any, context: Any) -> Any:
        """Levels of lines, now."""
        task, card = self._of(request.task)
        card.commit(task)
        levels = bytes(int(card.level(line) > 0) for line in task.channels)
        return pb.ReadDigitalLinesResponse(read_array=levels, samps_per_chan_read=1, num_bytes_per_samp=1)

    def ReadAnalogF64(self, request: Any, context: Any) -> Any:
        """Samples of voltages."""
        task, card = self._of(request.task)
        rows = ni_reading.read_sampled(card, task, request.num_samps_per_chan)
        values = [value for row in rows for value in row]
        return pb.ReadAnalogF64Response(read_array=values, samps_per_chan_read=len(rows[0]))

    def ReadCounterU32(self, request: Any, context: Any) -> Any:
        """Latched counts."""
        task, card = self._of(request.task)
        values = ni_reading.read_counter(card, task, request.num_samps_per_chan)[: request.array_size_in_samps]
        return pb.ReadCounterU32Response(read_array=values, samps_per_chan_read=len(values))

    def ReadCounterU32Ex(self, request: Any, context: Any) -> Any:
        """Latched counts."""
        task, card = self._of(request.task)
        values = ni_reading.read_counter(card, task, request.num_samps_per_chan)[: request.array_size_in_samps]
        return pb.ReadCounterU32ExResponse(read_array=values, samps_per_chan_read=len(values))

    # -- watchdog

    def CreateWatchdogTimerTaskEx(self, request: Any, context: Any) -> Any:
        """Make a watchdog, or attach to one."""
        card = self.card_called(request.device_name)
        if "no watchdog" in card.faults:
            raise CardError(NO_WATCHDOG, f"Watchdog timer is not supported by this device. Device: {card.name}")
        name, new = self._made(request.session_name, request.initialization_behavior)
        card.set_watchdog(self._tasks[name], request.timeout)
        card.tasks[name], self._owners[name] = self._tasks[name], card
        return pb.CreateWatchdogTimerTaskExResponse(task=Session(name=name), new_session_initialized=new)

    def CfgWatchdogDOExpirStates(self, request: Any, context: Any) -> Any:
        """Where lines go when it expires: 10214 is low, 10192 high."""
        task, card = self._of(request.task)
        lines = card.local(request.channel_names, Kind.DO)
        task.states = {
            line: float(state == 10192) for line, state in zip(lines, request.expir_state_array, strict=True)
        }
        return pb.CfgWatchdogDOExpirStatesResponse()

    def ControlWatchdogTask(self, request: Any, context: Any) -> Any:
        """Feed it, or unlock its lines."""
        task, card = self._of(request.task)
        if (request.action_raw or request.action) == _CLEAR:
            card.clear_expiration(task)
        else:
            card.feed(task)
        return pb.ControlWatchdogTaskResponse()

    def states(self) -> dict[str, str]:
        """How far every task has come."""
        return {name: task.state.value for name, task in self._tasks.items()}
