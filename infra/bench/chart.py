"""A line chart as SVG, with nothing but text: figures of a benchmark to be looked at.

Holds: the drawing. Does not hold: any measuring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 820, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 180, 30, 60
COLOURS = ("#1b6ca8", "#c0392b", "#2e7d32", "#7b4fa3")
TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its name, and its points' x (above 0) and y."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(lines: Sequence[Line], across: str, up: str) -> str:
    """The SVG. x is logarithmic, y begins at 0."""
    least = math.log10(max(1.0, min(min(line.x) for line in lines)))
    most = math.log10(max(10.0, max(max(line.x) for line in lines)))
    top = _round_up(max(max(line.y) for line in lines))

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(max(1.0, x)) - least) / max(1e-9, most - least)
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for step in range(TICKS + 1):
        y = top * step / TICKS
        (x0, py), (x1, _) = at(10**least, y), at(10**most, y)
        parts.append(f'<line x1="{x0:.1f}" y1="{py:.1f}" x2="{x1:.1f}" y2="{py:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 8:.1f}" y="{py + 4:.1f}" text-anchor="end">{y:.3g}</text>')
    for power in range(math.ceil(least), math.floor(most) + 1):
        px, py = at(10.0**power, 0)
        parts.append(f'<text x="{px:.1f}" y="{py + 18:.1f}" text-anchor="middle">{10**power:,}</text>')
    for n, line in enumerate(lines):
        colour = COLOURS[n % len(COLOURS)]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*p) for p in zip(line.x, line.y, strict=True)))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        label = TOP + 18 * n + 12
        parts.append(f'<text x="{WIDTH - RIGHT + 12}" y="{label}" fill="{colour}">{escape(line.name)}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 16}" text-anchor="middle">{escape(across)}</text>')
    parts.append(
        f'<text transform="translate(18 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    return "\n".join([*parts, "</svg>", ""])


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
