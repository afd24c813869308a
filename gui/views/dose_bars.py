"""Dose against limits, one bar a limit and output."""

from __future__ import annotations

import math
from typing import Any

from pyqtgraph.Qt import QtWidgets

from gui.numbers import number, percent
from gui.theme import Theme
from gui.widgets.limit_bar import LimitBar
from rt_engine.interfaces.messages import StateHeader

_BARS = {
    "total_energy": ("total energy", "total_energy_mj", "max_total_energy_mj", "mJ"),
    "energy_per_target": ("energy of the worst target", "max_energy_per_target_mj", "max_energy_per_target_mj", "mJ"),
    "duty": ("duty", "duty", "max_duty", ""),
    "rate": ("pulse rate", "", "max_rate_hz", "Hz"),
}
"""Fraction -> caption, key of the dose, key of the limit, unit."""


class DoseBars(QtWidgets.QWidget):
    """Bars for every output."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("clear")
        self._box = QtWidgets.QVBoxLayout(self)
        self._box.setContentsMargins(0, 0, 0, 0)
        self._box.setSpacing(4)
        self.bars: dict[tuple[str, str], LimitBar] = {}
        self._theme = Theme()

    def apply_theme(self, theme: Theme) -> None:
        """Take the colours."""
        self._theme = theme

    def show_dose(self, header: StateHeader) -> None:
        """Show what is used of every limit."""
        for output in list(header.dose)[:8]:
            dose, limits = header.dose[output], header.limits.get(output, {})
            told = dose.get("fractions")
            fractions = told if isinstance(told, dict) else {}
            for name in (*_BARS, *[one for one in list(fractions)[:12] if one not in _BARS]):
                self._say(str(output)[:24], str(name)[:32], dose, limits, fractions)

    def _say(
        self, output: str, name: str, dose: dict[str, Any], limits: dict[str, Any], fractions: dict[str, Any]
    ) -> None:
        words, used_key, limit_key, unit = _BARS.get(name, (name.replace("_", " "), "", "", ""))
        used, limit = _number(dose.get(used_key)), _number(limits.get(limit_key))
        fraction = _number(fractions.get(name))
        if not math.isfinite(fraction) and limit > 0:
            fraction = used / limit
        if not math.isfinite(fraction):
            return
        text = percent(fraction)
        if math.isfinite(limit):
            shown = used if math.isfinite(used) else fraction * limit
            text = f"{number(shown)} of {number(limit, 3, unit)}   {percent(fraction)}"
        bar = self.bars.get((output, name))
        if bar is None:
            bar = self.bars[(output, name)] = LimitBar(f"{output}: {words}")
            bar.apply_theme(self._theme)
            self._box.addWidget(bar)
        bar.say(text, fraction)


def _number(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if good else math.nan
