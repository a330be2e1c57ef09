"""Write the tables of README.md between its markers, and its plots, from benchmarks/results. Usage: make_report.py

The results are what `pytest benchmarks --save benchmarks/results` writes. The plots need matplotlib (scripts/setup.sh
bench). Each plot keeps the digest of the results that it shows.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gpuquant.benchmark import Measurement, table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "benchmarks" / "pictures"
SUBJECTS = ("quantize", "kmeans")  # what plots show
MARKED = re.compile(r"(<!-- (\w+): made by scripts/make_report.py -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
KODAK = re.compile(r"Kodak, \d+ photos, K = (\d+), (.+): (MSE|time) .*")
DIGEST = "Results"  # the name under which a plot keeps it

PUBLISHED = """
Published, not measured here: [quantette](https://github.com/Ivordir/quantette) is written in Rust and has no package
for Python. Its author gives, for K = 256 on four threads of another machine, decoding left out: for five photos of 21
to 30 megapixels 0.036 to 0.049 s by Wu's method in sRGB, and 0.166 to 0.266 s by k-means in Oklab on a sample; for
bryggen 0.021 s by Wu's method, 0.053 s by k-means in Oklab on a sample of 262,144 pixels, and 0.229 s
with dithering.
"""


def documents(subject: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is stored of a subject, with the device that it ran on."""
    for path in sorted(RESULTS.glob(f"{subject}-*.json")):
        yield path.stem.removeprefix(f"{subject}-"), json.loads(path.read_text())


def tables(kind: str, **wanted: Any) -> list[dict[str, Any]]:
    """The stored tables of a kind, those of the CPU first."""
    wanted["kind"] = kind
    every = (
        one | {"device": device}
        for subject in SUBJECTS
        for device, document in documents(subject)
        for one in document["tables"]
    )
    return [one for one in every if all(one.get(key) == wanted[key] for key in wanted)]


def measurements(found: dict[str, Any]) -> list[Measurement]:
    return [Measurement(**{**row, "seconds": tuple(row["seconds"])}) for row in found["measurements"]]


def machine(about: dict[str, Any]) -> str:
    versions = f"Python {about['python']}, torch {about['torch']}, NumPy {about['numpy']}"
    cuda = f"{about['cuda']}, " if "cuda" in about else ""
    return f"{cuda}{about['processor']}, {about['cores']} cores, {about['threads']} threads; {versions}"


def section(heading: str, found: dict[str, Any]) -> str:
    """One stored table under a heading."""
    rows = measurements(found)
    megapixels = max(row.n_pixels for row in rows) / 1e6
    where = "" if found["device"] == "cpu" else f", {found['device']}"
    return f"\n**{heading}, {megapixels:.1f} megapixels, K = {found['n_colors']}{where}**\n\n{table(rows)}"


def ratios(subject: str, start: str = "") -> str:
    """The single figures whose names start so, as a table."""
    lines = ["| what | measured | beside it |", "| --- | ---: | --- |"]
    for _, document in documents(subject):
        rows = [row for row in document["ratios"] if row["what"].startswith(start)]
        lines += [f"| {row['what'].removeprefix(start)} | {row['measured']} | {row['beside']} |" for row in rows]
    return "\n".join(lines) + "\n"


def grid(cells: dict[str, dict[str, str]], columns: list[str]) -> str:
    """A table of so many columns beside the names of its rows."""
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    lines += [f"| {name} | {' | '.join(row.get(column, '') for column in columns)} |" for name, row in cells.items()]
    return "\n".join(lines) + "\n"


def efforts() -> str:
    """The error over the Kodak photographs and the time of each effort, a column for each K."""
    cells: dict[str, dict[str, str]] = {}
    for row in (row for _, document in documents("quality") for row in document["ratios"]):
        if matched := KODAK.fullmatch(row["what"]):
            cells.setdefault(f"{matched[2]}: {matched[3]}", {})[f"K = {matched[1]}"] = row["measured"]
    columns = {column for row in cells.values() for column in row}
    return grid(cells, sorted(columns, key=lambda column: int(column.removeprefix("K = "))))


def by_size(n_colors: int) -> str:
    """The seconds of each quantiser on the same photo in each size, a column for each."""
    cells: dict[str, dict[str, str]] = {}
    columns = {}
    for found in tables("peers", n_colors=n_colors, device="cpu"):
        rows = measurements(found)
        n_pixels = max(row.n_pixels for row in rows)
        columns[n_pixels] = f"{n_pixels / 1e6:.1f} megapixels"
        for row in rows:
            seconds = f"{row.median:.2f}" if row.seconds else "-"
            cells.setdefault(row.name, {})[columns[n_pixels]] = seconds
    heading = f"\n**Seconds by size, china.jpg, K = {n_colors}** (-: stopped, or not started)\n\n"
    return heading + grid(cells, [columns[n_pixels] for n_pixels in sorted(columns)])


def report() -> str:
    """All that stands between the markers."""
    parts = [
        f"\nMeasured on {device}: {machine(document['machine'])}.\n" for device, document in documents(SUBJECTS[0])
    ]
    parts += [section("china.jpg", found) for found in tables("peers", photo="china.jpg, 13MP")]
    parts += [by_size(8)]
    for name, described in PLOTS.items():
        parts.append(f"\n![{described}](benchmarks/pictures/{name}.png)\n\n*{described}.*\n")
    parts += [section(found["photo"], found) for found in tables("photos")]
    parts += [PUBLISHED]
    same = "k-means on all pixels from the same start, at most 10 iterations"
    parts += [section(same, found) for found in tables("same start", photo="13MP")]
    parts += [f"\n**Around it: a JPEG of 13.7 megapixels, K = 8**\n\n{ratios('quantize', FILES)}"]
    return "".join(parts)


FILES = "a JPEG of 13.7 megapixels, K = 8: "
PLOTS = {
    "error-against-time": "Error against time, 13.7 megapixels: lower and further left is better",
    "scaling-with-pixels": "Time and memory against megapixels, K = 16",
    "scaling-with-colors": "Time and memory against K, 13.7 megapixels",
    "scaling-with-problems": "One megapixel cut into so many problems of 8 clusters each",
}


PARTS: dict[str, Callable[[], str]] = {
    "results": report,
    "estimator": partial(ratios, "estimator"),
    "batch": partial(ratios, "batch"),
    "efforts": efforts,
    "targets": partial(ratios, "quality", "lake_atitlan_10mp, "),
    "dithering": partial(ratios, "looks", "dithering, "),
}


def readme() -> str:
    """README.md with the tables of all results between its markers."""
    return MARKED.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]().strip()}\n\n{found[3]}", README.read_text())


def digest() -> str:
    """Of the results that plots show."""
    stored = [document for subject in SUBJECTS for _, document in documents(subject)]
    return hashlib.sha256(json.dumps(stored).encode()).hexdigest()[:16]


def shown(kind: str, at: Callable[[dict[str, Any]], float], **wanted: Any) -> list[tuple[float, list[Measurement]]]:
    """What a plot shows at each place, of all devices; rows that ran beside each are shown once."""
    found: dict[float, dict[str, Measurement]] = {}
    for one in tables(kind, **wanted):
        rows = found.setdefault(at(one), {})
        for row in measurements(one):
            rows.setdefault(row.name, row)
    return [(place, list(rows.values())) for place, rows in sorted(found.items())]


def main() -> None:
    argparse.ArgumentParser(description="Write README.md's tables and plots from benchmarks/results.").parse_args()
    from report_plots import draw

    README.write_text(readme())
    print(f"wrote {README}")
    drawn = (
        shown("peers", lambda one: one["n_colors"], photo="china.jpg, 13MP"),
        shown("pixels", lambda one: max(row["n_pixels"] for row in one["measurements"]) / 1e6),
        shown("colors", lambda one: one["n_colors"]),
        shown("many problems", lambda one: one["n_problems"]),
    )
    for name, places in zip(PLOTS, drawn, strict=True):
        draw(PICTURES / f"{name}.png", name, places, {DIGEST: digest()})
        print(f"wrote {PICTURES / f'{name}.png'}")


if __name__ == "__main__":
    main()
