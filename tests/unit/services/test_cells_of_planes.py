"""The cells of all planes are one table, and light knows the plane of each."""

from __future__ import annotations

import numpy as np
from protocol_bench import protocol

from protocols.running.evaluator import ProtocolRun
from rt_engine.interfaces.events import EVENT_DTYPE
from rt_engine.interfaces.messages import Mode, RoiDescription, RoisHeader
from rt_engine.services.cells_of_planes import CellsOfPlanes


def rois(plane: int, *cells: tuple[int, int]) -> tuple[RoisHeader, bytes]:
    """Cells of one pixel: (roi_id, flat pixel of lines of 10)."""
    described = [
        RoiDescription(
            roi_id=roi_id, roi_index=index, parent_id=None, kind="soma", plane=plane, tags=["marked"], quality=1.0,
            snr=float(roi_id % 100), tau_s=0.3, amplitude=0.2, expected_detection=0.9, threshold=3.0,
        )
        for index, (roi_id, _) in enumerate(cells)
    ]  # fmt: skip
    header = RoisHeader(
        source=f"inference.{plane}", host="h", boot_id="b", seq=0, t_sent_ns=0, rev=1, plane=plane, lines_per_frame=10,
        pixels_per_line=10, rois=described, footprint_start=list(range(len(cells) + 1)),
    )  # fmt: skip
    return header, np.array([pixel for _, pixel in cells], "<u4").tobytes()


def test_there_is_no_table_before_every_plane_has_told_its_cells():
    cells = CellsOfPlanes([0, 2])
    cells.take(*rois(0, (1, 23)))
    cells.take(*rois(1, (1_000_001, 1)))
    assert cells.table() is None
    cells.take(*rois(2, (2_000_001, 45), (2_000_002, 67)))
    table = cells.table()
    assert table is not None
    assert table.roi_id.tolist() == [1, 2_000_001, 2_000_002]
    assert table.planes.tolist() == [0, 2, 2]
    assert table.centroid_yx_px.tolist() == [[2, 3], [4, 5], [6, 7]]
    assert table.tags == {"marked": (1, 2_000_001, 2_000_002)}


def test_a_cell_of_one_plane_triggers_light_on_a_cell_of_another_and_the_request_names_its_plane():
    cells = CellsOfPlanes([0, 1])
    cells.take(*rois(0, (1, 23)))
    cells.take(*rois(1, (1_000_001, 45)))
    table = cells.table()
    assert table is not None
    config = protocol(
        cells={"a": {"select": "ids", "ids": [1]}, "b": {"select": "ids", "ids": [1_000_001]}},
        actions={"light": {"do": "pulse", "output": "led", "targets": "b", "power_mw": 2.0, "width_ms": 1.0}},
    )
    events = np.zeros(1, EVENT_DTYPE)
    events["roi_id"], events["probability"] = 1, 1.0
    (request,) = ProtocolRun(config, table).on_spikes(5, 0, 0, Mode.LIVE, events, 0)
    assert (request.plane, request.roi_ids) == (0, (1,))
    assert (request.target_ids, request.target_planes, request.targets_yx_px) == ((1_000_001,), (1,), ((4.0, 5.0),))
