"""Owns the charts: horizontal bars with whiskers from the least to the most, as SVG written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.measuring import Sample

WIDTH, LEFT, RIGHT = 760, 210, 150
BAR, GAP, TOP, FOOT = 20, 8, 58, 14
FONTS = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
INK, PALE, GRID, GOAL = "#1f2328", "#59636e", "#d1d9e0", "#cf222e"
OURS, OTHERS, BOUND = "#0969da", "#8c959f", "#2da44e"  # what we made, what it is compared to, what it could be at best


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: its name, on the left.
        sample: what it shows; its median is the bar's length.
        colour: OURS, OTHERS or BOUND.
        goal: a value to reach, drawn across the bar.
    """

    label: str
    sample: Sample
    colour: str = OTHERS
    goal: float | None = None


def chart(title: str, unit: str, groups: Sequence[tuple[str, Sequence[Bar]]], form: str = ",.0f") -> str:
    """Groups of bars on one scale that begins at zero; each group may have a headline."""
    bars = [bar for _, group in groups for bar in group]
    scale = (WIDTH - LEFT - RIGHT) / max(max(bar.sample.most, bar.goal or 0) for bar in bars)
    lines: list[str] = []
    y = TOP
    for headline, group in groups:
        if headline:
            lines.append(_text(16, y + 14, headline, weight=600))
            y += BAR + 2
        for bar in group:
            lines += _bar(bar, y, scale, form)
            y += BAR + GAP
        y += GAP
    height = y + FOOT
    goals = " The dashed line is the goal." if any(bar.goal for bar in bars) else ""
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="{FONTS}" role="img">',
        f"<title>{escape(title)}, {escape(unit)}</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
        _text(16, 24, title, size=15, weight=600),
        _text(16, 42, f"{unit}; median, and the least and the most.{goals}", colour=PALE, size=12),
        f'<line x1="{LEFT}" y1="{TOP - 4}" x2="{LEFT}" y2="{height - FOOT}" stroke="{GRID}"/>',
    ]
    return "\n".join([*head, *lines, "</svg>"]) + "\n"


def _bar(bar: Bar, y: float, scale: float, form: str) -> list[str]:
    sample, middle = bar.sample, y + BAR / 2
    x = [LEFT + scale * value for value in (sample.least, sample.median, sample.most)]
    end = max(x[2], LEFT + scale * (bar.goal or 0))
    whisker = f"M{x[0]:.1f} {middle}H{x[2]:.1f}M{x[0]:.1f} {middle - 4}v8M{x[2]:.1f} {middle - 4}v8"
    lines = [
        _text(LEFT - 10, middle + 4.5, bar.label, anchor="end"),
        f'<rect x="{LEFT}" y="{y}" width="{x[1] - LEFT:.1f}" height="{BAR}" rx="2" fill="{bar.colour}"/>',
        f'<path d="{whisker}" stroke="{INK}" stroke-opacity="0.75" fill="none"/>',
        _text(end + 8, middle + 4.5, format(sample.median, form)),
    ]
    if bar.goal:
        line = f"M{LEFT + scale * bar.goal:.1f} {y - 3}v{BAR + 6}"
        lines.append(f'<path d="{line}" stroke="#ffffff" stroke-width="5"/>')
        lines.append(f'<path d="{line}" stroke="{GOAL}" stroke-width="2" stroke-dasharray="4 2"/>')
    return lines


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400, size: int = 13, colour: str = INK
) -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
