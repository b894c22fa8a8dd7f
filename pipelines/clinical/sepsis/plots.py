"""Plots as inline SVG: axes, lines, bars and intervals, nothing loaded from anywhere.

Holds: the drawing. Does not hold: what is drawn (`card`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK, SOFT, MAIN, OTHER, WARN = "#1b2733", "#c8d1da", "#1f5fa8", "#8a5a00", "#a31621"
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 44


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale: its ends, where ticks stand, what it says; `percent` tells ticks in hundredths."""

    low: float
    high: float
    ticks: Sequence[float]
    label: str
    percent: bool = False

    def tick(self, value: float) -> str:
        return f"{value * 100:g} %" if self.percent else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot's area in pixels and its two axes."""

    x: Axis
    y: Axis
    width: int = 460
    height: int = 300

    def px(self, value: float) -> float:
        share = (value - self.x.low) / (self.x.high - self.x.low)
        return _LEFT + share * (self.width - _LEFT - _RIGHT)

    def py(self, value: float) -> float:
        share = (value - self.y.low) / (self.y.high - self.y.low)
        return self.height - _BOTTOM - share * (self.height - _TOP - _BOTTOM)

    def drawing(self, title: str, *marks: str) -> str:
        """The plot with its axes; `title` is read out by screen readers."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{self._grid()}{''.join(marks)}</svg>"
        )

    def _grid(self) -> str:
        left, right, low = _LEFT, self.width - _RIGHT, self.height - _BOTTOM
        rows = (
            f'<line x1="{left}" x2="{right}" y1="{self.py(tick):.1f}" y2="{self.py(tick):.1f}" stroke="#e6ebf0"/>'
            + _text(left - 6, self.py(tick) + 4, self.y.tick(tick), "end")
            for tick in self.y.ticks
        )
        columns = (_text(self.px(tick), low + 16, self.x.tick(tick), "middle") for tick in self.x.ticks)
        base = f'<line x1="{left}" x2="{right}" y1="{low}" y2="{low}" stroke="{INK}"/>'
        across = _text((left + right) / 2, self.height - 6, self.x.label, "middle")
        up = (
            f'<text transform="translate(12 {(low + _TOP) / 2:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y.label)}</text>"
        )
        return "".join((*rows, *columns, base, across, up))


def line(frame: Frame, points: Sequence[tuple[float, float]], colour: str = MAIN, dashed: bool = False) -> str:
    """A line through points; those outside the frame are left out."""
    kept = [(x, y) for x, y in points if frame.x.low <= x <= frame.x.high and frame.y.low <= y <= frame.y.high]
    path = " ".join(f"{frame.px(x):.1f},{frame.py(y):.1f}" for x, y in kept)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def dot(frame: Frame, x: float, y: float, says: str, colour: str = MAIN) -> str:
    """A point that says what it is when pointed at."""
    return (
        f'<circle cx="{frame.px(x):.1f}" cy="{frame.py(y):.1f}" r="4" fill="{colour}">'
        f"<title>{escape(says)}</title></circle>"
    )


def whisker(frame: Frame, x: float, low: float, high: float, colour: str = MAIN) -> str:
    """An upright interval."""
    low, high = max(low, frame.y.low), min(high, frame.y.high)
    return (
        f'<line x1="{frame.px(x):.1f}" x2="{frame.px(x):.1f}" y1="{frame.py(low):.1f}" y2="{frame.py(high):.1f}" '
        f'stroke="{colour}"/>'
    )


def bar(frame: Frame, x: float, width: float, value: float, says: str, colour: str = MAIN) -> str:
    """An upright bar from the lower end of the frame."""
    left, right, top = frame.px(x - width / 2), frame.px(x + width / 2), frame.py(value)
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{frame.py(frame.y.low) - top:.1f}" '
        f'fill="{colour}"><title>{escape(says)}</title></rect>'
    )


def said(frame: Frame, x: float, y: float, text: str, colour: str = INK, anchor: str = "start") -> str:
    """Words at a point."""
    return _text(frame.px(x) + 6, frame.py(y) - 6, text, anchor, colour)


def _text(x: float, y: float, text: str, anchor: str, colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
