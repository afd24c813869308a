"""Dose ledger of a rig: what every output gave to this subject, and all of them together in this session."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rt_engine.interfaces.output_config import Limits, SessionLimits
from rt_engine.safety.dose_file import DoseFile
from rt_engine.safety.limits import Violation, bounds_of
from rt_engine.safety.output_dose import CAPACITY, OutputDose
from rt_engine.safety.train import Train

_TOTAL, _PULSES = 0, 1


class SessionDose:
    """Energy and pulses of one session, over all outputs.

    Parameters
    ----------
    limits : SessionLimits
    path : Path or None
        File in the session folder; None: in memory.

    Raises
    ------
    SafetyError
        The file cannot be opened or is damaged.
    """

    def __init__(self, limits: SessionLimits, path: Path | None = None) -> None:
        self._max_nj, self._max_pulses = int(limits.max_energy_mj * 1e6), limits.max_pulses
        self._file = DoseFile(path, 1)

    def violation(self, train: Train) -> Violation | None:
        """The limit of the session that `train` would break; None if it may be fired."""
        used_nj, pulses = map(int, self._file.scalars[:2])
        total_nj = used_nj + train.energy_nj
        if total_nj > self._max_nj:
            return Violation("session_energy_mj", total_nj / 1e6, self._max_nj / 1e6)
        if pulses + train.pulses > self._max_pulses:
            return Violation("session_pulses", pulses + train.pulses, self._max_pulses)
        return None

    def charge(self, train: Train) -> None:
        """Book a train that is about to be fired."""
        self._file.scalars[_TOTAL] += train.energy_nj
        self._file.scalars[_PULSES] += train.pulses

    def used(self) -> dict[str, Any]:
        """Dose of the session so far, and as `fractions` of its limits."""
        used_nj, pulses = map(int, self._file.scalars[:2])
        fractions = {"energy": used_nj / max(self._max_nj, 1), "pulses": pulses / self._max_pulses}
        return {"energy_mj": used_nj / 1e6, "pulses": pulses, "fractions": fractions}

    def sync(self) -> None:
        """Push the numbers to the disk."""
        self._file.sync()


class DoseLedger:
    """The ledgers of all outputs of a rig.

    Parameters
    ----------
    limits : mapping of str to Limits
        Output name to its limits.
    session_limits : SessionLimits
        Of the session, over all outputs.
    now_ns : int
        Monotonic time.
    folder : Path or None
        Where the files ``<output>.dose`` of this subject (or, without a subject, of this session) are; None: memory.
    grid_px : float
        See `OutputDose`; give 5 um in pixels where the pixel size is known.
    session_path : Path or None
        File of the session's dose, so that a restart in the middle does not begin anew; None: memory.
    wall_ns : callable
        Wall time.

    Raises
    ------
    SafetyError
        A file cannot be opened or is damaged.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        session_limits: SessionLimits,
        now_ns: int,
        folder: Path | None = None,
        *,
        grid_px: float = 6.0,
        capacity: int = CAPACITY,
        session_path: Path | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.outputs = {
            name: OutputDose(
                bounds_of(one),
                now_ns,
                None if folder is None else folder / f"{name}.dose",
                grid_px=grid_px,
                capacity=capacity,
                wall_ns=wall_ns,
            )
            for name, one in limits.items()
        }
        self.session = SessionDose(session_limits, session_path)

    def set_template(self, template_id: str, now_ns: int) -> None:
        """Say in which template positions are from now on; see `OutputDose.set_template`."""
        digest = hashlib.sha256(template_id.encode()).digest()
        for dose in self.outputs.values():
            dose.set_template((int.from_bytes(digest[:8], "little") >> 1) or 1, now_ns)

    def used(self, now_ns: int) -> dict[str, dict[str, Any]]:
        """Dose so far of every output."""
        return {name: dose.used(now_ns) for name, dose in self.outputs.items()}

    def sync(self) -> None:
        """Push the numbers to the disk; a few times a second at most, outside the path of a pulse."""
        for dose in self.outputs.values():
            dose.sync()
        self.session.sync()
