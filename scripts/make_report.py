"""Write the tables of README.md between its markers, and its plots, from benchmarks/results. Usage: make_report.py

The results are what `pytest benchmarks --save benchmarks/results` writes. The plots need matplotlib (scripts/setup.sh
bench). Each plot keeps the digest of the results that it shows.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpuquant.benchmark import Measurement
from gpuquant.cli_bench import table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "benchmarks" / "pictures"
SUBJECTS = ("quantize", "kmeans")
MARKED = re.compile(r"(<!-- results: made by scripts/make_report.py -->\n).*?(<!-- end of results -->)", re.DOTALL)
DIGEST = "Results"  # the name under which a plot keeps it

# Figures that their author gives for the very photo, on another machine with four threads, decoding left out.
PUBLISHED = {
    ("bryggen_17mp", 256): (
        "\nPublished for the same photo by quantette's author (another machine, four threads, decoding left out): "
        "Wu's method in sRGB 0.021 s; k-means in Oklab on a sample of 262,144 pixels 0.053 s, with dithering 0.229 s. "
        "It is written in Rust and has no package for Python, so it was not run here.\n"
    )
}


def tables(*kinds: str, **wanted: Any) -> Iterator[dict[str, Any]]:
    """The stored tables of some kinds, with the machine that each was measured on."""
    for subject in SUBJECTS:
        for path in sorted(RESULTS.glob(f"{subject}-*.json")):
            document = json.loads(path.read_text())
            for found in document["tables"]:
                if found["kind"] in kinds and all(found.get(key) == value for key, value in wanted.items()):
                    yield found | {"machine": document["machine"]}


def measurements(found: dict[str, Any]) -> list[Measurement]:
    return [Measurement(**{**row, "seconds": tuple(row["seconds"])}) for row in found["measurements"]]


def machine(about: dict[str, Any]) -> str:
    device = about.get("cuda", "no CUDA device")
    versions = f"Python {about['python']}, torch {about['torch']}, numpy {about['numpy']}"
    return f"{about['processor']}, {about['cores']} cores, {about['threads']} threads, {device}; {versions}"


def section(heading: str, found: dict[str, Any]) -> str:
    """One stored table under a heading."""
    rows = measurements(found)
    megapixels = max(row.n_pixels for row in rows) / 1e6
    above = f"{heading}, {megapixels:.1f} megapixels, K = {found['n_colors']}"
    published = PUBLISHED.get((found["photo"], found["n_colors"]), "")
    return f"\n**{above}**\n\n{table(rows)}{published}"


def ratios(subject: str, start: str) -> str:
    """The single figures whose names start so, as a table."""
    lines = ["| what | measured | beside it |", "| --- | ---: | --- |"]
    for path in sorted(RESULTS.glob(f"{subject}-cpu.json")):
        rows = [row for row in json.loads(path.read_text())["ratios"] if row["what"].startswith(start)]
        lines += [f"| {row['what'].removeprefix(start)} | {row['measured']} | {row['beside']} |" for row in rows]
    return "\n".join(lines) + "\n"


def report() -> str:
    """All that stands between the markers."""
    peers = list(tables("peers"))
    parts = [f"\nMeasured on {about}.\n" for about in dict.fromkeys(machine(found["machine"]) for found in peers)]
    parts += [section(found["photo"].split(",")[0], found) for found in peers if found["photo"].endswith(" 13MP")]
    for name, described in PLOTS.items():
        parts.append(f"\n![{described}](benchmarks/pictures/{name}.png)\n\n*{described}.*\n")
    parts += [section(found["photo"], found) for found in tables("photos") if found["n_colors"] == 256]
    parts += [section("k-means from the same start, at most 10 iterations", found) for found in tables("same start")]
    parts += [f"\n**Around it: a JPEG of 13.7 megapixels, K = 8**\n\n{ratios('quantize', FILES)}"]
    return "".join(parts)


FILES = "a JPEG of 13.7 megapixels, K = 8: "
PLOTS = {
    "error-against-time": "Error against time, 13.7 megapixels: lower and further left is better",
    "scaling-with-pixels": "Time and memory against megapixels, K = 16",
    "scaling-with-colors": "Time and memory against K, 13.7 megapixels",
    "scaling-with-problems": "One megapixel cut into so many problems of 8 clusters each",
}


def readme() -> str:
    """README.md with the tables of all results."""
    return MARKED.sub(lambda marked: f"{marked[1]}{report()}\n{marked[2]}", README.read_text())


def digest() -> str:
    """Of the results that plots show."""
    paths = [path for subject in SUBJECTS for path in sorted(RESULTS.glob(f"{subject}-*.json"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def main() -> None:
    from report_plots import draw

    README.write_text(readme())
    print(f"wrote {README}")
    error = [(found["n_colors"], measurements(found)) for found in tables("peers", photo="china.jpg, 13MP")]
    pixels = [(max(row["n_pixels"] for row in t["measurements"]) / 1e6, measurements(t)) for t in tables("pixels")]
    colors = [(found["n_colors"], measurements(found)) for found in tables("colors")]
    problems = [(found["n_problems"], measurements(found)) for found in tables("many problems")]
    drawn = dict(zip(PLOTS, (error, pixels, colors, problems), strict=True))
    for name, shown in drawn.items():
        draw(PICTURES / f"{name}.png", name, shown, {DIGEST: digest()})
        print(f"wrote {PICTURES / f'{name}.png'}")


if __name__ == "__main__":
    main()
