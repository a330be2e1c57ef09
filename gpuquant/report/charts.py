"""Histograms as bars: which numbers fall into one, and where it is drawn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuquant.errors import size_in_words

WIDTH, HEIGHT = 460, 150  # of the area of the bars, in units of the drawing
FEWEST_BARS, MOST_BARS = 8, 16  # a single bar would be as wide as the drawing
FEWEST_SIZES = 5  # of which each bar reaches twice as far up: with more the largest is lost on the way to gigabytes
STEPS = (0.25, 0.5, 1, 2, 5, 10, 20)  # dB that a bar may span
MOST_LABELS = 6  # below the bars


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram."""

    x: float
    y: float
    width: float
    height: float
    title: str  # what it stands for, with its number
    kind: str  # the series


@dataclass(frozen=True)
class Chart:
    """A histogram of one series or two."""

    title: str
    summary: str  # for those who do not see it
    bars: list[Bar]
    labels: list[tuple[float, str]]  # below the bars: where, and what
    most: int  # the number that the highest bar stands for


def psnr_chart(values: Sequence[float], n_lossless: int) -> Chart | None:
    """How many photos have which PSNR."""
    if not values:
        return None
    low, high = min(values), max(values)
    step = next((step for step in STEPS if (math.floor(high / step) - math.floor(low / step)) < MOST_BARS), None)
    step = step or (high - low) / (MOST_BARS - 1)
    first, n_bars = math.floor(low / step), math.floor(high / step) - math.floor(low / step) + 1
    lacking = max(0, FEWEST_BARS - n_bars)
    edges = [step * (first - lacking // 2 + number) for number in range(n_bars + lacking + 1)]
    lossless = f"; {n_lossless} more without loss" if n_lossless else ""
    summary = f"PSNR of {len(values)} photos, from {low:.1f} to {high:.1f} dB{lossless}"
    return _chart("PSNR, dB", summary, edges, {"after": values}, "{:g}".format, "dB")


def bytes_chart(before: Sequence[int], after: Sequence[int]) -> Chart | None:
    """How many photos, and how many results, have which size; each bar is about twice as far up as the one before."""
    every = [n_bytes for n_bytes in (*before, *after) if n_bytes > 0]
    if not every:
        return None
    edges = [math.floor(_round_size(min(every)))]
    while edges[-1] <= max(every):
        edges.append(_next_size(edges[-1]))
    while len(edges) <= FEWEST_SIZES:  # as many on either side
        edges.append(_next_size(edges[-1]))
        if edges[0] > 1:
            edges.insert(0, math.floor(_round_size(edges[0] - 1)))
    known: dict[str, Sequence[float]] = {"before": before, "after": after}
    series = {kind: sizes for kind, sizes in known.items() if sizes}
    title = "Sizes before and after" if len(series) > 1 else "Sizes of photos" if before else "Sizes of results"
    numbers = [f"{len(before)} photos"] * bool(before) + [f"{len(after)} results"] * bool(after)
    summary = f"sizes of {' and '.join(numbers)}, on a scale of 1, 2, 5, 10"
    return _chart(title, summary, edges, series, lambda edge: size_in_words(round(edge)), "")


def _round_size(n_bytes: float) -> float:
    """The largest of 1, 2, 5, 10, 20 and so on that is not above a number."""
    power = 10.0 ** math.floor(math.log10(n_bytes))
    return power * max(step for step in (1, 2, 5) if step * power <= n_bytes)


def _next_size(edge: int) -> int:
    first = int(str(edge)[0])
    return edge * 5 // 2 if first == 2 else edge * 2


def _chart(
    title: str,
    summary: str,
    edges: Sequence[float],
    series: dict[str, Sequence[float]],
    label: Callable[[float], str],
    unit: str,
) -> Chart:
    n_bars = len(edges) - 1
    counts = {kind: _counted(values, edges) for kind, values in series.items()}
    most = max(max(numbers) for numbers in counts.values())
    of_bar = WIDTH / n_bars
    gap = of_bar / (4 if len(series) > 1 else 16)
    width = (of_bar - gap) / len(series)
    bars = []
    for place, (kind, numbers) in enumerate(counts.items()):
        for number, n_photos in enumerate(numbers):
            height = HEIGHT * n_photos / most
            span = f"{label(edges[number])} to {label(edges[number + 1])} {unit}".strip()
            said = f"{span}{f', {kind}' if len(series) > 1 else ''}: {n_photos} photo{'s' * (n_photos != 1)}"
            x = of_bar * number + gap / 2 + width * place
            if n_photos:
                bars.append(Bar(round(x, 2), round(HEIGHT - height, 2), round(width, 2), round(height, 2), said, kind))
    every = -(-(n_bars + 1) // MOST_LABELS)
    labels = [(round(of_bar * number, 2), label(edge)) for number, edge in enumerate(edges) if number % every == 0]
    return Chart(title, summary, bars, labels, most)


def _counted(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """How many values each bar has: those from its edge on, below the next one."""
    numbers = [0] * (len(edges) - 1)
    for value in values:
        place = sum(edge <= value for edge in edges) - 1
        numbers[min(max(place, 0), len(numbers) - 1)] += 1  # an edge may be rounded past the value it is made for
    return numbers
