"""Attributes that the official client asks a simulated card for; an unknown one is an error, never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nidaqmx._stubs import nidaqmx_pb2 as pb

from drivers.outputs.simulators import ni_reading
from drivers.outputs.simulators.ni_card import CardError, SimulatedCard
from drivers.outputs.simulators.ni_task import Kind, SimulatedTask

_UNKNOWN = -200452
_WRITE_RELATIVE_TO, _FIRST_SAMPLE = 0x190C, 10424
_VERSION = {0x1272: 24, 0x1923: 8, 0x2F22: 0}
_CHANNEL_TYPE = {Kind.AI: 10100, Kind.AO: 10102, Kind.DI: 10151, Kind.DO: 10153, Kind.CI: 10131, Kind.CO: 10132}


def _unknown(attribute: int) -> CardError:
    return CardError(_UNKNOWN, f"Attribute not supported by the simulated card: {attribute:#x}")


class Attributes:
    """The attribute calls of the server."""

    cards: dict[str, SimulatedCard]

    if TYPE_CHECKING:

        def find(self, session: Any) -> tuple[SimulatedTask, SimulatedCard | None]:
            """Its task and card."""
            ...

        def card_called(self, name: str) -> SimulatedCard:
            """The card of that name."""
            ...

    def GetSystemInfoAttributeUInt32(self, request: Any, context: Any) -> Any:
        """Version of the driver."""
        value = _VERSION.get(request.attribute_raw)
        if value is None:
            raise _unknown(request.attribute_raw)
        if request.attribute_raw == 0x1272 and any("old" in card.faults for card in self.cards.values()):
            value = 18
        return pb.GetSystemInfoAttributeUInt32Response(value=value)

    def GetSystemInfoAttributeString(self, request: Any, context: Any) -> Any:
        """Names of the devices that are there."""
        if request.attribute_raw != 0x193B:
            raise _unknown(request.attribute_raw)
        there = [name for name, card in self.cards.items() if "unplugged" not in card.faults]
        return pb.GetSystemInfoAttributeStringResponse(value=", ".join(there))

    def GetDeviceAttributeString(self, request: Any, context: Any) -> Any:
        """Model, channels and terminals of a device."""
        card = self.card_called(request.device_name)
        names = {
            0x231E: card.channels[Kind.AI],
            0x231F: card.channels[Kind.AO],
            0x2320: card.channels[Kind.DI],
            0x2322: card.channels[Kind.DO],
            0x2324: card.channels[Kind.CI],
            0x2325: card.channels[Kind.CO],
        }
        attribute = request.attribute_raw
        if attribute == 0x0631:
            value = card.model
        elif attribute == 0x2A40:
            value = ", ".join(f"/{card.name}/{one}" for one in card.terminals)
        elif attribute in names:
            value = ", ".join(f"{card.name}/{one}" for one in names[attribute])
        else:
            raise _unknown(attribute)
        return pb.GetDeviceAttributeStringResponse(value=value)

    def GetDeviceAttributeBool(self, request: Any, context: Any) -> Any:
        """Whether NI-DAQmx simulates the device: this one looks real."""
        self.card_called(request.device_name)
        if request.attribute_raw != 0x22CA:
            raise _unknown(request.attribute_raw)
        return pb.GetDeviceAttributeBoolResponse(value=False)

    def GetDeviceAttributeUInt32(self, request: Any, context: Any) -> Any:
        """Serial number."""
        self.card_called(request.device_name)
        if request.attribute_raw != 0x0632:
            raise _unknown(request.attribute_raw)
        return pb.GetDeviceAttributeUInt32Response(value=0x1F2E3D)

    def SelfTestDevice(self, request: Any, context: Any) -> Any:
        """The card tests itself."""
        self.card_called(request.device_name)
        return pb.SelfTestDeviceResponse()

    def GetTaskAttributeString(self, request: Any, context: Any) -> Any:
        """Name and channels of a task."""
        task, card = self.find(request.task)
        device = card.name if card else ""
        known = {0x1276: task.name, 0x1273: ", ".join(f"{device}/{one}" for one in task.channels), 0x230E: device}
        if request.attribute_raw not in known:
            raise _unknown(request.attribute_raw)
        return pb.GetTaskAttributeStringResponse(value=known[request.attribute_raw])

    def GetTaskAttributeUInt32(self, request: Any, context: Any) -> Any:
        """How many channels a task has."""
        task, _ = self.find(request.task)
        if request.attribute_raw not in (0x2181, 0x29BA):
            raise _unknown(request.attribute_raw)
        return pb.GetTaskAttributeUInt32Response(value=len(task.channels))

    def SetWriteAttributeInt32(self, request: Any, context: Any) -> Any:
        """Where writing begins: the first sample of the buffer."""
        if request.attribute_raw != _WRITE_RELATIVE_TO or request.value_raw != _FIRST_SAMPLE:
            raise _unknown(request.attribute_raw)
        self.find(request.task)
        return pb.SetWriteAttributeInt32Response()

    def GetReadAttributeUInt32(self, request: Any, context: Any) -> Any:
        """Number of channels and lines that a read returns."""
        task, card = self.find(request.task)
        if request.attribute_raw == 0x1223 and card is not None:
            return pb.GetReadAttributeUInt32Response(value=ni_reading.available(card, task))
        known = {0x217B: len(task.channels), 0x217C: 1}
        if request.attribute_raw not in known:
            raise _unknown(request.attribute_raw)
        return pb.GetReadAttributeUInt32Response(value=known[request.attribute_raw])

    def GetWriteAttributeUInt32(self, request: Any, context: Any) -> Any:
        """Number of channels and lines that a write takes."""
        task, _ = self.find(request.task)
        known = {0x217E: len(task.channels), 0x217F: 1}
        if request.attribute_raw not in known:
            raise _unknown(request.attribute_raw)
        return pb.GetWriteAttributeUInt32Response(value=known[request.attribute_raw])

    def GetReadAttributeString(self, request: Any, context: Any) -> Any:
        """Channels that a read returns."""
        task, card = self.find(request.task)
        if request.attribute_raw != 0x1823:
            raise _unknown(request.attribute_raw)
        device = card.name if card else ""
        return pb.GetReadAttributeStringResponse(value=", ".join(f"{device}/{one}" for one in task.channels))

    def GetChanAttributeInt32(self, request: Any, context: Any) -> Any:
        """Type of a channel."""
        task, _ = self.find(request.task)
        if request.attribute_raw != 0x187F:
            raise _unknown(request.attribute_raw)
        return pb.GetChanAttributeInt32Response(value=_CHANNEL_TYPE[task.kind])

    def GetChanAttributeUInt32(self, request: Any, context: Any) -> Any:
        """The count register of a running counter."""
        task, card = self.find(request.task)
        if request.attribute_raw != 0x0148 or card is None:
            raise _unknown(request.attribute_raw)
        return pb.GetChanAttributeUInt32Response(value=ni_reading.count_now(card, task))

    def SetChanAttributeString(self, request: Any, context: Any) -> Any:
        """What a counter counts."""
        task, card = self.find(request.task)
        if request.attribute_raw != 0x18C7 or card is None:
            raise _unknown(request.attribute_raw)
        task.edges_term = card.terminal(request.value)
        return pb.SetChanAttributeStringResponse()

    def GetWatchdogAttributeBool(self, request: Any, context: Any) -> Any:
        """Whether a watchdog has expired."""
        task, card = self.find(request.task)
        if request.attribute_raw != 0x21A8 or card is None:
            raise _unknown(request.attribute_raw)
        card.look()
        return pb.GetWatchdogAttributeBoolResponse(value=task.expired_ns is not None)

    def GetErrorString(self, request: Any, context: Any) -> Any:
        """Text of an error."""
        return pb.GetErrorStringResponse(error_string=f"Error {request.error_code}")
