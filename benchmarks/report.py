"""Write the tables of benchmarks/README.md and README.md between their markers, and the plots, in seconds.

They show benchmarks/results, which `pytest benchmarks --save benchmarks/results` writes. The plots, in
benchmarks/pictures, need matplotlib, which scripts/setup.sh bench installs. Each keeps the digest of the results that
it shows.

Example: .venv/bin/python benchmarks/report.py
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports that take long, or may fail
    sys.path.append(str(Path(__file__).parents[1] / "scripts"))
    from parts.arguments import Arguments  # type: ignore[import-not-found]

    Arguments(__doc__).parse_args()

from gpuquant.bench.measuring import Measurement, table

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
PICTURES = ROOT / "benchmarks" / "pictures"
SUBJECTS = ("quantize", "kmeans")  # what plots show
EVERY_SUBJECT = (*SUBJECTS, "estimator", "batch", "quality", "looks")
MARKED = re.compile(r"(<!-- (\w+): made by benchmarks/report.py -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
KODAK = re.compile(r"Kodak, \d+ photos, K = (\d+), (.+): (MSE|time) .*")
WORDS = ("beside it",)  # columns that are no numbers, as the first is never one
DIGEST = "Results"  # the name under which a plot keeps it

PUBLISHED = """
Published, not measured here: [quantette](https://github.com/Ivordir/quantette) is written in Rust and has no package
for Python. Its author gives, for K = 256 on four threads of another machine, decoding left out: for five photos of 21
to 30 megapixels 0.036 to 0.049 s by Wu's method in sRGB, and 0.166 to 0.266 s by k-means in Oklab on a sample; for
bryggen 0.021 s by Wu's method, 0.053 s by k-means in Oklab on a sample of 262,144 pixels, and 0.229 s with dithering.
"""


def documents(subject: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The stored results of a subject, with the device that it ran on."""
    for device in ("cpu", "cuda"):
        path = RESULTS / f"{subject}-{device}.json"
        if path.exists():
            yield device, json.loads(path.read_text())


def tables(kind: str, **wanted: Any) -> list[dict[str, Any]]:
    """The stored tables of a kind: those of the CPU first, of few pixels and of few colors."""
    wanted["kind"] = kind
    every = (
        one | {"device": device}
        for subject in SUBJECTS
        for device, document in documents(subject)
        for one in document["tables"]
    )
    found = [one for one in every if all(one.get(key) == wanted[key] for key in wanted)]
    return sorted(found, key=lambda one: (one["device"], one["measurements"][0]["n_pixels"], one["n_colors"]))


def measurements(found: dict[str, Any]) -> list[Measurement]:
    return [Measurement(**{**row, "seconds": tuple(row["seconds"])}) for row in found["measurements"]]


def machine(about: dict[str, Any]) -> str:
    versions = f"Python {about['python']}, torch {about['torch']}, NumPy {about['numpy']}"
    cuda = f"{about['cuda']}, " if "cuda" in about else ""
    return f"{cuda}{about['processor']}, {about['cores']} cores, {about['threads']} threads; {versions}"


def section(heading: str, found: dict[str, Any]) -> str:
    """One stored table under a heading."""
    rows = measurements(found)
    megapixels = rows[0].n_pixels / 1e6
    where = "" if found["device"] == "cpu" else f", {found['device']}"
    return f"\n**{heading}, {megapixels:.1f} megapixels, K = {found['n_colors']}{where}**\n\n{table(rows)}"


def markdown(columns: dict[str, list[str]]) -> str:
    """A table of columns by their headings, without those that are empty."""
    shown = {heading: texts for heading, texts in columns.items() if any(texts)}
    rules = ["---" if number == 0 or heading in WORDS else "---:" for number, heading in enumerate(shown)]
    rows = [list(shown), rules, *zip(*shown.values(), strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def ratios(subject: str, start: str = "") -> str:
    """The single figures whose names start so, as a table."""
    rows = [row for _, document in documents(subject) for row in document["ratios"] if row["what"].startswith(start)]
    columns = {
        "what": [row["what"].removeprefix(start) for row in rows],
        "measured": [row["measured"] for row in rows],
        "goal": [f"{float(row['reach / aim'].split()[0]):.3g}" if row["reach / aim"] else "" for row in rows],
        "beside it": [row["beside"] for row in rows],
    }
    return markdown(columns)


def grid(cells: dict[str, dict[str, str]], headings: list[str]) -> str:
    """A table from its cells, by the names of rows and by the headings of columns."""
    return markdown({"": list(cells)} | {one: [row.get(one, "") for row in cells.values()] for one in headings})


def efforts() -> str:
    """The error over the Kodak photographs and the time of each effort, a column for each K."""
    cells: dict[str, dict[str, str]] = {}
    for row in (row for _, document in documents("quality") for row in document["ratios"]):
        if matched := KODAK.fullmatch(row["what"]):
            cells.setdefault(f"{matched[2]}: {matched[3]}", {})[f"K = {matched[1]}"] = row["measured"]
    columns = {column for row in cells.values() for column in row}
    return grid(cells, sorted(columns, key=lambda column: int(column.removeprefix("K = "))))


def by_size(n_colors: int) -> str:
    """The seconds and the error of each quantizer on the same photo in each size, a column for each."""
    cells: dict[str, dict[str, str]] = {}
    headings = []
    for found in tables("peers", n_colors=n_colors, device="cpu"):
        if found["photo"] not in SIZES:
            continue
        rows = measurements(found)
        headings.append(f"{rows[0].n_pixels / 1e6:.1f} megapixels")
        for row in rows:
            measured = f"{row.median:.2f} / {row.mse:.1f}" if row.seconds else "-"
            cells.setdefault(row.name, {})[headings[-1]] = measured
    described = f"\n**Seconds / MSE by size, china.jpg, K = {n_colors}** (-: stopped, or not started)\n\n"
    return described + grid(cells, headings)


def machines() -> str:
    """The machines that stored results come from."""
    found: dict[str, list[str]] = {}
    for subject in EVERY_SUBJECT:
        for device, document in documents(subject):
            found.setdefault(machine(document["machine"]), []).append(f"{subject}-{device}")
    lines = [f"{about} ({', '.join(names)})" if len(found) > 1 else about for about, names in found.items()]
    return f"\nMeasured on {'; and on '.join(lines)}.\n"


def words_of(subject: str, pattern: str) -> tuple[str, ...]:
    """Parts of the one single figure of the CPU that fits: its name, and after a bar what stands beside it."""
    every = (row for device, document in documents(subject) if device == "cpu" for row in document["ratios"])
    found = [one for row in every if (one := re.fullmatch(pattern, f"{row['what']} | {row['beside']}"))]
    if len(found) != 1:
        sys.exit(f"report: {subject}-cpu.json has {len(found)} figures that are like {pattern}, not one")
    return found[0].groups()


def in_short() -> str:
    """The five rows of README.md: a photo in few and in many colors, its memory, the estimator, and a batch."""
    few, many = (
        {row.name: row for row in measurements(found)}
        for n_colors in (8, 256)
        for found in tables("peers", photo=MAIN_PHOTO, n_colors=n_colors, device="cpu")
    )
    (ours, theirs), (ours_many, theirs_many) = ((rows[OURS], rows[SCIKIT_LEARN]) for rows in (few, many))
    n_clusters, seconds, their_seconds, n_differ = words_of("estimator", ESTIMATOR)
    n_photos, batch, speed, loop = words_of("batch", BATCH)
    cores = {
        f"{about['processor']}, {about['cores']} cores": None
        for subject in ("quantize", "estimator", "batch")
        for _, document in documents(subject)
        for about in [document["machine"]]
    }
    columns = {
        f"on {' and '.join(cores)}": [
            f"a photo of {ours.n_pixels / 1e6:.1f} megapixels in {ours.n_colors} colors",
            f"the same in {ours_many.n_colors} colors",
            f"memory for {ours.n_colors} colors, beside the pixels",
            f"`KMeans` on its pixels, as a JPEG, {n_clusters} clusters",
            f"{n_photos} photos as one batch",
        ],
        "gpuquant": [
            time_and_error(ours),
            time_and_error(ours_many),
            f"{ours.peak_megabytes:.0f} MB",
            f"{seconds} s",
            f"{batch} s, {speed} MP/s",
        ],
        "beside it": [
            f"scikit-learn's KMeans: {time_and_error(theirs)}",
            f"scikit-learn's KMeans: {time_and_error(theirs_many)}",
            f"scikit-learn's KMeans: {theirs.peak_megabytes:.0f} MB",
            f"scikit-learn's: {their_seconds} s; {n_differ} labels differ",
            f"one after the other: {loop} s",
        ],
    }
    return markdown(columns)


def time_and_error(row: Measurement) -> str:
    return f"{row.median:.2f} s, MSE {row.mse:.1f}" if row.seconds else row.problem


def report() -> str:
    """The tables and plots of the comparison with others."""
    parts = [machines()]
    parts += [section("china.jpg", found) for found in tables("peers", photo=MAIN_PHOTO)]
    parts += [by_size(8), by_size(256)]
    for name, described in PLOTS.items():
        parts.append(f"\n![{described}](pictures/{name}.png)\n\n*{described}.*\n")
    parts += [section(found["photo"], found) for found in tables("photos", photo="bryggen_17mp.jpg")]
    parts += [PUBLISHED]
    same = "k-means on all pixels from the same start, at most 10 iterations"
    parts += [section(same, found) for found in tables("same start")]
    parts += [
        f"\n**Around it: a JPEG of 13.7 megapixels and 0.5 million colors, K = 8**\n\n{ratios('quantize', FILES)}"
    ]
    return "".join(parts)


MAIN_PHOTO = "china.jpg, 13MP"
SIZES = ("china.jpg, 1MP", MAIN_PHOTO, "china.jpg, 50MP", "china.jpg, 100MP")
OURS, SCIKIT_LEARN = "gpuquant", "scikit-learn KMeans(n_init=1)"
ESTIMATOR = (
    r"china_13mp as a JPEG, K = (8), max_iter 300: time / scikit-learn's \| "
    r"ours ([\d.]+) s, scikit-learn ([\d.]+) s .*?, (\d+) labels differ, .*"
)
BATCH = r"(\d+) photos: time of a loop / that of the batch \| ([\d.]+) s, (\d+) MP/s; loop ([\d.]+) s"
FILES = "a JPEG of 13.7 megapixels, K = 8: "
PLOTS = {
    "error-against-time": "Error against time, 13.7 megapixels: lower and further left is better",
    "scaling-with-pixels": "Time and memory against megapixels, K = 16",
    "scaling-with-colors": "Time and memory against K, 13.7 megapixels",
    "scaling-with-problems": "One megapixel cut into so many problems of 8 clusters each",
}


PAGES: dict[Path, dict[str, Callable[[], str]]] = {
    README: {"speed": in_short},
    PAGE: {
        "results": report,
        "estimator": partial(ratios, "estimator"),
        "batch": partial(ratios, "batch"),
        "pillow": partial(ratios, "quantize", "time / MEDIANCUT: "),
        "efforts": efforts,
        "targets": partial(ratios, "quality", "lake_atitlan_10mp, "),
        "looks": partial(ratios, "looks", "Oklab, "),
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


def digest() -> str:
    """Of the results that plots show, and of what draws them."""
    stored = [document for subject in SUBJECTS for _, document in documents(subject)]
    drawing = Path(__file__).with_name("plots.py").read_text()
    return hashlib.sha256((json.dumps(stored) + drawing).encode()).hexdigest()[:16]


def shown(kind: str, at: Callable[[dict[str, Any]], float], **wanted: Any) -> list[tuple[float, list[Measurement]]]:
    """The points of a plot at each place, of all devices; rows that ran beside each are shown once."""
    found: dict[float, dict[str, Measurement]] = {}
    for one in tables(kind, **wanted):
        rows = found.setdefault(at(one), {})
        for row in measurements(one):
            rows.setdefault(row.name, row)
    return [(place, list(rows.values())) for place, rows in sorted(found.items())]


def main() -> None:
    from parts.arguments import needing

    with needing("bench"):
        from plots import draw

    missing = [name for name in EVERY_SUBJECT if not (RESULTS / f"{name}-cpu.json").exists()]
    if missing:
        sys.exit(f"report: {RESULTS} has no results of {', '.join(missing)}: pytest benchmarks --save makes them")
    texts = {path: page(path) for path in PAGES}
    drawn = (
        shown("peers", lambda one: one["n_colors"], photo=MAIN_PHOTO),
        shown("pixels", lambda one: one["measurements"][0]["n_pixels"] / 1e6),
        shown("colors", lambda one: one["n_colors"]),
        shown("many problems", lambda one: one["n_problems"]),
    )
    for name, places in zip(PLOTS, drawn, strict=True):
        draw(PICTURES / f"{name}.png", name, places, {DIGEST: digest()})
        sys.stdout.write(f"wrote {PICTURES / f'{name}.png'}\n")
    for path, text in texts.items():
        path.write_text(text)
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
