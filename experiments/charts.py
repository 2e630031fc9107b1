"""Owns the charts: lines over a common axis, drawn by matplotlib as SVG. Equal charts are equal files."""

from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from experiments.result import Chart

WIDTH_IN, HEIGHT_IN = 8.4, 4.2
INK, PALE, GRID = "#1f2328", "#59636e", "#d1d9e0"
COLOURS = ("#0969da", "#cf222e", "#2da44e", "#bf8700", "#8250df", "#8c959f", "#1b7c83", "#bc4c00")
STYLES = ("-", "--", "-.", ":")  # a second round of the colours is told by them
STYLE: Any = {
    "svg.hashsalt": "reclaim",  # else the names of the file's parts are made up anew each time
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the layout is the same on every machine
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": PALE,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
}


def svg(chart: Chart) -> str:
    """The chart as SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
        _draw(figure.subplots(), chart)
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Title": chart.title})
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def _draw(axes: Axes, chart: Chart) -> None:
    for at, (name, points) in enumerate(chart.series.items()):
        colour, style = COLOURS[at % len(COLOURS)], STYLES[at // len(COLOURS) % len(STYLES)]
        x, y = [x for x, _ in points], [y for _, y in points]
        axes.plot(x, y, label=name, linewidth=1.6, color=colour, linestyle=style)
    axes.set_title(chart.title, loc="left", fontsize=12, fontweight="bold", pad=12)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.set_ylim(bottom=0)
    axes.margins(x=0.01)
    axes.grid(visible=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    _mark(axes, chart)
    if len(chart.series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)


def _mark(axes: Axes, chart: Chart) -> None:
    """A line for each mark, with its words beside it, at one of three heights so that neighbours can be read."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 1.18)
    for at, (x, words) in enumerate(chart.marks):
        axes.axvline(x, color=PALE, linewidth=0.8, linestyle=(0, (2, 2)))
        height = 0.99 - 0.055 * (at % 3)
        axes.annotate(
            words, (x, height), xycoords=axes.get_xaxis_transform(), xytext=(3, 0), textcoords="offset points",
            fontsize=8, color=PALE, va="top",
        )  # fmt: skip
