"""Cells that suite2p found: ``stat.npy``, with the judgement of ``iscell.npy`` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from drivers.microscopes.object_npy import ObjectNpyError, read_object_npy
from rt_engine.interfaces.errors import CalibrationError
from rt_engine.interfaces.numpy_files import why_unreadable
from rt_engine.interfaces.roi_mask import RoiMask


def read_suite2p(path: Path, remarks: list[str]) -> list[RoiMask]:
    """Weighted masks (``lam``) of the ROIs that are cells by ``iscell.npy``; of all where there is no such file.

    Parameters
    ----------
    path : Path
        ``stat.npy``. It is read as data, nothing in it is run.
    remarks : list of str
        Gets what a person should be told; appended to.

    Raises
    ------
    CalibrationError
        The file is torn, asks to run something, or holds no ROIs of suite2p.
    """
    try:
        stat = read_object_npy(path)
    except ObjectNpyError as error:
        raise CalibrationError(
            f"cannot be read as suite2p's stat.npy: {error}",
            "if you trust it, export it in suite2p's environment: docs/how-to/bring-your-own-rois.md",
            file=str(path),
        ) from error
    if not isinstance(stat, list):
        raise CalibrationError("holds no list of ROIs", "give suite2p's stat.npy", file=str(path))
    masks = [_mask(path, entry, number) for number, entry in enumerate(stat)]
    return _only_cells(path, masks, remarks)


def read_exported(path: Path) -> list[RoiMask]:
    """Masks of an ``.npz`` with `ypix`, `xpix`, `lam` of all ROIs in a row and `npix`, the pixels of each.

    Raises
    ------
    CalibrationError
        The file is torn or lacks a key.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["npix"])
            table = [np.split(file[name], ends[:-1]) for name in ("ypix", "xpix", "lam")]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise CalibrationError(
            f"cannot be read: {why_unreadable(error)}", "it needs ypix, xpix, lam and npix", file=str(path)
        ) from error
    entries = [dict(zip(("ypix", "xpix", "lam"), parts, strict=True)) for parts in zip(*table, strict=True)]
    return [_mask(path, entry, number) for number, entry in enumerate(entries)]


def _mask(path: Path, entry: Any, number: int) -> RoiMask:
    try:
        y, x = (np.asarray(entry[name], np.int64).ravel() for name in ("ypix", "xpix"))
        weight = np.asarray(entry["lam"], np.float32).ravel() if "lam" in entry else np.ones(len(y), np.float32)
        if not len(y) == len(x) == len(weight):
            raise ValueError("ypix, xpix and lam differ in length")
    except (TypeError, KeyError, ValueError) as error:
        raise CalibrationError(
            f"ROI {number} is none of suite2p's: {error}", "give suite2p's stat.npy", file=str(path)
        ) from error
    keep = weight > 0
    return RoiMask(y[keep], x[keep], weight[keep], str(number))


def _only_cells(path: Path, masks: list[RoiMask], remarks: list[str]) -> list[RoiMask]:
    verdict = path.with_name("iscell.npy")
    if not verdict.is_file():
        return masks
    try:
        cells = np.load(verdict, allow_pickle=False).reshape(len(masks), -1)[:, 0] > 0
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise CalibrationError(
            f"does not fit {path.name}: {error}", "take both files from one run of suite2p", file=str(verdict)
        ) from error
    remarks.append(f"{int(cells.sum())} of {len(masks)} ROIs are cells by {verdict.name}")
    return [mask for mask, is_cell in zip(masks, cells, strict=True) if is_cell]
