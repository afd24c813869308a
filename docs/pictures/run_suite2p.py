"""Run suite2p on a movie, for `make_cells_compared.py`; in a virtual environment of its own.

`pip install torch suite2p`, then `python run_suite2p.py MOVIE FRAME_RATE_HZ DIAMETER_PX OUT`. Defaults of suite2p but
for the rate, the diameter, the device, and no registration (the movie is registered already).
"""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path


class _Absent(types.ModuleType):
    """torchvision's compiled operators are missing from some CPU builds; what is used of suite2p needs none of them."""

    def __getattr__(self, name: str) -> _Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Absent(name)

    def __call__(self, *values: object, **named: object) -> None:
        """Nothing."""


def main(movie: Path, frame_rate_hz: float, diameter_px: float, out: Path) -> None:
    """Write suite2p's `stat.npy`, `iscell.npy`, `F.npy`, `Fneu.npy` to `out`."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = _Absent(name)
        sys.modules[name].__path__ = []
    import suite2p

    shutil.rmtree(out, ignore_errors=True)
    (out / "movie").mkdir(parents=True)
    shutil.copy(movie, out / "movie")
    settings = suite2p.default_settings()
    settings.update(torch_device="cpu", fs=frame_rate_hz, diameter=[diameter_px, diameter_px])
    settings["run"]["do_registration"] = 0
    places = suite2p.default_db()
    places.update(data_path=[str(out / "movie")], save_path0=str(out))
    suite2p.run_s2p(db=places, settings=settings)
    for name in ("stat", "iscell", "F", "Fneu"):
        shutil.copy(out / "suite2p" / "plane0" / f"{name}.npy", out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
