"""The plots of benchmarks/README.md, drawn by report.py with matplotlib, for light and for dark pages.

A program has the same color everywhere, and each of its variants the same mark. Nothing is behind the lines, and gray
letters are read on white and on black.
"""

# mypy: disable-error-code="import-not-found"
# matplotlib is of the extra bench, without which types are checked, too

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from looks_of_lines import MOST_ERROR, look, place
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

GRAY = "#7d8590"  # letters and axes: contrast of 3.7 on white, and of 5 on GitHub's dark pages
Panel = tuple[str, str, str, dict[str, list[tuple[float, float]]]]  # title, across, up, points by name


def draw(path: Path, panels: list[Panel], metadata: dict[str, str]) -> None:
    """The panels side by side, and a legend to their right."""
    letters = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: Any = dict.fromkeys(letters, GRAY) | {"axes.facecolor": "none", "figure.facecolor": "none"}
    with mpl.rc_context(settings):
        width = 4.2 * len(panels) + 2.8
        figure, axes = plt.subplots(1, len(panels), figsize=(width, 4.2), layout="constrained", squeeze=False)
        for panel, axis in zip(panels, axes[0], strict=True):
            _draw_panel(axis, *panel)
        handles: dict[str, Artist] = {}
        for axis in axes[0]:
            found, labels = axis.get_legend_handles_labels()
            handles |= dict(zip(labels, found, strict=True))
        names = sorted(handles, key=place)
        shown = [handles[name] for name in names]
        figure.legend(shown, names, loc="outside right center", fontsize=8, frameon=False)
        figure.savefig(path, dpi=100, metadata=metadata)
        plt.close(figure)


def _draw_panel(axis: Axes, title: str, across: str, up: str, points: dict[str, list[tuple[float, float]]]) -> None:
    for name, places in points.items():
        color, marker = look(name)
        is_ours = name.startswith("gpuquant")
        axis.plot(
            [place for place, _ in places],
            [height for _, height in places],
            f"{marker}-",
            color=color,
            label=name,
            linewidth=2.4 if is_ours else 1.1,
            markersize=8 if is_ours else 6,
            zorder=3 if is_ours else 2,
        )
    axis.set(xscale="log", yscale="log", xlabel=across, ylabel=up, title=title)
    lowest = min((height for found in points.values() for _, height in found), default=0)
    if points and (across, up) == ("megapixels", "MSE") and axis.get_ylim()[1] > MOST_ERROR * lowest:
        axis.set(yscale="linear", ylim=(0.95 * lowest, MOST_ERROR * lowest))
    for one in (axis.xaxis, axis.yaxis):
        if one.get_scale() == "linear":
            continue
        one.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=9))
        one.set_major_formatter("{x:g}")
        one.set_minor_formatter(NullFormatter())
    axis.grid(color=GRAY, alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
