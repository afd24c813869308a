"""Light after an event of one cell, or of k cells within a window; a random share of the triggers is withheld."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.rois import RoiTable, select_cells
from protocols.schema import NextBestCells, SpikeTriggeredConfig, TriggeringCells
from rt_engine.interfaces.clock import NS_PER_MS
from rt_engine.interfaces.messages import Mode
from rt_engine.interfaces.stimulation import MAX_TARGETS, PulseRequest

STIM, WITHHELD, UNASSIGNED = "stim", "withheld", ""
"""Arms of the design; a suppressed trigger is assigned to none."""
_NEVER = -(1 << 62)


class SpikeTriggered:
    """The rule `spike_triggered`; deterministic: the same events, config and seed give the same requests.

    Parameters
    ----------
    config : SpikeTriggeredConfig
    rois : RoiTable
        Cells of the plane.

    Attributes
    ----------
    notes : tuple of str
        What could not be had as asked for (fewer cells than wanted), for the operator to read.

    Raises
    ------
    ConfigError
        A selection names an id or tag that no cell has, or more targets than one request may have.

    Notes
    -----
    The refractory time runs on `t_scan_ns` of the messages, not on this host's clock, so a replay decides alike. It
    starts after a withheld trigger exactly as after a delivered one, whatever the interlock makes of it.
    Each eligible trigger draws one number from the seeded generator; nothing else does.
    """

    def __init__(self, config: SpikeTriggeredConfig, rois: RoiTable) -> None:
        self.config = config
        self.notes: tuple[str, ...] = ()
        self._random = np.random.Generator(np.random.PCG64(config.seed))
        self._t_trigger_ns = _NEVER
        self._set_rois(rois)

    @property
    def cell_ids(self) -> tuple[int, ...]:
        """Cells that can trigger."""
        return self._cells

    @property
    def target_ids(self) -> tuple[int, ...]:
        """Cells that are lit; empty where the target is the triggering cell."""
        return self._targets

    def _set_rois(self, rois: RoiTable) -> None:
        selection, notes = self.config.action.targets, []
        self._cells = select_cells(self.config.cells, rois, "cells")
        if isinstance(selection, NextBestCells):
            rest = [i for i in rois.ranking() if i not in set(self._cells)]
            self._targets = tuple(rest[: selection.n])
            wanted = selection.n
        elif isinstance(selection, TriggeringCells):
            self._targets, wanted = (), 0
        else:
            self._targets = select_cells(selection, rois, "action.targets")
            wanted = getattr(selection, "n", 1)
        wanted_cells = getattr(self.config.cells, "n", 1)
        if len(self._cells) < wanted_cells:
            notes.append(f"{wanted_cells} triggering cells wanted, there are {len(self._cells)}")
        if len(self._targets) < wanted:
            notes.append(f"{wanted} target cells wanted, there are {len(self._targets)}")
        if len(self._targets) > MAX_TARGETS:
            notes.append(f"{len(self._targets)} targets, at most {MAX_TARGETS} at once: all triggers will be refused")
        self.notes = tuple(notes)
        self._row = {roi: i for i, roi in enumerate(self._cells)}
        self._position = dict(zip(map(int, rois.roi_id), rois.positions(tuple(map(int, rois.roi_id))), strict=True))
        self._plane_of = rois.plane_of()
        self._t_event_ns = np.full(len(self._cells), _NEVER, np.int64)

    def on_spikes(
        self, frame: int, t_scan_ns: int, t_decided_ns: int, mode: Mode, events: NDArray[np.void], plane: int = 0
    ) -> list[PulseRequest]:
        """Requests that follow from one `spikes` message.

        Parameters
        ----------
        frame, t_scan_ns, t_decided_ns, plane : int
            Of the message.
        mode : Mode
            Events count only while `LIVE`.
        events : EVENT_DTYPE ndarray, shape (n_events,), read
            Of all cells; others than the selected ones are passed over.

        Returns
        -------
        list of PulseRequest
            One for each trigger, in order of event time: for light, withheld, or suppressed by the refractory time.
        """
        if mode is not Mode.LIVE or len(events) == 0:
            return []
        found = []
        for event in events[np.argsort(events["t_event_ns"], kind="stable")]:
            row = self._row.get(int(event["roi_id"]))
            if row is None or not event["probability"] >= self.config.min_probability:
                continue
            cells = self._trigger(row, int(event["t_event_ns"]))
            if cells:
                found.append(self._request(cells, frame, t_scan_ns, t_decided_ns, plane))
        return found

    def _trigger(self, row: int, t_ns: int) -> tuple[int, ...]:
        """Cells of the coincidence that this event completes, itself among them; empty if it completes none."""
        k = self.config.coincidence.k
        times = self._t_event_ns
        t_ns = max(int(times[row]), t_ns)
        times[row] = t_ns
        if k == 1:
            return (self._cells[row],)
        window_ns = round(self.config.coincidence.window_ms * NS_PER_MS)
        near = np.flatnonzero(np.abs(times - t_ns) <= window_ns)
        near = near[np.argsort(times[near], kind="stable")]
        for first in range(len(near) - k + 1):
            if times[near[first + k - 1]] - times[near[first]] > window_ns:
                continue
            group = near[(times[near] >= times[near[first]]) & (times[near] <= times[near[first]] + window_ns)]
            return tuple(self._cells[i] for i in group)
        return ()

    def _request(
        self, cells: tuple[int, ...], frame: int, t_scan_ns: int, t_decided_ns: int, plane: int
    ) -> PulseRequest:
        action = self.config.action
        targets = cells if isinstance(action.targets, TriggeringCells) else self._targets
        arm, suppressed = UNASSIGNED, None
        refractory_ns = round(self.config.refractory_ms * NS_PER_MS)
        since_ns = t_scan_ns - self._t_trigger_ns
        if since_ns < refractory_ns:
            suppressed = f"refractory_ms {since_ns / NS_PER_MS:.1f} is below {self.config.refractory_ms:g}"
        elif not targets:
            suppressed = "there is no target cell"
        else:
            self._t_trigger_ns = t_scan_ns
            self._t_event_ns[[self._row[cell] for cell in cells]] = _NEVER
            arm = WITHHELD if self._random.random() < self.config.withhold_probability else STIM
        return PulseRequest(
            rule=self.config.name,
            arm=arm,
            output=action.output,
            plane=plane,
            frame=frame,
            roi_ids=cells,
            target_ids=targets,
            targets_yx_px=tuple(self._position[i] for i in targets),
            target_planes=tuple(self._plane_of[i] for i in targets) if self._plane_of else (),
            power_mw=action.power_mw,
            width_ms=action.width_ms,
            pulses=action.pulses,
            period_ms=action.period_ms or 0.0,
            t_scan_ns=t_scan_ns,
            t_decided_ns=t_decided_ns,
            withheld=arm == WITHHELD,
            suppressed=suppressed,
        )
