"""Choosing a file or folder on a sheet inside the window, so that nothing covers STOP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyqtgraph.Qt import QtCore, QtWidgets

from gui.widgets.overlay import Overlay


def choose_path(
    overlay: Overlay, title: str, start: str, on_chosen: Callable[[str], None], *, folder: bool = False, names: str = ""
) -> None:
    """Show the sheet; `on_chosen` gets the path.

    Parameters
    ----------
    overlay : Overlay
        Of the window.
    title : str
    start : str
        Where to begin to look.
    on_chosen : callable
    folder : bool
        A folder is wanted.
    names : str
        Filter such as ``Calibration (*.h5)``.
    """
    dialog = QtWidgets.QFileDialog(None)
    dialog.setWindowFlags(QtCore.Qt.WindowType.Widget)
    dialog.setOption(QtWidgets.QFileDialog.Option.DontUseNativeDialog, True)
    mode = QtWidgets.QFileDialog.FileMode
    dialog.setFileMode(mode.Directory if folder else mode.ExistingFile)
    if names:
        dialog.setNameFilters([names, "All files (*)"])
    beginning = Path(start).expanduser() if start else Path.cwd()
    while not beginning.is_dir() and beginning != beginning.parent:
        beginning = beginning.parent
    dialog.setDirectory(str(beginning))
    dialog.setSizeGripEnabled(False)

    def done(code: int) -> None:
        chosen = dialog.selectedFiles()
        overlay.take_away()
        if code == QtWidgets.QDialog.DialogCode.Accepted.value and chosen:
            on_chosen(chosen[0])

    dialog.finished.connect(done)
    overlay.show_sheet(title, dialog, width_px=820, height_px=560)
    dialog.show()
