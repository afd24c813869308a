"""What every input of an NI card does alike: begin one task, and have its channels looked for."""

from __future__ import annotations

from drivers.ni.connection import NiConnection
from drivers.ni.examination import examine_input
from drivers.ni.part import NiPart
from rt_engine.interfaces.clock import Clock
from rt_engine.interfaces.findings import Finding
from rt_engine.interfaces.ni_config import NiAnalogInput, NiEdgeInput, NiLineInput


class NiInput(NiPart):
    """One task on one card; see `NiPart`.

    Parameters
    ----------
    name : str
        Name in the rig.
    config : NiEdgeInput, NiLineInput or NiAnalogInput
    clock : Clock
    needs : dict of str to str
        Channels of the card it uses, and among what each is found (`NiConnection.describe`); the first is named in
        messages.
    """

    def __init__(
        self, name: str, config: NiEdgeInput | NiLineInput | NiAnalogInput, clock: Clock, needs: dict[str, str]
    ) -> None:
        super().__init__(name, config.device, config.server, next(iter(needs)))
        self.name, self._clock, self._needs = name, clock, needs
        self._device, self._server = config.device, config.server

    def examine(self) -> list[Finding]:
        """What card there is, and whether it has the channels; the input is not begun."""
        return examine_input(NiConnection(self.name, self._device, self._server), self._needs)
