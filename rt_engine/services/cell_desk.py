"""Where inference keeps its cells: commands that change them, what the finder offers, and topics about both."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rt_engine.interfaces.calibration import Calibration
from rt_engine.interfaces.calibration_bytes import pack_cells, unpack_cells
from rt_engine.interfaces.clock import NS_PER_S
from rt_engine.interfaces.errors import ConfigError
from rt_engine.interfaces.messages import Candidate, CandidatesHeader, EditAction, EditHeader, RoisHeader
from rt_engine.interfaces.rig_config import ReplayMicroscope
from rt_engine.interfaces.service_config import NewCells
from rt_engine.pipeline.engine import Engine
from rt_engine.pipeline.masks import MIN_OWN_PIXELS
from rt_engine.services.base import Service
from rt_engine.services.cell_commands import MaskRequest, edit_of, threshold_edit
from rt_engine.services.finder_link import FinderLink, FinderSetup
from rt_engine.services.live_cells import CellEdit, LiveCells
from rt_engine.services.recorded_edits import recorded_edits, replays_session

FIRST_ASKED_ID = 10_001
"""Candidates that a person asked for count from here; found ones from 1."""


class CellDesk:
    """Tables, commands and topics about the cells of one plane.

    Parameters
    ----------
    service : Service
        Inference: its publisher, clock, rig and log are used.
    plane : int

    Attributes
    ----------
    rev : int
        Of topic ``rois``: counts calibrations and edits.
    cells : LiveCells or None
        None before there is a calibration.
    """

    def __init__(self, service: Service, plane: int) -> None:
        self._service = service
        self._plane = plane
        self.rev = 0
        self._template_id = ""
        self.cells: LiveCells | None = None
        self._engine: Engine | None = None
        self._replays = replays_session(service.rig)
        self._finder: FinderLink | None = None
        self._offers: dict[int, dict[str, Any]] = {}
        self._searched_frame: int | None = None
        self._next_asked = FIRST_ASKED_ID
        self._asked: set[int] = set()
        self._outbox: list[tuple[int, CellEdit]] = []
        self._due_ns = 0

    def open(self, calibration: Calibration, path: Path) -> None:
        """Begin with the cells of a calibration; what the replayed session did to them is queued, else a finder starts.

        Parameters
        ----------
        calibration : Calibration
        path : Path
            Its file, for the finder.
        """
        self.close()
        config = self._service.rig.inference
        self.cells = LiveCells(calibration, config.max_shift_px, config.spare_rois)
        self._template_id = hashlib.sha256(calibration.template.tobytes()).hexdigest()[:16]
        self.rev += 1
        self._offers.clear()
        self._engine = None
        for edit in recorded_edits(self._service.rig, self._plane):
            if edit.n_known != calibration.n_rois:
                self._service.log(
                    "warning", "the session's changes of cells belong to another calibration and are left out"
                )
                break
            self.cells.prepare(edit)
        if config.new_cells is not NewCells.OFF and config.spare_rois > 0 and not self._replays:
            self._start_finder(calibration, path)
        self.publish_rois(with_footprints=True)

    def _start_finder(self, calibration: Calibration, path: Path) -> None:
        service = self._service
        setup = FinderSetup(
            endpoint="",
            frames=service.rig.ports.endpoint("acquisition"),
            plane=self._plane,
            channel=calibration.channel,
            calibration=str(path),
            neuropil_coefficient=service.rig.inference.neuropil_coefficient,
            max_shift_px=service.rig.inference.max_shift_px,
            waits=service.setup.lossless,
            keys=service.rig.keys,
        )
        self._finder = FinderLink(service.context, setup)

    def apply_due(self, frame: int, engine: Engine) -> None:
        """Make what is due from this frame on. Called by the frame loop before it reads a new frame."""
        cells = self.cells
        if cells is None:
            return
        self._engine = engine
        while cells.due(frame):
            self.rev += 1
            self._outbox.append((self.rev, cells.apply(frame, engine)))
        if self._replays:  # whoever decides must know of it before this frame, however fast the frames come
            self._tell_done()

    def _tell_done(self) -> None:
        while self._outbox:
            self._publish_edit(*self._outbox.pop(0))

    def tick(self) -> None:
        """Tell what was done, hear the finder. Called between frames; never waits."""
        self._tell_done()
        if self._finder is not None:
            for message in self._finder.take():
                self._take_message(message)
        now_ns = self._service.clock.now_ns()
        if self.cells is not None and now_ns >= self._due_ns:
            self.publish_rois(with_footprints=False)
            if self._finder is not None and not self._finder.alive:
                self._service.log("warning", "the search for new cells has ended; everything else goes on")
                self._finder.close()
                self._finder = None

    def close(self) -> None:
        """End the finder."""
        if self._finder is not None:
            self._finder.close()
            self._finder = None

    def rois_edit(self, args: dict[str, Any]) -> dict[str, Any]:
        """Command `rois_edit`; see `docs/reference/wire.md`.

        Raises
        ------
        ConfigError
            Naming the argument, and what is allowed.
        """
        cells = self._known_cells()
        if args.get("action") == "reject":
            return self._reject(args)
        if args.get("action") == "add" and "candidate_id" in args:
            return self._add(args)
        asked = edit_of(args, cells)
        if isinstance(asked, MaskRequest):
            return self._ask(asked)
        return self._queue(asked)

    def set_threshold(self, args: dict[str, Any]) -> dict[str, Any]:
        """Command `set_threshold`; with ``dry`` it only tells the consequence.

        Raises
        ------
        ConfigError
            Naming the argument, and what is allowed.
        """
        edit, predicted = threshold_edit(args, self._known_cells())
        dry = bool(args.get("dry", False))
        return predicted | {"dry": dry} | ({} if dry else self._queue(edit))

    def publish_rois(self, *, with_footprints: bool) -> None:
        """Topic ``rois``."""
        cells, publisher = self.cells, self._service.publisher
        if cells is None:
            return
        self._due_ns = self._service.clock.now_ns() + NS_PER_S
        starts, payload = cells.footprints() if with_footprints else ([], None)
        header = RoisHeader(
            **publisher.stamp("rois"),
            rev=self.rev,
            template_id=self._template_id,
            plane=self._plane,
            lines_per_frame=cells.calibration.n_lines,
            pixels_per_line=cells.calibration.pixels_per_line,
            rois=cells.describe(self._engine),
            footprint_start=starts,
        )
        publisher.send("rois", header, payload)

    def publish_candidates(self) -> None:
        """Topic ``candidates``, with all footprints."""
        cells, publisher = self.cells, self._service.publisher
        if cells is None or self._finder is None:
            return
        offers = list(self._offers.values())
        pixels = [np.frombuffer(offer["pixels"], np.uint32) for offer in offers]
        header = CandidatesHeader(
            **publisher.stamp("candidates"),
            plane=self._plane,
            rev=self.rev,
            spare=cells.n_spare,
            searched_frame=self._searched_frame,
            lines_per_frame=cells.calibration.n_lines,
            pixels_per_line=cells.calibration.pixels_per_line,
            candidates=[self._described(offer) for offer in offers],
            footprint_start=np.cumsum([0, *(len(one) for one in pixels)]).tolist(),
        )
        publisher.send("candidates", header, np.concatenate([np.zeros(0, np.uint32), *pixels]).astype("<u4").tobytes())

    def _described(self, offer: dict[str, Any]) -> Candidate:
        pixels = np.frombuffer(offer["pixels"], np.uint32)
        y, x = np.divmod(pixels, self._known_cells().calibration.pixels_per_line)
        numbers = offer["numbers"]
        return Candidate(
            candidate_id=offer["candidate_id"],
            ready=offer["cells"] is not None,
            asked=offer["candidate_id"] in self._asked,
            replaces=offer["replaces"],
            y_px=float(y.mean()),
            x_px=float(x.mean()),
            n_pixels=len(pixels),
            n_frames=offer["n_frames"],
            quality=float(offer["quality"]),
            snr=numbers.get("snr"),
            tau_s=numbers.get("tau_s"),
            amplitude=numbers.get("amplitude"),
            expected_detection=numbers.get("expected_detection"),
            threshold=numbers.get("threshold"),
        )

    def _take_message(self, message: dict[str, Any]) -> None:
        if message["kind"] == "log":
            self._service.log("warning", str(message["text"]))
        if message["kind"] != "candidates":
            return
        self._offers = {int(offer["candidate_id"]): offer for offer in message["candidates"]}
        self._searched_frame = message["searched_frame"]
        takes = self._service.rig.inference.new_cells is NewCells.TAKE and not isinstance(
            self._service.rig.microscope, ReplayMicroscope
        )
        for candidate_id, offer in list(self._offers.items()):
            if offer["cells"] is not None and (takes or candidate_id in self._asked):
                self._take(candidate_id)
        self.publish_candidates()

    def _take(self, candidate_id: int) -> dict[str, Any]:
        """A candidate becomes a cell from the next frame on."""
        cells, offer = self._known_cells(), self._offers[candidate_id]
        if cells.n_spare < 1:
            raise ConfigError(
                f"all {self._service.rig.inference.spare_rois} spare rows are used",
                "give more in the rig file (inference.spare_rois), and calibrate again with these cells",
            )
        del self._offers[candidate_id]
        self._asked.discard(candidate_id)
        replaces = [roi for roi in offer["replaces"] if cells.is_read(roi)]
        edit = CellEdit(
            action=EditAction.MERGE if replaces else EditAction.ADD,
            added=cells.new_ids(1),
            removed=replaces,
            tagged=[],
            payload=self._at_present_rate(offer["cells"]),
        )
        result = self._queue(edit)
        if self._finder is not None:
            self._finder.send("taken", candidate_id=candidate_id, spare=cells.n_spare)
        self._service.log("info", f"new cell: roi {edit.added[0]}", candidate_id=candidate_id)
        return result

    def _at_present_rate(self, packed: bytes) -> bytes:
        """Constants of a cell with its threshold at the rate of false events that holds now."""
        cells = self._known_cells()
        found = unpack_cells(packed, cells.calibration)
        if found.threshold_law is None or found.drive is None or cells.calibration.by_cost:
            return packed
        threshold = found.threshold_law.threshold(cells.false_alarms_per_min)
        return pack_cells(
            replace(
                found,
                drive=replace(found.drive, threshold=threshold),
                threshold=threshold.astype(np.float32),
                expected_detection=found.threshold_law.detection(threshold).astype(np.float32),
            )
        )

    def _add(self, args: dict[str, Any]) -> dict[str, Any]:
        candidate_id = self._offered(args)
        if self._offers[candidate_id]["cells"] is None:
            self._asked.add(candidate_id)
            return {"candidate_id": candidate_id, "state": "watched", "rev": self.rev}
        result = self._take(candidate_id)
        self.publish_candidates()
        return result

    def _reject(self, args: dict[str, Any]) -> dict[str, Any]:
        candidate_id = self._offered(args)
        del self._offers[candidate_id]
        self._asked.discard(candidate_id)
        if self._finder is not None:
            self._finder.send("forget", candidate_id=candidate_id, spare=self._known_cells().n_spare)
        self.publish_candidates()
        return {"candidate_id": candidate_id, "state": "rejected", "rev": self.rev}

    def _ask(self, asked: MaskRequest) -> dict[str, Any]:
        """A mask that a person gave is watched first: noise, F0 and threshold are not known yet."""
        cells = self._known_cells()
        if self._finder is None:
            raise ConfigError(
                "nobody can watch a new mask: new cells are off", "set inference.new_cells to offer in the rig file"
            )
        taken = np.concatenate(
            [np.zeros(0, np.uint32)]
            + [cells.pixels(roi) for roi in cells.roi_id if cells.is_read(roi) and roi not in asked.replaces]
        )
        own = asked.pixels[~np.isin(asked.pixels, taken)]
        if len(own) < max(1.0, MIN_OWN_PIXELS * len(asked.pixels)):
            raise ConfigError(
                f"{len(asked.pixels) - len(own)} of {len(asked.pixels)} pixels belong to other cells",
                "leave these out, or merge the cells",
                key="pixels",
            )
        candidate_id = self._next_asked
        self._next_asked += 1
        self._asked.add(candidate_id)
        self._finder.send(
            "watch", candidate_id=candidate_id, pixels=own.astype(np.uint32).tobytes(), replaces=list(asked.replaces)
        )
        return {"candidate_id": candidate_id, "state": "watched", "rev": self.rev}

    def _queue(self, edit: CellEdit) -> dict[str, Any]:
        cells = self._known_cells()
        if self._replays:
            raise ConfigError("a replay does to its cells what the session did", "edit them in a live run")
        edit.n_known = cells.calibration.n_rois
        cells.prepare(edit)
        return {"roi_ids": edit.added, "state": "from the next frame on", "rev": self.rev + len(cells.pending)}

    def _publish_edit(self, rev: int, edit: CellEdit) -> None:
        publisher = self._service.publisher
        header = EditHeader(
            **publisher.stamp("edit"),
            plane=self._plane,
            rev=rev,
            from_frame=edit.from_frame or 0,
            **edit.fields(),
        )
        publisher.send("edit", header, edit.payload)
        self.publish_rois(with_footprints=True)

    def _offered(self, args: dict[str, Any]) -> int:
        asked = args.get("candidate_id")
        if asked not in self._offers:
            offered = ", ".join(map(str, sorted(self._offers))) or "none"
            raise ConfigError(f"no candidate {asked!r}", f"offered: {offered}", key="candidate_id")
        return int(asked)

    def _known_cells(self) -> LiveCells:
        if self.cells is None:
            raise ConfigError("no cells are known yet", "load a calibration first")
        return self.cells
