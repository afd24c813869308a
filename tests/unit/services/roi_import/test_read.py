"""Cells of every format come in as they were drawn, or are refused or left out with the reason."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import roifile
import scipy.sparse
from skimage.draw import polygon

from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.roi_mask import RoiMask
from rt_engine.services.roi_import.read import read_rois

SHAPE = (40, 60)
Mask = dict[tuple[int, int], float]


def planted() -> list[Mask]:
    """A disc, a square that overlaps it, and a blurred spot with weights; lines differ from pixels."""
    y, x = np.indices(SHAPE)
    disc = np.hypot(y - 12, x - 20) <= 5
    square = (abs(y - 14) <= 4) & (abs(x - 25) <= 4)
    spot = np.exp(-0.5 * ((y - 30) ** 2 + (x - 45) ** 2) / 3.0**2).astype(np.float32)
    spot[spot < 0.02] = 0
    images = [disc.astype(np.float32), square.astype(np.float32), spot]
    return [{(int(a), int(b)): float(image[a, b]) for a, b in zip(*np.nonzero(image), strict=True)} for image in images]


def as_dict(mask: RoiMask) -> Mask:
    return {(int(y), int(x)): float(w) for y, x, w in zip(mask.y, mask.x, mask.weight, strict=True)}


def columns(mask: Mask) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    y, x = np.array(list(mask)).T
    return y, x, np.array(list(mask.values()), np.float32)


def write_suite2p(folder: Path, masks: list[Mask], cells: list[bool] | None = None) -> Path:
    entries = []
    for mask in masks:
        y, x, weight = columns(mask)
        entries.append({"ypix": y.astype(np.int32), "xpix": x.astype(np.int32), "lam": weight, "med": [int(y[0]), 1]})
    np.save(folder / "stat.npy", np.array(entries, dtype=object))
    if cells is not None:
        np.save(folder / "iscell.npy", np.column_stack((np.array(cells, float), np.full(len(cells), 0.5))))
    return folder / "stat.npy"


def write_caiman(
    folder: Path, masks: list[Mask], shape: tuple[int, ...] = SHAPE, accepted: list[int] | None = None
) -> Path:
    dense = np.zeros((int(np.prod(shape)), len(masks)))
    for k, mask in enumerate(masks):
        image = np.zeros(shape)
        for (y, x), weight in mask.items():
            image[y, x] = weight
        dense[:, k] = image.ravel(order="F")
    sparse = scipy.sparse.csc_matrix(dense)
    with h5py.File(folder / "results.hdf5", "w") as file:
        group = file.create_group("estimates/A")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(sparse, name)
        group["shape"] = np.array(sparse.shape)
        file["estimates/dims"] = np.array(shape)
        file["estimates/idx_components"] = b"NoneType" if accepted is None else np.array(accepted)
    return folder / "results.hdf5"


def table(file: h5py.File, name: str = "PlaneSegmentation") -> h5py.Group:
    group = file.create_group(f"processing/ophys/ImageSegmentation/{name}")
    group.attrs["neurodata_type"] = "PlaneSegmentation"
    return group


def write_nwb_pixels(folder: Path, masks: list[Mask]) -> Path:
    with h5py.File(folder / "pixels.nwb", "w") as file:
        fill_pixels(table(file), masks)
    return folder / "pixels.nwb"


def fill_pixels(group: h5py.Group, masks: list[Mask], column: str = "pixel_mask") -> None:
    rows = [(x, y, weight) for mask in masks for (y, x), weight in mask.items()]
    group[column] = np.array(rows, [("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])
    group[f"{column}_index"] = np.cumsum([len(mask) for mask in masks]).astype(np.uint16)
    group["id"] = np.arange(10, 10 + len(masks))


def write_nwb_images(folder: Path, masks: list[Mask], by_schema: bool = True) -> Path:
    images = np.zeros((len(masks), *SHAPE), np.float32)
    for k, mask in enumerate(masks):
        for (y, x), weight in mask.items():
            images[k, y, x] = weight
    with h5py.File(folder / "images.nwb", "w") as file:
        group = table(file)
        group["image_mask"] = images.transpose(0, 2, 1) if by_schema else images
        group["id"] = np.arange(len(masks))
    return folder / "images.nwb"


def write_export(folder: Path, masks: list[Mask]) -> Path:
    parts = [columns(mask) for mask in masks]
    y, x, weight = (np.concatenate([part[i] for part in parts]) for i in range(3))
    np.savez(folder / "rois.npz", ypix=y, xpix=x, lam=weight, npix=[len(mask) for mask in masks])
    return folder / "rois.npz"


WRITERS = [write_suite2p, write_caiman, write_nwb_pixels, write_nwb_images, write_export]


@pytest.mark.parametrize("write", WRITERS)
def test_weighted_and_overlapping_cells_come_in_as_they_are(tmp_path: Path, write: Any) -> None:
    found = read_rois(write(tmp_path, planted()), SHAPE)
    assert [as_dict(mask) for mask in found.masks] == planted()
    assert found.remarks == []


def test_a_label_image_gives_its_cells(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint16)
    for number, mask in zip((3, 9), (planted()[0], planted()[2]), strict=True):
        for y, x in mask:
            labels[y, x] = number
    np.save(tmp_path / "labels.npy", labels)
    found = read_rois(tmp_path / "labels.npy", SHAPE).masks
    assert [set(as_dict(mask)) for mask in found] == [set(planted()[0]), set(planted()[2])]
    assert [mask.name for mask in found] == ["3", "9"]


def test_the_other_way_round_image_masks_are_understood_where_the_size_tells(tmp_path: Path) -> None:
    found = read_rois(write_nwb_images(tmp_path, planted(), by_schema=False), SHAPE)
    assert [as_dict(mask) for mask in found.masks] == planted()


def test_a_folder_of_suite2p_will_do_and_its_judgement_is_taken(tmp_path: Path) -> None:
    write_suite2p(tmp_path, planted(), [True, False, True])
    found = read_rois(tmp_path, SHAPE)
    assert [as_dict(mask) for mask in found.masks] == [planted()[0], planted()[2]]
    assert [mask.name for mask in found.masks] == ["0", "2"]
    assert found.remarks == ["2 of 3 ROIs are cells by iscell.npy"]
    np.save(tmp_path / "iscell.npy", np.ones((2, 2)))
    with pytest.raises(CalibrationError, match=r"iscell\.npy: does not fit"):
        read_rois(tmp_path, SHAPE)


def test_the_export_that_the_page_shows_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[4] / "docs" / "how-to" / "bring-your-own-rois.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    write_suite2p(tmp_path, planted())
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert [as_dict(mask) for mask in read_rois(tmp_path / "rois.npz", SHAPE).masks] == planted()


def test_components_that_caiman_rejected_stay_out(tmp_path: Path) -> None:
    found = read_rois(write_caiman(tmp_path, planted(), accepted=[2, 0]), SHAPE)
    assert [as_dict(mask) for mask in found.masks] == [planted()[2], planted()[0]]
    assert found.remarks == ["2 of 3 components are accepted by CaImAn"]


def test_a_stat_that_would_run_something_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "stat.npy", np.array([{"ypix": print}], dtype=object))
    with pytest.raises(CalibrationError, match=r"stat\.npy: cannot be read.*print.*bring-your-own-rois"):
        read_rois(tmp_path / "stat.npy", SHAPE)
    np.save(tmp_path / "stat.npy", np.array([{"nothing": 1}], dtype=object))
    with pytest.raises(CalibrationError, match="ROI 0 is none of suite2p's"):
        read_rois(tmp_path / "stat.npy", SHAPE)


@pytest.mark.parametrize("size", [(40, 50), (60, 40)])
def test_cells_of_a_field_of_another_size_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(CalibrationError, match="components are of 40 x 60 px, the movie is"):
        read_rois(write_caiman(tmp_path, planted()), size)
    if size == (40, 50):
        with pytest.raises(CalibrationError, match="image masks are 60 x 40 px, the movie is 40 x 50 px"):
            read_rois(write_nwb_images(tmp_path, planted()), size)
    for write in (write_suite2p, write_nwb_pixels, write_export):
        with pytest.raises(CalibrationError, match=r"reaches to line 3., pixel 5., the movie is 20 x 30 px"):
            read_rois(write(tmp_path, planted()), (20, 30))


@pytest.mark.parametrize("write", [write_suite2p, write_caiman, write_nwb_pixels, write_nwb_images])
def test_a_cell_of_three_pixels_and_one_given_twice_are_left_out_and_said(tmp_path: Path, write: Any) -> None:
    three = {(3, 3): 1.0, (3, 4): 1.0, (4, 3): 1.0}
    masks = [*planted(), three, planted()[0]]
    found = read_rois(write(tmp_path, masks), SHAPE)
    assert [as_dict(mask) for mask in found.masks] == planted()
    assert len(found.remarks) == 2
    assert "3 pixels, 4 are needed" in found.remarks[0]
    assert "same pixels as ROI" in found.remarks[1]
    with pytest.raises(CalibrationError, match=r"no cell that can be used.*3 pixels"):
        read_rois(write(tmp_path, [three]), SHAPE)


def test_an_empty_cell_is_left_out_and_said(tmp_path: Path) -> None:
    found = read_rois(write_nwb_pixels(tmp_path, [planted()[0], {}, planted()[1]]), SHAPE)
    assert [as_dict(mask) for mask in found.masks] == planted()[:2]
    assert found.remarks == ["ROI 11 is left out: it has 0 pixels, 4 are needed"]


def test_a_cell_over_the_border_is_cut_and_said(tmp_path: Path) -> None:
    over = {(y, x): 1.0 for y in range(36, 43) for x in range(10, 16)}
    found = read_rois(write_nwb_pixels(tmp_path, [over]), SHAPE)
    assert as_dict(found.masks[0]) == {at: 1.0 for at in over if at[0] < 40}
    assert "cut" in found.remarks[0]


def test_voxels_volumes_and_tables_without_masks_are_refused(tmp_path: Path) -> None:
    for column, reason in (("voxel_mask", "holds voxels"), ("other", "holds no masks")):
        with h5py.File(tmp_path / "t.nwb", "w") as file:
            fill_pixels(table(file), planted(), column)
        with pytest.raises(CalibrationError, match=reason):
            read_rois(tmp_path / "t.nwb", SHAPE)
    with h5py.File(write_caiman(tmp_path, planted()), "a") as file:
        del file["estimates/dims"]
        file["estimates/dims"] = np.array([40, 30, 2])
    with pytest.raises(CalibrationError, match="volume"):
        read_rois(tmp_path / "results.hdf5", SHAPE)


def test_of_several_tables_one_must_be_chosen(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "t.nwb", "w") as file:
        fill_pixels(table(file, "first"), planted())
        fill_pixels(table(file, "second"), planted()[:1])
    with pytest.raises(CalibrationError, match=r"2 segmentations.*choose one"):
        read_rois(tmp_path / "t.nwb", SHAPE)
    chosen = Path(f"{tmp_path / 't.nwb'}:/processing/ophys/ImageSegmentation/second")
    assert len(read_rois(chosen, SHAPE).masks) == 1


@pytest.mark.parametrize("name", ["r.npy", "r.npz", "r.tif", "r.roi", "r.zip", "r.h5", "r.nwb", "r.txt"])
@pytest.mark.parametrize("content", [None, b"", b"this is no file of cells"])
def test_what_is_missing_empty_or_something_else_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CalibrationError) as refused:
        read_rois(tmp_path / name, SHAPE)
    assert str(tmp_path / name) in str(refused.value)
    assert refused.value.remedy


def test_hdf5_without_cells_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["movie"] = np.zeros((3, 4, 5))
    with pytest.raises(CalibrationError, match="holds no ROIs"):
        read_rois(tmp_path / "m.h5", SHAPE)


def imagej(points: Any, name: str, **changes: Any) -> roifile.ImagejRoi:
    roi = roifile.ImagejRoi.frompoints(points, name=name)
    roi.roitype = changes.pop("roitype", roifile.ROI_TYPE.POLYGON)
    for key, value in changes.items():
        setattr(roi, key, value)
    return roi


OUTLINE = np.array([(10.0, 8.0), (22.0, 10.0), (25.0, 20.0), (15.0, 26.0), (8.0, 18.0)])


@pytest.mark.parametrize("suffix", [".roi", ".zip"])
def test_an_outline_holds_the_pixels_whose_centre_is_in_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells{suffix}"
    roifile.roiwrite(path, [imagej(OUTLINE, "left")] if suffix == ".zip" else imagej(OUTLINE, "left"))
    (mask,) = read_rois(path, SHAPE).masks
    rows, cols = polygon(OUTLINE[:, 1] - 0.5, OUTLINE[:, 0] - 0.5, SHAPE)
    expected = set(zip(rows.tolist(), cols.tolist(), strict=True))
    found = set(as_dict(mask))
    # a centre exactly on an edge may go either way
    assert len(found ^ expected) <= 4
    assert len(found) > 150
    area = 0.5 * abs(
        np.dot(OUTLINE[:, 0], np.roll(OUTLINE[:, 1], 1)) - np.dot(OUTLINE[:, 1], np.roll(OUTLINE[:, 0], 1))
    )
    assert len(found) == pytest.approx(area, rel=0.03)
    assert mask.name == "left"


def test_a_rectangle_and_an_oval_are_exact(tmp_path: Path) -> None:
    box = dict(left=5, top=3, right=15, bottom=11)
    shapes = [
        imagej([(5, 3), (15, 11)], "box", roitype=roifile.ROI_TYPE.RECT, **box),
        imagej([(5, 3), (15, 11)], "oval", roitype=roifile.ROI_TYPE.OVAL, **(box | {"left": 30, "right": 40})),
    ]
    roifile.roiwrite(tmp_path / "r.zip", shapes)
    rectangle, oval = read_rois(tmp_path / "r.zip", SHAPE).masks
    assert set(as_dict(rectangle)) == {(y, x) for y in range(3, 11) for x in range(5, 15)}
    assert set(as_dict(oval)) == {
        (y, x) for y in range(3, 11) for x in range(30, 40) if ((y - 6.5) / 4) ** 2 + ((x - 34.5) / 5) ** 2 <= 1
    }


def test_a_line_or_a_point_is_no_cell(tmp_path: Path) -> None:
    for kind in (roifile.ROI_TYPE.LINE, roifile.ROI_TYPE.POINT):
        imagej([(5, 5), (9, 9)], "mine", roitype=kind).tofile(tmp_path / "l.roi")
        with pytest.raises(CalibrationError, match=rf"'mine' is a {kind.name.lower()}, not an area"):
            read_rois(tmp_path / "l.roi", SHAPE)


def test_rois_of_other_slices_stay_out_and_the_frame_on_show_says_nothing(tmp_path: Path) -> None:
    shifts = {"a": (0, 1), "b": (8, 2), "c": (16, 2)}
    rois = [imagej(OUTLINE + np.array([dx, 0]), name, z_position=z, t_position=7) for name, (dx, z) in shifts.items()]
    roifile.roiwrite(tmp_path / "r.zip", rois)
    assert [mask.name for mask in read_rois(tmp_path / "r.zip", SHAPE, plane=1).masks] == ["b", "c"]
    roifile.roiwrite(tmp_path / "same.zip", [imagej(OUTLINE, "d", z_position=5, position=300)])
    assert [mask.name for mask in read_rois(tmp_path / "same.zip", SHAPE).masks] == ["d"]


def test_the_core_of_a_blurred_footprint_leaves_out_its_rim() -> None:
    mask = RoiMask(np.array([1, 1, 2, 2]), np.array([3, 4, 3, 4]), np.array([1.0, 0.5, 0.2, 0.19], np.float32), "s")
    assert mask.core_pixels(10).tolist() == [13, 14, 23]
