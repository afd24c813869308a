"""One file holds all planes, files of one plane are read as ever, and what is missing is said."""

from dataclasses import replace

import pytest
from synthetic_session import make_calibration

from rt_engine.interfaces.calibration import load_calibration
from rt_engine.interfaces.calibration_planes import load_plane, load_planes, number_cells, save_planes
from rt_engine.interfaces.errors import CalibrationError


def made(tmp_path, plane):
    one = make_calibration(tmp_path / "made.h5", [(20, 20), (40, 40 + plane)], roi_ids=[1, 2])
    return replace(one, plane=plane)


def test_all_planes_survive_the_file_each_with_its_own_cells(tmp_path):
    planes = [number_cells(made(tmp_path, plane)) for plane in (0, 2)]
    save_planes(tmp_path / "c.h5", reversed(planes))
    found = load_planes(tmp_path / "c.h5")
    assert list(found) == [0, 2]
    assert found[0].roi_id.tolist() == [1, 2]
    assert found[2].roi_id.tolist() == [2_000_001, 2_000_002]
    assert found[2].roi_pixels.tolist() == planes[1].roi_pixels.tolist()
    assert load_plane(tmp_path / "c.h5", 2).plane == 2


def test_one_plane_is_written_as_it_always_was(tmp_path):
    save_planes(tmp_path / "c.h5", [made(tmp_path, 3)])
    assert load_calibration(tmp_path / "c.h5").plane == 3
    assert list(load_planes(tmp_path / "c.h5")) == [3]


def test_a_plane_that_is_not_there_is_named_with_those_that_are(tmp_path):
    save_planes(tmp_path / "c.h5", [number_cells(made(tmp_path, plane)) for plane in (0, 1)])
    with pytest.raises(CalibrationError, match=r"c\.h5.*holds no plane 2, only 0, 1"):
        load_plane(tmp_path / "c.h5", 2)


def test_planes_that_share_a_cell_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match="planes 0 and 1 both have a cell 1"):
        save_planes(tmp_path / "c.h5", [made(tmp_path, plane) for plane in (0, 1)])


def test_what_is_no_calibration_is_refused(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"no")
    with pytest.raises(CalibrationError, match="cannot be read"):
        load_planes(tmp_path / "c.h5")
