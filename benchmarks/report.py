"""Write the tables of benchmarks/README.md and README.md between their markers, and the plots, in seconds.

They show benchmarks/results, which `pytest benchmarks --save FOLDER` makes. The plots, in benchmarks/pictures, need
matplotlib, which scripts/setup.sh bench installs. Each keeps the numbers that it shows.

Example: .venv/bin/python benchmarks/report.py
"""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports that take long, or may fail
    sys.path.append(str(Path(__file__).parents[1] / "scripts"))
    from parts.arguments import Arguments  # type: ignore[import-not-found]

    Arguments(__doc__).parse_args()

import leading
import stored
from looks_of_lines import MOST_ERROR
from stored import MAIN_PHOTO, by_size, measurements
from tables import SAME_START, efforts, in_short, machines, perceived, ratios, section, sizes

from gpuquant.bench.measuring import Measurement

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
PICTURES = ROOT / "benchmarks" / "pictures"
MARKED = re.compile(r"(<!-- (\w+): made by benchmarks/report.py -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
DRAWN = "Drawn"  # the name under which a plot keeps its numbers
BY_SIZE = f"Time, error (up to {MOST_ERROR} times the lowest) and memory by size"
FILES = "a JPEG of 13.7 megapixels, K = 8: "

PUBLISHED = """
Published, not measured here: [quantette](https://github.com/Ivordir/quantette) is written in Rust and has no package
for Python. Its author gives, for K = 256 on four threads of another machine, decoding left out: for five photos of 21
to 30 megapixels 0.036 to 0.049 s by Wu's method in sRGB, and 0.166 to 0.266 s by k-means in Oklab on a sample; for
bryggen 0.021 s by Wu's method, 0.053 s by k-means in Oklab on a sample of 262,144 pixels, and 0.229 s with dithering.
"""

Points = dict[str, list[tuple[float, float]]]  # by the names of quantizers
Panel = tuple[str, str, str, Points]  # a title, what is to the right and what upwards, and the points
Figure = Callable[[Measurement], float | None]
FIGURES: dict[str, Figure] = {
    "seconds": lambda row: row.median,
    "MSE": lambda row: row.mse,
    "peak MB": lambda row: row.peak_megabytes,
}


def against(label: str, places: dict[float, list[Measurement]], heading: str, title: str = "") -> Panel:
    """A panel of one figure against a place: megapixels, K or a number of problems."""
    points: Points = {}
    for place, rows in sorted(places.items()):
        for row in rows:
            height = FIGURES[heading](row) if row.seconds else None
            if height:
                points.setdefault(row.name, []).append((place, height))
    return title, label, heading, points


def error_against_time() -> list[Panel]:
    panels = []
    for found in stored.tables("peers", photo=MAIN_PHOTO, device="cpu"):
        points = {row.name: [(row.median, row.mse)] for row in measurements(found) if row.seconds}
        panels.append((f"K = {found['n_colors']}", "seconds", "MSE", points))
    return panels


def by_pixels(n_colors: int) -> list[Panel]:
    places = {rows[0].n_pixels / 1e6: rows for rows in map(measurements, by_size(n_colors))}
    return [against("megapixels", places, heading) for heading in FIGURES]


def by_colors() -> list[Panel]:
    """Of the tables that are of K, and of the peers' where they are of the same quantizers."""
    places: dict[float, list[Measurement]] = {}
    for kind in ("colors", "peers"):
        for found in stored.tables(kind, photo=MAIN_PHOTO, device="cpu"):
            places.setdefault(found["n_colors"], measurements(found))
    some = {row.name for found in stored.tables("colors", device="cpu") for row in measurements(found)}
    places = {at: [row for row in rows if row.name in some] for at, rows in places.items()}
    return [against("K", places, heading) for heading in FIGURES]


def by_problems() -> list[Panel]:
    places = {found["n_problems"]: measurements(found) for found in stored.tables("many problems", device="cpu")}
    return [against("problems", places, heading) for heading in ("seconds", "peak MB")]


PLOTS: dict[str, tuple[str, Callable[[], list[Panel]]]] = {
    "error-against-time": ("Error against time, 13.7 megapixels: lower and further left is better", error_against_time),
    "by-size-8": (f"{BY_SIZE}, K = 8", partial(by_pixels, 8)),
    "by-size-256": (f"{BY_SIZE}, K = 256", partial(by_pixels, 256)),
    "by-colors": ("Time, error and memory by the number of colors, 13.7 megapixels", by_colors),
    "by-problems": ("One megapixel cut into so many problems of 8 clusters each", by_problems),
}


def picture(name: str) -> str:
    described = PLOTS[name][0]
    return f"\n![{described}](pictures/{name}.png)\n\n*{described}.*\n"


def report() -> str:
    """The tables and plots of the comparison with others."""
    parts = [machines()]
    parts += [section("china.jpg", found) for found in stored.tables("peers", photo=MAIN_PHOTO)]
    parts += [picture("error-against-time"), sizes(8), picture("by-size-8"), sizes(256), picture("by-size-256")]
    parts += [picture("by-colors")]
    parts += [section(found["photo"], found) for found in stored.tables("photos", photo="bryggen_17mp.jpg")]
    parts += [PUBLISHED]
    same = "k-means on all pixels from the same start, at most 10 iterations"
    parts += [section(same, found, SAME_START) for found in stored.tables("same start")]
    parts += [picture("by-problems")]
    parts += [
        f"\n**Around it: a JPEG of 13.7 megapixels and 0.5 million colors, K = 8**\n\n{ratios('quantize', FILES)}"
    ]
    return "".join(parts)


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"speed": lambda: f"{in_short()}\n{leading.in_short()}"},
    PAGE: {
        "results": report,
        "others": leading.everything,
        "estimator": partial(ratios, "estimator"),
        "batch": partial(ratios, "batch"),
        "large": partial(ratios, "large"),
        "remote": partial(ratios, "remote"),
        "cluster": partial(ratios, "cluster"),
        "page": partial(ratios, "report"),
        "pillow": partial(ratios, "quantize", "time / MEDIANCUT: "),
        "efforts": efforts,
        "targets": partial(ratios, "quality", "lake_atitlan_10mp, "),
        "looks": partial(ratios, "looks", "Oklab, "),
        "weighting": partial(ratios, "looks", "weighting "),
        "perceived": perceived,
        "dithering": partial(ratios, "looks", "dithering, "),
    },
}


def page(path: Path) -> str:
    """A page with the tables of all results between its markers, of which none may be missing."""
    parts, text = PAGES[path], path.read_text()
    marked = sorted(name for _, name, _ in MARKED.findall(text))
    if marked != sorted(parts):
        sys.exit(f"report: {path} has markers of {marked}, not of {sorted(parts)}")
    return MARKED.sub(lambda found: f"{found[1]}\n{parts[found[2]]().strip()}\n\n{found[3]}", text)


def drawn(panels: list[Panel]) -> str:
    """The numbers of a plot, as its file keeps them."""
    shown: list[dict[str, Any]] = [
        {"title": title, "across": across, "up": up, "points": {name: rounded(found) for name, found in points.items()}}
        for title, across, up, points in panels
    ]
    return json.dumps(shown)


def rounded(points: list[tuple[float, float]]) -> list[list[float]]:
    return [[float(f"{number:.6g}") for number in point] for point in points]


def main() -> None:
    from parts.arguments import needing

    with needing("bench"):
        from plots import draw

    missing = [name for name in stored.SUBJECTS if not (stored.RESULTS / f"{name}-cpu.json").exists()]
    if missing:
        sys.exit(
            f"report: {stored.RESULTS} has no results of {', '.join(missing)}: pytest benchmarks --save makes them"
        )
    texts = {path: page(path) for path in PAGES}
    for name, (_, panels) in PLOTS.items():
        draw(PICTURES / f"{name}.png", panels(), {DRAWN: drawn(panels())})
        sys.stdout.write(f"wrote {PICTURES / f'{name}.png'}\n")
    for path, text in texts.items():
        path.write_text(text)
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
