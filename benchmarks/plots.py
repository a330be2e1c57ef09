"""The plots of benchmarks/README.md, drawn by report.py with matplotlib."""

# mypy: disable-error-code="import-not-found"
# matplotlib is of the extra bench, without which types are checked, too

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from gpuquant.bench.measuring import Measurement

Shown = list[tuple[float, list[Measurement]]]  # K, megapixels or the number of problems; what was measured there
AXES = {"scaling-with-pixels": "megapixels", "scaling-with-colors": "K", "scaling-with-problems": "problems"}
OURS = "#d55e00"
OTHERS = ["#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999", "#7f3c8d", "#11a579"]
MARKERS = "osD^vP*<>hX"


def draw(path: Path, name: str, shown: Shown, metadata: dict[str, str]) -> None:
    """Two panels and a legend to their right."""
    names = list(dict.fromkeys(one.name for _, rows in shown for one in rows))
    looks = dict(zip(names, _looks(names), strict=True))
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    if name in AXES:
        for panel, heading in zip(panels, ("seconds", "peak MB"), strict=True):
            _lines(panel, shown, looks, heading)
            panel.set(xscale="log", yscale="log", xlabel=AXES[name], ylabel=heading)
    else:
        for panel, (n_colors, rows) in zip(panels, shown[:2], strict=True):
            for one in rows:
                if one.seconds:
                    color, marker = looks[one.name]
                    panel.plot(one.median, one.mse, marker, color=color, label=one.name, markersize=9)
            panel.set(xscale="log", yscale="log", xlabel="seconds", ylabel="MSE", title=f"K = {n_colors:g}")
    for panel in panels:
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        panel.grid(color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
    handles: dict[str, Artist] = {}
    for panel in panels:
        found, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8, frameon=False)
    figure.savefig(path, dpi=100, metadata=metadata)
    plt.close(figure)


def _looks(names: list[str]) -> list[tuple[str, str]]:
    """A color and a marker for each: one color for all of ours, none twice together with a marker."""
    looks, others = [], 0
    for index, name in enumerate(names):
        if name.startswith("gpuquant"):
            looks.append((OURS, MARKERS[index % len(MARKERS)]))
        else:
            looks.append((OTHERS[others % len(OTHERS)], MARKERS[others % len(MARKERS)]))
            others += 1
    return looks


def _lines(panel: Axes, shown: Shown, looks: dict[str, tuple[str, str]], heading: str) -> None:
    for name, (color, marker) in looks.items():
        found = [(at, one) for at, rows in shown for one in rows if one.name == name and one.seconds]
        heights = [one.median if heading == "seconds" else one.peak_megabytes or float("nan") for _, one in found]
        width = 2.2 if color == OURS else 1.2
        panel.plot([at for at, _ in found], heights, f"{marker}-", color=color, label=name, linewidth=width)
