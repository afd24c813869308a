"""One look for every widget: palette, sizes, and the style sheet made of them."""

from __future__ import annotations

from dataclasses import dataclass

from gui.palette import DARK, LIGHT, STOP_RED, STOP_RED_DOWN, Palette

_BASE_PX, _LARGE_PX, _LARGE_TAB_PX = 13, 20, 17
_LARGE_FOR = (1280, 720)
"""Window (width, height) for which `_LARGE_PX` is right: in a larger one the letters grow with it."""
_SCREEN_LINES = 1440
"""Screens with more lines than that have smaller dots: letters grow."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Palette and size of letters; `scale` grows with the window (large) or with the dots of the screen."""

    palette: Palette = DARK
    large: bool = False
    scale: float = 1.0

    @property
    def base_px(self) -> int:
        """Height of ordinary letters, pixels."""
        return round((_LARGE_PX if self.large else _BASE_PX) * self.scale)

    def px(self, factor: float) -> int:
        """A length that grows with the letters, pixels."""
        return round(self.base_px * factor)

    def style_sheet(self) -> str:
        """Style sheet of the whole window."""
        return _TEMPLATE.format(
            p=self.palette,
            base=self.base_px,
            small=self.px(0.88),
            title=self.px(0.92),
            big=self.px(1.7),
            tab=round((_LARGE_TAB_PX if self.large else _BASE_PX) * self.scale),
            tab_pad=round(6 * self.scale),
            huge=self.px(2.1),
            pad=self.px(0.38),
            pad_wide=self.px(0.8),
            radius=self.px(0.45),
            check=self.px(1.1),
            bar=self.px(0.75),
            stop=STOP_RED,
            stop_down=STOP_RED_DOWN,
            stop_size=self.px(1.9),
        )


def theme_named(name: str, large: bool, scale: float = 1.0) -> Theme:
    """Theme by the name of its palette; dark for any other name."""
    return Theme(LIGHT if name == "light" else DARK, large, scale)


def scale_for(large: bool, width_px: int, height_px: int, screen_lines: int) -> float:
    """How much larger letters are than in a window of 1280 x 720 on an ordinary screen."""
    if large:
        return min(max(min(width_px / _LARGE_FOR[0], height_px / _LARGE_FOR[1]), 0.8), 4.0)
    return min(max(screen_lines / _SCREEN_LINES, 1.0), 3.0)


_TEMPLATE = """
* {{ font-size: {base}px; color: {p.text}; outline: none; }}
QWidget#window, QWidget#page {{ background: {p.background}; }}
QWidget#bar {{ background: {p.surface}; border-bottom: 1px solid {p.line}; }}
QWidget#status {{ background: {p.surface}; border-top: 1px solid {p.line}; }}
QFrame#card {{ background: {p.surface}; border: 1px solid {p.line}; border-radius: {radius}px; }}
QFrame#sheet {{ background: {p.surface}; border: 2px solid {p.accent}; border-radius: {radius}px; }}
QWidget#clear, QScrollArea, QScrollArea > QWidget > QWidget {{ background: transparent; border: none; }}
QLabel {{ background: transparent; }}
QLabel#title {{ color: {p.muted}; font-size: {title}px; font-weight: 600; }}
QLabel#muted {{ color: {p.muted}; }}
QLabel#small {{ color: {p.muted}; font-size: {small}px; }}
QLabel#big {{ font-size: {big}px; font-weight: 600; }}
QLabel#huge {{ font-size: {huge}px; font-weight: 700; }}
QLabel#bad {{ color: {p.danger}; font-weight: 600; }}
QPushButton {{ background: {p.raised}; border: 1px solid {p.line}; border-radius: {radius}px;
    padding: {pad}px {pad_wide}px; }}
QPushButton:hover {{ border-color: {p.accent}; }}
QPushButton:focus {{ border: 2px solid {p.accent}; }}
QPushButton:pressed {{ background: {p.line}; }}
QPushButton:checked {{ background: {p.accent}; color: {p.on_accent}; border-color: {p.accent}; }}
QPushButton:disabled {{ color: {p.stale}; background: {p.surface}; }}
QPushButton#primary {{ background: {p.accent}; color: {p.on_accent}; font-weight: 600; border-color: {p.accent}; }}
QPushButton#primary:disabled {{ background: {p.raised}; color: {p.stale}; border-color: {p.line}; }}
QPushButton#stop {{ background: {stop}; color: #ffffff; border: 2px solid #ffffff; border-radius: {radius}px;
    font-size: {stop_size}px; font-weight: 800; letter-spacing: 2px; padding: 2px {pad_wide}px; }}
QPushButton#stop:hover {{ background: #e8303b; }}
QPushButton#stop:pressed {{ background: {stop_down}; }}
QPushButton#tab {{ border: none; border-radius: 0; background: transparent; color: {p.muted};
    font-size: {tab}px; padding: {pad}px {tab_pad}px; border-bottom: 3px solid transparent; }}
QPushButton#tab:hover {{ color: {p.text}; }}
QPushButton#tab:checked {{ color: {p.text}; border-bottom: 3px solid {p.accent}; }}
QPushButton#tab:focus {{ background: {p.raised}; }}
QLineEdit, QPlainTextEdit, QSpinBox, QDoubleSpinBox, QComboBox {{ background: {p.background};
    border: 1px solid {p.line}; border-radius: {radius}px; padding: {pad}px; selection-background-color: {p.accent};
    selection-color: {p.on_accent}; }}
QLineEdit:focus, QPlainTextEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {{
    border: 1px solid {p.accent}; }}
QLineEdit:disabled, QComboBox:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled {{ color: {p.stale}; }}
QComboBox::drop-down {{ border: none; width: {check}px; }}
QComboBox::down-arrow {{ image: none; width: 0; height: 0; }}
QComboBox QAbstractItemView {{ background: {p.raised}; border: 1px solid {p.line};
    selection-background-color: {p.accent}; selection-color: {p.on_accent}; }}
QSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::up-button, QDoubleSpinBox::down-button {{ width: 0; }}
QCheckBox {{ spacing: {pad}px; background: transparent; }}
QCheckBox::indicator {{ width: {check}px; height: {check}px; border: 1px solid {p.muted}; border-radius: 3px;
    background: {p.background}; }}
QCheckBox::indicator:checked {{ background: {p.accent}; border-color: {p.accent}; }}
QCheckBox::indicator:focus {{ border: 2px solid {p.accent}; }}
QTableWidget, QListWidget, QTreeView, QListView {{ background: {p.surface}; border: none;
    alternate-background-color: {p.raised}; gridline-color: {p.line}; selection-background-color: {p.accent};
    selection-color: {p.on_accent}; }}
QTableWidget::item {{ padding: 1px {pad}px; }}
QHeaderView {{ background: {p.surface}; }}
QHeaderView::section {{ background: {p.surface}; color: {p.muted}; border: none; border-bottom: 1px solid {p.line};
    padding: {pad}px; font-size: {small}px; }}
QTableCornerButton::section {{ background: {p.surface}; border: none; }}
QProgressBar {{ background: {p.raised}; border: none; border-radius: {radius}px; height: {bar}px; text-align: center;
    color: {p.text}; }}
QProgressBar::chunk {{ background: {p.accent}; border-radius: {radius}px; }}
QSlider::groove:horizontal {{ background: {p.raised}; height: 6px; border-radius: 3px; }}
QSlider::sub-page:horizontal {{ background: {p.accent}; border-radius: 3px; }}
QSlider::handle:horizontal {{ background: {p.text}; width: {check}px; margin: -6px 0; border-radius: {radius}px; }}
QScrollBar:vertical {{ background: transparent; width: {bar}px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: {bar}px; margin: 0; }}
QScrollBar::handle {{ background: {p.line}; border-radius: 4px; min-height: 24px; min-width: 24px; }}
QScrollBar::handle:hover {{ background: {p.muted}; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QToolTip {{ background: {p.raised}; color: {p.text}; border: 1px solid {p.line}; padding: {pad}px; }}
QSplitter::handle {{ background: {p.background}; }}
"""
